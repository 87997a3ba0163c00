package remediate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/guard"
)

// The tests run real commands in a bubble of testing/synctest: while a process runs, time
// stands still, and between two attempts it passes at once.

func TestHooksHeal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1:443", "192.0.2.2:443")
		w.withHooks(t, "echo hello; echo $RENEWED_DOMAINS > domains; echo $RENEWED_LINEAGE > lineage\n", loadStored())
		r, _ := w.running(t, nil)
		r.Want(shop, drift())
		time.Sleep(time.Hour)
		synctest.Wait()
		actions := w.actions(t)
		if len(actions) != 1 {
			t.Fatalf("%d actions, want one: %+v", len(actions), actions)
		}
		a := actions[0]
		wantOutcome(t, a, certmedic.OutcomeHealed, "every bound address (2)")
		if a.By != "renewed-not-served" || a.Attempt != 1 || a.Version != w.leaf("stored/cert.pem") || a.EndedAt.Sub(a.StartedAt) < time.Second {
			t.Errorf("action %+v: two rounds are a second apart", a)
		}
		if !w.serves(t, "stored") || !slices.Equal(w.log(t), []string{"0", "1"}) {
			t.Errorf("hooks that ran: %q", w.log(t))
		}
		if got := w.read(t, "domains") + w.read(t, "lineage"); got != "shop.test\n"+w.path("stored")+"\n" {
			t.Errorf("the hooks' environment was %q", got)
		}
		if len(a.Runs) != 2 || a.Runs[0].Stdout != "hello\n" || a.Runs[0].PID == 0 || a.Runs[0].PIDStart == 0 {
			t.Errorf("runs %+v", a.Runs)
		}
		w.wantTidy(t)
		if n := w.looked(); n > 40 {
			t.Errorf("%d looks in an hour after all was well", n)
		}
	})
}

func TestStepsHeal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSteps(t, "", loadInstalled(), "")
		a := w.act(t, remediate.Request{By: "ann"})
		wantOutcome(t, a, certmedic.OutcomeHealed)
		if !w.installed(t, "stored") || !w.serves(t, "stored") || !slices.Equal(w.log(t), []string{"test", "reload", "alive"}) {
			t.Errorf("commands that ran: %q", w.log(t))
		}
		if len(a.Changes) != 2 || a.Changes[0].PutBack {
			t.Errorf("changes %+v", a.Changes)
		}
		w.wantTidy(t)
		wantOutcome(t, w.act(t, remediate.Request{}), certmedic.OutcomeRefused, "every bound address serves")
		wantOutcome(t, w.act(t, remediate.Request{Force: true}), certmedic.OutcomeHealed)
	})
}

func TestReloadInstallsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSteps(t, "", loadStored(), "")
		wantOutcome(t, w.act(t, remediate.Request{Kind: certmedic.ActionReload}), certmedic.OutcomeHealed)
		if !w.installed(t, "old") {
			t.Error("a reload installed files")
		}
	})
}

