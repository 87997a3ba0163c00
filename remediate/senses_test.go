package remediate_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/window"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/guard"
)

// seeing makes the looks before an action see at each address what its letters say, one for
// each look and the last for all that follow: o the old version, n the stored one, x and y
// others, - nothing.
func (w *world) seeing(letters ...string) {
	leaves := map[byte]certmedic.Fingerprint{
		'o': w.leaf("old/cert.pem"), 'n': w.leaf("stored/cert.pem"), 'x': "1111", 'y': "2222", '-': "",
	}
	w.change = func(s *remediate.Sight) {
		if len(w.bytes("log")) > 0 {
			return
		}
		for i, answers := range letters {
			s.Addresses[i].Leaf = leaves[answers[min(w.looks, len(answers))-1]]
		}
	}
}

// TestTwoOfThreeLooks asks once, by hand, and counts the looks before anything runs.
func TestTwoOfThreeLooks(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about   string
		answers []string // by address
		want    guard.Reason
		looks   int
		says    string
	}{
		{"two looks that agree are two of three", []string{"oo"}, guard.None, 2, ""},
		{"one that saw nothing is outvoted", []string{"o-o"}, guard.None, 3, ""},
		{"so is one that saw the stored version", []string{"ono"}, guard.None, 3, ""},
		{"but not where the other two differ, too", []string{"xon", "ooo"}, guard.SensesDisagree, 3, "192.0.2.1:443: 1111, "},
		{"two see that nothing is needed any more", []string{"onn"}, guard.NoNeed, 3, ""},
		{"each saw something else", []string{"oxy"}, guard.SensesDisagree, 3, "192.0.2.1:443: "},
		{"nothing is something else", []string{"o-x"}, guard.SensesDisagree, 3, ", nothing, 1111"},
		{"one address of two that is uncertain is enough", []string{"ooo", "onx"}, guard.SensesDisagree, 3, "192.0.2.2:443: "},
		{"each address has its own two", []string{"oxo", "xoo"}, guard.None, 3, ""},
		{"where the first says that nothing is needed, that is all", []string{"nooo"}, guard.NoNeed, 1, ""},
		{"two failures agree, and are nothing to act on", []string{"o--"}, guard.NoNeed, 3, ""},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, []string{"192.0.2.1:443", "192.0.2.2:443"}[:len(tt.answers)]...)
				before := 0
				w.withHooks(t, loadStored())
				w.seeing(tt.answers...)
				change := w.change
				w.change = func(s *remediate.Sight) {
					if change(s); len(w.bytes("log")) == 0 {
						before = w.looks
					}
				}
				a := w.act(t, remediate.Request{})
				if a.Outcome.Reason != string(tt.want) || !strings.Contains(a.Outcome.Detail, tt.says) {
					t.Errorf("outcome %+v, want %q, which says %q", a.Outcome, tt.want, tt.says)
				}
				if ran := len(w.log(t)) > 0; ran != (tt.want == guard.None) {
					t.Errorf("a hook ran: %t", ran)
				}
				if before != tt.looks {
					t.Errorf("%d looks before it was decided, want %d", before, tt.looks)
				}
			})
		})
	}
}

// TestLooksTakeNoLongerThanTheyHaveTo shows what looking more than once costs.
func TestLooksTakeNoLongerThanTheyHaveTo(t *testing.T) {
	t.Parallel()
	for answers, most := range map[string]time.Duration{"oo": 200 * time.Millisecond, "o-o": 400 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.withHooks(t, loadStored())
			w.seeing(answers)
			asked := time.Now()
			if a := w.act(t, remediate.Request{}); a.StartedAt.Sub(asked) > most {
				t.Errorf("%q: the action began after %s", answers, a.StartedAt.Sub(asked))
			}
		})
	}
}

// TestVersionThatIsStoredBetweenTwoLooks shows that a look that compared with another stored
// version is no witness.
func TestVersionThatIsStoredBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		w.seeing("oxo")
		change := w.change
		w.change = func(s *remediate.Sight) {
			if change(s); w.looks == 1 {
				s.Stored.Chain[0].SHA256 = "earlier"
			}
		}
		wantOutcome(t, w.act(t, remediate.Request{}), certmedic.OutcomeRefused, "no two of 3 looks saw the same")
	})
}

