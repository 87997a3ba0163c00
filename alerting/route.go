package alerting

import "github.com/certmedic/certmedic"

// Route says who hears of which events.
type Route struct {
	Match  map[string]string // label to exact value; empty fits every event
	To     []string          // receivers
	Events bool              // hears good news and info incidents too
}

// receivers returns who shall hear of the event. Routes are tried in order and the first
// that fits decides; to a route without Events, what is only information does not fit.
func receivers(routes []Route, e Event) []string {
	for _, r := range routes {
		if r.fits(e) {
			return r.To
		}
	}
	return nil
}

func (r Route) fits(e Event) bool {
	if !r.Events && (e.Kind.News() || e.Severity == certmedic.SeverityInfo) {
		return false
	}
	for name, value := range r.Match {
		if e.Label(name) != value {
			return false
		}
	}
	return true
}
