package remediate_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/lineage"
)

// TestMain turns the test binary into a certmedic that acts on a world and is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CERTMEDIC_TEST_WORLD"); dir != "" {
		if err := victim(dir, os.Getenv("CERTMEDIC_TEST_KILL")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "step" {
		err := changeLineage(os.Args[3])
		switch {
		case err == nil:
			return
		case errors.Is(err, lineage.ErrHeld):
			os.Exit(lineage.ExitHeld)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) == 3 && os.Args[1] == "hold" {
		if err := holdLock(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victim asks for one action, that of the file kind or a redeployment, and kills itself when told to: "before 3" is before the
// third record is on disk, "after 3" after it, "never" is for a killer from outside.
func victim(dir, when string) error {
	w := &world{dir: dir}
	if err := json.Unmarshal(w.bytes("certificate.json"), &w.cert); err != nil {
		return err
	}
	j, err := w.journal()
	if err != nil {
		return err
	}
	edge, number, _ := strings.Cut(when, " ")
	last, _ := strconv.Atoi(number)
	kill := func(n int) {
		if n == last {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	switch edge {
	case "before":
		j.before = kill
	case "after":
		j.after = kill
	}
	kind := cmp.Or(certmedic.ActionKind(w.bytes("kind")), certmedic.ActionRedeploy)
	switch {
	case kind == "return":
		return w.repay(j)
	case len(w.bytes("by")) > 0:
		return w.wish(j)
	}
	_, err = w.remediator(j, nil).Act(context.Background(), remediate.Request{Certificate: shop, Kind: kind})
	return err
}

// start runs a victim on the world.
func (w *world) start(t *testing.T, when string) *exec.Cmd {
	t.Helper()
	data, err := json.Marshal(w.cert)
	if err != nil {
		t.Fatal(err)
	}
	w.write(t, "certificate.json", string(data))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CERTMEDIC_TEST_WORLD="+w.dir, "CERTMEDIC_TEST_KILL="+when)
	cmd.Stderr = new(bytes.Buffer)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Each command notes its beginning and its end, and fails the test if another one is at
// work beside it.
const alone = `if mkdir busy 2>/dev/null; then sleep 0.05; else echo overlap >> log; fi; `

const done = "\nrmdir busy 2>/dev/null; exit 0"

// TestKillAtEveryRecord kills certmedic right before each record of its journal, and right
// after those that something is begun by; with CERTMEDIC_CHAOS=1 right after every one. The certmedic after it has to leave either the old files everywhere or the new
// version verified, with nothing in flight and nothing left behind, and has to be able to
// heal then.
func TestKillAtEveryRecord(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, 24)
	for kind, records := range map[string]int{"steps": 9, "hooks": 7} {
		for n := 1; n <= records; n++ {
			for _, edge := range []string{"before", "after"} {
				if telling := edge == "before" || n == 2 || n == 3 || n == records; !telling && os.Getenv("CERTMEDIC_CHAOS") == "" {
					continue
				}
				w, when := newWorld(t), fmt.Sprint(edge, " ", n)
				if kind == "steps" {
					w.withSteps(t, alone+done, alone+loadInstalled()+done, alone+done)
				} else {
					w.withHooks(t, alone+done, alone+loadStored()+done)
				}
				group.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					testKill(t, w, kind+" "+when, when)
				})
			}
		}
	}
}

func testKill(t *testing.T, w *world, name, when string) {
	cmd := w.start(t, when)
	err := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("%s: it was to be killed, but %v: %s", name, err, cmd.Stderr)
		return
	}
	ran := len(strings.Fields(string(w.bytes("log"))))
	if err := w.recover(); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if w.cert.Destinations == nil && len(strings.Fields(string(w.bytes("log")))) != ran {
		t.Errorf("%s: hooks were run again before anybody asked for it", name)
	}
	if w.cert.Destinations != nil {
		allNew := w.installed(t, "stored") && w.serves(t, "stored")
		allOld := w.installed(t, "old") && w.serves(t, "old")
		if !allNew && !allOld {
			t.Errorf("%s: neither all old nor all new", name)
		}
	}
	for _, a := range w.actions(t) {
		healed := a.Outcome.Kind == certmedic.OutcomeHealed
		if healed != w.serves(t, "stored") || a.Outcome.Kind == certmedic.OutcomeFailed {
			t.Errorf("%s: outcome %+v", name, a.Outcome)
		}
	}
	w.wantTidy(t)
	a := w.act(t, remediate.Request{})
	if !w.serves(t, "stored") || a.Outcome.Kind != certmedic.OutcomeHealed && a.Outcome.Reason != "no_need" {
		t.Errorf("%s: it could not be healed afterwards: %+v", name, a.Outcome)
	}
	if log := w.log(t); slices.Contains(log, "overlap") {
		t.Errorf("%s: a command ran beside another one: %q", name, log)
	}
	w.wantTidy(t)
}

// recover runs a certmedic until nothing is in flight any more.
func (w *world) recover() error {
	j, err := w.journal()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.remediator(j, nil).Run(ctx) }()
	for ctx.Err() == nil {
		actions, err := j.Actions("", time.Time{})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(actions, func(a certmedic.Action) bool { return a.Outcome.Kind == certmedic.OutcomeRunning }) {
			time.Sleep(50 * time.Millisecond) // for what comes after the last record
			cancel()
			return <-ended
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("something is still in flight after 30 s: %w", ctx.Err())
}

// TestCommandThatOutlivesCertmedic kills certmedic while a hook runs: the next one waits for
// the hook, runs nothing beside it, and verifies what the hook did.
func TestCommandThatOutlivesCertmedic(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		next   func(w *world) (certmedic.Action, error) // what the next certmedic does
		action int                                      // how many actions there are then
	}{
		{"the daemon starts again", func(w *world) (certmedic.Action, error) {
			err := w.recover()
			return certmedic.Action{}, err
		}, 1},
		{"a person asks for the same", func(w *world) (certmedic.Action, error) {
			j, err := w.journal()
			if err != nil {
				return certmedic.Action{}, err
			}
			return w.remediator(j, nil).Act(context.Background(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy})
		}, 2},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := newWorld(t)
			w.withHooks(t, "while [ ! -e go ]; do sleep 0.05; done; "+loadStored()+"echo end >> log\n")
			cmd := w.start(t, "never")
			waitFor(t, func() bool { return len(w.bytes("log")) > 0 })
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // it was killed
			go func() {
				time.Sleep(300 * time.Millisecond)
				_ = os.WriteFile(w.path("go"), nil, 0o600) // seen by the hook, or the test times out
			}()
			a, err := tt.next(w)
			if err != nil {
				t.Fatal(err)
			}
			if log := w.log(t); !slices.Equal(log, []string{"0", "end"}) {
				t.Errorf("hooks that ran: %q, want one, to its end", log)
			}
			actions := w.actions(t)
			if len(actions) != tt.action {
				t.Fatalf("%d actions: %+v", len(actions), actions)
			}
			first := actions[len(actions)-1]
			wantOutcome(t, first, certmedic.OutcomeHealed, "restarted meanwhile")
			if first.Runs[0].Result != certmedic.RunCancelled {
				t.Errorf("an exit code that nobody saw is told: %+v", first.Runs[0])
			}
			if tt.action == 2 && a.Outcome.Reason != "no_need" {
				t.Errorf("asked for again: %+v", a.Outcome)
			}
		})
	}
}

// TestShutdownLeavesTheHookAlone shows that a hook goes on when certmedic is told to end,
// and that the journal says so.
func TestShutdownLeavesTheHookAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withHooks(t, "while [ ! -e go ]; do sleep 0.05; done; "+loadStored()+"echo end >> log\n")
	r, stop := w.running(t, nil)
	r.Want(shop, drift())
	waitFor(t, func() bool { return len(w.log(t)) == 1 })
	stop()
	if a := w.actions(t)[0]; a.Outcome.Kind != certmedic.OutcomeRunning || a.Runs[0].PID == 0 {
		t.Errorf("the journal says %+v", a)
	}
	w.write(t, "go", "")
	if err := w.recover(); err != nil {
		t.Fatal(err)
	}
	if log := w.log(t); !slices.Equal(log, []string{"0", "end"}) {
		t.Errorf("hooks that ran: %q", log)
	}
	wantOutcome(t, w.actions(t)[0], certmedic.OutcomeHealed)
	w.wantTidy(t)
}