// TestDeploymentIsPutBack shows that a deployment that goes wrong at any step leaves what was
// there before, and that it is served again.
func TestDeploymentIsPutBack(t *testing.T) {
	t.Parallel()
	once := "[ -e failed ] || { touch failed; echo 'it says no' >&2; exit 7; }\n" // fails the first time only
	tests := []struct {
		about               string
		test, reload, alive string
		want                certmedic.OutcomeKind
		says                []string
		log                 []string
	}{
		{
			"the test fails: nothing was reloaded, nothing is", "echo 'line 3: bad' >&2; exit 1", loadInstalled(), "",
			certmedic.OutcomePutBack,
			[]string{"web: test", "exit code 1", "no service had loaded"},
			[]string{"test"},
		},
		{
			"the reload fails", "", once + loadInstalled(), "",
			certmedic.OutcomePutBack,
			[]string{"web: reload", "exit code 7", "served as before"},
			[]string{"test", "reload", "test", "reload", "alive"},
		},
		{
			"the service is dead afterwards", "", loadInstalled(), once,
			certmedic.OutcomePutBack,
			[]string{"web: alive", "served as before"},
			[]string{"test", "reload", "alive", "test", "reload", "alive"},
		},
		{
			"everything succeeds and the service serves the old version still", "", "", "",
			certmedic.OutcomePutBack,
			[]string{"still serves", "served as before"},
			[]string{"test", "reload", "alive", "test", "reload", "alive"},
		},
		{
			"the service loads nothing of ours and loses its address", "", "cp installed/fullchain.pem seen; : > loaded/192.0.2.1:443", "",
			certmedic.OutcomePutBack,
			[]string{"presented no certificate", "does not serve what it served before"},
			[]string{"test", "reload", "alive", "test", "reload", "alive"},
		},
		{
			"the reload fails with the old files, too", "", "exit 1", "",
			certmedic.OutcomeFailed,
			[]string{"the old files are back, but", "(put back)"},
			[]string{"test", "reload", "test", "reload"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withSteps(t, tt.test, tt.reload, tt.alive)
				a := w.act(t, remediate.Request{})
				wantOutcome(t, a, tt.want, tt.says...)
				if !w.installed(t, "old") || !slices.Equal(w.log(t), tt.log) {
					t.Errorf("commands that ran: %q, want %q", w.log(t), tt.log)
				}
				for _, c := range a.Changes {
					if !c.PutBack {
						t.Errorf("%s is not marked as put back", c.Path)
					}
				}
				w.wantTidy(t)
			})
		})
	}
}

func TestMovedKeepsTheFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1:443", "192.0.2.2:443")
		w.withSteps(t, "", "cp installed/fullchain.pem loaded/192.0.2.1:443\n", "")
		wantOutcome(t, w.act(t, remediate.Request{}), certmedic.OutcomeUnverified, "192.0.2.2:443 still serves")
		if !w.installed(t, "stored") {
			t.Error("the files were put back, although an address moved on and none was lost")
		}
	})
}

func TestFilesThatCannotBePutBackAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSteps(t, "mv installed gone; exit 1", "", "")
		a := w.act(t, remediate.Request{})
		wantOutcome(t, a, certmedic.OutcomeFailed, "putting back")
		for _, c := range a.Changes {
			if _, err := os.Stat(c.Backup); err != nil {
				t.Errorf("the only copy of the old %s is gone: %v", c.Path, err)
			}
		}
	})
}

func TestFailedHookIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "echo one >&2; echo 'connection refused' >&2; exit 3", "true")
		a := w.act(t, remediate.Request{})
		wantOutcome(t, a, certmedic.OutcomeFailed, "hooks/0.sh", "exit code 3")
		want := []certmedic.Evidence{
			{Source: w.path("hooks/0.sh"), Line: "exit code 3"},
			{Source: w.path("hooks/0.sh"), Line: "connection refused", Output: true},
		}
		if !slices.Equal(a.Outcome.Evidence, want) {
			t.Errorf("evidence %+v", a.Outcome.Evidence)
		}
		if strings.Contains(a.Outcome.Detail, "refused") {
			t.Errorf("what a hook wrote is in the detail, which leaves the host: %q", a.Outcome.Detail)
		}
		if !slices.Equal(w.log(t), []string{"0", "1"}) {
			t.Errorf("hooks that ran: %q; certbot runs the second after the first failed", w.log(t))
		}
	})
}

func TestServedAlthoughAHookFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored()+"exit 9\n")
		a := w.act(t, remediate.Request{})
		wantOutcome(t, a, certmedic.OutcomeHealed, "although", "exit code 9")
		if len(a.Outcome.Evidence) != 1 {
			t.Errorf("evidence %+v", a.Outcome.Evidence)
		}
	})
}

func TestExitCodesAreNoEvidence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "exit 0")
		wantOutcome(t, w.act(t, remediate.Request{}), certmedic.OutcomeUnverified, "still serves")
	})
}

