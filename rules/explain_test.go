package rules

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const explainedRules = `
rules:
  - {name: drift, about: certificate, when: certificate.drift, severity: warning}
  - {name: overdue, about: certificate, when: certificate.renewal_overdue, severity: warning}
  - {name: weak, about: certificate, when: '"weak_key" in certificate.findings', severity: warning, diagnose: false}
  - {name: silent, about: endpoint, when: "!endpoint.reachable", severity: warning}
`

// diagnosed is a diagnosis that was made so long after the start.
func diagnosed(after time.Duration, cause certmedic.Cause) *certmedic.Diagnosis {
	return &certmedic.Diagnosis{
		Cause: cause, Summary: "The deploy hook failed.", Fix: "certmedic redeploy shop", Time: start().Add(after),
		Evidence: []certmedic.Evidence{{Source: "letsencrypt.log:31", Line: "exit code 3", Output: true}},
	}
}

// incident returns the open incident of a rule.
func (l *life) incident(rule string) certmedic.Incident {
	l.t.Helper()
	i := slices.IndexFunc(l.state.Instances, func(in Instance) bool { return in.Rule == rule })
	if i < 0 {
		l.t.Fatalf("there is no incident of %s", rule)
	}
	return l.state.Instances[i].Incident
}

func TestACauseIsToldOnceAndAtOnce(t *testing.T) {
	l := &life{t: t, engine: engine(t, explainedRules)}
	drift := on("a")
	drift.Support["certificate.drift"] = Support{Members: []string{"a"}, Evidence: []certmedic.Evidence{{Source: "a", Line: "serves 1"}}}
	l.want(0, drift, "firing", "notify")
	l.state.Diagnosis = diagnosed(time.Second, certmedic.CauseHookFailed)
	l.want(time.Second, drift, "changed")
	told := l.last.Transitions[0].Incident
	if told.Cause != certmedic.CauseHookFailed || told.Fix != "certmedic redeploy shop" || told.CauseText() != "The deploy hook failed (hook_failed)" {
		t.Errorf("told of %q, %q, %q", told.Cause, told.CauseText(), told.Fix)
	}
	if len(told.Evidence) != 2 || told.Evidence[0].Source != "letsencrypt.log:31" || !told.Evidence[0].Output || !strings.Contains(told.Reason, "serves 1") {
		t.Errorf("told %+v because %q: want the line of the cause first, and the reason of the condition", told.Evidence, told.Reason)
	}
	l.want(2*time.Second, drift)
	l.state.Diagnosis = diagnosed(3*time.Second, certmedic.CauseServiceDown)
	l.want(3*time.Second, drift)
	l.want(time.Minute, drift, "changed")
	l.want(2*time.Minute, CertificateFacts{}, "resolved")
	if ended := l.last.Transitions[0].Incident; ended.Cause != certmedic.CauseServiceDown {
		t.Errorf("the incident ended with the cause %q", ended.Cause)
	}
}

func TestACauseThatIsKnownWhenItFiresIsInTheFirstMessage(t *testing.T) {
	l := &life{t: t, engine: engine(t, driftRules)}
	l.want(0, on("a"), "pending")
	l.state.Diagnosis = diagnosed(time.Second, certmedic.CauseHookFailed)
	l.want(3*time.Second, on("a"), "firing", "notify", "redeploy")
	if got := l.last.Transitions[1].Incident.Cause; got != certmedic.CauseHookFailed {
		t.Errorf("told of the cause %q", got)
	}
	l.want(time.Minute, on("a"))
}

func TestWhatADiagnosisExplains(t *testing.T) {
	silent := func(reachable bool) []EndpointFacts { return []EndpointFacts{{Address: "a:443", Reachable: reachable}} }
	l := &life{t: t, engine: engine(t, explainedRules)}
	judge := func(after time.Duration, c CertificateFacts, e []EndpointFacts) {
		c.Name = "shop"
		l.last = l.engine.Evaluate(start().Add(after), Facts{Certificate: c, Endpoints: e}, l.state)
		l.state = l.last.State
	}
	all := CertificateFacts{Drift: true, Findings: []string{"weak_key"}}
	judge(0, all, silent(false))
	l.state.Diagnosis = diagnosed(time.Second, certmedic.CauseHookFailed)
	judge(2*time.Second, all, silent(false))
	for rule, want := range map[string]certmedic.Cause{"drift": certmedic.CauseHookFailed, "weak": "", "silent": ""} {
		if got := l.incident(rule).Cause; got != want {
			t.Errorf("%s has the cause %q, want %q", rule, got, want)
		}
	}
	all.RenewalOverdue = true
	judge(3*time.Second, all, silent(false))
	if got := l.incident("overdue").Cause; got != "" {
		t.Errorf("what began after the diagnosis has its cause, %q", got)
	}
	l.state.Diagnosis = diagnosed(4*time.Second, certmedic.CauseServiceDown)
	judge(4*time.Second, all, silent(false))
	if got := l.incident("silent").Cause; got != certmedic.CauseServiceDown {
		t.Errorf("nobody answers, by the cause %q", got)
	}
	judge(5*time.Second, CertificateFacts{Findings: []string{"weak_key"}}, silent(true))
	if l.state.Diagnosis != nil {
		t.Error("nothing is left that the diagnosis explains, and it is kept")
	}
	for rule, want := range map[string]bool{"drift": true, "weak": false, "gone": false} {
		if _, explains := l.engine.Explains(rule); explains != want {
			t.Errorf("that a diagnosis explains %s is %t", rule, explains)
		}
	}
}