// TestForceActsOnDoubtfulSenses shows what a person overrides, and with what.
func TestForceActsOnDoubtfulSenses(t *testing.T) {
	t.Parallel()
	doubt := func(o *remediate.Options) {
		o.ClockDoubt = func() string { return "the clock of this machine and the CA's differ by 6m0s" }
	}
	for _, tt := range []struct {
		about  string
		see    string
		change func(*remediate.Options)
		want   guard.Reason
	}{
		{"no two looks agree", "oxy", nil, guard.SensesDisagree},
		{"the clock is in doubt", "o", doubt, guard.ClockDoubt},
	} {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.withHooks(t, loadStored())
				w.seeing(tt.see)
				j, err := w.journal()
				if err != nil {
					t.Fatal(err)
				}
				r := w.remediator(j, tt.change)
				q := remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy, By: "ann"}
				a, err := r.Act(t.Context(), q)
				if err != nil || a.Outcome.Reason != string(tt.want) || !strings.Contains(a.Outcome.Detail, "--force") {
					t.Errorf("outcome %+v, %v, want %s", a.Outcome, err, tt.want)
				}
				q.Force = true
				w.looks = 0
				if a, err = r.Act(t.Context(), q); err != nil {
					t.Fatal(err)
				}
				wantOutcome(t, a, certmedic.OutcomeHealed)
			})
		})
	}
}

// TestNothingIsHealedByADoubtfulClock shows that the doubt is recorded once, that nothing runs,
// and that it is healed when the clock is right again.
func TestNothingIsHealedByADoubtfulClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		var doubtful atomic.Bool
		doubtful.Store(true)
		r, _ := w.running(t, func(o *remediate.Options) {
			o.ClockDoubt = func() string {
				if doubtful.Load() {
					return "six minutes"
				}
				return ""
			}
		})
		r.Want(shop, drift())
		time.Sleep(time.Hour)
		wantReasons(t, w, guard.ClockDoubt)
		doubtful.Store(false)
		time.Sleep(12 * time.Second)
		wantReasons(t, w, guard.ClockDoubt, guard.None)
		if !w.serves(t, "stored") {
			t.Error("it was not healed")
		}
	})
}

// wantReasons compares the reasons of all that the journal has, the oldest first. Whatever was
// not refused has none.
func wantReasons(t *testing.T, w *world, want ...guard.Reason) {
	t.Helper()
	var got []guard.Reason
	for _, a := range slices.Backward(w.actions(t)) {
		got = append(got, guard.Reason(a.Outcome.Reason))
	}
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
}

// TestFlappingIsRecordedOnce shows that an address that says something else at each look fills
// no journal, also where nothing seems to be needed now and then.
func TestFlappingIsRecordedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		w.seeing("oxy" + strings.Repeat("noxy", 10000))
		r, _ := w.running(t, nil)
		r.Want(shop, drift())
		time.Sleep(6 * time.Hour)
		wantReasons(t, w, guard.SensesDisagree)
		if n := w.looked(); n < 20 || n > 3*6*360 {
			t.Errorf("%d looks in six hours", n)
		}
	})
}

// TestRefusalIsToldForEachVersion shows that a version that is stored while an obstacle stands
// has a record of its own, by which rules know what stands against it.
func TestRefusalIsToldForEachVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		r, _ := w.running(t, func(o *remediate.Options) { o.Frozen = func() bool { return true } })
		r.Want(shop, drift())
		time.Sleep(time.Hour)
		w.mu.Lock()
		w.change = func(s *remediate.Sight) { s.Stored.Chain[0].SHA256 = "newer" }
		w.mu.Unlock()
		time.Sleep(time.Hour)
		wantReasons(t, w, guard.Frozen, guard.Frozen)
		if actions := w.actions(t); actions[0].Version != "newer" {
			t.Errorf("the last is about %s", actions[0].Version)
		}
	})
}

