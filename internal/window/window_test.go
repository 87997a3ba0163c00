package window_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/window"
)

func set(t *testing.T, texts ...string) window.Set {
	t.Helper()
	var s window.Set
	for _, text := range texts {
		w, err := window.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		s = append(s, w)
	}
	return s
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

// TestOpens asks at a moment when the windows open next. 2 March 2026 is a Monday. In Berlin
// clocks are set from 02:00 to 03:00 on 29 March, and from 03:00 to 02:00 on 25 October, two
// Sundays.
func TestOpens(t *testing.T) {
	for _, row := range []struct {
		about, windows, now, opens string // opens "": it is open
	}{
		{"without windows it is always open", "", "2026-03-02T12:00:00Z", ""},
		{"at its first second it is open", "Mon-Fri 02:00-05:00 UTC", "2026-03-02T02:00:00Z", ""},
		{"a second before it is not", "Mon-Fri 02:00-05:00 UTC", "2026-03-02T01:59:59Z", "2026-03-02T02:00:00Z"},
		{"at its last second it is open", "Mon-Fri 02:00-05:00 UTC", "2026-03-02T04:59:59Z", ""},
		{"its end is not within it", "Mon-Fri 02:00-05:00 UTC", "2026-03-02T05:00:00Z", "2026-03-03T02:00:00Z"},
		{"after Friday's comes Monday's", "Mon-Fri 02:00-05:00 UTC", "2026-03-06T05:00:00Z", "2026-03-09T02:00:00Z"},
		{"without days it opens every day", "02:00-05:00 UTC", "2026-03-07T03:00:00Z", ""},
		{"days may be listed, in any case of letters", "sat,SUN 00:00-24:00 UTC", "2026-03-07T00:00:00Z", ""},
		{"24:00 is the end of the day", "Sat,Sun 00:00-24:00 UTC", "2026-03-08T23:59:59Z", ""},
		{"and not the beginning of the next", "Sat,Sun 00:00-24:00 UTC", "2026-03-09T00:00:00Z", "2026-03-14T00:00:00Z"},
		{"a range of days may go over the end of the week", "Fri-Mon 10:00-11:00 UTC", "2026-03-09T10:00:00Z", ""},
		{"and leaves the days between out", "Fri-Mon 10:00-11:00 UTC", "2026-03-10T10:00:00Z", "2026-03-13T10:00:00Z"},
		{"over midnight, before it", "Mon 22:30-05:00 UTC", "2026-03-02T23:00:00Z", ""},
		{"over midnight, after it, on a day that is not named", "Mon 22:30-05:00 UTC", "2026-03-03T04:59:00Z", ""},
		{"the morning of the named day belongs to the day before", "Mon 22:30-05:00 UTC", "2026-03-02T04:00:00Z", "2026-03-02T22:30:00Z"},
		{"from Saturday night into Sunday", "Sat 23:00-01:00 UTC", "2026-03-08T00:30:00Z", ""},
		{"until midnight, written as the next day's beginning", "Mon 22:00-00:00 UTC", "2026-03-03T00:00:00Z", "2026-03-09T22:00:00Z"},
		{"the earliest of several opens first", "Sun 01:00-02:00 UTC; Wed 01:00-02:00 UTC", "2026-03-02T12:00:00Z", "2026-03-04T01:00:00Z"},
		{"one that is open is enough", "Sun 01:00-02:00 UTC; Mon 12:00-13:00 UTC", "2026-03-02T12:30:00Z", ""},
		{"the zone is that of the window", "Mon 02:00-05:00 Europe/Berlin", "2026-03-02T01:00:00Z", ""},
		{"the day is that of the zone", "Mon 02:00-05:00 Pacific/Auckland", "2026-03-01T13:30:00Z", ""},
		{"an hour that is left out opens nothing", "Sun 02:00-03:00 Europe/Berlin", "2026-03-28T12:00:00Z", "2026-04-05T00:00:00Z"},
		{"what is left of a window opens when the clock is set", "Sun 02:30-04:00 Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"an hour that comes twice is open the first time", "Sun 02:00-03:00 Europe/Berlin", "2026-10-25T00:30:00Z", ""},
		{"and the second time", "Sun 02:00-03:00 Europe/Berlin", "2026-10-25T01:30:00Z", ""},
		{"and over after that", "Sun 02:00-03:00 Europe/Berlin", "2026-10-25T02:00:00Z", "2026-11-01T01:00:00Z"},
	} {
		t.Run(row.about, func(t *testing.T) {
			var s window.Set
			if row.windows != "" {
				s = set(t, strings.Split(row.windows, "; ")...)
			}
			want := time.Time{}
			if row.opens != "" {
				want = at(t, row.opens)
			}
			if got := s.Opens(at(t, row.now)); !got.Equal(want) {
				t.Errorf("%q at %s opens at %s, want %s", row.windows, row.now, got, want)
			}
		})
	}
}

// TestOpensIsTheFirstMoment tries a year, in which clocks are set twice, by hours and a bit:
// where Opens names a moment, the windows are open then and were not a second before.
func TestOpensIsTheFirstMoment(t *testing.T) {
	s := set(t, "Mon-Fri 02:15-02:45 Europe/Berlin", "Sat 23:30-00:30 America/New_York")
	for now := at(t, "2026-01-01T00:00:00Z"); now.Year() == 2026; now = now.Add(7*time.Hour + 11*time.Second) {
		next := s.Opens(now)
		if next.IsZero() {
			continue
		}
		if !next.After(now) || !s.Opens(next).IsZero() || s.Opens(next.Add(-time.Second)).IsZero() {
			t.Fatalf("at %s it opens at %s", now, next)
		}
	}
}

func TestLocalZone(t *testing.T) {
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.Local)
	if s := set(t, "Mon 12:00-13:00"); !s.Opens(noon).IsZero() {
		t.Error("a window without a zone is not local")
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "is no window",
		"Mon-Fri":                     "is no window",
		"x":                           "is no window",
		"Mon Tue 02:00-05:00":         "is no window",
		"02:00-05:00 UTC please":      "is no window",
		"Mon-Fry 02:00-05:00":         `"Mon-Fry" is no day`,
		"Monday 02:00-05:00":          `"Monday" is no day`,
		"Mon,,Tue 02:00-05:00":        `"" is no day`,
		"Mon-Tue-Wed 02:00-05:00":     "is no day",
		"2:00-5:00":                   "is no range of times",
		"02:00":                       "is no range of times",
		"02:00-":                      "is no range of times",
		"02:60-05:00":                 "is no range of times",
		"02:00-24:01":                 "is no range of times",
		"24:00-25:00":                 "is no range of times",
		"24:00-02:00":                 "is no range of times",
		"-1:00-02:00":                 "is no range of times",
		"+2:00-05:00":                 "is no range of times",
		"02:00-05:00-06:00":           "is no range of times",
		"05:00-05:00":                 "a whole day is 00:00-24:00",
		"02:00-05:00 Europe/Berln":    "unknown time zone",
		"02:00-05:00 ../../etc/hosts": "time",
	} {
		if _, err := window.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzParse shows that no text makes a window without an end to the search for it.
func FuzzParse(f *testing.F) {
	f.Add("Mon-Fri 02:00-05:00")
	f.Add("Sat,Sun 00:00-24:00 Europe/Berlin")
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		w, err := window.Parse(text)
		if err != nil {
			return
		}
		s := window.Set{w}
		if next := s.Opens(now); !next.IsZero() && !s.Opens(next).IsZero() {
			t.Errorf("%q never opens", text)
		}
	})
}
