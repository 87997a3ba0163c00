package rules

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const ladderRules = `
rules:
  - name: expired
    about: certificate
    when: certificate.expired
    keep_firing_for: 10s
    severity: critical
    ladder:
      - do: notify
      - {do: redeploy, when: certificate.stored_ok}
      - {after: 5m, do: rollback, when: "!certificate.stored_ok"}
      - {after: 15m, do: notify, severity: critical}
`

func TestStepsWaitForTheirConditionsAndNotForEachOther(t *testing.T) {
	good := CertificateFacts{Expired: true, StoredOK: true}
	bad := CertificateFacts{Expired: true}
	blind := CertificateFacts{Expired: true, Undecided: Undecided{"certificate.stored_ok": "no stored version is known"}}
	l := &life{t: t, engine: engine(t, ladderRules)}
	in := func() Instance { return l.state.Instances[0] }

	l.want(0, blind, "firing", "notify")
	if got, want := in().NextStep, "redeploy once its condition holds, rollback at 2026-03-01T12:05:00Z, notify at 2026-03-01T12:15:00Z"; got != want {
		t.Errorf("next: %q, want %q", got, want)
	}
	if want := start().Add(5 * time.Minute); !l.last.Next.Equal(want) {
		t.Errorf("wakes at %s, want %s", l.last.Next, want)
	}
	l.want(time.Minute, blind)
	l.want(2*time.Minute, good, "redeploy")
	l.want(6*time.Minute, good)
	if got, want := in().NextStep, "rollback once its condition holds, notify at 2026-03-01T12:15:00Z"; got != want {
		t.Errorf("next: %q, want %q", got, want)
	}
	l.want(7*time.Minute, bad, "rollback")
	l.want(16*time.Minute, good, "notify")
	l.want(17*time.Minute, bad)
	if got := in().NextStep; got != "" {
		t.Errorf("next: %q after the last step", got)
	}
}

func TestClimbedIsWhatIsAskedForNow(t *testing.T) {
	good := CertificateFacts{Expired: true, StoredOK: true}
	bad := CertificateFacts{Expired: true}
	l := &life{t: t, engine: engine(t, ladderRules)}
	climbed := func(want ...certmedic.StepKind) {
		t.Helper()
		if got := l.state.Instances[0].Climbed; !slices.Equal(got, want) {
			t.Errorf("asks for %q, want %q", got, want)
		}
	}
	l.want(0, good, "firing", "notify", "redeploy")
	climbed("notify", "redeploy")
	l.want(time.Minute, bad)
	climbed("notify")
	l.want(6*time.Minute, bad, "rollback")
	climbed("notify", "rollback")
	l.want(7*time.Minute, CertificateFacts{Expired: true, Undecided: Undecided{"certificate.stored_ok": "the source cannot be read"}})
	climbed("notify", "rollback")
	l.want(8*time.Minute, good)
	climbed("notify", "redeploy")
}

func TestChangedLadderNeitherRepeatsNorLosesSteps(t *testing.T) {
	l := &life{t: t, engine: engine(t, ladderRules)}
	l.want(0, CertificateFacts{Expired: true, StoredOK: true}, "firing", "notify", "redeploy")
	l.state = Thaw(l.state)
	l.engine = engine(t, strings.Replace(ladderRules, "- do: notify", "- do: renew\n      - do: notify", 1))
	l.want(time.Minute, CertificateFacts{Expired: true, StoredOK: true}, "renew")
	l.want(6*time.Minute, CertificateFacts{Expired: true}, "rollback")
}

func TestLadderBeginsAgainOnlyAfterTheEnd(t *testing.T) {
	bad := CertificateFacts{Expired: true, StoredOK: true}
	l := &life{t: t, engine: engine(t, ladderRules)}
	l.want(0, bad, "firing", "notify", "redeploy")
	l.want(time.Second, CertificateFacts{})
	l.want(2*time.Second, bad)
	l.want(3*time.Second, CertificateFacts{})
	l.want(13*time.Second, CertificateFacts{}, "resolved")
	l.want(14*time.Second, bad, "firing", "notify", "redeploy")
}

