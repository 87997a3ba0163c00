package rules

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// explain puts into an incident what a diagnosis named as its cause, with the lines that tell it
// before all others. A diagnosis that was made before the condition held says nothing about it.
func (ev *evaluation) explain(rule *Rule, why because, in *Instance) {
	in.Cause, in.CauseSummary, in.Fix = "", "", ""
	d := ev.result.State.Diagnosis
	if d == nil || rule.Unexplained || d.Time.Before(in.PendingAt) || why.silence() && !silences(d.Cause) {
		return
	}
	in.Cause, in.CauseSummary, in.Fix = d.Cause, d.Summary, d.Fix
	in.Evidence = appendNew(slices.Clone(d.Evidence), in.Evidence)
}

// silence reports whether a condition is about that nobody answers.
func (b because) silence() bool {
	return slices.ContainsFunc(b.used, func(v variable) bool {
		return slices.Contains([]string{"endpoint.reachable", "endpoint.vanished", "address.reachable"}, v.name)
	})
}

// silences reports whether a cause can be why nobody answers. What keeps a version on its way is
// not, though it may be what is wrong with the same certificate elsewhere.
func silences(c certmedic.Cause) bool {
	return slices.Contains([]certmedic.Cause{
		certmedic.CauseDNSFailed, certmedic.CauseConfigTestFailed, certmedic.CauseServiceDown, certmedic.CauseHostUnreachable,
	}, c)
}

// forget drops a diagnosis once nothing is left that it explains.
func (ev *evaluation) forget() {
	for _, in := range ev.result.State.Instances {
		if _, explains := explained(ev.rules, in.Rule); explains {
			return
		}
	}
	ev.result.State.Diagnosis = nil
}

// Explains reports whether a diagnosis may say why a rule holds, and how long that has to hold
// before the rule fires.
func (e *Engine) Explains(rule string) (after time.Duration, explains bool) {
	return explained(e.rules, rule)
}

func explained(rules []Rule, name string) (after time.Duration, explains bool) {
	i := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == name && !r.Unexplained })
	if i < 0 {
		return 0, false
	}
	return rules[i].For, true
}
