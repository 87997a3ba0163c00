// Package window knows times of the week: those in which certmedic may act by itself, and those
// in which people want to hear of something, or do not. The configuration parses them when it is
// loaded, the remediator asks them before it acts, the routes of alerting before they tell.
//
// A window is open while a clock on the wall in its time zone shows a time within it. What
// follows from that for days on which clocks are set: an hour that is left out opens nothing,
// and one that comes twice counts twice.
package window

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window is one entry: days of the week, and a time of the day.
type Window struct {
	days       [7]bool // by time.Weekday, on which it opens
	start, end int     // minutes since midnight; an end that is not after the start is one of the next day
	zone       *time.Location
}

// Set is any number of windows. It is open while one of them is; without any it always is.
type Set []Window

const day = 24 * 60

// Parse reads a window: "[DAYS ]HH:MM-HH:MM[ ZONE]", such as "Mon-Fri 22:30-05:00" or
// "Sat,Sun 00:00-24:00 Europe/Berlin". Without days it opens every day; one that goes on past
// midnight belongs to the day on which it opens. Without a zone of the IANA database the local
// one holds.
func Parse(text string) (Window, error) {
	w := Window{zone: time.Local}
	fields := strings.Fields(text)
	at := slices.IndexFunc(fields, func(f string) bool { return strings.Contains(f, ":") })
	if at < 0 || at > 1 || len(fields) > at+2 {
		return w, fmt.Errorf("%q is no window such as \"Mon-Fri 02:00-05:00\" or \"Sat,Sun 00:00-24:00 Europe/Berlin\"", text)
	}
	var err error
	if w.days, err = parseDays(fields[:at]); err != nil {
		return w, fmt.Errorf("%q: %w", text, err)
	}
	if w.start, w.end, err = parseTimes(fields[at]); err != nil {
		return w, fmt.Errorf("%q: %w", text, err)
	}
	if len(fields) == at+2 {
		if w.zone, err = time.LoadLocation(fields[at+1]); err != nil {
			return w, fmt.Errorf("%q: %w", text, err)
		}
	}
	return w, nil
}

// parseDays reads "Mon-Fri" or "Sat,Sun"; nothing stands for every day.
func parseDays(fields []string) (days [7]bool, err error) {
	if len(fields) == 0 {
		return [7]bool{true, true, true, true, true, true, true}, nil
	}
	for part := range strings.SplitSeq(fields[0], ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, last := weekday(from), weekday(to)
		if first < 0 || last < 0 {
			return days, fmt.Errorf("%q is no day, nor a range of days, of Mon Tue Wed Thu Fri Sat Sun", part)
		}
		for d := first; ; d = (d + 1) % 7 {
			if days[d] = true; d == last {
				break
			}
		}
	}
	return days, nil
}

// weekday returns the day of a name of three letters, -1 where it is none.
func weekday(name string) time.Weekday {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(name, d.String()[:3]) {
			return d
		}
	}
	return -1
}

// parseTimes reads "02:00-05:00" as minutes since midnight.
func parseTimes(text string) (start, end int, err error) {
	from, to, _ := strings.Cut(text, "-")
	start, end = minutes(from), minutes(to)
	switch {
	case start < 0 || start == day || end < 0:
		return 0, 0, fmt.Errorf("%q is no range of times, from 00:00 to 24:00", text)
	case start == end:
		return 0, 0, fmt.Errorf("%q is empty; a whole day is 00:00-24:00", text)
	}
	return start, end, nil
}

// minutes reads HH:MM, 24:00 included, as minutes since midnight; -1 where it is no such time.
func minutes(text string) int {
	if len(text) != len("HH:MM") || text[2] != ':' {
		return -1
	}
	hour, errHour := strconv.ParseUint(text[:2], 10, 8)
	minute, errMinute := strconv.ParseUint(text[3:], 10, 8)
	n := int(hour)*60 + int(minute)
	if errHour != nil || errMinute != nil || minute > 59 || n > day {
		return -1
	}
	return n
}

// Open reports whether the window is open now.
func (w Window) Open(now time.Time) bool {
	local := now.In(w.zone)
	at := local.Hour()*60 + local.Minute()
	today, yesterday := w.days[local.Weekday()], w.days[(local.Weekday()+6)%7]
	if w.start < w.end {
		return today && w.start <= at && at < w.end
	}
	return today && w.start <= at || yesterday && at < w.end
}

// horizon is how far Opens looks. A window of one day a week may be left out once, where the
// clock is set over it.
const horizon = 15 * 24 * time.Hour

// Opens returns when the windows open next, to the minute: zero where they are open now. It
// tries every minute, which needs to know nothing about how clocks are set.
func (s Set) Opens(now time.Time) time.Time {
	if s.Open(now) {
		return time.Time{}
	}
	next, end := now.Truncate(time.Minute), now.Add(horizon)
	for next.Before(end) {
		if next = next.Add(time.Minute); s.Open(next) {
			break
		}
	}
	return next
}

// Open reports whether one of the windows is open now, or there is none.
func (s Set) Open(now time.Time) bool {
	return len(s) == 0 || slices.ContainsFunc(s, func(w Window) bool { return w.Open(now) })
}