// TestMaintenanceWindow begins at midnight UTC, from Friday to Saturday, as every bubble does.
func TestMaintenanceWindow(t *testing.T) {
	t.Parallel()
	night, err := window.Parse("Sat 02:30-05:00 UTC")
	if err != nil {
		t.Fatal(err)
	}
	windows := func(o *remediate.Options) { o.Windows = window.Set{night} }
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		began := time.Now()
		r, _ := w.running(t, windows)
		r.Want(shop, drift())
		time.Sleep(6 * time.Hour)
		wantReasons(t, w, guard.OutsideWindow, guard.None)
		if a := w.actions(t)[0]; a.StartedAt.Sub(began).Round(time.Second) != 150*time.Minute {
			t.Errorf("it was healed %s after midnight", a.StartedAt.Sub(began))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		r, _ := w.running(t, windows)
		a, err := r.Act(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy, By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		wantOutcome(t, a, certmedic.OutcomeHealed) // a person need not wait for it
	})
}

// TestRelapsingCure has somebody put the old version back three minutes after each cure, for
// two days: the breaker lets ever fewer cures through, also where certmedic restarts.
func TestRelapsingCure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, loadStored())
		r, stop := w.running(t, nil)
		r.Want(shop, drift())
		undo := func() {
			if w.serves(t, "stored") {
				time.Sleep(3 * time.Minute)
				w.write(t, "loaded/192.0.2.1:443", w.read(t, "old/fullchain.pem"))
				r.Nudge(shop)
			}
		}
		for hour := range 48 {
			for range 6 {
				time.Sleep(10 * time.Minute)
				undo()
			}
			if hour == 6 {
				stop()
				r, stop = w.running(t, nil)
				r.Want(shop, drift())
			}
		}
		healed, opened := 0, 0
		for _, a := range w.actions(t) {
			switch {
			case a.Outcome.Kind == certmedic.OutcomeHealed:
				healed++
			case a.Outcome.Reason == string(guard.BreakerOpen):
				opened++
			}
		}
		if healed != 8 || opened < 6 || opened > 7 {
			t.Errorf("%d cures and %d records of the breaker in two days; want 3, and then one after 1, 2, 4, 8 and 16 hours", healed, opened)
		}
		stop()
		wantOutcome(t, w.act(t, remediate.Request{By: "ann"}), certmedic.OutcomeHealed) // a person overrides it
	})
}

// TestFleetBreaker has the deployments of five certificates come to nothing, so that two others
// have to wait, and are tried one after the other. Of these one can be healed.
func TestFleetBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		worlds := map[string]*world{}
		for i := range 7 {
			w := newWorld(t)
			w.cert.Name = fmt.Sprint("c", i)
			w.withSteps(t, "", "", "")
			worlds[w.cert.Name] = w
		}
		good := worlds["c6"]
		good.withSteps(t, "", loadInstalled(), "")
		main := newWorld(t)
		r, _ := main.running(t, func(o *remediate.Options) {
			o.Look = func(ctx context.Context, name string) (remediate.Sight, error) { return worlds[name].look(ctx, name) }
			o.MaxConcurrent, o.VerifyTimeout = 7, 10*time.Second // so long takes what does not heal
		})
		for i := range 5 {
			r.Want(fmt.Sprint("c", i), drift())
		}
		time.Sleep(time.Minute)
		opened := time.Now()
		r.Want("c5", drift())
		r.Want("c6", drift())
		time.Sleep(5 * time.Minute)
		if len(good.log(t)) > 0 {
			t.Fatal("one was tried while the breaker was open")
		}
		if last := main.actions(t)[0]; last.Certificate < "c5" || last.Outcome.Reason != string(guard.FleetBreaker) {
			t.Errorf("the last record is %+v", last)
		}
		time.Sleep(30 * time.Minute)
		if !good.serves(t, "stored") {
			t.Error("the one that can be healed was not")
		}
		wantOneAtATime(t, main.actions(t), opened)
	})
}

// wantOneAtATime checks that of what began after a moment nothing overlapped until something
// healed.
func wantOneAtATime(t *testing.T, actions []certmedic.Action, after time.Time) {
	t.Helper()
	var end time.Time
	for _, a := range slices.Backward(actions) {
		if !a.StartedAt.After(after) || !guard.Acted(a) {
			continue
		}
		if a.StartedAt.Before(end) {
			t.Errorf("a trial of %s began before the one before it ended", a.Certificate)
		}
		if end = a.EndedAt; a.Outcome.Kind == certmedic.OutcomeHealed {
			return
		}
	}
}
