package rules

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
)

// State is what the engine remembers about one certificate, or the fleet, between
// evaluations. It is plain data: whoever calls the engine keeps it over a restart.
type State struct {
	Episode   string     `json:"episode,omitempty"` // set while an incident of the certificate is firing
	Instances []Instance `json:"instances"`
	Fired     []Fired    `json:"fired,omitempty"` // what fired within the last hour, see [Instance.Damped]

	// Diagnosis is what was found out last about the certificate, by whoever calls the engine. It is
	// put into the incidents that it explains, and dropped with the last of them; nil: nothing was.
	Diagnosis *certmedic.Diagnosis `json:"diagnosis,omitempty"`
}

// Empty reports whether there is nothing to remember.
func (s State) Empty() bool { return s.Episode == "" && len(s.Instances) == 0 && len(s.Fired) == 0 }

// Instance is an incident with the timers that run on it.
type Instance struct {
	certmedic.Incident
	Held      time.Duration `json:"held"`      // how long the condition has held, frozen time not counted
	Clear     time.Duration `json:"clear"`     // how long it has not held while firing
	Burning   time.Duration `json:"burning"`   // how long it has been firing, frozen time counted
	Seen      time.Time     `json:"seen"`      // of the last evaluation
	Undecided string        `json:"undecided"` // why nothing could be said then; empty when it could

	// Damped is how long the condition has to be clear before the incident ends, where its
	// rule asks for less: set for one that keeps coming back.
	Damped time.Duration `json:"damped,omitempty"`
	// Done are the steps of the ladder that were done, each by what it says, so that a
	// changed ladder neither repeats nor loses one.
	Done []string `json:"done,omitempty"`
	// Climbed is what the incident asks for now: the steps that were done and whose
	// conditions, where they have one, still hold.
	Climbed []certmedic.StepKind `json:"climbed,omitempty"`
	// Shown is what people were told last; zero while nobody was.
	Shown Shown `json:"shown,omitzero"`
}

// Result is what one evaluation came to.
type Result struct {
	State       State
	Transitions []certmedic.Transition
	Errors      []RuleError
	Next        time.Time // when a timer runs out and the facts should be judged again; zero if none does
}

// RuleError says that a rule could not be asked about a subject: the rule is broken for
// it, which is to be counted and told, never taken for "fine".
type RuleError struct {
	Rule string
	Err  error
}

// Engine holds compiled rules. It is safe for concurrent use.
type Engine struct {
	rules   []Rule
	scratch sync.Pool // of *scratch
}

// New returns an engine for the rules, in the order given.
func New(rules []Rule) *Engine {
	return &Engine{rules: rules, scratch: sync.Pool{New: func() any { return &scratch{subjects: newSubjects()} }}}
}

// Rules returns the engine's rules.
func (e *Engine) Rules() []Rule { return slices.Clone(e.rules) }

// Thaw makes state that was kept over a restart ready for use: the time in between is
// frozen, because nobody looked.
func Thaw(s State) State {
	s.Instances = slices.Clone(s.Instances)
	for i := range s.Instances {
		if s.Instances[i].Open() {
			s.Instances[i].Undecided = "certmedic was not running"
		}
	}
	return s
}

// Evaluate judges the facts of one certificate, or of the fleet, at now. Rules about the
// fleet are asked where the facts are about it, all others where not. Subjects and rules that
// are gone since the last evaluation end their incidents. The same input gives the same
// result, in the order of the rules and of the facts.
func (e *Engine) Evaluate(now time.Time, facts Facts, state State) Result {
	own := e.scratch.Get().(*scratch)
	defer e.scratch.Put(own)
	own.begin(facts)
	defer own.end()
	ev := evaluation{
		now: now, rules: e.rules, scratch: own, old: openInstances(state),
		result: Result{State: State{Episode: state.Episode, Fired: recent(state.Fired, now), Diagnosis: state.Diagnosis}},
	}
	for i := range e.rules {
		if facts.Gone {
			break
		}
		rule := &e.rules[i]
		about := own.subjects.about(rule.About)
		for j := range about {
			ev.judge(rule, &about[j])
		}
	}
	ev.leave(state.Instances)
	ev.endEpisode()
	ev.forget()
	return ev.result
}

// scratch is memory that one evaluation after the other uses.
type scratch struct {
	facts    Facts
	subjects *subjects
}

func (s *scratch) begin(f Facts) {
	s.facts = f
	s.subjects.gather(&s.facts)
}

// end lets go of what belongs to the caller.
func (s *scratch) end() {
	s.facts = Facts{}
	s.subjects.reset()
}

// evaluation is the work of one Evaluate.
type evaluation struct {
	now   time.Time
	rules []Rule
	*scratch
	old    map[instanceKey]Instance // open before, and not judged yet
	taken  map[instanceKey]bool     // judged, and open
	result Result
}