func TestErrorInTheConditionOfAStepIsNoStep(t *testing.T) {
	l := &life{t: t, engine: engine(t, `
rules:
  - name: expired
    about: certificate
    when: certificate.expired
    severity: critical
    ladder: [{do: notify}, {do: redeploy, when: 'certificate.labels.tier == "1"'}]
`)}
	l.want(0, CertificateFacts{Expired: true}, "firing", "notify")
	if len(l.last.Errors) != 1 || l.last.Errors[0].Rule != "expired" {
		t.Errorf("errors %v", l.last.Errors)
	}
	l.want(time.Minute, CertificateFacts{Expired: true, Labels: map[string]string{"tier": "1"}}, "redeploy")
}

func TestClockThatIsSetBackDelaysNoStep(t *testing.T) {
	bad := CertificateFacts{Expired: true, StoredOK: true}
	l := &life{t: t, engine: engine(t, ladderRules)}
	l.want(0, bad, "firing", "notify", "redeploy")
	l.want(10*time.Minute, bad)
	l.want(-24*time.Hour, bad)
	l.want(-24*time.Hour+5*time.Minute, bad, "notify")
}

func TestFlappingBecomesOneLongIncident(t *testing.T) {
	l := &life{t: t, engine: engine(t, `rules: [{name: r, about: certificate, when: certificate.drift, severity: warning, ladder: [{do: redeploy}]}]`)}
	drift, fine := CertificateFacts{Drift: true}, CertificateFacts{}
	at := time.Duration(0)
	beat := func(c CertificateFacts, kinds ...string) {
		t.Helper()
		l.want(at, c, kinds...)
		at += 20 * time.Second
	}
	for range 4 {
		beat(drift, "firing", "redeploy")
		beat(fine, "resolved")
	}
	beat(drift, "firing", "redeploy")
	for range 10 {
		beat(fine)
		beat(drift)
	}
	for range 3 {
		beat(fine)
	}
	beat(fine, "resolved")
	beat(drift, "firing", "redeploy")
	for range 6 {
		beat(fine)
	}
	beat(fine, "resolved")

	at += 2 * time.Hour
	beat(drift, "firing", "redeploy")
	beat(fine, "resolved")
	if got := len(l.state.Fired); got != 1 {
		t.Errorf("remembers %d rules, want 1", got)
	}
	at += 2 * time.Hour
	beat(fine)
	if got := len(l.state.Fired); got != 0 {
		t.Errorf("remembers %d rules after a quiet hour", got)
	}
}

func TestDampingGrowsToAnHour(t *testing.T) {
	for n, want := range map[int]time.Duration{
		0: 0, 4: 0, 5: time.Minute, 6: 2 * time.Minute, 10: 32 * time.Minute, 11: time.Hour, 12: time.Hour, 1 << 40: time.Hour,
	} {
		if got := damping(n); got != want {
			t.Errorf("after %d: %s, want %s", n, got, want)
		}
	}
}

func TestMemoryOfWhatFiredIsBounded(t *testing.T) {
	var all []Fired
	for i := range 3 * mostFired {
		subject := certmedic.Subject{Kind: certmedic.AboutEndpoint, Endpoint: string(rune('a' + i))}
		all, _ = fired(all, Instance{Incident: certmedic.Incident{Rule: "r", Subject: subject}}, "", start())
	}
	for range 100 {
		all, _ = fired(all, Instance{Incident: certmedic.Incident{Rule: "r"}}, "", start())
	}
	if last := all[len(all)-1]; len(all) != mostFired || len(last.Times) > 20 {
		t.Errorf("%d entries, %d times in the last", len(all), len(last.Times))
	}
}

// Each renewal may go wrong anew: that is no flapping.
func TestAnotherVersionDoesNotFlap(t *testing.T) {
	l := &life{t: t, engine: engine(t, strings.ReplaceAll(driftRules, "for: 2s", ""))}
	for i := range 10 {
		at := time.Duration(i) * time.Minute
		version := string(rune('a' + i))
		l.want(at, CertificateFacts{Drift: true, StoredVersion: version}, "firing", "notify", "redeploy")
		l.want(at+10*time.Second, CertificateFacts{StoredVersion: version})
		l.want(at+16*time.Second, CertificateFacts{StoredVersion: version}, "resolved")
	}
}