// TestShutdownWhilePuttingBack shows that a deployment that was being put back is put back
// in full by the next certmedic.
func TestShutdownWhilePuttingBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSteps(t, "", "[ -e once ] || { touch once; exit 1; }\nwhile [ ! -e go ]; do sleep 0.05; done\n"+loadInstalled(), "")
	r, stop := w.running(t, nil)
	r.Want(shop, drift())
	waitFor(t, func() bool { return slices.Equal(w.log(t), []string{"test", "reload", "test", "reload"}) })
	stop()
	if a := w.actions(t)[0]; a.Outcome.Kind != certmedic.OutcomeRunning {
		t.Errorf("the journal says %+v while a reload is under way", a.Outcome)
	}
	w.write(t, "go", "")
	if err := w.recover(); err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, w.actions(t)[0], certmedic.OutcomePutBack)
	if !w.installed(t, "old") || !w.serves(t, "old") {
		t.Error("the old version is not back")
	}
	w.wantTidy(t)
}

// TestRevertOfACertificateThatIsGone shows that files are put back even where the
// configuration does not know the certificate any more.
func TestRevertOfACertificateThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSteps(t, "while [ ! -e go ]; do sleep 0.05; done", loadInstalled(), "")
	r, stop := w.running(t, nil)
	r.Want(shop, drift())
	waitFor(t, func() bool { return len(w.log(t)) == 1 })
	stop()
	w.write(t, "go", "")
	if !w.installed(t, "stored") {
		t.Fatal("nothing was installed yet")
	}
	w.cert.Name = "another"
	if err := w.recover(); err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, w.actions(t)[0], certmedic.OutcomePutBack, "no service is made to load")
	if !w.installed(t, "old") {
		t.Error("the new files stayed")
	}
}

func waitFor(t *testing.T, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ready(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 20 s")
		}
	}
}