// instanceKey identifies the incident of a rule and a subject.
type instanceKey struct {
	rule    string
	subject certmedic.Subject
}

func (in *Instance) key() instanceKey { return instanceKey{in.Rule, in.Subject} }

// openInstances gives the open incidents by what they are about; nil where there are none,
// as nearly always.
func openInstances(state State) map[instanceKey]Instance {
	if len(state.Instances) == 0 {
		return nil
	}
	open := make(map[instanceKey]Instance, len(state.Instances))
	for _, in := range state.Instances {
		if in.Open() {
			open[in.key()] = in
		}
	}
	return open
}

// judge moves the incident of one rule and one subject on.
func (ev *evaluation) judge(rule *Rule, s *subject) {
	v, err := rule.condition.judge(s)
	if err != nil {
		ev.result.Errors = append(ev.result.Errors, RuleError{rule.Name, err})
	}
	if v != yes && len(ev.old) == 0 {
		return
	}
	k := instanceKey{rule.Name, s.Subject}
	in, open := ev.old[k]
	delete(ev.old, k)
	switch {
	case !open && (v != yes || ev.taken[k]):
		return
	case v == undecided:
		in = ev.freeze(rule, s, in, err)
	case v == yes:
		in = ev.hold(rule, s, in, open)
	default:
		in = ev.clear(rule, in)
	}
	if in.Open() {
		in = ev.climb(rule, s, in)
		ev.keep(in)
	}
}

// keep adds an incident to the state, and notes that a second subject of the same name, if
// there is one, is to have none.
func (ev *evaluation) keep(in Instance) {
	if ev.taken == nil {
		ev.taken = map[instanceKey]bool{}
	}
	ev.taken[in.key()] = true
	ev.result.State.Instances = append(ev.result.State.Instances, in)
}

// freeze handles a condition of which nothing can be said now.
func (ev *evaluation) freeze(rule *Rule, s *subject, in Instance, err error) Instance {
	in = ev.look(in)
	if err != nil {
		in.Undecided = err.Error()
	} else {
		in.Undecided = rule.condition.why(s)
	}
	return in
}

// hold handles a condition that is true now.
func (ev *evaluation) hold(rule *Rule, s *subject, in Instance, open bool) Instance {
	if !open {
		in = ev.open(rule, s)
	} else if in.Undecided == "" && in.ClearedAt.IsZero() {
		in.Held += ev.since(in.Seen)
	}
	in = ev.look(in)
	in.Undecided, in.Clear, in.ClearedAt = "", 0, time.Time{}
	ev.describe(rule, s, &in)
	if in.State == certmedic.StateFiring {
		return in
	}
	if in.Held < rule.For {
		if !open {
			ev.emit(certmedic.TransitionPending, in.Incident, certmedic.Step{})
		}
		ev.wake(ev.now.Add(rule.For - in.Held))
		return in
	}
	return ev.fire(in)
}

func (ev *evaluation) open(rule *Rule, s *subject) Instance {
	return Instance{Seen: ev.now, Incident: certmedic.Incident{
		ID:   fmt.Sprintf("%s/%s/%d", rule.Name, s.Subject.String(), ev.now.UnixMilli()),
		Rule: rule.Name, Subject: s.Subject, State: certmedic.StatePending,
		Severity: rule.Severity, Runbook: rule.Runbook, PendingAt: ev.now,
	}}
}

// fire turns a pending incident into a firing one.
func (ev *evaluation) fire(in Instance) Instance {
	in.State, in.FiringAt = certmedic.StateFiring, ev.now
	ev.result.State.Fired, in.Damped = fired(ev.result.State.Fired, in, ev.facts.Certificate.StoredVersion, ev.now)
	ev.beginEpisode()
	in.Episode = ev.result.State.Episode
	whose := cmp.Or(in.Subject.Certificate, "fleet")
	in.DedupKey = "certmedic/" + whose + "/" + in.Episode
	ev.emit(certmedic.TransitionFiring, in.Incident, certmedic.Step{})
	return in
}

// clear handles a condition that is false now, for an incident that was open.
func (ev *evaluation) clear(rule *Rule, in Instance) Instance {
	if in.State == certmedic.StatePending {
		return ev.end(in, certmedic.TransitionDropped)
	}
	if in.ClearedAt.IsZero() {
		in.ClearedAt = ev.now
	} else if in.Undecided == "" {
		in.Clear += ev.since(in.Seen)
	}
	in = ev.look(in)
	in.Undecided = ""
	if keep := max(rule.KeepFiringFor, in.Damped); in.Clear < keep {
		ev.wake(ev.now.Add(keep - in.Clear))
		return in
	}
	return ev.end(in, certmedic.TransitionResolved)
}

