package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// climb emits the steps of the ladder that are due, each once, and brings up to date what the
// incident asks for. Nothing is climbed while the condition is undecided or has cleared: no
// step follows from facts that are stale.
//
// Steps do not wait for each other. One is due once its time has passed since the incident
// fired and its own condition holds; until it does, it is looked at again at each judgement.
func (ev *evaluation) climb(rule *Rule, s *subject, in Instance) Instance {
	if in.State != certmedic.StateFiring || in.Undecided != "" || !in.ClearedAt.IsZero() {
		return in
	}
	before := in.Climbed
	in.Done, in.Climbed, in.NextStep, in.Severity = slices.Clone(in.Done), nil, "", rule.Severity
	var next []string
	for i, step := range rule.Ladder {
		if step.Do != certmedic.StepNotify && ev.facts.Certificate.Watched {
			continue // nobody could take it
		}
		if wait := step.After - in.Burning; wait > 0 {
			ev.wake(ev.now.Add(wait))
			next = append(next, fmt.Sprintf("%s at %s", step.Do, ev.now.Add(wait).UTC().Format(time.RFC3339)))
			continue
		}
		done := slices.Contains(in.Done, stepKey(step))
		if done && step.Severity != "" {
			in.Severity = step.Severity
		}
		v := ev.ready(rule, i, s)
		switch {
		case v == yes && !done:
			in = ev.step(in, step)
		case !done:
			next = append(next, fmt.Sprintf("%s once its condition holds", step.Do))
			continue
		}
		if v == yes || v == undecided && slices.Contains(before, step.Do) {
			in.Climbed = append(in.Climbed, step.Do)
		}
	}
	in.NextStep = strings.Join(next, ", ")
	return ev.retell(in)
}

// ready asks the condition of a step; one without a condition is always ready.
func (ev *evaluation) ready(rule *Rule, i int, s *subject) verdict {
	if i >= len(rule.whens) || rule.whens[i] == nil {
		return yes
	}
	v, err := rule.whens[i].judge(s)
	if err != nil {
		ev.result.Errors = append(ev.result.Errors, RuleError{rule.Name, err})
	}
	return v
}

func (ev *evaluation) step(in Instance, step certmedic.Step) Instance {
	if step.Severity != "" {
		in.Severity = step.Severity
	}
	if step.Do == certmedic.StepNotify {
		in.Told, in.ToldAt = step, ev.now
	}
	in.Done = append(in.Done, stepKey(step))
	ev.emit(certmedic.TransitionStep, in.Incident, step)
	return in
}

// stepKey says what a step is, whatever its place in the ladder. Two that say the same are
// one step.
func stepKey(s certmedic.Step) string {
	key := string(s.Do)
	if s.After > 0 {
		key += " after " + s.After.String()
	}
	if s.Severity != "" {
		key += " as " + string(s.Severity)
	}
	if s.When != "" {
		key += " when " + s.When
	}
	return key
}
