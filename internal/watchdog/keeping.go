package watchdog

import (
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// saveRules keeps what the rules remember.
func (w *Watchdog) saveRules(all map[string]rules.State) {
	if len(all) == 0 {
		return
	}
	if err := w.o.State.SaveRules(all); err != nil {
		w.o.Log.Error("keeping incidents", "certificates", len(all), "err", err)
	}
}

// saveTimers keeps how far the timers of open incidents have come, so that a restart costs
// none of them more than [saveTimersEvery].
func (w *Watchdog) saveTimers() {
	w.mu.Lock()
	all := map[string]rules.State{}
	for _, name := range w.order {
		if e := w.entries[name]; ticking(e.state) {
			all[name] = e.state
		}
	}
	if ticking(w.fleet.state) {
		all[fleetKey] = w.fleet.state
	}
	w.mu.Unlock()
	w.saveRules(all)
}

// ticking reports whether there are incidents with a timer: those that are pending, or have
// cleared. Of the others, what happens next follows from when they fired.
func ticking(s rules.State) bool {
	return slices.ContainsFunc(s.Instances, func(in rules.Instance) bool {
		return in.State == certmedic.StatePending || !in.ClearedAt.IsZero()
	})
}

// endGone ends the incidents of certificates that were watched before the last start or
// reload, and are not any more. While discovery cannot see everything they stay: what cannot
// be seen is not gone.
func (w *Watchdog) endGone(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.o.Partial {
		return
	}
	ended := map[string]rules.State{}
	for _, name := range slices.Sorted(maps.Keys(w.gone)) {
		result := w.o.Engine.Evaluate(now, rules.Facts{Certificate: rules.CertificateFacts{Name: name}, Gone: true}, w.gone[name])
		ended[name] = rules.State{}
		for _, t := range result.Transitions {
			w.logLocked(t)
			if t.Kind == certmedic.TransitionResolved {
				w.endedLocked(t.Incident)
			}
			w.o.Tell(News{Kind: NewsIncident, Time: t.Time, Certificate: certmedic.Certificate{Name: name}, Transition: t})
		}
	}
	w.gone = nil
	w.saveRules(ended)
}

// Gone returns the firing incidents of certificates that are not watched any more, before
// they are ended.
func (w *Watchdog) Gone() []certmedic.Incident {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []certmedic.Incident
	for _, name := range slices.Sorted(maps.Keys(w.gone)) {
		all = append(all, opened(w.gone[name])...)
	}
	return all
}