// TestVerificationWaits shows that a service that takes its time is not given up, and that
// one good round is not enough.
func TestVerificationWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "true")
		stored, round, last := w.leaf("stored/cert.pem"), 0, time.Time{}
		w.change = func(s *remediate.Sight) {
			if len(w.bytes("log")) == 0 {
				return
			}
			if now := time.Now(); now.After(last) { // the looks of a round take no time here
				round, last = round+1, now
			}
			// Round by round: old, new, old (a second worker), old, new, new.
			if round == 2 || round > 4 {
				s.Addresses[0].Leaf = stored
			}
		}
		r, _ := w.running(t, func(o *remediate.Options) { o.VerifyTimeout = 10 * time.Second })
		r.Want(shop, drift())
		time.Sleep(time.Minute)
		actions := w.actions(t)
		if len(actions) != 1 {
			t.Fatalf("actions %+v", actions)
		}
		wantOutcome(t, actions[0], certmedic.OutcomeHealed)
		if took := actions[0].EndedAt.Sub(actions[0].StartedAt); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("verified after %s, want five rounds a second apart", took)
		}
	})
}

// TestSupersededVersionIsNotWaitedFor shows that an action whose version was replaced in the
// source meanwhile ends at once, so that the newer one need not wait for it.
func TestSupersededVersionIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "true")
		w.change = func(s *remediate.Sight) {
			if len(w.bytes("log")) > 0 {
				s.Stored.Chain[0].SHA256 = "newer"
			}
		}
		a := w.act(t, remediate.Request{})
		wantOutcome(t, a, certmedic.OutcomeUnverified, "another version, newer, is stored by now")
		if took := a.EndedAt.Sub(a.StartedAt); took >= time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// TestNothingBound shows what a person gets who deploys what nobody watches: the files are
// installed, and nothing is claimed about what is served.
func TestNothingBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSteps(t, "", "", "")
		w.change = func(s *remediate.Sight) { s.Addresses = nil }
		wantOutcome(t, w.act(t, remediate.Request{}), certmedic.OutcomeRefused, "none is declared owned")
		wantOutcome(t, w.act(t, remediate.Request{Force: true}), certmedic.OutcomeUnverified, "no address is bound")
		if !w.installed(t, "stored") {
			t.Error("the files were put back")
		}
		w.wantTidy(t)
	})
}

// TestRetries shows that a hook that always fails is run a bounded number of times, further
// and further apart, and that only what failed runs again.
func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "true", "exit 1", "true")
		r, _ := w.running(t, nil)
		r.Want(shop, drift())
		time.Sleep(48 * time.Hour)
		if want := strings.Fields("0 1 2 1 1 1 1 1"); !slices.Equal(w.log(t), want) {
			t.Errorf("hooks that ran: %q, want %q", w.log(t), want)
		}
		actions := w.actions(t)
		slices.Reverse(actions)
		if len(actions) != guard.MaxAttempts+1 {
			t.Fatalf("%d actions", len(actions))
		}
		for i, a := range actions[:guard.MaxAttempts] {
			wantOutcome(t, a, certmedic.OutcomeFailed)
			if a.Attempt != i+1 {
				t.Errorf("action %d is attempt %d", i, a.Attempt)
			}
			if i > 0 {
				gap := a.StartedAt.Sub(actions[i-1].EndedAt)
				if want := guard.Delay(i); gap < want || gap > want+time.Second {
					t.Errorf("attempt %d came %s after the one before, want %s", i+1, gap, want)
				}
			}
		}
		gaveUp := actions[guard.MaxAttempts]
		wantOutcome(t, gaveUp, certmedic.OutcomeRefused, "6 attempts")
		if gaveUp.Outcome.Reason != string(guard.Exhausted) {
			t.Errorf("reason %q", gaveUp.Outcome.Reason)
		}
		if n := w.looked(); n > 1200 {
			t.Errorf("%d looks in two days", n)
		}

		// A hook that was mended is another cure, and is tried at once.
		w.script(t, "hooks/1.sh", loadStored())
		before := time.Now()
		r.Nudge(shop)
		time.Sleep(time.Minute)
		last := w.actions(t)[0]
		wantOutcome(t, last, certmedic.OutcomeHealed)
		if last.Attempt != 1 || last.StartedAt.Sub(before) > time.Second {
			t.Errorf("attempt %d began %s after the hook was mended", last.Attempt, last.StartedAt.Sub(before))
		}
	})
}

func TestHookThatSucceedsAtTheSecondAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "[ -e once ] || { touch once; exit 1; }\n"+loadStored())
		r, _ := w.running(t, nil)
		r.Want(shop, drift())
		time.Sleep(time.Hour)
		actions := w.actions(t)
		if len(actions) != 2 || len(w.log(t)) != 2 {
			t.Fatalf("actions %+v", actions)
		}
		wantOutcome(t, actions[1], certmedic.OutcomeFailed)
		wantOutcome(t, actions[0], certmedic.OutcomeHealed)
	})
}

func TestHourlyBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "exit 1")
		r, _ := w.running(t, func(o *remediate.Options) { o.MaxPerHour = 3 })
		r.Want(shop, drift())
		time.Sleep(59 * time.Minute)
		if n := len(w.log(t)); n != 3 {
			t.Errorf("%d actions in an hour, 3 are allowed", n)
		}
		time.Sleep(2 * time.Minute)
		if n := len(w.log(t)); n <= 3 {
			t.Error("the next hour's actions were not taken")
		}
	})
}

// TestRefusals shows for each obstacle that it is recorded once and no command runs, that
// nothing spins meanwhile, and that what goes away by itself is noticed.
func TestRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		about   string
		see     func(*remediate.Sight)
		reason  guard.Reason
		records int
		heals   bool // once the obstacle is gone
	}{
		{"certbot is at work", func(s *remediate.Sight) { s.Stored.Lock.State = certmedic.LockHeld }, guard.Deploying, 0, true},
		{"the lock cannot be asked", func(s *remediate.Sight) { s.Stored.Lock.State = certmedic.LockUnknown }, guard.LockUnknown, 1, true},
		{"no address is bound", func(s *remediate.Sight) { s.Addresses[0].Bound = false }, guard.NotBound, 1, true},
		{"the source holds nothing", func(s *remediate.Sight) { s.Stored.Chain = nil }, guard.NothingStored, 1, true},
		{"the stored version must not be installed", func(s *remediate.Sight) {
			s.Problems = []certmedic.Finding{certmedic.NewFinding(certmedic.Expired, "yesterday")}
		}, guard.StoredInvalid, 1, true},
		{"a newer version is served", func(s *remediate.Sight) { s.Addresses[0].Newer = true }, guard.ServedNewer, 1, false},
		{"nothing is presented", func(s *remediate.Sight) { s.Addresses[0].Leaf = "" }, guard.NoNeed, 0, false},
		{"the mode is plan", func(s *remediate.Sight) { s.Certificate.Mode = certmedic.ModePlan }, guard.ModePlan, 1, false},
		{"the mode is observe", func(s *remediate.Sight) { s.Certificate.Mode = certmedic.ModeObserve }, guard.ModeObserve, 0, false},
		{"the owner allowed nothing", func(s *remediate.Sight) { s.Certificate.Allow = nil }, guard.NotAllowed, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withHooks(t, loadStored())
				w.change = tt.see
				r, _ := w.running(t, nil)
				r.Want(shop, drift())
				time.Sleep(time.Hour)
				actions := w.actions(t)
				if len(actions) != tt.records || len(w.log(t)) != 0 {
					t.Fatalf("%d records, want %d: %+v; ran %q", len(actions), tt.records, actions, w.log(t))
				}
				for _, a := range actions {
					if a.Outcome.Reason != string(tt.reason) || a.EndedAt.IsZero() {
						t.Errorf("recorded %+v, want %s", a, tt.reason)
					}
				}
				if n := w.looked(); n > 365 {
					t.Errorf("%d looks in an hour", n)
				}
				if !tt.heals {
					return
				}
				w.mu.Lock()
				w.change = nil
				w.mu.Unlock()
				time.Sleep(12 * time.Second)
				if !w.serves(t, "stored") {
					t.Error("it was not noticed that the obstacle is gone")
				}
			})
		})
	}
}

func TestPlannedActionSaysWhatItWouldRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		w.cert.Mode = certmedic.ModePlan
		r, _ := w.running(t, nil)
		r.Want(shop, drift())
		time.Sleep(time.Minute)
		actions := w.actions(t)
		if len(actions) != 1 || actions[0].Outcome.Kind != certmedic.OutcomePlanned || len(actions[0].Runs) != 1 || len(w.log(t)) != 0 {
			t.Errorf("actions %+v, ran %q", actions, w.log(t))
		}
	})
}

func TestUntrustedHookIsNotRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		if err := os.Chmod(w.path("hooks/0.sh"), 0o777); err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, w.act(t, remediate.Request{Force: true}), certmedic.OutcomeRefused, "may be written by others", "chmod go-w")
		if len(w.log(t)) != 0 {
			t.Error("a hook that others may write was run")
		}
	})
}

func TestAnotherVersionThanAskedForIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		stored := w.leaf("stored/cert.pem")
		wantOutcome(t, w.act(t, remediate.Request{To: w.leaf("old/cert.pem")}), certmedic.OutcomeRefused, "not the stored one")
		wantOutcome(t, w.act(t, remediate.Request{To: stored[:8]}), certmedic.OutcomeHealed)
	})
}

func TestPlanDoesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSteps(t, "", loadInstalled(), "")
		j, err := w.journal()
		if err != nil {
			t.Fatal(err)
		}
		plan, decision, err := w.remediator(j, nil).Plan(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy, ByHand: true})
		if err != nil || !decision.Allowed() || len(plan.Files) != 2 || len(plan.Commands) != 3 {
			t.Errorf("plan %+v, %+v, %v", plan, decision, err)
		}
		if len(w.actions(t)) != 0 || len(w.log(t)) != 0 || !w.installed(t, "old") {
			t.Error("planning did something")
		}
	})
}

func TestWithdrawnWantStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "exit 1")
		r, _ := w.running(t, nil)
		r.Want(shop, drift())
		time.Sleep(2 * time.Second) // one attempt, and then the back-off
		r.Want(shop, nil)
		time.Sleep(time.Second)
		looks := w.looked()
		time.Sleep(24 * time.Hour)
		if n := len(w.log(t)); n != 1 {
			t.Errorf("%d attempts, want the one before it was withdrawn", n)
		}
		if w.looked() != looks {
			t.Errorf("%d looks after it was withdrawn", w.looked()-looks)
		}
		r.Want(shop, drift())
		time.Sleep(time.Second)
		if n := len(w.log(t)); n != 2 {
			t.Errorf("%d attempts after it was wanted again", n)
		}
	})
}

func TestNudgesDoNotMakeALoopTight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "exit 1")
		r, _ := w.running(t, nil)
		r.Want(shop, drift())
		for range 1000 {
			time.Sleep(time.Millisecond)
			r.Nudge(shop)
			r.Want(shop, drift())
		}
		if n := w.looked(); n > 16 {
			t.Errorf("%d looks in a second of nudges", n)
		}
		if n := len(w.log(t)); n != 1 {
			t.Errorf("%d attempts in a second of nudges", n)
		}
	})
}

func TestFailingLookDoesNotSpin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		var broken atomic.Bool
		var looks atomic.Int64
		broken.Store(true)
		r, _ := w.running(t, func(o *remediate.Options) {
			o.Look = func(ctx context.Context, name string) (remediate.Sight, error) {
				if looks.Add(1); broken.Load() {
					return remediate.Sight{}, errors.New("the disk is gone")
				}
				return w.look(ctx, name)
			}
		})
		r.Want(shop, drift())
		time.Sleep(time.Minute)
		if n := looks.Load(); n == 0 || n > 10 {
			t.Errorf("%d looks in a minute", n)
		}
		broken.Store(false)
		time.Sleep(12 * time.Second)
		if !w.serves(t, "stored") {
			t.Error("not healed once it could look again")
		}
	})
}

