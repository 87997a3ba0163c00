package remediate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// historyFor bounds how far back the journal is read: for actions that never ended, and for
// attempts that did not heal.
const historyFor = 30 * 24 * time.Hour

// resumeOnce begins to end what was in flight, before anything new begins. Whoever comes meanwhile
// waits for that; then only for what has locks in common with it.
func (r *Remediator) resumeOnce(ctx context.Context) error {
	r.resuming.Lock()
	defer r.resuming.Unlock()
	if r.resumed {
		return nil
	}
	if err := r.resume(ctx); err != nil {
		return err
	}
	r.resumed = ctx.Err() == nil
	return ctx.Err()
}

// resume ends what was in flight when certmedic last ended: it waits for commands that
// outlived it, looks whether the version is served, and puts a half-done deployment back.
//
// All that was in flight has its locks again when resume returns, as if it had never let go of
// them. What shares none goes on beside each other and beside what is new. What an older certmedic
// began does not say its locks, and is brought to its end at once; so is, for a command without the
// daemon, what no process of it is left of.
func (r *Remediator) resume(ctx context.Context) error {
	actions, err := r.o.Journal.Actions("", time.Time{}) // all: the clock may have been another
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	rehearsals, err := r.rehearsals()
	if err != nil {
		return err
	}
	var beside []certmedic.Action
	for _, a := range append(actions, rehearsals...) {
		var err error
		switch {
		case a.Outcome.Kind != certmedic.OutcomeRunning:
			err = r.clear(a) // certmedic may have been killed right before that
		case len(a.Locks) == 0, !r.running() && !outlived(a):
			err = r.resumeOne(ctx, a)
		default:
			beside = append(beside, a)
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	for _, group := range sharing(beside) {
		release, err := r.locks.acquire(ctx, locksOfAll(group)) // nobody else has any yet
		if err != nil {
			return nil // certmedic ends
		}
		r.wg.Go(func() {
			defer release()
			r.resumeAll(ctx, group)
		})
	}
	return nil
}

// resumeAll ends what was in flight and has locks in common, one after the other. What cannot be
// ended, because the journal cannot be written or the certificate not be looked at, is tried again
// for as long as certmedic runs.
func (r *Remediator) resumeAll(ctx context.Context, group []certmedic.Action) {
	for _, a := range group {
		for wait := doze; ctx.Err() == nil; wait = min(2*wait, settle) {
			err := r.resumeOne(ctx, a)
			if err == nil {
				break
			}
			r.o.Log.Error("ending what was in flight; it is tried again", "action", a.ID, "certificate", a.Certificate, "err", err)
			pauseFor(ctx, wait)
		}
	}
}

// outlived reports whether a command of an action still runs.
func outlived(a certmedic.Action) bool {
	return slices.ContainsFunc(a.Runs, func(run certmedic.Run) bool {
		return (run.Result == certmedic.RunRunning || run.Result == certmedic.RunCancelled) && execx.Alive(run.PID, run.PIDStart)
	})
}

// sharing puts actions that have locks in common, directly or by way of others, into groups.
func sharing(actions []certmedic.Action) [][]certmedic.Action {
	var groups [][]certmedic.Action
	for _, a := range actions {
		group := []certmedic.Action{a}
		groups = slices.DeleteFunc(groups, func(other []certmedic.Action) bool {
			shares := slices.ContainsFunc(locksOfAll(other), func(key string) bool { return slices.Contains(a.Locks, key) })
			if shares {
				group = append(group, other...)
			}
			return shares
		})
		groups = append(groups, group)
	}
	return groups
}

// locksOfAll returns the locks of several actions, each once.
func locksOfAll(actions []certmedic.Action) []string {
	var keys []string
	for _, a := range actions {
		keys = append(keys, a.Locks...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (r *Remediator) resumeOne(ctx context.Context, a certmedic.Action) error {
	if a.Outcome.Kind != certmedic.OutcomeRunning {
		return r.clear(a) // certmedic may have been killed right before that
	}
	r.o.Log.Warn("an action was in flight when certmedic last ended", "action", a.ID, "certificate", a.Certificate)
	done := r.followOn(ctx, a)
	defer done()
	for i, run := range a.Runs {
		if run.Result != certmedic.RunRunning && run.Result != certmedic.RunCancelled {
			continue
		}
		if run.PID == 0 {
			a.Runs[i].Result, a.Runs[i].Detail = certmedic.RunCancelled, "certmedic ended before it was started"
			continue
		}
		a.Runs[i] = execx.Await(ctx, run, run.StartedAt.Add(r.timeout(a.Kind)))
	}
	if ctx.Err() != nil {
		return nil
	}
	switch a.Kind {
	case certmedic.ActionRenew:
		return r.resumeRenewal(ctx, a)
	case certmedic.ActionRollback:
		return r.resumeRollback(ctx, a)
	case certmedic.RehearseHooks, certmedic.RehearseRenewal:
		return r.resumeRehearsal(ctx, a)
	}
	if rolled(a) {
		t := &transaction{r: r, action: a, dir: r.runDir(a)}
		if t.action.Outcome = r.resumeNodes(ctx, t); t.action.Outcome.Kind == certmedic.OutcomeRunning {
			return nil
		}
		return r.end(ctx, &t.action)
	}
	r.sweep(ctx, a)
	verified, detail := r.verify(ctx, a.Certificate, a.Version, roundGap)
	switch {
	case ctx.Err() != nil:
		return nil
	case verified && deploy.Installed(a.Changes) && r.gaveAll(ctx, a):
		a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeHealed, Reason: "interrupted", Detail: "certmedic was restarted meanwhile; " + detail}
	case len(a.Changes) > 0:
		a.Outcome = r.revert(ctx, &a, detail)
	default:
		a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "interrupted", Detail: "certmedic was restarted meanwhile; " + detail}
	}
	if a.Outcome.Kind == certmedic.OutcomeRunning {
		return nil
	}
	return r.end(ctx, &a)
}

// resumeRenewal ends a renewal that was in flight: whatever its command came to, the disk
// tells.
func (r *Remediator) resumeRenewal(ctx context.Context, a certmedic.Action) error {
	t := &transaction{r: r, action: a, dir: r.runDir(a)}
	stopped := t.afterStop(ctx)
	a = t.action
	if !r.catchUp(ctx, &a) {
		return nil
	}
	a.Outcome = r.renewed(ctx, &a, judged{window: roundGap})
	a.Outcome.Evidence = append(a.Outcome.Evidence, stopped...)
	if a.Outcome.Kind == certmedic.OutcomeRunning {
		return nil
	}
	a.Outcome.Detail = "certmedic was restarted meanwhile; " + a.Outcome.Detail
	return r.end(ctx, &a)
}

// revert puts the files of an interrupted deployment back and makes the services load them.
// What they served before is not known any more, so nothing is claimed about it.
func (r *Remediator) revert(ctx context.Context, a *certmedic.Action, detail string) certmedic.Outcome {
	because := certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "interrupted", Detail: "certmedic was restarted meanwhile; " + detail}
	t := &transaction{r: r, action: *a, dir: r.runDir(*a)}
	sight, err := r.o.Look(ctx, a.Certificate)
	if err == nil {
		t.plan, err = deploy.Steps(sight.Certificate.Destinations, sight.Stored, r.o.Environ, true)
	}
	if err != nil {
		because.Detail += "; no service is made to load the old files: " + err.Error()
	}
	outcome := t.putBack(ctx, because, err == nil)
	*a = t.action
	return outcome
}

// sweep removes what an interrupted deployment had staged and not yet renamed: beside what
// it was about to change, and beside every file of the certificate, because it stages before
// it journals the changes.
func (r *Remediator) sweep(ctx context.Context, a certmedic.Action) {
	paths := make([]string, 0, len(a.Changes))
	for _, c := range a.Changes {
		paths = append(paths, c.Path)
	}
	if sight, err := r.o.Look(ctx, a.Certificate); err == nil {
		for _, d := range sight.Certificate.Destinations {
			if !d.Local() {
				continue
			}
			for _, f := range d.Files {
				paths = append(paths, f.To)
			}
			if d.Swap != "" {
				paths = append(paths, d.Swap)
			}
		}
	}
	for _, path := range paths {
		if err := deploy.Sweep(path); err != nil {
			r.o.Log.Warn("sweeping staged files", "path", path, "err", err)
		}
	}
}
