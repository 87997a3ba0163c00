package watchdog

import (
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
)

// Simulation is the watchdog's picture of one certificate on a clock of the caller's: the
// same picture, and the same facts of it, as in the daemon, without goroutines, timers, disk
// or network. Scenario tests of rules run on it. It is for one goroutine.
type Simulation struct {
	e      *entry
	engine *rules.Engine
}

// Simulate returns the picture of a certificate of which nothing is known yet. Endpoints are
// probed every interval, and taken for unknown when they were not for some of them.
func Simulate(c certmedic.Certificate, engine *rules.Engine, interval time.Duration) *Simulation {
	s := &Simulation{engine: engine, e: newEntry(&c, store.Memory{}, rules.State{})}
	s.e.interval = interval
	return s
}

// Store takes a reading of the source, with what is wrong with the version in it, and
// reports whether it is another version than before.
func (s *Simulation) Store(now time.Time, stored certmedic.Stored, problems []certmedic.Finding) (renewed bool) {
	renewed, _ = s.e.hold(stored, problems, now)
	return renewed
}

// Observe takes the observation of one of the certificate's endpoints, and reports whether
// the version that was stored last is now served everywhere for the first time.
func (s *Simulation) Observe(o certmedic.Observation) (deployed bool) {
	s.e.see(o)
	return s.e.arrived(o.Time)
}

// Acted takes an action that was journaled, or a rehearsal.
func (s *Simulation) Acted(a certmedic.Action) {
	if a.Kind.Rehearses() {
		s.e.rehearsed(a)
		return
	}
	s.e.acted(a)
}

// Window takes what the CA says about when the version should be replaced; nil: nothing.
func (s *Simulation) Window(version certmedic.Fingerprint, w *rules.Window) { s.e.window(version, w) }

// Denies has the picture ask a deny list of keys, which does not change what it says meanwhile.
func (s *Simulation) Denies(denied func(spki certmedic.Fingerprint) bool) { s.e.denied = denied }

// Budget takes what is left of the limits of the certificate's CA.
func (s *Simulation) Budget(left []ledger.Remaining) { s.e.budget = left }

// Lend takes which rollback stands, nil where none does. It ends by itself when something better is
// served.
func (s *Simulation) Lend(now time.Time, l *rollback.Loan) { s.e.lend(l, now) }

// Restart forgets what a restart of the daemon forgets.
func (s *Simulation) Restart() {
	fresh := newEntry(s.e.cert, s.e.memory, rules.Thaw(s.e.state))
	fresh.loan = s.e.loan
	fresh.interval, fresh.advice, fresh.denied, fresh.rehearsals = s.e.interval, s.e.advice, s.e.denied, s.e.rehearsals
	if s.e.action != nil {
		fresh.acted(*s.e.action)
	}
	s.e = fresh
}

// Judge has the rules judge the facts at now. Where change is not nil, it may change the
// facts first.
func (s *Simulation) Judge(now time.Time, change func(*rules.Facts)) rules.Result {
	if s.e.repaid(now) {
		s.e.lend(nil, now)
	}
	facts := s.e.facts(now)
	if change != nil {
		change(&facts)
	}
	result := s.engine.Evaluate(now, facts, s.e.state)
	s.e.state = result.State
	return result
}

// Open returns the incidents that are pending or firing.
func (s *Simulation) Open() []certmedic.Incident { return opened(s.e.state) }

// Wants returns the actions that the rules ask for now.
func (s *Simulation) Wants() []certmedic.ActionKind {
	var kinds []certmedic.ActionKind
	for _, w := range wants(s.e.state, "") {
		kinds = append(kinds, w.Kind)
	}
	return kinds
}

// News returns news about the certificate, as the daemon has them: of what kind, and of an incident
// its transition.
func (s *Simulation) News(at time.Time, kind NewsKind, t certmedic.Transition) News {
	return News{Kind: kind, Time: at, Certificate: *s.e.cert, Transition: t, Leaf: s.e.leafOfInterest(), Names: s.e.stored.Names, Stage: s.e.stage()}
}

// View returns the picture as the daemon shows it to its exporter.
func (s *Simulation) View() View { return s.e.view() }

// Facts returns what the rules would be asked about at now.
func (s *Simulation) Facts(now time.Time) rules.Facts { return s.e.facts(now) }

// Round takes observations of several of the certificate's endpoints that were made at the
// same time, as [Simulation.Observe] does one by one. Those that say what was said before,
// which are most, cost little.
func (s *Simulation) Round(now time.Time, round []certmedic.Observation) (deployed bool) {
	for _, o := range round {
		name := s.e.name(o.Endpoint)
		last, ok := s.e.observed[name]
		if ok && slices.Equal(last.Findings, o.Findings) && slices.EqualFunc(last.Addresses, o.Addresses, saysTheSame) {
			s.e.observed[name] = o
		} else {
			s.e.see(o)
		}
	}
	s.e.compare(now)
	return s.e.arrived(now)
}

// Reload takes another configuration of the certificate, as a reload of the daemon does.
func (s *Simulation) Reload(c certmedic.Certificate) {
	before := &Watchdog{entries: map[string]*entry{c.Name: s.e}}
	fresh := newEntry(&c, s.e.memory, rules.Thaw(s.e.state))
	fresh.loan = s.e.loan
	fresh.interval, fresh.denied, fresh.rehearsals = s.e.interval, s.e.denied, s.e.rehearsals
	if s.e.action != nil {
		fresh.acted(*s.e.action)
	}
	(&Watchdog{entries: map[string]*entry{c.Name: fresh}}).Inherit(before)
	s.e = fresh
}

// Clone returns a copy that goes its own way.
func (s *Simulation) Clone() *Simulation {
	e := *s.e
	e.observed, e.drifting, e.copies = maps.Clone(e.observed), maps.Clone(e.drifting), maps.Clone(e.copies)
	e.rehearsals = maps.Clone(e.rehearsals)
	e.memory.Bound, e.memory.Known, e.memory.Seen = maps.Clone(e.memory.Bound), maps.Clone(e.memory.Known), maps.Clone(e.memory.Seen)
	return &Simulation{e: &e, engine: s.engine}
}

// FleetFacts returns what the rules may ask about a certmedic that watches the certificates.
// Failed says, by certificate and rule, why rules could not be asked.
func FleetFacts(now time.Time, self Self, interval time.Duration, certificates []*certmedic.Certificate, failed map[string]map[string]string) rules.FleetFacts {
	w := &Watchdog{o: Options{Interval: interval}, entries: make(map[string]*entry, len(certificates))}
	for _, c := range certificates {
		w.order = append(w.order, c.Name)
		w.entries[c.Name] = &entry{cert: c, errors: failed[c.Name]}
	}
	return w.fleetFactsLocked(self, now)
}
