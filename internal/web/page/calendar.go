package page

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic/internal/watchdog"
)

// Calendar shows what ends when, week by week.
type Calendar struct {
	Views []watchdog.View
}

// The bounds of the calendar.
const (
	weeksAhead = 104
	mostNames  = 12 // certificates that one week names
	week       = 7 * 24 * time.Hour
)

// calendarWeek is one week, from Monday 00:00 UTC on.
type calendarWeek struct {
	Begins moment
	Unix   int64
	Ends   int // certificates that end in it
	Due    int // certificates whose renewal is overdue from then on
	Share  int // of the fullest week, in per cent
	Names  []link
	More   int

	views []*watchdog.View
}

// calendarModel is what the template shows.
type calendarModel struct {
	Over  []link // what has ended
	More  int
	Weeks []calendarWeek // in which something ends or falls due
	Later int            // what ends beyond them
	First int64          // the week that begins the chart
}

func (c Calendar) shown(now time.Time) shown {
	weeks := map[int64]*calendarWeek{}
	m := calendarModel{First: monday(now).Unix()}
	var over []*watchdog.View
	in := func(t time.Time) *calendarWeek {
		start := monday(t)
		if weeks[start.Unix()] == nil {
			weeks[start.Unix()] = &calendarWeek{Begins: moment{Said: start.Format("2 Jan 2006"), Exact: exact(start), ISO: start.Format(time.RFC3339)}, Unix: start.Unix()}
		}
		return weeks[start.Unix()]
	}
	last := monday(now).Add(weeksAhead * week)
	for i := range c.Views {
		v := &c.Views[i]
		end := v.Leaf.NotAfter
		switch {
		case end.IsZero():
		case end.Before(now):
			over = append(over, v)
		case end.Before(last):
			w := in(end)
			w.Ends++
			w.views = append(w.views, v)
		default:
			m.Later++
		}
		if r := v.Renewal; r != nil && r.Due.After(now) && r.Due.Before(last) {
			in(r.Due).Due++
		}
	}
	m.Over, m.More = named(over)
	m.Weeks = ordered(weeks)
	return shown{Template: "calendar", Title: "Calendar", Section: "/calendar", Chart: true, Data: m}
}

// monday returns the beginning of a week, UTC.
func monday(t time.Time) time.Time {
	t = t.UTC().Truncate(24 * time.Hour)
	return t.AddDate(0, 0, -((int(t.Weekday()) + 6) % 7))
}

// named links the first of them, those that end first.
func named(views []*watchdog.View) (names []link, more int) {
	slices.SortStableFunc(views, func(a, b *watchdog.View) int { return a.Leaf.NotAfter.Compare(b.Leaf.NotAfter) })
	for _, v := range views[:min(len(views), mostNames)] {
		names = append(names, link{v.Name, certificateHref(v.Name)})
	}
	return names, max(0, len(views)-mostNames)
}

func ordered(weeks map[int64]*calendarWeek) []calendarWeek {
	most := 1
	var all []calendarWeek
	for _, w := range weeks {
		w.Names, w.More = named(w.views)
		most = max(most, w.Ends)
		all = append(all, *w)
	}
	slices.SortFunc(all, func(a, b calendarWeek) int { return int(a.Unix - b.Unix) })
	for i := range all {
		all[i].Share = 100 * all[i].Ends / most
	}
	return all
}