func TestNothingRunsThatCannotBeJournaled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for about, steps := range map[string]bool{"hooks": false, "steps": true} {
			for n := 1; n <= 3; n++ {
				w := newWorld(t)
				if w.withHooks(t, loadStored()); steps {
					w.withSteps(t, "", loadInstalled(), "")
				}
				j, err := w.journal()
				if err != nil {
					t.Fatal(err)
				}
				failing := failAt{j, n}
				_, err = w.remediator(&failing, nil).Act(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy})
				if err == nil || !strings.Contains(err.Error(), "no space") {
					t.Errorf("%s, record %d: error %v", about, n, err)
				}
				if len(w.log(t)) != 0 || !w.installed(t, "old") || !w.serves(t, "old") {
					t.Errorf("%s, record %d: ran %q", about, n, w.log(t))
				}
			}
		}
	})
}

// failAt is a journal that fails from the nth record on.
type failAt struct {
	*journal
	n int
}

func (f *failAt) Record(a certmedic.Action) error {
	if f.n--; f.n <= 0 {
		return errors.New("no space left on device")
	}
	return f.journal.Record(a)
}

// TestOneServiceAtATime shows that two certificates that share a reload never overlap, and
// that two that share nothing do.
func TestOneServiceAtATime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about   string
		shared  bool
		overlap bool
	}{
		{"they share their reload", true, false},
		{"they share nothing", false, true},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := newWorld(t), newWorld(t)
				b.cert.Name = "b"
				a.withSteps(t, "", loadInstalled(), "")
				b.withSteps(t, "", loadInstalled(), "")
				if tt.shared {
					both := a.script(t, "bin/both", loadInstalled()+"cd "+b.dir+"\n"+loadInstalled())
					a.cert.Destinations[0].Reload, b.cert.Destinations[0].Reload = []string{both}, []string{both}
				}
				r, _ := a.running(t, func(o *remediate.Options) {
					o.Look = func(ctx context.Context, name string) (remediate.Sight, error) {
						if name == "b" {
							return b.look(ctx, name)
						}
						return a.look(ctx, name)
					}
				})
				r.Want(shop, drift())
				r.Want("b", drift())
				time.Sleep(time.Minute)
				actions := a.actions(t)
				if len(actions) != 2 {
					t.Fatalf("actions %+v", actions)
				}
				first, second := actions[1], actions[0]
				wantOutcome(t, first, certmedic.OutcomeHealed)
				wantOutcome(t, second, certmedic.OutcomeHealed)
				if overlap := second.StartedAt.Before(first.EndedAt); overlap != tt.overlap {
					t.Errorf("overlap %v: %s to %s, and %s to %s", overlap, first.StartedAt, first.EndedAt, second.StartedAt, second.EndedAt)
				}
			})
		})
	}
}

func TestAtMostMaxConcurrentActions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		worlds := map[string]*world{}
		for i := range 4 {
			w := newWorld(t)
			w.cert.Name = fmt.Sprint("c", i)
			w.withSteps(t, "", loadInstalled(), "")
			worlds[w.cert.Name] = w
		}
		main := newWorld(t)
		r, _ := main.running(t, func(o *remediate.Options) {
			o.Look = func(ctx context.Context, name string) (remediate.Sight, error) { return worlds[name].look(ctx, name) }
		})
		for name := range worlds {
			r.Want(name, drift())
		}
		time.Sleep(time.Minute)
		actions := main.actions(t)
		if len(actions) != 4 {
			t.Fatalf("%d actions", len(actions))
		}
		for _, a := range actions {
			beside := 0
			for _, b := range actions {
				if !b.StartedAt.After(a.StartedAt) && b.EndedAt.After(a.StartedAt) {
					beside++
				}
			}
			if beside > 2 {
				t.Errorf("%d actions at a time, two are allowed", beside)
			}
		}
	})
}

func TestCheapestWantFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSteps(t, "", loadStored(), "")
		r, _ := w.running(t, nil)
		r.Want(shop, append(drift(), remediate.Want{Kind: certmedic.ActionReload, Rule: "other"}))
		time.Sleep(time.Minute)
		if actions := w.actions(t); len(actions) != 1 || actions[0].Kind != certmedic.ActionReload {
			t.Errorf("actions %+v, want one reload", actions)
		}
	})
}

