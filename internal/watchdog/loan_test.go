package watchdog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
)

// lending is an entry that serves one version and stores another, and the loan by which it does.
func lending(now time.Time, served, stored certmedic.CertFacts, problems ...certmedic.Finding) *entry {
	ep := certmedic.Endpoint{Address: "shop.test:443"}
	e := newEntry(&certmedic.Certificate{
		Name: "shop", Endpoints: []certmedic.Endpoint{ep}, Source: certmedic.Source{Kind: certmedic.SourceCertbot},
	}, store.Memory{}, rules.State{})
	e.hold(certmedic.Stored{Chain: []certmedic.CertFacts{stored}, Lock: certmedic.Lock{State: certmedic.LockFree}}, problems, now)
	e.see(certmedic.Observation{Endpoint: ep, Time: now.Add(time.Second), Addresses: []certmedic.AddressObservation{{
		Address: "192.0.2.1:443", Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{served},
	}}})
	return e
}

func TestWhatIsLentIsNoDrift(t *testing.T) {
	now := time.Now()
	version := func(name string, ago time.Duration) certmedic.CertFacts {
		return certmedic.CertFacts{SHA256: certmedic.Fingerprint(name), SPKISHA256: certmedic.Fingerprint("key of " + name), NotBefore: now.Add(-ago), NotAfter: now.Add(24 * time.Hour)}
	}
	old, bad, next := version("old", 50*time.Hour), version("bad", 40*time.Hour), version("next", time.Hour)
	broken := certmedic.NewFinding(certmedic.IncompleteChain, "its issuer is missing")
	loan := &rollback.Loan{Certificate: "shop", Version: "old", Instead: "bad", NotBefore: old.NotBefore, Since: now, Until: now.Add(time.Hour), Count: 1}
	for _, tt := range []struct {
		about          string
		served, stored certmedic.CertFacts
		problems       []certmedic.Finding
		drift, repaid  bool
	}{
		{"what was left is still stored", old, bad, nil, false, false},
		{"what was left is served again", bad, bad, nil, false, false},
		{"something worse is served than what was left", version("odd", time.Hour), bad, nil, true, false},
		{"what is lent is stored, too", old, old, nil, false, false},
		{"a further version is stored that is bad", old, next, []certmedic.Finding{broken}, false, false},
		{"a good version is stored, and not served", old, next, nil, true, false},
		{"a good version is stored and served", next, next, nil, false, true},
		{"a bad version is stored and served", next, next, []certmedic.Finding{broken}, false, false},
		{"an even older version is stored and served", version("ancient", 100*time.Hour), version("ancient", 100*time.Hour), nil, false, false},
	} {
		t.Run(tt.about, func(t *testing.T) {
			e := lending(now, tt.served, tt.stored, tt.problems...)
			e.lend(loan, now.Add(2*time.Second))
			if got := len(e.drifting) > 0; got != tt.drift {
				t.Errorf("it drifts is %v, want %v", got, tt.drift)
			}
			if got := e.repaid(now.Add(2 * time.Second)); got != tt.repaid {
				t.Errorf("the loan can end is %v, want %v", got, tt.repaid)
			}
			c := e.facts(now.Add(2 * time.Second)).Certificate
			if c.Loan == nil || !*c.Loan || *c.LoanEndsIn != time.Hour-2*time.Second || *c.LoanCount != 1 || c.Drift != tt.drift {
				t.Errorf("the facts are %+v", c)
			}
			if v := e.view(); v.Loan != loan {
				t.Errorf("the view has the loan %+v", v.Loan)
			}
			e.lend(nil, now.Add(2*time.Second))
			if got, want := len(e.drifting) > 0, tt.served.SHA256 != tt.stored.SHA256; got != want {
				t.Errorf("without the loan it drifts is %v, want %v", got, want)
			}
			if c := e.facts(now.Add(2 * time.Second)).Certificate; c.Loan == nil || *c.Loan || c.LoanEndsIn != nil {
				t.Errorf("without the loan the facts are %+v", c)
			}
		})
	}
}

// TestWhatIsGoneIsNotGood shows that rules may ask for a remedy where the source has lost its files,
// and wait where it could only not be read.
func TestWhatIsGoneIsNotGood(t *testing.T) {
	for code, undecided := range map[certmedic.FindingCode]bool{certmedic.FileMissing: false, certmedic.FileUnreadable: true} {
		e := newEntry(&certmedic.Certificate{Name: "shop", Source: certmedic.Source{Kind: certmedic.SourceFiles}}, store.Memory{}, rules.State{})
		e.hold(certmedic.Stored{Findings: []certmedic.Finding{certmedic.NewFinding(code, "")}}, nil, time.Now())
		c := e.facts(time.Now()).Certificate
		if _, got := c.Undecided["certificate.stored_ok"]; got != undecided || c.StoredOK {
			t.Errorf("%s: stored_ok is %v, undecided %v", code, c.StoredOK, got)
		}
	}
}

// TestAVersionThatIsPutBackIsNotNew shows that a version that the source held before is not told as
// renewed once more.
func TestAVersionThatIsPutBackIsNotNew(t *testing.T) {
	now := time.Now()
	e := newEntry(&certmedic.Certificate{Name: "shop"}, store.Memory{}, rules.State{})
	for i, step := range []struct {
		version certmedic.Fingerprint
		renewed bool
	}{{"old", false}, {"bad", true}, {"old", false}, {"next", true}} {
		known := certmedic.Stored{Chain: []certmedic.CertFacts{{SHA256: step.version}}, Known: []certmedic.Fingerprint{step.version}}
		at := now.Add(time.Duration(i) * time.Minute)
		if renewed, _ := e.hold(known, nil, at); renewed != step.renewed {
			t.Errorf("reading %d: %s is told as new is %v", i, step.version, renewed)
		}
		if !e.changed.Equal(at) {
			t.Errorf("reading %d: %s counts as served since %s", i, step.version, e.changed)
		}
	}
}
