package alerting

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// standIn has somebody else told of what fires where all who should hear of it fail. It waits for
// them too, and who was told instead hears of its end.
func (a *Alerter) standIn(e Event, to []string) {
	if !e.Kind.firing() || len(to) == 0 {
		return
	}
	var reasons []string
	for _, name := range to {
		why, fails := a.queues[name].failing()
		if !fails {
			return
		}
		reasons = append(reasons, fmt.Sprintf("%s fails: %s", name, why))
	}
	e.Undelivered = strings.Join(reasons, "; ")
	for _, name := range a.standIns(e) {
		if q := a.queues[name]; !slices.Contains(to, name) {
			a.enqueue(q, Item{Event: e, slot: &slot{entry: newEntry(name, e)}})
		}
	}
}

// standIns are the fallback. Where there is none, certmedic's own incidents go to every receiver
// that works: they may be about the very receivers that fail.
func (a *Alerter) standIns(e Event) []string {
	if len(a.opts.Fallback) > 0 || e.Incident.Subject.Kind != certmedic.AboutFleet {
		return a.opts.Fallback
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(a.queues)), func(name string) bool {
		_, fails := a.queues[name].failing()
		return fails
	})
}
