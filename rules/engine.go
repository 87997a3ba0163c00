package rules

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// State is what the engine remembers about one certificate between evaluations. It is
// plain data: whoever calls the engine keeps it over a restart.
type State struct {
	Episode   string     `json:"episode,omitempty"` // set while an incident of the certificate is firing
	Instances []Instance `json:"instances"`
}

// Instance is an incident with the timers that run on it.
type Instance struct {
	certmedic.Incident
	Held      time.Duration `json:"held"`      // how long the condition has held, frozen time not counted
	Clear     time.Duration `json:"clear"`     // how long it has not held while firing
	Seen      time.Time     `json:"seen"`      // of the last evaluation
	Undecided string        `json:"undecided"` // why nothing could be said then; empty when it could
	StepsDone int           `json:"steps_done"`

	Climbed []certmedic.StepKind `json:"climbed"` // what the steps that were done asked for
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
	rules []Rule
}

// New returns an engine for the rules, in the order given.
func New(rules []Rule) *Engine { return &Engine{rules: rules} }

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

// Evaluate judges the facts of one certificate at now. Subjects and rules that are gone
// since the last evaluation end their incidents.
func (e *Engine) Evaluate(now time.Time, facts Facts, state State) Result {
	ev := evaluation{now: now, facts: &facts, old: map[instanceKey]Instance{}, result: Result{State: State{Episode: state.Episode}}}
	for _, in := range state.Instances {
		if in.Open() {
			ev.old[instanceKey{in.Rule, in.Subject}] = in
		}
	}
	for i := range e.rules {
		rule := &e.rules[i]
		for _, s := range facts.subjects(rule.About) {
			ev.judge(rule, s)
		}
	}
	ev.dropRest(state.Instances)
	ev.endEpisode()
	return ev.result
}

// evaluation is the work of one Evaluate.
type evaluation struct {
	now    time.Time
	facts  *Facts
	old    map[instanceKey]Instance
	result Result
}

// instanceKey identifies the incident of a rule and a subject.
type instanceKey struct {
	rule    string
	subject certmedic.Subject
}

// judge moves the incident of one rule and one subject on.
func (ev *evaluation) judge(rule *Rule, s subject) {
	k := instanceKey{rule.Name, s.Subject}
	in, open := ev.old[k]
	delete(ev.old, k)
	v, err := rule.condition.judge(s)
	if err != nil {
		ev.result.Errors = append(ev.result.Errors, RuleError{rule.Name, err})
	}
	switch {
	case v == undecided && !open, v == no && !open:
		return
	case v == undecided:
		in.Undecided = why(rule, s, err)
		in.Seen = ev.now
	case v == yes:
		in = ev.hold(rule, s, in, open)
	default:
		in = ev.clear(rule, in)
	}
	if in.Open() {
		in = ev.climb(rule, in)
		ev.result.State.Instances = append(ev.result.State.Instances, in)
	}
}

// hold handles a condition that is true now.
func (ev *evaluation) hold(rule *Rule, s subject, in Instance, open bool) Instance {
	if !open {
		in = Instance{Incident: certmedic.Incident{
			Rule: rule.Name, Subject: s.Subject, State: certmedic.StatePending,
			Severity: rule.Severity, Runbook: rule.Runbook, PendingAt: ev.now,
		}}
		in.ID = fmt.Sprintf("%s/%s/%d", rule.Name, s.Subject.String(), ev.now.UnixMilli())
	} else if in.Undecided == "" && in.Clear == 0 {
		in.Held += max(0, ev.now.Sub(in.Seen))
	}
	in.Seen, in.Undecided, in.Clear, in.ClearedAt = ev.now, "", 0, time.Time{}
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
	in.State, in.FiringAt = certmedic.StateFiring, ev.now
	ev.beginEpisode()
	in.Episode = ev.result.State.Episode
	in.DedupKey = "certmedic/" + in.Subject.Certificate + "/" + in.Episode
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
		in.Clear += max(0, ev.now.Sub(in.Seen))
	}
	in.Seen, in.Undecided = ev.now, ""
	if in.Clear < rule.KeepFiringFor {
		ev.wake(ev.now.Add(rule.KeepFiringFor - in.Clear))
		return in
	}
	return ev.end(in, certmedic.TransitionResolved)
}

