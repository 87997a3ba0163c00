package rules

import (
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// on is a drift of the named addresses.
func on(addresses ...string) CertificateFacts {
	return CertificateFacts{Drift: true, Support: map[string]Support{"certificate.drift": {Members: addresses}}}
}

func TestWhatWasToldIsToldAgainNowAndThen(t *testing.T) {
	l := &life{t: t, engine: engine(t, driftRules)}
	l.want(0, on("a"), "pending")
	told := 3 * time.Second
	l.want(told, on("a"), "firing", "notify", "redeploy")
	l.want(told+10*time.Second, on("a", "b"))
	if want := start().Add(told + time.Minute); !l.last.Next.Equal(want) {
		t.Errorf("wakes at %s, want %s: it is to be told then", l.last.Next, want)
	}
	l.want(told+20*time.Second, on("a", "b", "c"))
	l.want(told+time.Minute, on("a", "b", "c"), "changed")
	if got := l.last.Transitions[0].Incident.Members; !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("told of %v", got)
	}
	l.want(told+2*time.Minute, on("a", "b"))
	l.want(told+3*time.Minute, on("a", "b"), "changed")
	l.want(told+3*time.Minute+time.Second, on("b", "a"))
	l.want(told+9*time.Minute, on("a", "b"))
}

func TestChangesThatNobodyWasToldOfAreNone(t *testing.T) {
	l := &life{t: t, engine: engine(t, `
rules:
  - {name: quiet, about: certificate, when: certificate.drift, severity: info, summary: "s", ladder: [{do: redeploy}]}
`)}
	l.want(0, on("a"), "firing", "redeploy")
	l.want(time.Hour, on("a", "b"))
}

func TestNothingIsToldAgainWhileItIsUndecidedOrOver(t *testing.T) {
	l := &life{t: t, engine: engine(t, driftRules)}
	l.want(0, on("a"), "pending")
	l.want(3*time.Second, on("a"), "firing", "notify", "redeploy")
	blind := on("a", "b")
	blind.Undecided = Undecided{"certificate.drift": "nobody looked"}
	l.want(2*time.Minute, blind)
	l.want(2*time.Minute+time.Second, CertificateFacts{})
	l.want(2*time.Minute+6*time.Second, CertificateFacts{}, "resolved")
}

func TestRetellingSlowsDown(t *testing.T) {
	l := &life{t: t, engine: engine(t, driftRules)}
	l.want(0, on("0"), "pending")
	l.want(3*time.Second, on("0"), "firing", "notify", "redeploy")
	changed := 0
	for s := 4; s < 590; s++ { // before the next rung
		for _, kind := range l.at(time.Duration(s)*time.Second, on(time.Duration(s).String())) {
			if kind != string(certmedic.TransitionChanged) {
				t.Fatalf("%s at %d s", kind, s)
			}
			changed++
		}
	}
	if changed != 3 { // after one minute, two more, four more
		t.Errorf("told %d times within ten minutes", changed)
	}
}
