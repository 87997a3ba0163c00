package remediate_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/acme"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/renew"
	"github.com/certmedic/certmedic/remediate/renew/native"
)

// What certmedic's own program does in these tests, for its real and its rehearsed orders.
const (
	notValidated = `echo 'certmedic-result: {"directory":"https://ca.test/dir","account":"ops@shop.test","kind":"challenge_failed","failed":["shop.test"],"lines":["challenge_failed: validating the names","shop.test: unauthorized, detail: 404"]}'
echo "certmedic: some challenges have failed" >&2
exit 1
`
	isPaused = `echo 'certmedic-result: {"directory":"https://ca.test/dir","account":"ops@shop.test","kind":"paused","lines":["paused: placing the order","to unpause: https://ca.test/unpause?jwt=x"]}'
exit 1
`
)

// withACME has the certificate renewed by certmedic itself, with hooks around that. The program
// works as the script for a real order, and as rehearsed for a rehearsal.
func (w *world) withACME(t *testing.T, script, rehearsed string) func(*remediate.Options) {
	t.Helper()
	w.withRenewal(t, script)
	w.cert.Source = certmedic.Source{Kind: certmedic.SourceACME, Folder: w.path("acme"), Directory: "https://ca.test/dir"}
	way := renew.ACME{
		Self: w.script(t, "bin/self", `case "$(cat "$3")" in
*'"proof":true'*) echo proof >> log
`+rehearsed+`;;
*'"finish":true'*) echo finish >> log;;
*) echo renew >> log
`+script+`;;
esac
`),
		First: renew.CA{Order: acme.Request{Directory: "https://ca.test/dir", Account: acme.Account{Email: "ops@shop.test"}, Work: w.path("acme/work")}, Staging: "https://staging.test/dir"},
		Names: []string{"shop.test"}, Store: native.Store{Folder: w.path("acme")},
		PreHook:  []string{w.script(t, "bin/pre", "echo pre >> log\n")},
		PostHook: []string{w.script(t, "bin/post", "echo post >> log\n")},
	}
	return func(o *remediate.Options) {
		o.Renewal = func(certmedic.Certificate) (renew.Way, error) { return renew.Way{ACME: &way}, nil }
	}
}

// failed returns the names of the nth entry that could not be validated.
func (b *book) failed(n int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entries[n].Failed
}

func TestRenewalOfItsOwnHasHooksAround(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		own := w.withACME(t, storeAndLoad(), "")
		b := &book{w: w}
		r, _ := w.running(t, func(o *remediate.Options) { own(o); b.into(o) })
		r.Want(shop, w.overdue())
		time.Sleep(time.Minute)
		wantOutcome(t, w.actions(t)[0], certmedic.OutcomeHealed, "is stored")
		if log := w.log(t); !slices.Equal(log, []string{"pre", "order", "renew", "post", "certificate"}) {
			t.Errorf("it went %q", log)
		}
		if e := b.entries[0]; e.Directory != "https://ca.test/dir" || e.Account != "ops@shop.test" || !slices.Equal(e.Names, []string{"shop.test"}) {
			t.Errorf("the ledger has %+v", e)
		}
		w.wantTidy(t)
	})
}

func TestFailedRenewalOfItsOwnProvesItselfFirst(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about     string
		rehearsed string
		want      []string // what the second attempt does
		reason    string
	}{
		{"what fails at the staging directory costs no order", notValidated, []string{"pre", "proof", "failure", "post"}, "rehearsal_failed"},
		{"what works there is ordered", "true\n", []string{"pre", "proof", "order", "renew", "post", "failed_validation"}, "challenge_failed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			own := w.withACME(t, notValidated, tt.rehearsed)
			b := &book{w: w}
			r, stop := w.running(t, func(o *remediate.Options) { own(o); b.into(o) })
			r.Want(shop, w.overdue())
			time.Sleep(20 * time.Second)
			first := w.actions(t)[0]
			wantOutcome(t, first, certmedic.OutcomeFailed)
			if log := w.log(t); !slices.Equal(log, []string{"pre", "order", "renew", "post", "failed_validation"}) || first.Outcome.Reason != "challenge_failed" || !slices.Equal(b.failed(1), []string{"shop.test"}) {
				t.Errorf("%s: at first it went %q, %s; validating %q failed", tt.about, log, first.Outcome.Reason, b.failed(1))
			}
			if !slices.ContainsFunc(first.Outcome.Evidence, func(e certmedic.Evidence) bool { return strings.Contains(e.Line, "404") }) {
				t.Errorf("%s: the evidence is %+v", tt.about, first.Outcome.Evidence)
			}
			time.Sleep(3 * time.Minute) // the second attempt comes between half a minute and a minute and a half later
			stop()
			if log := w.log(t)[5:]; !slices.Equal(log, tt.want) || w.actions(t)[0].Outcome.Reason != tt.reason {
				t.Errorf("%s: it went %q and then ended %s", tt.about, log, w.actions(t)[0].Outcome.Reason)
			}
		})
	}
}

