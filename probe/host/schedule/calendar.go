package schedule

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// calendar is a set of times, as OnCalendar= and cron tables write them.
type calendar struct {
	weekdays, months, days, years, hours, minutes []bool // nil: all
	fromEnd                                       bool   // days are counted from the end of the month
	either                                        bool   // a day fits by its date or its weekday, as in cron
}

var errNotUnderstood = errors.New("the schedule is not understood")

// words of systemd.time(7) for whole expressions.
var calendarWords = map[string]string{
	"minutely": "*-*-* *:*:00", "hourly": "*-*-* *:00:00", "daily": "*-*-* 00:00:00", "monthly": "*-*-01 00:00:00",
	"weekly": "Mon *-*-* 00:00:00", "yearly": "*-01-01 00:00:00", "annually": "*-01-01 00:00:00",
	"quarterly": "*-01,04,07,10-01 00:00:00", "semiannually": "*-01,07-01 00:00:00",
}

// parseCalendar reads an expression of OnCalendar=. Seconds and the time zone are not kept.
func parseCalendar(text string) (calendar, error) {
	if whole, ok := calendarWords[strings.ToLower(strings.TrimSpace(text))]; ok {
		text = whole
	}
	var c calendar
	fields := strings.Fields(text)
	if n := len(fields); n > 1 && zone(fields[n-1]) {
		fields = fields[:n-1]
	}
	timed := false
	for i, field := range fields {
		var err error
		switch {
		case i == 0 && field[0] >= 'A':
			c.weekdays, err = list(strings.ReplaceAll(field, "-", ".."), 0, 6, weekday)
		case strings.Contains(field, ":"):
			err, timed = c.clock(field), true
		case strings.ContainsAny(field, "-~"):
			err = c.date(field)
		default:
			err = errNotUnderstood
		}
		if err != nil {
			return c, fmt.Errorf("%w: %q", errNotUnderstood, text)
		}
	}
	if len(fields) == 0 {
		return c, fmt.Errorf("%w: %q", errNotUnderstood, text)
	}
	if !timed {
		c.hours, c.minutes = only(0, 23), only(0, 59)
	}
	return c, nil
}

