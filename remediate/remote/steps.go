package remote

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/remote/session"
)

// A command that has to succeed for a while is asked again after askGap, or more seldom, so that
// it is not asked more than mostAsks times.
const (
	askGap   = 500 * time.Millisecond
	mostAsks = 20
)

// step is a command of a destination.
type step struct {
	name    string
	argv    []string
	lasting time.Duration // it is asked again until this has passed, and has to succeed each time
}

// The names of the steps.
const (
	stepPrepare = "prepare"
	stepTest    = "test"
	stepReload  = "reload"
	stepAlive   = "alive"
)

func steps(d certmedic.Destination) []step {
	var all []step
	for _, argv := range d.Prepare {
		all = append(all, step{name: stepPrepare, argv: argv})
	}
	all = append(all,
		step{name: stepTest, argv: d.Test}, step{name: stepReload, argv: d.Reload}, step{name: stepAlive, argv: d.Alive, lasting: d.AliveFor})
	return slices.DeleteFunc(all, func(s step) bool { return len(s.argv) == 0 })
}

// commands runs the destination's commands and returns the first that did not succeed. When files
// were put back it runs what has to be run again: everything where a reload had begun, else what
// made something of the new files.
func (d *Deployment) commands(ctx context.Context, suffix string) *certmedic.Run {
	again := suffix != ""
	was := d.journal
	for _, s := range steps(d.order.Destination) {
		if again && !was.Reloaded && (!was.Prepared || s.name != stepPrepare) {
			continue
		}
		if err := d.announceStep(ctx, s); err != nil {
			return &certmedic.Run{Name: d.stepName(s, suffix), Argv: s.argv, Result: certmedic.RunNotStarted, Detail: err.Error()}
		}
		if run := d.command(ctx, s, suffix); !run.Succeeded() {
			return &run
		}
	}
	return nil
}

// announceStep writes into the journal what will have to be done again if the old files come back.
func (d *Deployment) announceStep(ctx context.Context, s step) error {
	j := d.journal
	j.Prepared = j.Prepared || s.name == stepPrepare
	j.Reloaded = j.Reloaded || s.name == stepReload
	if d.dir == "" || j.Prepared == d.journal.Prepared && j.Reloaded == d.journal.Reloaded {
		return nil
	}
	d.journal = j
	return d.work(ctx, func() error { return d.place.writeJournal(d.dir, j) })
}

// command runs a step, and again where it has to succeed for a while; its last run is kept.
func (d *Deployment) command(ctx context.Context, s step, suffix string) certmedic.Run {
	c := session.Command{Name: d.stepName(s, suffix), Argv: s.argv, Env: d.order.Env, Timeout: d.order.Timeout}
	at := len(d.Runs)
	d.Runs = append(d.Runs, d.session.Run(ctx, c))
	until := time.Now().Add(s.lasting)
	for n := 1; d.Runs[at].Succeeded() && time.Now().Before(until) && n <= mostAsks; n++ {
		select {
		case <-time.After(max(askGap, s.lasting/mostAsks)):
		case <-ctx.Done():
		}
		d.Runs[at] = d.session.Run(ctx, c)
	}
	return d.Runs[at]
}

func (d *Deployment) stepName(s step, suffix string) string {
	return d.order.Destination.Name + "@" + d.session.Host().Address + ": " + s.name + suffix
}

// runFailed tells the outcome of a command that did not succeed, with its evidence.
func runFailed(run certmedic.Run) certmedic.Outcome {
	how := string(run.Result)
	if run.Result == certmedic.RunExited {
		how = fmt.Sprintf("exit code %d", run.ExitCode)
	}
	if run.Detail != "" {
		how += ": " + run.Detail
	}
	outcome := certmedic.Outcome{
		Kind: certmedic.OutcomeFailed, Reason: string(run.Result), Detail: fmt.Sprintf("%q: %s", run.Name, how),
		Evidence: []certmedic.Evidence{{Source: run.Name, Line: how}},
	}
	lines := strings.Split(strings.TrimSpace(run.Stderr), "\n")
	if last := lines[len(lines)-1]; last != "" {
		outcome.Evidence = append(outcome.Evidence, certmedic.Evidence{Source: run.Name, Line: last, Output: true})
	}
	return outcome
}

// owner resolves "user:group" on the host, by name or by number; an empty part keeps what is given.
func (d *Deployment) owner(ctx context.Context, owner string, uid, gid int) (int, int, error) {
	user, group, _ := strings.Cut(owner, ":")
	var err error
	if user != "" {
		if uid, err = d.lookUp(ctx, "passwd", user); err != nil {
			return -1, -1, err
		}
	}
	if group != "" {
		if gid, err = d.lookUp(ctx, "group", group); err != nil {
			return -1, -1, err
		}
	}
	return uid, gid, nil
}

// lookUp asks the host for the number of a user or a group; in both databases it is the third field.
func (d *Deployment) lookUp(ctx context.Context, database, name string) (int, error) {
	if n, err := strconv.Atoi(name); err == nil && n >= 0 {
		return n, nil
	}
	run := d.session.Run(ctx, session.Command{Name: "looking up " + name, Argv: []string{"getent", "--", database, name}, AsUser: true})
	if run.Succeeded() {
		if fields := strings.Split(run.Stdout, ":"); len(fields) > 2 {
			if n, err := strconv.Atoi(fields[2]); err == nil {
				return n, nil
			}
		}
	}
	return -1, fmt.Errorf("the host knows no %q in its database %q", name, database)
}
