package watchdog

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// Ask says that a certificate should be diagnosed: from when on, and about what. Who diagnoses
// need not do so twice about the same. The zero Ask says that there is nothing to find out.
type Ask struct {
	From  time.Time
	About string // a hash of what a diagnosis would rest on
}

// pendingFor is how long an incident is pending before it is diagnosed: most of what goes by itself
// is gone by then. One that is pending for longer is diagnosed so long before it fires, so that its
// first message has the cause.
const pendingFor = 2 * time.Second

// askLocked has a certificate diagnosed whose incidents hold and have a cause to be found, each
// time that something about it changed; and no longer, once there is none left. While certmedic
// itself is at work on it there is nothing to be seen yet.
func (w *Watchdog) askLocked(e *entry) {
	if w.o.Diagnose == nil || e.cert.Watched || len(e.state.Instances) == 0 && e.asked == nil {
		return
	}
	if e.action != nil && e.action.Outcome.Kind == certmedic.OutcomeRunning {
		return
	}
	var before Ask
	if e.asked != nil {
		before = *e.asked
	}
	ask := w.ask(e)
	if ask == before {
		return
	}
	e.asked = &ask
	if ask == (Ask{}) {
		e.asked = nil
	}
	w.o.Diagnose(e.cert.Name, ask)
}

// ask returns what is to be found out about a certificate.
func (w *Watchdog) ask(e *entry) Ask {
	var ask Ask
	h := fnv.New64a()
	for _, in := range e.state.Instances {
		after, explains := w.o.Engine.Explains(in.Rule)
		if in.Undecided != "" || !in.ClearedAt.IsZero() || !explains {
			continue
		}
		from := in.FiringAt
		if in.State == certmedic.StatePending {
			from = in.PendingAt.Add(max(pendingFor, after-pendingFor))
		}
		if ask.From.IsZero() || from.Before(ask.From) {
			ask.From = from
		}
		fmt.Fprintln(h, in.ID)
	}
	if ask.From.IsZero() {
		return Ask{}
	}
	e.describe(h.Write)
	ask.About = strconv.FormatUint(h.Sum64(), 16)
	return ask
}

// describe writes what a diagnosis would rest on: what is stored and what is served, and what was
// done about it.
func (e *entry) describe(write func([]byte) (int, error)) {
	say := func(facts ...any) { _, _ = write(fmt.Appendln(nil, facts...)) } // a hash never fails
	leaf, _ := e.stored.Leaf()
	say(leaf.SHA256, e.stored.Lock.State)
	for _, f := range e.stored.Findings {
		say(f.Code)
	}
	for _, name := range slices.Sorted(maps.Keys(e.observed)) {
		for _, a := range e.observed[name].Addresses {
			served, _ := a.Leaf()
			say(name, a.Address, a.Variant, a.Stage, served.SHA256)
		}
	}
	if e.action != nil {
		say(e.action.ID, e.action.Outcome.Kind)
	}
	if e.attempt != nil {
		say(*e.attempt)
	}
}

// Diagnosed takes what a diagnosis found, puts it into the open incidents of the certificate that
// it explains, and keeps it with them. One that names no cause changes nothing: that something
// goes well now, or cannot be told, does not make an earlier cause wrong.
func (w *Watchdog) Diagnosed(certificate string, d certmedic.Diagnosis) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok || !d.Cause.Named() || e.asked == nil {
		return
	}
	e.state.Diagnosis = &d
	w.judgeLocked(e, time.Now())
	w.saveRules(map[string]rules.State{certificate: e.state})
}

// Observations returns what was seen last at the endpoints of a certificate, in their order; never
// nil.
func (w *Watchdog) Observations(certificate string) []certmedic.Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := []certmedic.Observation{}
	e, ok := w.entries[certificate]
	if !ok {
		return all
	}
	for _, ep := range e.cert.Endpoints {
		if o, seen := e.observed[e.name(ep)]; seen {
			all = append(all, o)
		}
	}
	return all
}
