package rules

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const driftRules = `
rules:
  - name: renewed-not-served
    about: certificate
    when: certificate.drift
    for: 2s
    keep_firing_for: 5s
    severity: warning
    summary: "{{.Certificate}} drifts: {{.Reason}}"
    ladder:
      - do: notify
      - do: redeploy
      - {after: 10m, do: notify, severity: critical}
`

func engine(t *testing.T, source string) *Engine {
	t.Helper()
	loaded, err := Load("test.yml", []byte(source), 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return New(loaded)
}

func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// life drives an engine along a story of facts and keeps what happened.
type life struct {
	t      *testing.T
	engine *Engine
	state  State
	last   Result
}

func (l *life) at(after time.Duration, c CertificateFacts) []string {
	l.t.Helper()
	c.Name = "shop"
	l.last = l.engine.Evaluate(start().Add(after), Facts{Certificate: c}, l.state)
	l.state = l.last.State
	var kinds []string
	for _, tr := range l.last.Transitions {
		kind := string(tr.Kind)
		if tr.Kind == certmedic.TransitionStep {
			kind = string(tr.Step.Do)
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

func (l *life) want(after time.Duration, c CertificateFacts, kinds ...string) {
	l.t.Helper()
	if got := l.at(after, c); !slices.Equal(got, kinds) {
		l.t.Fatalf("at +%s: got %v, want %v", after, got, kinds)
	}
}

func TestLifeOfAnIncident(t *testing.T) {
	drift, fine := CertificateFacts{Drift: true}, CertificateFacts{}
	l := &life{t: t, engine: engine(t, driftRules)}
	l.want(0, fine)
	l.want(time.Second, drift, "pending")
	if want := start().Add(3 * time.Second); !l.last.Next.Equal(want) {
		t.Errorf("wakes at %s, want %s: the grace ends then", l.last.Next, want)
	}
	l.want(2500*time.Millisecond, drift)
	l.want(3*time.Second, drift, "firing", "notify", "redeploy")
	in := l.state.Instances[0]
	if in.Summary != "shop drifts: drift" || in.DedupKey != "certmedic/shop/"+in.Episode || in.Episode == "" {
		t.Errorf("incident %+v", in.Incident)
	}
	l.want(4*time.Second, drift)
	l.want(10*time.Minute+3*time.Second, drift, "notify")
	if got := l.state.Instances[0].Severity; got != certmedic.SeverityCritical {
		t.Errorf("severity after the last step is %q", got)
	}
	l.want(11*time.Minute, fine)
	l.want(11*time.Minute+3*time.Second, drift)
	l.want(12*time.Minute, fine)
	l.want(12*time.Minute+5*time.Second, fine, "resolved")
	if len(l.state.Instances) != 0 || l.state.Episode != "" {
		t.Errorf("state after the end: %+v", l.state)
	}
}

func TestPendingThatClearsIsDropped(t *testing.T) {
	l := &life{t: t, engine: engine(t, driftRules)}
	l.want(0, CertificateFacts{Drift: true}, "pending")
	l.want(time.Second, CertificateFacts{}, "dropped")
	l.want(10*time.Second, CertificateFacts{Drift: true}, "pending")
}

func TestUndecidedFreezesTimers(t *testing.T) {
	drift := CertificateFacts{Drift: true}
	blind := CertificateFacts{Undecided: Undecided{"certificate.drift": "certbot holds its locks"}}
	l := &life{t: t, engine: engine(t, driftRules)}
	l.want(0, blind)
	l.want(time.Second, drift, "pending")
	l.want(2*time.Second, drift)
	l.want(3*time.Second, blind)
	if got := l.state.Instances[0].Undecided; got != "certbot holds its locks" {
		t.Errorf("undecided because %q", got)
	}
	l.want(time.Hour, blind)
	l.want(time.Hour+time.Second, drift)
	l.want(time.Hour+1500*time.Millisecond, drift)
	l.want(time.Hour+2*time.Second, drift, "firing", "notify", "redeploy")
	l.want(2*time.Hour, blind)
	l.want(3*time.Hour, drift, "notify")
}

func TestRestartNeitherFiresNorForgets(t *testing.T) {
	drift := CertificateFacts{Drift: true}
	l := &life{t: t, engine: engine(t, driftRules)}
	l.want(0, drift, "pending")
	l.want(time.Second, drift)
	l.state = Thaw(l.state)
	l.want(time.Hour, drift)
	l.want(time.Hour+time.Second, drift, "firing", "notify", "redeploy")
	l.state = Thaw(l.state)
	l.want(2*time.Hour, drift, "notify")
	l.state = Thaw(l.state)
	l.want(3*time.Hour, CertificateFacts{})
	l.want(3*time.Hour+5*time.Second, CertificateFacts{}, "resolved")
}

func TestClockThatStepsBackHoldsNothing(t *testing.T) {
	drift := CertificateFacts{Drift: true}
	l := &life{t: t, engine: engine(t, driftRules)}
	l.want(0, drift, "pending")
	l.want(-time.Hour, drift)
	l.want(-time.Hour+time.Second, drift)
	l.want(-time.Hour+2*time.Second, drift, "firing", "notify", "redeploy")
}

func TestRuleThatIsGoneEndsItsIncident(t *testing.T) {
	l := &life{t: t, engine: engine(t, strings.Replace(driftRules, "for: 2s", "", 1))}
	l.want(0, CertificateFacts{Drift: true}, "firing", "notify", "redeploy")
	l.engine = New(nil)
	l.want(time.Second, CertificateFacts{Drift: true}, "resolved")
}

func TestSubjectsBelowACertificate(t *testing.T) {
	e := engine(t, `
rules:
  - {name: unreachable, about: endpoint, when: "!endpoint.reachable", severity: warning}
  - {name: old-tls, about: address, when: 'address.tls_version == "TLS 1.0" && certificate.name == "shop"', severity: warning}
`)
	facts := Facts{Certificate: CertificateFacts{Name: "shop"}, Endpoints: []EndpointFacts{
		{Address: "a:443", Reachable: true, Addresses: []AddressFacts{{IP: "10.0.0.1:443", TLSVersion: "TLS 1.0"}, {IP: "10.0.0.2:443", TLSVersion: "TLS 1.3"}}},
		{Address: "b:443"},
	}}
	got := e.Evaluate(start(), facts, State{})
	var subjects []string
	for _, in := range got.State.Instances {
		subjects = append(subjects, in.Rule+" "+in.Subject.String())
	}
	want := []string{"unreachable b:443", "old-tls a:443 at 10.0.0.1:443"}
	if !slices.Equal(subjects, want) {
		t.Errorf("got %q, want %q", subjects, want)
	}
	one := got.State.Instances[0].Episode
	if one == "" || got.State.Instances[1].Episode != one {
		t.Error("incidents of one certificate share its episode")
	}
}

func TestMissingLabelIsAnErrorNotSilence(t *testing.T) {
	e := engine(t, `rules: [{name: r, about: certificate, when: 'certificate.labels.ownr == "x"', severity: info}]`)
	got := e.Evaluate(start(), Facts{Certificate: CertificateFacts{Name: "shop", Labels: map[string]string{"owner": "x"}}}, State{})
	if len(got.Errors) != 1 || got.Errors[0].Rule != "r" || !strings.Contains(got.Errors[0].Err.Error(), "ownr") {
		t.Errorf("errors %v", got.Errors)
	}
}

func TestSupportBacksTheVariablesThatWereUsed(t *testing.T) {
	facts := CertificateFacts{Drift: true, Support: map[string]Support{
		"certificate.drift":   {Members: []string{"b", "a", "b"}, Evidence: []certmedic.Evidence{{Source: "a", Line: "serves the old one"}}},
		"certificate.expired": {Members: []string{"z"}},
	}}
	l := &life{t: t, engine: engine(t, driftRules)}
	l.at(0, facts)
	in := l.state.Instances[0]
	if !slices.Equal(in.Members, []string{"a", "b"}) || len(in.Evidence) != 1 {
		t.Errorf("members %v, evidence %v", in.Members, in.Evidence)
	}
}

func TestEvidenceIsShownOnce(t *testing.T) {
	support := Support{Evidence: []certmedic.Evidence{{Source: "a", Line: "connection refused"}}}
	e := engine(t, `rules: [{name: r, about: endpoint, severity: info, when: "!endpoint.reachable && !endpoint.vanished && !endpoint.reachable"}]`)
	got := e.Evaluate(start(), Facts{Endpoints: []EndpointFacts{{
		Address: "a", Support: map[string]Support{"endpoint.reachable": support, "endpoint.vanished": support},
	}}}, State{})
	if in := got.State.Instances[0]; len(in.Evidence) != 1 {
		t.Errorf("evidence %v", in.Evidence)
	}
}

func TestIncompleteFactProvesNoAbsence(t *testing.T) {
	l := &life{t: t, engine: engine(t, `
rules:
  - {name: chain-invalid, about: certificate, severity: critical, when: 'certificate.findings.exists(f, f in ["untrusted", "self_signed"])'}
`)}
	bad := CertificateFacts{Findings: []string{"self_signed", "weak_key"}, Support: map[string]Support{
		"certificate.findings:self_signed": {Members: []string{"a"}, Evidence: []certmedic.Evidence{{Source: "a", Line: "self_signed"}}},
		"certificate.findings:weak_key":    {Members: []string{"b"}},
	}}
	blind := CertificateFacts{Incomplete: Incomplete{"certificate.findings": "a presents no certificate"}}
	l.want(0, blind)
	l.want(time.Second, bad, "firing", "notify")
	in := l.state.Instances[0]
	if in.Reason != `findings has "self_signed": a self_signed` || !slices.Equal(in.Members, []string{"a"}) || len(in.Evidence) != 1 {
		t.Errorf("reason %q, members %q, evidence %v: only what made it hold belongs there", in.Reason, in.Members, in.Evidence)
	}
	l.want(time.Minute, blind)
	if got := l.state.Instances[0].Undecided; got != "a presents no certificate" {
		t.Errorf("undecided because %q", got)
	}
	l.state = Thaw(l.state)
	l.want(time.Hour, blind)
	bad.Incomplete = blind.Incomplete
	l.want(2*time.Hour, bad)
	l.want(3*time.Hour, CertificateFacts{}, "resolved")
}
