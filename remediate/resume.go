package remediate

import (
	"context"
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// historyFor bounds how far back the journal is read: for actions that never ended, and for
// attempts that did not heal.
const historyFor = 30 * 24 * time.Hour

// resumeOnce ends what was in flight before anything new begins. Whoever comes meanwhile
// waits.
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
func (r *Remediator) resume(ctx context.Context) error {
	actions, err := r.o.Journal.Actions("", time.Time{}) // all: the clock may have been another
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	for _, a := range actions {
		if err := r.resumeOne(ctx, a); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

func (r *Remediator) resumeOne(ctx context.Context, a certmedic.Action) error {
	if a.Outcome.Kind != certmedic.OutcomeRunning {
		return r.clear(a) // certmedic may have been killed right before that
	}
	r.o.Log.Warn("an action was in flight when certmedic last ended", "action", a.ID, "certificate", a.Certificate)
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
	if a.Kind == certmedic.ActionRenew {
		return r.resumeRenewal(ctx, a)
	}
	r.sweep(ctx, a)
	verified, detail := r.verify(ctx, a.Certificate, a.Version, roundGap)
	switch {
	case ctx.Err() != nil:
		return nil
	case verified && deploy.Installed(a.Changes):
		a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeHealed, Reason: "interrupted", Detail: "certmedic was restarted meanwhile; " + detail}
	case len(a.Changes) > 0:
		a.Outcome = r.revert(ctx, &a, detail)
	default:
		a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "interrupted", Detail: "certmedic was restarted meanwhile; " + detail}
	}
	if a.Outcome.Kind == certmedic.OutcomeRunning {
		return nil
	}
	return r.end(&a)
}

// resumeRenewal ends a renewal that was in flight: whatever its command came to, the disk
// tells.
func (r *Remediator) resumeRenewal(ctx context.Context, a certmedic.Action) error {
	a.Outcome = r.renewed(ctx, &a, certmedic.CertFacts{}, roundGap)
	if a.Outcome.Kind == certmedic.OutcomeRunning {
		return nil
	}
	a.Outcome.Detail = "certmedic was restarted meanwhile; " + a.Outcome.Detail
	return r.end(&a)
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
			for _, f := range d.Files {
				paths = append(paths, f.To)
			}
		}
	}
	for _, path := range paths {
		if err := deploy.Sweep(path); err != nil {
			r.o.Log.Warn("sweeping staged files", "path", path, "err", err)
		}
	}
}
