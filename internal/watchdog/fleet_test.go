package watchdog

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// withRules has a scene judged by rules of the test's own.
func withRules(t *testing.T, source string) func(*Options) {
	t.Helper()
	loaded, err := rules.Load("test.yml", []byte(source), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) {
		o.Engine, o.Interval = rules.New(loaded), time.Minute
		began := time.Now()
		o.Self = func() Self { return Self{Since: began} }
		o.Count = deaf{}
	}
}

// deaf counts nothing, not even the failures of rules that a scene takes for a test's.
type deaf struct{ silent }

const brokenRule = `
rules:
  - {name: typo, about: certificate, severity: info, when: 'certificate.labels.ownr == "x"'}
  - {name: rule-error, about: fleet, severity: warning, when: size(fleet.rule_errors) > 0, summary: "{{.Members}}"}
  - {name: heart, about: fleet, severity: critical, when: fleet.missed_rounds >= 5.0, for: 1m}
`

// A rule that cannot be asked is an incident of certmedic itself, which survives a restart
// and is not one of any certificate.
func TestRuleThatCannotBeAskedIsAnIncident(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		stop := s.start(withRules(t, brokenRule))
		s.seen()
		time.Sleep(time.Minute)
		fleet := s.w.Fleet()
		if len(fleet) != 1 || fleet[0].Rule != "rule-error" || fleet[0].State != certmedic.StateFiring {
			t.Fatalf("incidents of the fleet: %+v", fleet)
		}
		in := fleet[0]
		if !slices.Equal(in.Members, []string{"shop"}) || len(in.Evidence) != 1 || !strings.Contains(in.Evidence[0].Line, "ownr") {
			t.Errorf("members %q, evidence %+v", in.Members, in.Evidence)
		}
		if in.Subject.String() != "the fleet" || !strings.HasPrefix(in.DedupKey, "certmedic/fleet/") {
			t.Errorf("subject %q, dedup key %q", in.Subject, in.DedupKey)
		}
		if v := s.w.Views()[0]; len(v.Incidents) != 0 {
			t.Errorf("incidents of the certificate: %+v", v.Incidents)
		}
		stop()
		s.start(withRules(t, brokenRule))
		s.seen()
		time.Sleep(time.Minute)
		if again := s.w.Fleet(); len(again) != 1 || again[0].ID != in.ID {
			t.Errorf("after a restart: %+v", again)
		}
		if s.told("firing rule-error") != 1 {
			t.Errorf("told %d times", s.told("firing rule-error"))
		}
	})
}

// When nothing is probed any more, certmedic says that it is blind, claims nothing about
// presence and versions, and goes on to hold dates against the clock.
func TestBlindnessIsToldAndClaimsNothing(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(withRules(t, brokenRule))
		s.seen()
		c := s.facts()
		if c.Undecided["certificate.drift"] != "" {
			t.Fatalf("drift is undecided at once: %q", c.Undecided["certificate.drift"])
		}
		time.Sleep(7 * time.Minute)
		s.w.mu.Lock()
		facts := s.w.entries["shop"].facts(time.Now())
		s.w.mu.Unlock()
		for _, name := range []string{"certificate.drift", "certificate.split", "certificate.served_ok"} {
			if why := facts.Certificate.Undecided[name]; !strings.Contains(why, "was not probed since") {
				t.Errorf("%s is undecided because %q", name, why)
			}
		}
		if why := facts.Endpoints[0].Undecided["endpoint.reachable"]; why == "" || facts.Endpoints[0].MissedRounds < 5 {
			t.Errorf("the endpoint: %q, %v rounds missed", why, facts.Endpoints[0].MissedRounds)
		}
		if why := facts.Certificate.Undecided["certificate.served_expires_in"]; why != "" {
			t.Errorf("dates are undecided: %q", why)
		}
		if s.told("firing heart") != 1 {
			t.Errorf("the fleet: %+v", s.w.Fleet())
		}
	})
}

// A receiver that fails is named, with what it said, which is not for everybody to read.
func TestReceiversThatFailAreNamed(t *testing.T) {
	const failing = `
rules:
  - {name: mute, about: fleet, severity: critical, when: size(fleet.failing_receivers) > 0}
`
	run(t, func(t *testing.T) {
		s := newScene(t)
		said := map[string]string{"ops": "channel_not_found", "mail": "connection refused"}
		loaded := withRules(t, failing)
		s.start(func(o *Options) {
			loaded(o)
			o.Self = func() Self { return Self{Failing: said} }
		})
		if judged := s.w.Judged(); !judged.IsZero() {
			t.Errorf("judged at %v", judged)
		}
		time.Sleep(time.Minute)
		in := s.w.Fleet()[0]
		if !slices.Equal(in.Members, []string{"mail", "ops"}) || len(in.Evidence) != 2 || !in.Evidence[1].Output || in.Evidence[1].Line != "channel_not_found" {
			t.Errorf("members %q, evidence %+v", in.Members, in.Evidence)
		}
		if ago := time.Since(s.w.Judged()); ago > 15*time.Second {
			t.Errorf("judged %v ago", ago)
		}
	})
}
