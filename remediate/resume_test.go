package remediate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/guard"
)

// TestOthersHealWhileACommandOutlives kills certmedic while a hook of one certificate runs. The next
// one waits for that hook, which goes on for long; another certificate, that shares nothing with it,
// is healed meanwhile, and a third one, that runs hooks as well, waits for its turn.
func TestOthersHealWhileACommandOutlives(t *testing.T) {
	t.Parallel()
	a, b, c := newWorld(t), newWorld(t), newWorld(t)
	b.cert.Name, c.cert.Name = "b", "c"
	a.withHooks(t, "while [ ! -e go ]; do sleep 0.05; done; "+loadStored()+"echo end >> log\n")
	b.withSteps(t, "", loadInstalled(), "")
	c.withHooks(t, loadStored())
	cmd := a.start(t, "never")
	waitFor(t, func() bool { return len(a.bytes("log")) > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed

	worlds := map[string]*world{shop: a, "b": b, "c": c}
	r, _ := a.running(t, func(o *remediate.Options) {
		o.Look = func(ctx context.Context, name string) (remediate.Sight, error) { return worlds[name].look(ctx, name) }
		o.Hooks, o.MaxConcurrent = c.hooks, 2
	})
	r.Want("b", drift())
	r.Want("c", drift())
	waitFor(t, func() bool { return b.serves(t, "stored") })
	if log := a.log(t); !slices.Equal(log, []string{"0"}) || len(c.log(t)) != 0 || a.actions(t)[len(a.actions(t))-1].Outcome.Kind != certmedic.OutcomeRunning {
		t.Errorf("while the hook runs %q ran, and %q of what has to wait for it", log, c.log(t))
	}
	a.write(t, "go", "")
	waitFor(t, func() bool { return c.serves(t, "stored") })
	waitFor(t, func() bool {
		actions := a.actions(t)
		return len(actions) == 3 && !slices.ContainsFunc(actions, func(a certmedic.Action) bool { return a.Outcome.Kind != certmedic.OutcomeHealed })
	})
	if log := a.log(t); !slices.Equal(log, []string{"0", "end"}) {
		t.Errorf("of the first certificate %q ran", log)
	}
	for _, action := range a.actions(t) {
		if len(action.Locks) < 2 {
			t.Errorf("the journal does not say the locks of %+v", action)
		}
	}
}

// TestAPersonDoesNotWaitForAHookOfAnother kills certmedic while a hook runs, and acts by hand for
// another certificate, without a daemon.
func TestAPersonDoesNotWaitForAHookOfAnother(t *testing.T) {
	t.Parallel()
	a, b := newWorld(t), newWorld(t)
	b.cert.Name = "b"
	a.withHooks(t, "while [ ! -e go ]; do sleep 0.05; done; "+loadStored()+"echo end >> log\n")
	b.withSteps(t, "", loadInstalled(), "")
	cmd := a.start(t, "never")
	waitFor(t, func() bool { return len(a.bytes("log")) > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	j, err := a.journal()
	if err != nil {
		t.Fatal(err)
	}
	action, err := a.remediator(j, func(o *remediate.Options) {
		o.Look = func(ctx context.Context, name string) (remediate.Sight, error) {
			if name == "b" {
				return b.look(ctx, name)
			}
			return a.look(ctx, name)
		}
	}).Act(t.Context(), remediate.Request{Certificate: "b", Kind: certmedic.ActionRedeploy})
	if err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, action, certmedic.OutcomeHealed)
	first := a.actions(t)[len(a.actions(t))-1]
	wantOutcome(t, first, certmedic.OutcomeRunning)
	a.write(t, "go", "")
	if err := a.recover(); err != nil {
		t.Fatal(err)
	}
	if log := a.log(t); !slices.Equal(log, []string{"0", "end"}) {
		t.Errorf("ran %q", log)
	}
}

// full is a journal that has no room for a while.
type full struct {
	*journal
	mu   sync.Mutex
	when func(a certmedic.Action) bool
}

func (f *full) Record(a certmedic.Action) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.when(a) {
		return errors.New("no space left on device")
	}
	return f.journal.Record(a)
}

func (f *full) empty() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.when = func(certmedic.Action) bool { return false }
}

// TestAnEndThatCannotBeRecordedIsRecordedLater shows that an action does not stay "running" because
// the disk was full when it ended, and that nothing begins for its certificate before that.
func TestAnEndThatCannotBeRecordedIsRecordedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withHooks(t, "exit 1")
		inner, err := w.journal()
		if err != nil {
			t.Fatal(err)
		}
		j := &full{journal: inner, when: func(a certmedic.Action) bool { return a.Outcome.Kind != certmedic.OutcomeRunning }}
		r, _ := w.running(t, func(o *remediate.Options) { o.Journal = j })
		r.Want(shop, drift())
		time.Sleep(time.Hour)
		if actions := w.actions(t); len(actions) != 1 || actions[0].Outcome.Kind != certmedic.OutcomeRunning || len(w.log(t)) != 1 {
			t.Fatalf("actions %+v, ran %q", actions, w.log(t))
		}
		j.empty()
		time.Sleep(12 * time.Second)
		actions := w.actions(t)
		wantOutcome(t, actions[len(actions)-1], certmedic.OutcomeFailed)
		if len(actions) < 2 {
			t.Error("nothing is tried any more")
		}
	})
}

// TestFewAtATimeUntilProven lets five certificates drift whose cure does not work: no more than may be
// unproven are acted for.
func TestFewAtATimeUntilProven(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about string
		cure  string
		acted int // certificates, in 40 seconds
	}{
		{"the cure does not work", "true", 3},
		{"the cure works", loadInstalled(), 5},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				worlds := map[string]*world{}
				for i := range 5 {
					w := newWorld(t)
					w.cert.Name = fmt.Sprint("c", i)
					w.withSteps(t, "", row.cure, "")
					worlds[w.cert.Name] = w
				}
				first := worlds["c0"]
				r, _ := first.running(t, func(o *remediate.Options) {
					o.MaxUnproven, o.MaxConcurrent = 3, 10
					o.Look = func(ctx context.Context, name string) (remediate.Sight, error) { return worlds[name].look(ctx, name) }
				})
				for name := range worlds {
					r.Want(name, drift())
				}
				time.Sleep(40 * time.Second)
				acted, refused := map[string]bool{}, map[string]bool{}
				for _, a := range first.actions(t) {
					if guard.Acted(a) {
						acted[a.Certificate] = true
					}
					refused[a.Outcome.Reason] = true
				}
				if len(acted) != row.acted || !refused[string(guard.BlastRadius)] {
					t.Errorf("acted for %d certificates, want %d; reasons %v", len(acted), row.acted, refused)
				}
			})
		})
	}
}
