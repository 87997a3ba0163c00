// What the pages do beside being read: times in the reader's zone, and no page that changes under the
// reader's hands. Without this script times are in UTC and pages are loaded again as a whole.
(function () {
  'use strict';

  var zones = ['UTC', 'local'];
  var button = document.getElementById('zone');

  function zone() {
    try {
      return localStorage.getItem('certmedic-zone') === 'local' ? 'local' : 'UTC';
    } catch (e) {
      return 'UTC';
    }
  }

  function exact(iso) {
    var options = {year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23', timeZoneName: 'short'};
    if (zone() === 'UTC') {
      return iso.replace('T', ' ').replace('Z', ' UTC');
    }
    return new Intl.DateTimeFormat('sv-SE', options).format(new Date(iso));
  }

  function times(root) {
    root.querySelectorAll('time[datetime]').forEach(function (t) {
      var said = exact(t.getAttribute('datetime'));
      t.title = said;
      if (t.classList.contains('exact')) {
        t.textContent = said;
      }
    });
    if (button) {
      button.textContent = 'times in ' + (zone() === 'UTC' ? 'UTC' : 'your zone');
    }
  }

  if (button) {
    button.hidden = false;
    button.addEventListener('click', function () {
      try {
        localStorage.setItem('certmedic-zone', zones[1 - zones.indexOf(zone())]);
      } catch (e) {
        return; // it cannot be kept
      }
      times(document);
    });
  }
  times(document);

  // Something is marked, has the focus or was opened: a page that replaced it would take it away.
  function inUse(part) {
    var marked = window.getSelection();
    return document.hidden ||
      (marked && !marked.isCollapsed && part.contains(marked.anchorNode)) ||
      (document.activeElement !== part && part.contains(document.activeElement)) ||
      part.querySelector('details[open]') !== null;
  }

  // What changes is told by the daemon; the page then asks for itself anew. Without that it asks now and then.
  function watch() {
    var page = document.querySelector('main[data-live]');
    if (!page || !window.EventSource) {
      return;
    }
    var about = page.getAttribute('data-live');
    var source = new EventSource('/api/v1/events');
    ['incident', 'action', 'version', 'word', 'everything'].forEach(function (kind) {
      source.addEventListener(kind, function (e) {
        var change = JSON.parse(e.data);
        if (!about || !change.certificate || change.certificate === about) {
          document.body.dispatchEvent(new Event('changed'));
        }
      });
    });
    window.addEventListener('pagehide', function () {
      source.close();
    });
  }
  watch();

  // A form is sent once.
  document.addEventListener('submit', function (e) {
    if (e.target.method === 'post') {
      setTimeout(function () {
        e.target.querySelectorAll('button').forEach(function (b) { b.disabled = true; });
      }, 0);
    }
  });

  document.addEventListener('htmx:beforeRequest', function (e) {
    if (e.target.id === 'content' && inUse(e.target)) {
      e.preventDefault();
    }
  });
  document.addEventListener('htmx:afterSettle', function () {
    times(document);
  });
})();
