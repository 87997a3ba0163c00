package watchdog

import (
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// fleetKey is under which name the state of the rules about the fleet is kept; no certificate
// can have it.
const fleetKey = "\x00fleet"

// Self is how certmedic itself is, beyond what the watchdog knows.
type Self struct {
	Since       time.Time // since when it runs
	LastRound   time.Time // when every endpoint had been probed once more; zero: not yet
	QueueOldest time.Time // when the notification that waits longest was told; zero: none waits
	Degraded    []string
	ClockSkew   *time.Duration // see [rules.FleetFacts]

	Failing map[string]string // why receivers do not take what they are sent, by their names

	Lost    time.Time // since when the coordinator of the cluster cannot be asked; zero: it can be
	LostWhy string
	Gone    map[string]string // when members were seen last that are not there any more, in words, by their names

	Unwritten    time.Time // since when the state folder cannot be written; zero: it can be
	UnwrittenWhy string
}

// fleet is what the rules remember about certmedic itself. The watchdog's lock guards it.
type fleet struct {
	state  rules.State
	errors map[string]string // by rule about the fleet, why it could not be asked
	judged time.Time         // when certmedic itself was judged last
}

// judgeFleet has the rules judge certmedic itself.
func (w *Watchdog) judgeFleet(now time.Time) {
	if w.o.Self == nil {
		return
	}
	self := w.o.Self() // may ask the watchdog
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil || w.ctx.Err() != nil {
		return
	}
	facts := w.fleetFactsLocked(self, now)
	w.fleet.judged = now
	result := w.o.Engine.Evaluate(now, rules.Facts{Fleet: &facts}, w.fleet.state)
	w.fleet.state = result.State
	if len(result.Transitions) > 0 {
		w.saveRules(map[string]rules.State{fleetKey: w.fleet.state})
	}
	w.fleet.errors = w.failedLocked("", w.fleet.errors, result.Errors)
	for _, t := range result.Transitions {
		w.logLocked(t)
		if t.Kind == certmedic.TransitionResolved {
			w.endedLocked(t.Incident)
		}
		w.o.Tell(News{Kind: NewsIncident, Time: t.Time, Transition: t})
	}
}

// fleetFactsLocked builds what rules may ask about certmedic itself.
func (w *Watchdog) fleetFactsLocked(self Self, now time.Time) rules.FleetFacts {
	f := rules.FleetFacts{
		Certificates: int64(len(w.order)), Degraded: self.Degraded, ClockSkew: self.ClockSkew,
		Undecided: rules.Undecided{}, Support: map[string]rules.Support{},
	}
	failed := map[string]rules.Support{}
	for rule, why := range w.fleet.errors {
		failed[rule] = rules.Support{Members: []string{"the fleet"}, Evidence: []certmedic.Evidence{{Source: rule, Line: why}}}
	}
	for _, name := range w.order {
		e := w.entries[name]
		f.Endpoints += int64(len(e.cert.Endpoints))
		for rule, why := range e.errors {
			s := failed[rule]
			s.Members = append(s.Members, name)
			s.Evidence = append(s.Evidence, certmedic.Evidence{Source: rule, Line: why})
			failed[rule] = s
		}
	}
	f.RuleErrors = slices.Sorted(maps.Keys(failed))
	f.Support["fleet.rule_errors"] = joined(failed, f.RuleErrors)
	f.FailingReceivers = slices.Sorted(maps.Keys(self.Failing))
	f.Support["fleet.failing_receivers"] = whyFailing(self.Failing)
	if !self.Unwritten.IsZero() {
		f.StateUnwritten = max(0, now.Sub(self.Unwritten))
		f.Support["fleet.state_unwritten"] = rules.Support{Evidence: []certmedic.Evidence{{Source: "state", Line: self.UnwrittenWhy}}}
	}
	if !self.Lost.IsZero() {
		f.CoordinatorLost = max(0, now.Sub(self.Lost))
		f.Support["fleet.coordinator_lost"] = rules.Support{Evidence: []certmedic.Evidence{{Source: "coordinator", Line: self.LostWhy}}}
	}
	f.MembersGone = slices.Sorted(maps.Keys(self.Gone))
	f.Support["fleet.members_gone"] = whyGone(self.Gone)
	if !self.QueueOldest.IsZero() {
		f.QueueAge = max(0, now.Sub(self.QueueOldest))
	}
	if f.Endpoints == 0 || w.o.Interval == 0 {
		undecide(f.Undecided, "nothing is probed", "fleet.last_round_age", "fleet.missed_rounds")
		return f
	}
	last := self.LastRound
	if last.Before(self.Since) {
		last = self.Since
	}
	f.LastRoundAge = max(0, now.Sub(last))
	f.MissedRounds = float64(f.LastRoundAge) / float64(w.o.Interval)
	return f
}

// maxErrorLines bounds how much evidence an incident of rules has.
const maxErrorLines = 10

// joined puts the support of several rules together, bounded.
func joined(all map[string]rules.Support, order []string) rules.Support {
	var s rules.Support
	for _, name := range order {
		s.Members = append(s.Members, all[name].Members...)
		s.Evidence = append(s.Evidence, all[name].Evidence...)
	}
	s.Evidence = s.Evidence[:min(len(s.Evidence), maxErrorLines)]
	return s
}

// whyGone names the members that are gone, with when they were seen last.
func whyGone(gone map[string]string) rules.Support {
	s := rules.Support{Members: slices.Sorted(maps.Keys(gone))}
	for _, name := range s.Members[:min(len(s.Members), maxErrorLines)] {
		s.Evidence = append(s.Evidence, certmedic.Evidence{Source: "member " + name, Line: gone[name]})
	}
	return s
}

// whyFailing names the receivers that fail, with what they say.
func whyFailing(failing map[string]string) rules.Support {
	s := rules.Support{Members: slices.Sorted(maps.Keys(failing))}
	for _, name := range s.Members[:min(len(s.Members), maxErrorLines)] {
		s.Evidence = append(s.Evidence, certmedic.Evidence{Source: "receiver " + name, Line: failing[name], Output: true})
	}
	return s
}

// Judged returns when certmedic itself was judged last, which it is after everything else: the
// zero time before that.
func (w *Watchdog) Judged() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fleet.judged
}

// Fleet returns the open incidents of certmedic itself.
func (w *Watchdog) Fleet() []certmedic.Incident {
	w.mu.Lock()
	defer w.mu.Unlock()
	return opened(w.fleet.state)
}

// opened returns the incidents that are pending or firing.
func opened(s rules.State) []certmedic.Incident {
	open := make([]certmedic.Incident, 0, len(s.Instances))
	for _, in := range s.Instances {
		open = append(open, in.Incident)
	}
	return open
}

// Survey asks every rule about all that is watched, and changes nothing.
func (w *Watchdog) Survey(now time.Time) []rules.Tally {
	return w.o.Engine.Survey(w.allFacts(now))
}

// allFacts returns what the rules would be asked about now.
func (w *Watchdog) allFacts(now time.Time) []rules.Facts {
	var self Self
	if w.o.Self != nil {
		self = w.o.Self() // may ask the watchdog
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]rules.Facts, 0, len(w.order)+1)
	if w.o.Self != nil {
		fleet := w.fleetFactsLocked(self, now)
		all = append(all, rules.Facts{Fleet: &fleet})
	}
	for _, name := range w.order {
		facts := w.entries[name].facts(now)
		w.nodesFacts(w.entries[name], &facts.Certificate)
		all = append(all, facts)
	}
	return all
}
