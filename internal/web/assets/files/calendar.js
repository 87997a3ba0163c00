// Draws the table of the calendar: a bar for each week, from the present one on.
(function () {
  'use strict';

  var table = document.getElementById('weeks');
  var place = document.getElementById('chart');
  if (!table || !place || typeof uPlot === 'undefined') {
    return;
  }
  var week = 7 * 24 * 3600;
  var known = {};
  var first = Number(table.dataset.first);
  var last = first + 12 * week;
  table.querySelectorAll('tr[data-week]').forEach(function (row) {
    var at = Number(row.dataset.week);
    known[at] = [Number(row.dataset.ends), Number(row.dataset.due)];
    last = Math.max(last, at);
  });
  var data = [[], [], []];
  for (var at = first; at <= last; at += week) {
    data[0].push(at);
    data[1].push((known[at] || [0, 0])[0]);
    data[2].push((known[at] || [0, 0])[1]);
  }

  function tone(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function whole(u, values) {
    return values.map(function (v) { return v === Math.floor(v) ? String(v) : ''; });
  }

  var day = uPlot.fmtDate('{D} {MMM}');

  // Every week that there is room for has its Monday beneath it.
  function mondays(u) {
    var every = Math.max(1, Math.ceil(data[0].length * 64 / u.width));
    return data[0].filter(function (at, i) { return i % every === 0; });
  }

  function days(u, splits) {
    return splits.map(function (at) { return day(utc(at)); });
  }

  function utc(ts) {
    return uPlot.tzDate(new Date(ts * 1e3), 'Etc/UTC');
  }

  // The room within its padding.
  function room() {
    var style = getComputedStyle(place);
    return place.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  }

  function draw() {
    place.hidden = false;
    place.textContent = '';
    var axis = {stroke: tone('--quiet'), grid: {stroke: tone('--line'), width: 1}, ticks: {stroke: tone('--line')}};
    return new uPlot({
      width: room(),
      height: 240,
      tzDate: utc,
      scales: {x: {range: [first - week / 2, last + week / 2]}, y: {range: function (u, min, max) { return [0, Math.max(1, max)]; }}},
      axes: [Object.assign({splits: mondays, values: days}, axis), Object.assign({values: whole, size: 44}, axis)],
      series: [
        {label: 'week of', value: '{YYYY}-{MM}-{DD}'},
        {label: 'end', fill: tone('--busy'), stroke: tone('--busy'), paths: uPlot.paths.bars({size: [0.7, 60]}), points: {show: false}},
        {label: 'overdue from then on', stroke: tone('--warning'), width: 2, dash: [6, 4], points: {show: false}},
      ],
    }, data, place);
  }

  var chart = draw();
  window.addEventListener('resize', function () {
    chart.setSize({width: room(), height: 240});
  });
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', function () {
    chart.destroy();
    chart = draw();
  });
})();