func zone(word string) bool {
	return word == "UTC" || strings.Contains(word, "/") && word[0] >= 'A' && word[0] <= 'Z' || len(word) > 2 && word == strings.ToUpper(word) && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func only(n, top int) []bool {
	set := make([]bool, top+1)
	set[n] = true
	return set
}

func (c *calendar) clock(field string) (err error) {
	parts := strings.Split(field, ":")
	if len(parts) > 3 {
		return errNotUnderstood
	}
	if c.hours, err = list(parts[0], 0, 23, number); err != nil {
		return err
	}
	c.minutes, err = list(parts[1], 0, 59, number)
	return err
}

func (c *calendar) date(field string) (err error) {
	if date, last, ok := strings.Cut(field, "~"); ok {
		c.fromEnd = true
		field = date + "-" + last
	}
	parts := strings.Split(field, "-")
	if len(parts) > 3 {
		return errNotUnderstood
	}
	if len(parts) == 3 {
		if c.years, err = list(parts[0], 1970, 2199, number); err != nil {
			return err
		}
		parts = parts[1:]
	}
	if c.months, err = list(parts[0], 1, 12, number); err != nil {
		return err
	}
	c.days, err = list(parts[1], 1, 31, number)
	return err
}

func number(word string) (int, bool) {
	n, err := strconv.Atoi(word)
	return n, err == nil && n >= 0
}

func weekday(word string) (int, bool) {
	if n, ok := number(word); ok {
		return n % 7, n <= 7
	}
	return named(word, "sun mon tue wed thu fri sat")
}

func month(word string) (int, bool) {
	if n, ok := number(word); ok {
		return n, true
	}
	n, ok := named(word, "jan feb mar apr may jun jul aug sep oct nov dec")
	return n + 1, ok
}

func named(word, names string) (int, bool) {
	if len(word) < 3 {
		return 0, false
	}
	n := slices.Index(strings.Fields(names), strings.ToLower(word[:3]))
	return n, n >= 0
}

// list reads values with commas, ranges with two dots, and steps; nil means all.
func list(text string, low, high int, read func(string) (int, bool)) ([]bool, error) {
	if text == "*" {
		return nil, nil
	}
	set := make([]bool, high+1)
	for _, item := range strings.Split(text, ",") {
		if err := mark(set, item, low, high, read); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func mark(set []bool, item string, low, high int, read func(string) (int, bool)) error {
	item, every, stepped := strings.Cut(item, "/")
	step := 1
	if stepped {
		n, ok := number(every)
		if !ok || n == 0 {
			return errNotUnderstood
		}
		step = n
	}
	from, to, ranged := strings.Cut(item, "..")
	first, last := low, high
	if item != "*" {
		n, ok := read(from)
		if !ok {
			return errNotUnderstood
		}
		first = n
		if !stepped {
			last = n
		}
	}
	if ranged {
		n, ok := read(to)
		if !ok {
			return errNotUnderstood
		}
		last = n
	}
	if first < low || last > high {
		return errNotUnderstood
	}
	if sunday := high == 6 && last == 0; sunday && first > 0 { // Fri..Sun
		last = 7
	}
	if last < first {
		return errNotUnderstood
	}
	for n := first; n <= last; n += step {
		set[n%(high+1)] = true
	}
	return nil
}

func in(set []bool, n int) bool { return set == nil || n < len(set) && set[n] }

// on reports whether a day belongs to the set.
func (c calendar) on(day time.Time) bool {
	number := day.Day()
	if c.fromEnd {
		number = time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day() - day.Day() + 1
	}
	date, week := in(c.days, number), in(c.weekdays, int(day.Weekday()))
	fits := date && week
	if c.either && c.days != nil && c.weekdays != nil {
		fits = date || week
	}
	return fits && in(c.months, int(day.Month())) && in(c.years, day.Year())
}

// times returns the minutes of a day at which it elapses, in order.
func (c calendar) times() []int {
	var times []int
	for h := range 24 {
		for m := range 60 {
			if in(c.hours, h) && in(c.minutes, m) {
				times = append(times, h*60+m)
			}
		}
	}
	return times
}

// The bounds of [longest].
const (
	maxDays    = 800 // two years and some: a yearly schedule elapses twice
	maxMoments = 100_000
)

// longest returns the longest time between two moments of any of the sets, 0 where there are
// not two within two years.
func longest(calendars []calendar, now time.Time) time.Duration {
	var moments []int // minutes since the first day
	start := now.UTC().Truncate(24 * time.Hour)
	daily := make([][]int, len(calendars))
	for i, c := range calendars {
		daily[i] = c.times()
	}
	for day := 0; day < maxDays && len(moments) < maxMoments; day++ {
		date := start.AddDate(0, 0, day)
		for i, c := range calendars {
			if !c.on(date) {
				continue
			}
			for _, minute := range daily[i] {
				moments = append(moments, day*24*60+minute)
			}
		}
	}
	slices.Sort(moments)
	gap := 0
	for i := 1; i < len(moments); i++ {
		gap = max(gap, moments[i]-moments[i-1])
	}
	return time.Duration(gap) * time.Minute
}

// units of systemd.time(7).
var spanUnits = map[string]time.Duration{
	"us": time.Microsecond, "usec": time.Microsecond, "ms": time.Millisecond, "msec": time.Millisecond,
	"": time.Second, "s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
	"M": 730 * time.Hour, "month": 730 * time.Hour, "months": 730 * time.Hour,
}

// parseSpan reads a time span such as "1h 30min"; a bare number is seconds.
func parseSpan(text string) (time.Duration, error) {
	var sum time.Duration
	rest := strings.ReplaceAll(text, " ", "")
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		n, err := strconv.ParseFloat(rest[:digits], 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not a time span", text)
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzM"))
		u, ok := spanUnits[rest[:letters]]
		if !ok || n > 1e6 {
			return 0, fmt.Errorf("%q is not a time span", text)
		}
		rest = rest[letters:]
		sum += time.Duration(n * float64(u))
	}
	return sum, nil
}