func (ev *evaluation) end(in Instance, kind certmedic.TransitionKind) Instance {
	in.State, in.EndedAt, in.NextStep = certmedic.StateResolved, ev.now, ""
	ev.emit(kind, in.Incident, certmedic.Step{})
	return in
}

// climb emits the rungs of the ladder that are due, each once. Nothing is climbed while the
// condition is undecided or has cleared: no step follows from facts that are stale.
func (ev *evaluation) climb(rule *Rule, in Instance) Instance {
	if in.State != certmedic.StateFiring || in.Undecided != "" || !in.ClearedAt.IsZero() {
		return in
	}
	in.NextStep = ""
	for in.StepsDone < len(rule.Ladder) {
		step := rule.Ladder[in.StepsDone]
		due := in.FiringAt.Add(step.After)
		if due.After(ev.now) {
			in.NextStep = fmt.Sprintf("%s at %s", step.Do, due.UTC().Format(time.RFC3339))
			ev.wake(due)
			return in
		}
		if step.Severity != "" {
			in.Severity = step.Severity
		}
		in.StepsDone++
		in.Climbed = append(slices.Clip(in.Climbed), step.Do)
		ev.emit(certmedic.TransitionStep, in.Incident, step)
	}
	return in
}

// describe brings the words of an incident up to date.
func (ev *evaluation) describe(rule *Rule, s subject, in *Instance) {
	reason, used := rule.condition.because(s)
	in.Reason = reason
	members, evidence := []string{}, []certmedic.Evidence{}
	for _, name := range used {
		for _, key := range append([]string{name}, keys(name, rule.condition.words)...) {
			support := s.support(key)
			members = append(members, support.Members...)
			evidence = append(evidence, support.Evidence...)
		}
	}
	slices.Sort(members)
	in.Members, in.Evidence = slices.Compact(members), evidence
	c := &ev.facts.Certificate
	data := SummaryData{
		Subject: s.String(), Certificate: c.Name, Labels: c.Labels, Members: in.Members,
		Reason: reason, Stage: c.Stage,
	}
	if s.undecided("certificate.served_expires_in") == "" {
		data.ExpiresIn = duration(c.ServedExpiresIn)
	}
	in.Summary = rule.summarize(data)
}

// keys names what backs the words of a list, see [CertificateFacts.Support].
func keys(name string, words []string) []string {
	all := make([]string, 0, len(words))
	for _, w := range words {
		all = append(all, name+":"+w)
	}
	return all
}

// dropRest ends the incidents whose rule or subject is gone.
func (ev *evaluation) dropRest(before []Instance) {
	for _, in := range before {
		if _, left := ev.old[instanceKey{in.Rule, in.Subject}]; !left {
			continue
		}
		kind := certmedic.TransitionDropped
		if in.State == certmedic.StateFiring {
			kind = certmedic.TransitionResolved
		}
		in.Reason = "no longer watched by this rule"
		ev.end(in, kind)
	}
}

func (ev *evaluation) beginEpisode() {
	if ev.result.State.Episode == "" {
		ev.result.State.Episode = ev.now.UTC().Format("20060102T150405.000Z")
	}
}

// endEpisode ends the certificate's episode once nothing is firing any more.
func (ev *evaluation) endEpisode() {
	for _, in := range ev.result.State.Instances {
		if in.State == certmedic.StateFiring {
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

// why names what kept the rule from being decided.
func why(rule *Rule, s subject, err error) string {
	if err != nil {
		return err.Error()
	}
	for _, name := range rule.condition.uses {
		if w := cmp.Or(s.undecided(name), s.incomplete(name)); w != "" {
			return w
		}
	}
	return "undecided"
}