// look notes that the incident was looked at. A clock that was set back adds nothing to any
// timer, and takes nothing away.
func (ev *evaluation) look(in Instance) Instance {
	if in.State == certmedic.StateFiring {
		in.Burning += ev.since(in.Seen)
	}
	in.Seen = ev.now
	return in
}

func (ev *evaluation) since(t time.Time) time.Duration { return max(0, ev.now.Sub(t)) }

func (ev *evaluation) end(in Instance, kind certmedic.TransitionKind) Instance {
	in.State, in.EndedAt, in.NextStep = certmedic.StateResolved, ev.now, ""
	ev.emit(kind, in.Incident, certmedic.Step{})
	return in
}

// describe brings the words of an incident up to date.
func (ev *evaluation) describe(rule *Rule, s *subject, in *Instance) {
	why := rule.condition.because(s)
	members, evidence := []string{}, []certmedic.Evidence{}
	for i := range why.used {
		v := &why.used[i]
		keys := []string{v.name}
		for _, word := range rule.condition.words {
			keys = append(keys, v.name+":"+word)
		}
		for _, key := range keys {
			support := s.supportOf(v, key)
			members = append(members, support.Members...)
			evidence = appendNew(evidence, support.Evidence)
		}
	}
	slices.Sort(members)
	in.Reason, in.Members, in.Evidence = why.with(evidence), slices.Compact(members), evidence
	ev.explain(rule, why, in)
	c := &ev.facts.Certificate
	data := SummaryData{
		Subject: s.String(), Certificate: c.Name, Labels: c.Labels, Members: in.Members,
		Reason: in.Reason, Stage: c.Stage,
	}
	if c.Undecided["certificate.served_expires_in"] == "" && c.ServedExpiresIn > 0 {
		data.ExpiresIn = duration(c.ServedExpiresIn)
	}
	if waits := c.Support["certificate.approval"].Evidence; len(waits) > 0 {
		data.Approval = waits[0].Line
	}
	in.Summary = rule.summarize(data)
}

// appendNew appends the lines that are not there yet: variables may rest on the same ones.
func appendNew(all, more []certmedic.Evidence) []certmedic.Evidence {
	for _, line := range more {
		if !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	return all
}

// leave ends the incidents whose rule or subject is gone. Where it is not known now what there
// is, nothing is gone.
func (ev *evaluation) leave(before []Instance) {
	for _, in := range before {
		left, found := ev.old[in.key()]
		if !found {
			continue
		}
		delete(ev.old, in.key())
		if why := ev.hidden(left.Subject); why != "" && ev.asked(left.Rule) {
			left = ev.look(left)
			left.Undecided = why
			ev.keep(left)
			continue
		}
		kind := certmedic.TransitionDropped
		if left.State == certmedic.StateFiring {
			kind = certmedic.TransitionResolved
		}
		left.Reason = "no longer watched by this rule"
		ev.end(left, kind)
	}
}

// asked reports whether a rule is still there.
func (ev *evaluation) asked(rule string) bool {
	return slices.ContainsFunc(ev.rules, func(r Rule) bool { return r.Name == rule })
}

// hidden says why it is not known whether a subject is still there: an address of an endpoint
// that was not looked at, or a file of a source that was not read.
func (ev *evaluation) hidden(s certmedic.Subject) string {
	switch s.Kind {
	case certmedic.AboutFile:
		return ev.facts.Certificate.Undecided["certificate.stored_findings"]
	case certmedic.AboutAddress:
		for i := range ev.facts.Endpoints {
			if e := &ev.facts.Endpoints[i]; e.Address == s.Endpoint {
				return e.Undecided["endpoint.reachable"]
			}
		}
	}
	return ""
}

func (ev *evaluation) beginEpisode() {
	if ev.result.State.Episode == "" {
		ev.result.State.Episode = ev.now.UTC().Format("20060102T150405.000Z")
	}
}

// endEpisode ends the certificate's episode once nothing is firing any more.
func (ev *evaluation) endEpisode() {
	for i := range ev.result.State.Instances {
		if ev.result.State.Instances[i].State == certmedic.StateFiring {
			return
		}
	}
	ev.result.State.Episode = ""
}

func (ev *evaluation) emit(kind certmedic.TransitionKind, in certmedic.Incident, step certmedic.Step) {
	ev.result.Transitions = append(ev.result.Transitions, certmedic.Transition{Kind: kind, Time: ev.now, Incident: in, Step: step})
}

// wake asks to be called again at a time, keeping the soonest.
func (ev *evaluation) wake(at time.Time) {
	if ev.result.Next.IsZero() || at.Before(ev.result.Next) {
		ev.result.Next = at
	}
}
