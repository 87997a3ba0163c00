package watchdog

import (
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/rules"
)

// What is only watched tells at which age its versions are replaced, once all of its
// addresses serve the new one.
func TestAgesAreLearntFromWhatIsServed(t *testing.T) {
	ep := certmedic.Endpoint{Address: "partner.example.com:443"}
	cert := certmedic.Certificate{Name: ep.Address, Watched: true, Endpoints: []certmedic.Endpoint{ep}}
	e := newEntry(&cert, store.Memory{}, rules.State{})
	e.stored = &certmedic.Stored{}
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	version := func(id string, day int) certmedic.CertFacts {
		from := began.AddDate(0, 0, day)
		return certmedic.CertFacts{SHA256: certmedic.Fingerprint(id), NotBefore: from, NotAfter: from.AddDate(0, 0, 100)}
	}
	see := func(day int, leaves ...certmedic.CertFacts) {
		o := certmedic.Observation{Endpoint: ep, Time: began.AddDate(0, 0, day)}
		for i, leaf := range leaves {
			o.Addresses = append(o.Addresses, certmedic.AddressObservation{
				Address: []string{"192.0.2.1:443", "192.0.2.2:443"}[i], Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{leaf},
			})
		}
		e.see(o)
	}
	a, b, c, d := version("a", 0), version("b", 80), version("c", 170), version("d", 260)
	see(1, a, a)
	see(80, b, a)
	if len(e.memory.Ages) != 0 {
		t.Errorf("learnt %v while one address still has the old version", e.memory.Ages)
	}
	see(81, b, b)
	see(82, a, a) // put back
	see(83, b, b)
	see(170, c, c)
	if basis := e.view().Renewal.Basis; basis != rules.BasisShare {
		t.Errorf("after two renewals the due date follows from %q", basis)
	}
	see(260, d, d)
	if want := []float64{0.8, 0.9, 0.9}; !slices.Equal(e.memory.Ages, want) {
		t.Errorf("learnt %v, want %v", e.memory.Ages, want)
	}
	v := e.view().Renewal
	if want := d.NotBefore.AddDate(0, 0, 95); v.Basis != rules.BasisLearnt || !v.Due.Equal(want) {
		t.Errorf("due %s by %q, want %s", v.Due, v.Basis, want)
	}
}

// A window of the CA counts for the version that it was given for, and for no other.
func TestWindowIsOfOneVersion(t *testing.T) {
	cert := certmedic.Certificate{Name: "shop", Source: certmedic.Source{Kind: certmedic.SourceFiles}}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stored := func(id string) certmedic.Stored {
		return certmedic.Stored{Chain: []certmedic.CertFacts{{SHA256: certmedic.Fingerprint(id), NotBefore: now, NotAfter: now.AddDate(0, 0, 90)}}}
	}
	e := newEntry(&cert, store.Memory{}, rules.State{})
	e.hold(stored("a"), nil, now)
	e.window("a", &rules.Window{Start: now, End: now.AddDate(0, 0, 10)})
	c := e.facts(now.AddDate(0, 0, 11)).Certificate
	if !c.RenewalOverdue || c.RenewalBasis != rules.BasisARI || c.ARIEndsIn == nil || *c.ARIEndsIn != -24*time.Hour {
		t.Errorf("after the window: overdue %v by %q, ends in %v", c.RenewalOverdue, c.RenewalBasis, c.ARIEndsIn)
	}
	e.hold(stored("b"), nil, now)
	c = e.facts(now.AddDate(0, 0, 11)).Certificate
	if c.RenewalOverdue || c.RenewalBasis != rules.BasisShare || c.ARIEndsIn != nil {
		t.Errorf("of the next version: overdue %v by %q, ends in %v", c.RenewalOverdue, c.RenewalBasis, c.ARIEndsIn)
	}
}

// A renewal that failed is no failed hook. It is told with the renewal that is late, and its
// refusal although what is stored is served, which is not what a renewal is for.
func TestFailedRenewalIsToldWithTheLateOne(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		stored := certmedic.Fingerprint(s.facts().StoredVersion)
		failed := certmedic.Action{
			Certificate: "shop", Kind: certmedic.ActionRenew, Version: stored,
			Runs: []certmedic.Run{{Name: "certbot renew", Result: certmedic.RunExited, ExitCode: 1}},
			Outcome: certmedic.Outcome{Kind: certmedic.OutcomeFailed, Reason: "challenge_failed", Evidence: []certmedic.Evidence{
				{Source: "certbot renew", Line: "Some challenges have failed."},
			}},
		}
		s.w.Acted(failed)
		c := s.facts()
		if c.HookExitCode != 0 || c.Remediation != "failed" {
			t.Errorf("the hook's exit code is %d, the remediation %q", c.HookExitCode, c.Remediation)
		}
		told := c.Support["certificate.renewal_overdue"].Evidence
		if len(told) != 2 || told[1] != failed.Outcome.Evidence[0] {
			t.Errorf("of the late renewal is told %+v", told)
		}
		failed.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: "frozen"}
		s.w.Acted(failed)
		if c := s.facts(); c.Refusal != "frozen" {
			t.Errorf("the refusal is %q", c.Refusal)
		}
	})
}

// A want says which stored version it was judged for.
func TestWantsSpeakOfAVersion(t *testing.T) {
	state := rules.State{Instances: []rules.Instance{{
		Incident: certmedic.Incident{Rule: "late", State: certmedic.StateFiring}, Climbed: []certmedic.StepKind{certmedic.StepNotify, "renew"},
	}}}
	if all := wants(state, "abc"); len(all) != 1 || all[0].Kind != certmedic.ActionRenew || all[0].Version != "abc" {
		t.Errorf("wanted: %+v", all)
	}
}

// A stored version that ends in its place is found to have ended, although nothing on disk
// changes.
func TestStoredVersionEndsInItsPlace(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		if c := s.facts(); len(c.StoredFindings) != 0 || !c.StoredOK {
			t.Fatalf("at first: %v", c.StoredFindings)
		}
		time.Sleep(lifetime + time.Minute)
		if c := s.facts(); !slices.Contains(c.StoredFindings, "expired") || c.StoredOK {
			t.Errorf("after its end: %v, fine: %v", c.StoredFindings, c.StoredOK)
		}
	})
}
