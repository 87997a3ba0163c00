package alerting

import (
	"regexp"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/window"
)

// Route says who hears of which events, and when.
type Route struct {
	Match   map[string]string         // label to exact value; empty fits every event
	MatchRE map[string]*regexp.Regexp // label to what fits all of its value, see [Pattern]
	To      []string                  // receivers
	Events  bool                      // hears good news and info incidents too

	// Windows are the times of the week at which the route is there; empty: always. What fits no
	// other route either waits for them.
	Windows window.Set
	// Mute are times of the week in which what fires waits until they have ended; empty: never.
	Mute window.Set
	// Continue has the routes behind this one tried too.
	Continue bool
}

// Pattern reads a regular expression that has to fit all of a label's value.
func Pattern(text string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(text); err != nil { // by itself: it may not end the group below
		return nil, err
	}
	return regexp.Compile("^(?s:" + text + ")$")
}

// hearers returns who hears of an event at a time, and who hears of it later, when the hours of
// their routes say so. Routes are tried in order, and the first that fits decides, unless it
// says that the next are tried too.
func hearers(routes []Route, e Event, now time.Time) (at, later []string) {
	fits := func(r Route) bool { return r.Windows.Open(now) && r.fits(e) }
	taken := walk(routes, fits, func(r Route) {
		if len(r.Mute) > 0 && r.Mute.Open(now) {
			later = append(later, r.To...)
		} else {
			at = append(at, r.To...)
		}
	})
	if !taken {
		fits = func(r Route) bool { return r.fits(e) }
		walk(routes, fits, func(r Route) { later = append(later, r.To...) })
	}
	return at, slices.DeleteFunc(later, func(name string) bool { return slices.Contains(at, name) })
}

// walk takes the routes that fit, up to the first that does not say to go on. It reports whether
// there was any.
func walk(routes []Route, fits func(Route) bool, take func(Route)) bool {
	taken := false
	for _, r := range routes {
		if !fits(r) {
			continue
		}
		taken = true
		take(r)
		if !r.Continue {
			break
		}
	}
	return taken
}

// fits reports whether the route is for an event, whatever the time. To a route without Events,
// what is only information does not fit.
func (r Route) fits(e Event) bool {
	if !r.Events && (e.Kind.News() || e.Severity == certmedic.SeverityInfo) {
		return false
	}
	for name, value := range r.Match {
		if e.Label(name) != value {
			return false
		}
	}
	for name, pattern := range r.MatchRE {
		if !pattern.MatchString(e.Label(name)) {
			return false
		}
	}
	return true
}
