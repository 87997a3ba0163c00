package remediate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// inFlightFor bounds how far back an action is looked for that never ended.
const inFlightFor = 30 * 24 * time.Hour

// resume ends what was in flight when certmedic last ended: it waits for commands that
// outlived it, looks whether the version is served, and puts a half-done deployment back.
func (r *Remediator) resume(ctx context.Context) error {
	actions, err := r.o.Journal.Actions("", time.Now().Add(-inFlightFor))
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	for _, a := range actions {
		if a.Outcome.Kind != certmedic.OutcomeRunning {
			continue
		}
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
	r.o.Log.Warn("an action was in flight when certmedic last ended", "action", a.ID, "certificate", a.Certificate)
	for i, run := range a.Runs {
		if run.Result != certmedic.RunRunning && run.Result != certmedic.RunCancelled {
			continue
		}
		if run.PID == 0 {
			a.Runs[i].Result, a.Runs[i].Detail = certmedic.RunNotStarted, "certmedic ended before it was started"
			continue
		}
		a.Runs[i] = execx.Await(ctx, run, run.StartedAt.Add(r.o.CommandTimeout))
	}
	if ctx.Err() != nil {
		return nil
	}
	r.sweep(ctx, a)
	verified, detail := r.verify(ctx, a.Certificate, a.Version, roundGap)
	switch {
	case ctx.Err() != nil:
		return nil
	case verified:
		a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeHealed, Reason: "interrupted", Detail: "certmedic was restarted meanwhile; " + detail}
	case len(a.Changes) > 0:
		a.Outcome = r.revert(ctx, &a, detail)
	default:
		a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "interrupted", Detail: "certmedic was restarted meanwhile; " + detail}
	}
	a.EndedAt = time.Now().UTC()
	return errors.Join(r.record(a), os.RemoveAll(r.runDir(a)))
}

// revert puts the files of an interrupted deployment back and makes the services load them.
func (r *Remediator) revert(ctx context.Context, a *certmedic.Action, detail string) certmedic.Outcome {
	because := certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "interrupted", Detail: "certmedic was restarted meanwhile; " + detail}
	sight, err := r.o.Look(ctx, a.Certificate)
	if err != nil {
		because.Detail += "; " + err.Error()
		return because
	}
	plan, err := deploy.Steps(sight.Certificate.Destinations, sight.Stored, r.o.Environ, true)
	if err != nil {
		because.Detail += "; " + err.Error()
		return because
	}
	t := &transaction{r: r, action: *a, plan: plan, before: sight, dir: r.runDir(*a)}
	outcome := t.putBack(ctx, because, true)
	*a = t.action
	return outcome
}

// sweep removes what an interrupted deployment had staged and not yet renamed.
func (r *Remediator) sweep(ctx context.Context, a certmedic.Action) {
	sight, err := r.o.Look(ctx, a.Certificate)
	if err != nil {
		return
	}
	for _, d := range sight.Certificate.Destinations {
		for _, f := range d.Files {
			if err := atomicfile.Sweep(filepath.Dir(f.To)); err != nil {
				r.o.Log.Warn("sweeping staged files", "path", f.To, "err", err)
			}
		}
	}
}
