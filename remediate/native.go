package remediate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/renew"
)

// The reasons of renewals that ended before anything was ordered.
const (
	reasonPreHook = "pre_hook_failed"
	reasonProof   = "rehearsal_failed" // at the directory for rehearsals; nothing was ordered of the CA
)

// mostProofs is how many proofs in a row may fail before an order goes without one: a directory for
// rehearsals may fail for reasons of its own.
const mostProofs = 2

// planACME plans a renewal at a CA. People need not wait for a proof.
func (r *Remediator) planACME(a renew.ACME, s Sight, byHand bool) (deploy.Plan, error) {
	c, err := r.caseOf(s)
	if err != nil {
		return deploy.Plan{}, err
	}
	c.Prove = c.Prove && !byHand
	return renew.PlanACME(a, c)
}

// proves reports whether the next renewal of a certificate is to prove itself first. History is
// newest first.
func proves(history []certmedic.Action, certificate string) bool {
	unproven := 0
	for _, a := range history {
		switch {
		case a.Certificate != certificate || a.Kind != certmedic.ActionRenew || !guard.Acted(a):
		case a.Outcome.Reason == reasonProof:
			if unproven++; unproven == mostProofs {
				return false
			}
		default:
			return unproven > 0 || renew.Provable(a.Outcome.Reason)
		}
	}
	return unproven > 0
}

// caseOf returns what a renewal at a CA depends on now.
func (r *Remediator) caseOf(s Sight) (renew.Case, error) {
	now := time.Now()
	history, err := r.o.Journal.Actions(s.Certificate.Name, now.Add(-historyFor))
	if err != nil {
		return renew.Case{}, fmt.Errorf("reading the journal: %w", err)
	}
	leaf, _ := s.Stored.Leaf()
	_, failed := rests(history, s.Certificate.Name, leaf.Lifetime())
	return renew.Case{Stored: s.Stored, Failed: failed, Prove: failed > 0 && proves(history, s.Certificate.Name), Now: now, Environ: r.o.Environ}, nil
}

// atCA completes an order by what is known of one that certmedic places itself. The limits that a
// renewal does not count for are those of exactly these names.
func (r *Remediator) atCA(s Sight, o ledger.Order) ledger.Order {
	way, err := r.o.Renewal(s.Certificate)
	if err != nil || way.ACME == nil {
		return o
	}
	c, err := r.caseOf(s)
	if err != nil {
		return o
	}
	asked := way.ACME.Order(c)
	o.Directory, o.Account, o.Names = asked.Directory, asked.Account, asked.Names
	known := func(i certmedic.Issued) bool { return slices.Equal(ledger.Normal(i.Names), ledger.Normal(o.Names)) }
	leaf, _ := s.Stored.Leaf()
	switch {
	case asked.ARI:
		o.Exempt = ledger.ExemptARI
	case !slices.ContainsFunc(s.Stored.Issued, known) && !known(certmedic.Issued{Names: slices.Concat(leaf.DNSNames, leaf.IPAddresses)}):
		o.Exempt = ledger.ExemptFromNone
	}
	return o
}

// asTaken returns an order as the CA took it: it may have refused to take it as a replacement.
func asTaken(o ledger.Order, run certmedic.Run) ledger.Order {
	if o.Exempt == ledger.ExemptARI && !renew.Explain(run).Replaced {
		o.Exempt = ledger.ExemptRenewal
	}
	return o
}

// ordered runs the plan's commands up to the renewal. It returns an outcome where nothing was
// ordered, running where certmedic was told to end.
func (t *transaction) ordered(ctx context.Context, o ledger.Order) certmedic.Outcome {
	for _, c := range t.plan.Commands {
		if c.Phase == deploy.PhasePost {
			continue
		}
		if c.Phase == deploy.PhaseRenew {
			if err := t.still(ctx); err != nil {
				return notLed(fmt.Errorf("nothing was ordered: %w", err))
			}
			done, stopped := t.intend(ctx, o, c)
			if stopped.Kind != "" {
				return stopped
			}
			defer done()
			if stopped := t.take(o); stopped.Kind != "" {
				return stopped
			}
		}
		run := t.command(ctx, c)
		switch {
		case run.Result == certmedic.RunCancelled:
			return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
		case c.Phase == deploy.PhasePre && !run.Succeeded():
			ended := runFailed(run)
			ended.Reason = reasonPreHook
			return ended
		case c.Phase == deploy.PhaseProof && !run.Succeeded():
			return t.r.unproven(o, run)
		}
	}
	return certmedic.Outcome{}
}