// TestActGoesOnWithoutItsAsker shows that an action that a person asked the daemon for does
// not end with the person's connection.
func TestActGoesOnWithoutItsAsker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "sleep 0.1\n"+loadStored())
		r, stop := w.running(t, nil)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		w.change = func(*remediate.Sight) { cancel() }
		a, err := r.Act(ctx, remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy, By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, a, certmedic.OutcomeHealed)
		stop()
		if _, err := r.Act(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy}); err == nil {
			t.Error("an action was begun after the end")
		}
	})
}

func TestKeysOfTheJournalSortByTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "exit 1")
		var ids []string
		for range 5 {
			ids = append(ids, w.act(t, remediate.Request{}).ID)
			time.Sleep(time.Second)
		}
		if !slices.IsSorted(ids) || strings.ContainsAny(strings.Join(ids, ""), "/\\ ") || filepath.Clean(ids[0]) != ids[0] {
			t.Errorf("ids %q", ids)
		}
	})
}

// TestFirstDeployment shows that a destination that lacks its files needs a deployment although
// nothing is served, and that it keeps them: there is nothing to go back to.
func TestFirstDeployment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSteps(t, "", "true", "")
		for _, name := range []string{"installed/fullchain.pem", "installed/privkey.pem", "installed/key.pem"} {
			if err := os.Remove(w.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
		w.change = func(s *remediate.Sight) { s.Addresses[0].Leaf = "" }
		a := w.act(t, remediate.Request{By: "ann"})
		wantOutcome(t, a, certmedic.OutcomeUnverified, "presented no certificate")
		if !w.installed(t, "stored") {
			t.Error("the first files were taken away again")
		}
	})
}

// TestAServiceThatReadByItselfIsReloaded shows that what is put back is what is served, also by a
// service that read the new files without being told to.
func TestAServiceThatReadByItselfIsReloaded(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, reload, says string
		serves              bool
	}{
		{"its reload succeeds", "cp installed/fullchain.pem loaded/192.0.2.2:25", "served as before", true},
		{"its reload fails", "exit 3", "exit code 3", false},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "192.0.2.1:443", "192.0.2.2:25")
				w.withSteps(t, "cp installed/fullchain.pem loaded/192.0.2.2:25; exit 1", "exit 9", "")
				mail := w.cert.Destinations[0]
				mail.Name, mail.Files = "mail", []certmedic.InstalledFile{{From: certmedic.PartFullchain, To: w.path("installed/mail.pem")}}
				mail.Test, mail.Alive = nil, nil
				mail.Reload = []string{w.script(t, "bin/mail", "echo mail >> log\n"+row.reload)}
				w.cert.Destinations = append(w.cert.Destinations, mail)
				wantOutcome(t, w.act(t, remediate.Request{}), certmedic.OutcomePutBack, "web: test", "192.0.2.2:25 had begun to serve", row.says)
				if got := w.log(t); !slices.Equal(got, []string{"test", "mail"}) || w.serves(t, "old") != row.serves {
					t.Errorf("commands that ran: %q; all is served as before: %v", got, w.serves(t, "old"))
				}
			})
		})
	}
}

func TestAnotherPlanThanTheOneThatWasLookedAtIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "192.0.2.1:443")
		w.withHooks(t, "exit 0\n", loadStored())
		r, _ := w.running(t, nil)
		q := remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy, By: "ada"}
		plan, decision, err := r.Plan(t.Context(), q)
		if err != nil || !decision.Allowed() {
			t.Fatal(decision, err)
		}
		q.Plan = "another"
		if _, err := r.Act(t.Context(), q); err == nil || !strings.Contains(err.Error(), "something else by now") {
			t.Errorf("another plan: %v", err)
		}
		if n := len(w.actions(t)); n != 0 || w.serves(t, "stored") {
			t.Errorf("%d actions are in the journal", n)
		}
		q.Plan = plan.Hash
		a, err := r.Act(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, a, certmedic.OutcomeHealed, "every bound address")
		again, err := r.Act(t.Context(), q)
		if err != nil || again.Outcome.Reason != string(guard.NoNeed) {
			t.Errorf("the second click: %+v, %v", again.Outcome, err)
		}
	})
}