// TestProofsAreNotForEver shows that a directory for rehearsals at which nothing works keeps nobody
// from the real one.
func TestProofsAreNotForEver(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		script string // of real orders
		byHand bool   // the second attempt is a person's
		want   string // what is asked for, by turns
	}{
		{"after two proofs that failed it goes without one", notValidated, false, "renew proof proof renew proof"},
		{"what a proof cannot find needs none", "echo no space left >&2\nexit 1\n", false, "renew renew renew renew renew"},
		{"a person does not wait for one", notValidated, true, "renew renew"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			own := w.withACME(t, tt.script, notValidated)
			b := &book{w: w}
			r, stop := w.running(t, func(o *remediate.Options) { own(o); b.into(o) })
			r.Want(shop, w.overdue())
			time.Sleep(20 * time.Second)
			if tt.byHand {
				if _, err := r.Act(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRenew}); err != nil {
					t.Error(err)
				}
			}
			for n := strings.Count(tt.want, " ") + 1; len(w.asked(t)) < n; {
				time.Sleep(10 * time.Minute)
				r.Want(shop, w.overdue())
			}
			stop()
			if got := strings.Join(w.asked(t)[:strings.Count(tt.want, " ")+1], " "); got != tt.want {
				t.Errorf("%s: it went %q, want %q", tt.about, got, tt.want)
			}
		})
	}
}

// asked returns what certmedic's own program was asked for, of orders and proofs.
func (w *world) asked(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(w.log(t), func(line string) bool { return line != "renew" && line != "proof" })
}

// TestTheLastOrderMayBeTakenMeanwhile has somebody else take it while hooks run.
func TestTheLastOrderMayBeTakenMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.withACME(t, storeAndLoad(), "true\n")
	b := &book{w: w, take: func(time.Time, ledger.Order) ledger.Decision {
		return ledger.Decision{Reason: ledger.Reserved, Detail: "none are left"}
	}}
	a := w.actWith(t, remediate.Request{Kind: certmedic.ActionRenew}, func(o *remediate.Options) { own(o); b.into(o) })
	wantOutcome(t, a, certmedic.OutcomeFailed, "nothing was ordered: none are left")
	if log := w.log(t); !slices.Equal(log, []string{"pre", "post"}) || a.Outcome.Reason != string(guard.RateLimited) {
		t.Errorf("it went %q, and ended %q", log, a.Outcome.Reason)
	}
}

// TestAStepThatIsKilledIsCaughtUpWith kills the step alone, while it may be storing.
func TestAStepThatIsKilledIsCaughtUpWith(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.withACME(t, "kill -9 $$\n", "true\n")
	b := &book{w: w}
	a := w.actWith(t, remediate.Request{Kind: certmedic.ActionRenew}, func(o *remediate.Options) { own(o); b.into(o) })
	wantOutcome(t, a, certmedic.OutcomeFailed, "SIGKILL")
	if log := w.log(t); !slices.Equal(log, []string{"pre", "order", "renew", "finish", "post", "failure"}) {
		t.Errorf("it went %q, want what was begun to be finished before anything else", log)
	}
}

// TestARefusedVersionIsCharged has one issued that is not stored.
func TestARefusedVersionIsCharged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.withACME(t, `echo 'certmedic-result: {"directory":"https://ca.test/dir","version":"a1","kind":"bad_version","lines":["bad_version: untrusted"]}'
exit 1
`, "true\n")
	b := &book{w: w}
	a := w.actWith(t, remediate.Request{Kind: certmedic.ActionRenew}, func(o *remediate.Options) { own(o); b.into(o) })
	wantOutcome(t, a, certmedic.OutcomeFailed)
	if log := w.log(t); !slices.Equal(log, []string{"pre", "order", "renew", "post", "certificate", "failure"}) || b.entries[1].Version != "a1" || a.Outcome.Reason != "bad_version" {
		t.Errorf("it went %q and ended %q, the ledger has %+v", log, a.Outcome.Reason, b.entries)
	}
}

func TestAPausedAccountIsLeftToAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.withACME(t, isPaused, "true\n")
	b := &book{w: w}
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.remediator(j, func(o *remediate.Options) { own(o); b.into(o) }).Act(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRenew})
	if err != nil || a.Outcome.Reason != "paused" {
		t.Errorf("%+v, %v", a.Outcome, err)
	}
	if last := b.entries[len(b.entries)-1]; last.Kind != ledger.KindPause || !last.Until.IsZero() || !strings.Contains(last.Detail, "placing the order") || strings.Contains(last.Detail, "https:") {
		t.Errorf("the ledger has %+v", b.entries)
	}
	if !slices.ContainsFunc(a.Outcome.Evidence, func(e certmedic.Evidence) bool { return e.Output && strings.Contains(e.Line, "/unpause?jwt=x") }) {
		t.Errorf("nobody is told where to unpause: %+v", a.Outcome.Evidence)
	}
}

func TestFirstIssuance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		change func(*remediate.Sight)
		reason guard.Reason
	}{
		{"nothing was ever stored", nil, ""},
		{"something is there that cannot be read", func(s *remediate.Sight) {
			s.Stored.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.FileUnreadable, "x")}
		}, guard.NothingStored},
		{"a lineage is not certmedic's to begin", func(s *remediate.Sight) { s.Certificate.Source.Kind = certmedic.SourceCertbot }, guard.NothingStored},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			own := w.withACME(t, "mkdir -p stored; "+storeNext, "true\n")
			if err := os.RemoveAll(w.path("stored")); err != nil {
				t.Fatal(err)
			}
			w.change = tt.change
			b := &book{w: w}
			r, stop := w.running(t, func(o *remediate.Options) { own(o); b.into(o) })
			r.Want(shop, []remediate.Want{{Kind: certmedic.ActionRenew, Rule: "renewal-time", Why: "nothing was issued yet"}})
			time.Sleep(20 * time.Second)
			stop()
			all := w.actions(t)
			a := all[len(all)-1]
			if tt.reason != "" {
				if a.Outcome.Kind != certmedic.OutcomeRefused || a.Outcome.Reason != string(tt.reason) {
					t.Errorf("%s: %+v", tt.about, a.Outcome)
				}
				return
			}
			if !slices.Contains(w.log(t), "certificate") || a.Outcome.Reason != "stored_not_served" || b.entries[0].Exempt != ledger.ExemptFromNone {
				t.Errorf("%s: it went %q, %+v, the ledger has %+v", tt.about, w.log(t), a.Outcome, b.entries)
			}
		})
	}
}

// TestWhatWasCutShortIsCaughtUpWith begins where certmedic and its step were killed together.
func TestWhatWasCutShortIsCaughtUpWith(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.withACME(t, storeAndLoad(), "true\n")
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now().Add(-time.Minute).UTC()
	for _, dir := range []string{"0", "1"} {
		if err := os.MkdirAll(filepath.Join(w.path("run"), "20260101T000000.000-aaaaaa", dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Record(certmedic.Action{
		ID: "20260101T000000.000-aaaaaa", Certificate: shop, Kind: certmedic.ActionRenew, Version: w.leaf("stored/cert.pem"), StartedAt: started,
		Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRunning},
		Runs: []certmedic.Run{
			{Name: "pre hook", Result: certmedic.RunExited, StartedAt: started},
			{Name: "acme renew", Result: certmedic.RunRunning, StartedAt: started, PID: dead.Process.Pid, PIDStart: 1},
		},
	}); err != nil {
		t.Fatal(err)
	}
	b := &book{w: w}
	_, stop := w.running(t, func(o *remediate.Options) { own(o); b.into(o) })
	for deadline := time.Now().Add(20 * time.Second); w.actions(t)[0].Outcome.Kind == certmedic.OutcomeRunning && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	wantOutcome(t, w.actions(t)[0], certmedic.OutcomeFailed, "restarted meanwhile")
	if log := w.log(t); !slices.Equal(log, []string{"finish", "post", "failure"}) {
		t.Errorf("it went %q, want what was begun to be finished, and no order", log)
	}
	w.wantTidy(t)
}