// take writes an order down before it can be placed. It asks again whether it may be: others may have
// taken what was left, while hooks ran and a proof was made.
func (t *transaction) take(o ledger.Order) certmedic.Outcome {
	if t.r.o.Ledger == nil {
		return certmedic.Outcome{}
	}
	answer, err := t.r.o.Ledger.Take(time.Now(), o)
	if err != nil {
		return failed("ledger", err)
	}
	if d := refusedBy(answer, t.byHand); !d.Allowed() {
		return certmedic.Outcome{Kind: certmedic.OutcomeFailed, Reason: string(d.Reason), Detail: "nothing was ordered: " + d.Detail}
	}
	return certmedic.Outcome{}
}

// afterKill finishes what a step of certmedic's own was storing when it was ended, or killed: its
// source may hold the key of another version. ok is false where certmedic was told to end meanwhile.
func (t *transaction) afterKill(ctx context.Context) (ok bool) {
	run := renew.Ordered(t.action.Runs)
	if run.Result != certmedic.RunSignaled && run.Result != certmedic.RunTimedOut {
		return true
	}
	way, err := t.r.o.Renewal(t.before.Certificate)
	if err == nil && way.ACME == nil {
		return true
	}
	c, errCase := t.r.caseOf(t.before)
	if err := errors.Join(err, errCase); err != nil {
		t.r.o.Log.Error("finishing a renewal", "action", t.action.ID, "err", err)
		return true
	}
	return t.finishStoring(ctx, *way.ACME, c)
}

// finishStoring has a version stored that was being stored, if one was. ok is false where
// certmedic was told to end meanwhile.
func (t *transaction) finishStoring(ctx context.Context, way renew.ACME, c renew.Case) (ok bool) {
	finish, err := way.Finish(c)
	if err != nil {
		t.r.o.Log.Error("finishing a renewal", "action", t.action.ID, "err", err)
		return true
	}
	return t.command(ctx, finish).Result != certmedic.RunCancelled
}

// unproven says that a renewal failed where it costs nothing, and remembers that.
func (r *Remediator) unproven(o ledger.Order, run certmedic.Run) certmedic.Outcome {
	if err := r.spend(ledger.KindFailure, o, nil); err != nil {
		r.o.Log.Error("ledger", "err", err)
	}
	return certmedic.Outcome{
		Kind: certmedic.OutcomeFailed, Reason: reasonProof,
		Detail:   "it failed at the directory for rehearsals, so that nothing was ordered: " + runFailed(run).Detail,
		Evidence: explained(run),
	}
}

// after runs what is to be run after a renewal whatever came of it, unless it ran already. It
// returns what did not succeed; nil: certmedic was told to end meanwhile.
func (t *transaction) after(ctx context.Context) *[]certmedic.Run {
	bad := []certmedic.Run{}
	for _, c := range t.plan.Commands {
		ended := func(r certmedic.Run) bool { return r.Name == c.Name && r.Result != certmedic.RunCancelled }
		if c.Phase != deploy.PhasePost || slices.ContainsFunc(t.action.Runs, ended) {
			continue
		}
		run := t.command(ctx, c)
		if run.Result == certmedic.RunCancelled {
			return nil
		}
		if !run.Succeeded() {
			bad = append(bad, run)
		}
	}
	return &bad
}

// also adds what failed besides to an outcome.
func also(o certmedic.Outcome, bad []certmedic.Run) certmedic.Outcome {
	if o.Kind == certmedic.OutcomeRunning {
		return o
	}
	for _, run := range bad {
		why := runFailed(run)
		o.Detail += "; besides, " + why.Detail
		o.Evidence = append(o.Evidence, why.Evidence...)
	}
	return o
}

// window is how long a new version has to become visible. Where its deployment is certmedic's own,
// nothing else brings it there.
func (t *transaction) window() time.Duration {
	if t.before.Certificate.Source.Kind == certmedic.SourceACME && len(t.before.Certificate.Destinations) > 0 {
		return roundGap
	}
	return t.r.o.VerifyTimeout
}

// catchUp brings a renewal of certmedic's own that was in flight to its end: a version that was
// being stored is stored, and what is to be run after it is run. ok is false where certmedic was
// told to end meanwhile.
func (r *Remediator) catchUp(ctx context.Context, a *certmedic.Action) (ok bool) {
	sight, err := r.o.Look(ctx, a.Certificate)
	if err != nil {
		return ctx.Err() == nil
	}
	way, err := r.o.Renewal(sight.Certificate)
	if err != nil || way.ACME == nil {
		return true
	}
	c, errCase := r.caseOf(sight)
	plan, errPlan := r.planACME(*way.ACME, sight, false)
	if errCase != nil || errPlan != nil {
		r.o.Log.Error("finishing a renewal", "action", a.ID, "err", errors.Join(errCase, errPlan))
		return true
	}
	t := &transaction{r: r, action: *a, plan: plan, before: sight, dir: r.runDir(*a)}
	defer func() { *a = t.action }()
	if run := renew.Ordered(a.Runs); run.PID != 0 && !run.Succeeded() && !t.finishStoring(ctx, *way.ACME, c) {
		return false
	}
	return len(t.action.Runs) == 0 || t.after(ctx) != nil
}
