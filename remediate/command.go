package remediate

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// A command that has to succeed for a while is asked again after askGap, or more seldom, so
// that it is not asked more than mostAsks times.
const (
	askGap   = 500 * time.Millisecond
	mostAsks = 20
)

// command runs one command of the plan, and the one that stands in for it where it does not
// succeed. One that has to succeed for a while is asked again; the journal has its last run.
func (t *transaction) command(ctx context.Context, c deploy.Command) certmedic.Run {
	if c.Own && t.r.o.Self != "" {
		c.Argv = append([]string{t.r.o.Self}, c.Argv[1:]...)
	}
	at := len(t.action.Runs)
	t.action.Runs = append(t.action.Runs, certmedic.Run{})
	dir := filepath.Join(t.dir, strconv.Itoa(at))
	run := t.runOnce(ctx, c, at, dir)
	until := time.Now().Add(c.For)
	for n := 1; run.Succeeded() && time.Now().Before(until) && n <= mostAsks; n++ {
		pauseFor(ctx, max(askGap, c.For/mostAsks))
		run = t.runOnce(ctx, c, at, dir+"."+strconv.Itoa(n))
	}
	if run.Succeeded() || run.Result == certmedic.RunCancelled || len(c.Otherwise) == 0 {
		return run
	}
	c.Name, c.Argv, c.Otherwise, c.Own, c.Request = c.Name+" (otherwise)", c.Otherwise, nil, false, nil
	return t.command(ctx, c)
}

// runOnce runs a command, and keeps in the action's run at how it goes. Its pid is in the
// journal before it may begin.
func (t *transaction) runOnce(ctx context.Context, c deploy.Command, at int, dir string) certmedic.Run {
	if len(c.Request) > 0 {
		c.Argv = append(slices.Clone(c.Argv), dir+".request")
		if err := t.request(dir+".request", c.Request); err != nil {
			t.action.Runs[at] = certmedic.Run{Name: c.Name, Argv: c.Argv, Result: certmedic.RunNotStarted, Detail: err.Error()}
			return t.action.Runs[at]
		}
	}
	t.action.Runs[at] = certmedic.Run{
		Name: c.Name, Argv: c.Argv, Result: certmedic.RunRunning, StartedAt: time.Now().UTC(), OutputDir: dir,
	}
	t.action.Runs[at] = execx.Run(ctx, execx.Command{
		Name: c.Name, Argv: c.Argv, Env: c.Env, Dir: "/", Timeout: t.r.timeout(t.action.Kind), OutputDir: dir,
		Started: func(pid int, start uint64) error {
			t.action.Runs[at].PID, t.action.Runs[at].PIDStart = pid, start
			return t.r.record(t.action)
		},
	})
	if err := t.r.record(t.action); err != nil {
		t.r.o.Log.Error("journal", "action", t.action.ID, "err", err)
	}
	return t.action.Runs[at]
}

// again returns what has to run once the old files are back: everything where a reload was
// begun; else what made something of the new files, which would be loaded with the next reload.
func (t *transaction) again(reloaded bool) []deploy.Command {
	if reloaded {
		return t.plan.Commands
	}
	var prepare []deploy.Command
	for _, c := range t.plan.Commands {
		if t.prepared && c.Phase == deploy.PhasePrepare {
			prepare = append(prepare, c)
		}
	}
	return prepare
}
