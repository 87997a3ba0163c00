package remediate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/renew"
)

// RehearsalRequest asks for one rehearsal.
type RehearsalRequest struct {
	Certificate string
	Kind        certmedic.ActionKind // [certmedic.RehearseHooks] or [certmedic.RehearseRenewal]
	By          string               // "schedule", or the person who asks
	Why         string
	ByHand      bool   // a person asks
	RunHooks    bool   // of a renewal by certbot: its pre and post hooks run for real
	Told        string // the reason of the last refusal, which is not recorded again
}

// The reasons of rehearsals that failed, beside how a command ended and those of [renew.Explain].
const (
	reasonServedWorse  = "served_worse" // an address does not serve what it served before
	reasonChanged      = "changed"      // the lineage is not what it was
	reasonNotRehearsed = "not_rehearsed"
	reasonInterrupted  = "interrupted"
)

// Rehearse runs what a deployment would run, or has a version issued at the staging directory,
// and looks whether everything is served as before. Nothing is installed. It returns the
// rehearsal as it was recorded, beside the actions and in their form: rehearsed, failed, or
// refused, which is no error. Beside Run it goes on when ctx ends, and ends with Run.
func (r *Remediator) Rehearse(ctx context.Context, q RehearsalRequest) (certmedic.Action, error) {
	if r.o.Rehearsals == nil || !q.Kind.Rehearses() {
		return certmedic.Action{}, fmt.Errorf("rehearsing %q: there is no rehearsal %q", q.Certificate, q.Kind)
	}
	ctx, end, err := r.begin(ctx)
	if err != nil {
		return certmedic.Action{}, err
	}
	defer end()
	if err := r.resumeOnce(ctx); err != nil {
		return certmedic.Action{}, err
	}
	c, err := r.considerRehearsal(ctx, q)
	if err != nil || !c.decision.Allowed() {
		return r.refuseRehearsal(q, c, err)
	}
	release, err := r.turn(ctx, q.Certificate, c)
	if err != nil {
		return certmedic.Action{}, err
	}
	defer release()
	if c, err = r.considerRehearsal(ctx, q); err != nil || !c.decision.Allowed() {
		return r.refuseRehearsal(q, c, err)
	}
	return r.rehearse(ctx, q, c)
}

// RehearsalBasis returns the hash of what a rehearsal would run now, and of what that depends on,
// but for the stored version. Another one than the last rehearsal had means that something changed
// since.
func (r *Remediator) RehearsalBasis(c certmedic.Certificate, kind certmedic.ActionKind, runHooks bool) (string, error) {
	plan, err := r.planRehearsal(Sight{Certificate: c}, kind, runHooks)
	return plan.Basis, err
}

// considerRehearsal looks at the certificate, plans, and asks the guard.
func (r *Remediator) considerRehearsal(ctx context.Context, q RehearsalRequest) (considered, error) {
	sight, err := r.look(ctx, q.Certificate)
	if err != nil {
		return considered{}, err
	}
	plan, untrusted := r.planRehearsal(sight, q.Kind, q.RunHooks)
	if errors.Is(untrusted, renew.ErrNoRehearsal) {
		plan.Notes, untrusted = append(plan.Notes, untrusted.Error()), nil
	}
	now := time.Now()
	cs := guard.Case{
		Now: now, Certificate: sight.Certificate, Kind: q.Kind, ByHand: q.ByHand, Stored: sight.Stored, Problems: sight.Problems,
		Denied: r.denied(sight), Runnable: !plan.Empty(), Untrusted: untrusted, Frozen: r.o.Frozen(), Opens: r.o.Windows.Opens(now),
	}
	cs.Needed, cs.Bound, cs.ServedDire = need(sight)
	cs.ServedNewer = slices.ContainsFunc(sight.Addresses, func(a Served) bool { return a.Bound && a.Newer })
	r.leads(&cs)
	c := considered{sight: sight, plan: plan, decision: guard.Rehearse(cs, down(sight)), asked: cs}
	if c.decision.Reason == guard.NothingToRun && len(plan.Notes) > 0 {
		c.decision.Detail += ": " + strings.Join(plan.Notes, "; ")
	}
	return c, nil
}

// down names a bound address that presents nothing; empty where there is none.
func down(s Sight) string {
	for _, a := range s.Addresses {
		if a.Bound && a.Leaf == "" {
			return a.Address
		}
	}
	return ""
}

// planRehearsal plans a rehearsal. The error says why it cannot be planned, or what cannot be
// trusted.
func (r *Remediator) planRehearsal(s Sight, kind certmedic.ActionKind, runHooks bool) (deploy.Plan, error) {
	plan, err := deploy.Plan{}, error(nil)
	switch {
	case kind == certmedic.RehearseRenewal:
		plan, err = r.planStaged(s, runHooks)
	case len(s.Certificate.Destinations) > 0:
		plan, err = deploy.Steps(s.Certificate.Destinations, s.Stored, r.o.Environ, true)
	case s.Certificate.Source.Kind == certmedic.SourceCertbot:
		var hooks []deploy.Hook
		if hooks, err = r.o.Hooks(s.Certificate); err == nil {
			plan, err = deploy.Hooks(s.Stored, hooks, r.o.Environ)
		}
	}
	plan.Certificate = s.Certificate.Name
	if leaf, ok := s.Stored.Leaf(); ok {
		plan.Version = leaf.SHA256
	}
	return plan, err
}

// planStaged plans an issuance at the directory for rehearsals.
func (r *Remediator) planStaged(s Sight, runHooks bool) (deploy.Plan, error) {
	way, err := r.o.Renewal(s.Certificate)
	switch {
	case err != nil:
		return deploy.Plan{}, err
	case way.ACME == nil:
		return renew.Rehearse(way, r.o.Environ, runHooks)
	}
	c, err := r.caseOf(s)
	if err != nil {
		return deploy.Plan{}, err
	}
	return renew.PlanRehearsal(*way.ACME, c, runHooks)
}

// refuseRehearsal returns the refused rehearsal, and records it where it says something new.
func (r *Remediator) refuseRehearsal(q RehearsalRequest, c considered, err error) (certmedic.Action, error) {
	if err != nil {
		return certmedic.Action{}, err
	}
	a := newAction(q.request(), c)
	a.EndedAt = a.StartedAt
	a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: string(c.decision.Reason), Detail: c.decision.Detail}
	if a.Outcome.Reason == q.Told || !q.ByHand && c.decision.Reason == guard.NotLeader {
		return a, nil
	}
	return a, r.record(a)
}

func (q RehearsalRequest) request() Request {
	return Request{Certificate: q.Certificate, Kind: q.Kind, By: q.By, Why: q.Why, ByHand: q.ByHand}
}

// rehearse records the intent, runs the plan and records what came of it.
func (r *Remediator) rehearse(ctx context.Context, q RehearsalRequest, c considered) (certmedic.Action, error) {
	basis, err := r.RehearsalBasis(c.sight.Certificate, q.Kind, q.RunHooks)
	if err != nil {
		return certmedic.Action{}, err
	}
	t := r.transaction(q.request(), c)
	if !q.ByHand || q.Kind == certmedic.RehearseRenewal { // see [guard.Rehearse]
		if err := r.prove(ctx, &c, &t.action); err != nil || !c.decision.Allowed() {
			return r.refuseRehearsal(q, c, err)
		}
	}
	t.action.Basis = basis
	if err := r.record(t.action); err != nil {
		return t.action, err
	}
	t.action.Outcome = t.rehearse(ctx)
	if t.action.Outcome.Kind == certmedic.OutcomeRunning {
		return t.action, ctx.Err() // certmedic ends; the next start waits for what still runs
	}
	return t.action, r.end(ctx, &t.action)
}

// rehearse runs the plan and judges: by how its commands ended, by what is left of the lineage,
// and by what is served afterwards.
func (t *transaction) rehearse(ctx context.Context) certmedic.Outcome {
	keeps, err := t.keeps()
	if err != nil {
		return failed(reasonNotRehearsed, err)
	}
	before, err := renew.Contents(keeps)
	if err != nil {
		return failed(reasonNotRehearsed, err)
	}
	outcome := t.perform(ctx)
	if outcome.Kind == certmedic.OutcomeRunning {
		return outcome
	}
	if after, err := renew.Contents(keeps); err != nil {
		outcome = failed(reasonNotRehearsed, err)
	} else if changed := renew.Changed(before, after); len(changed) > 0 {
		outcome = failed(reasonChanged, fmt.Errorf("%d files of the lineage were changed meanwhile: %s", len(changed), strings.Join(changed, ", ")))
	}
	for _, note := range t.plan.Notes {
		outcome.Evidence = append(outcome.Evidence, certmedic.Evidence{Source: "rehearsal", Line: note})
	}
	return t.andServed(ctx, outcome)
}

// perform runs the plan, and judges by how its commands ended; running means that certmedic was
// told to end meanwhile.
func (t *transaction) perform(ctx context.Context) certmedic.Outcome {
	_, bad := t.commands(ctx)
	if bad != nil && bad.Result == certmedic.RunCancelled {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	if bad == nil {
		if elsewhere := t.rehearseElsewhere(ctx); elsewhere.Kind != "" {
			return elsewhere
		}
	}
	stopped := t.afterStop(ctx)
	besides := t.after(ctx)
	if besides == nil {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	outcome := also(t.ranWell(bad), *besides)
	outcome.Evidence = append(outcome.Evidence, stopped...)
	return outcome
}

// andServed completes an outcome by what is served afterwards.
func (t *transaction) andServed(ctx context.Context, o certmedic.Outcome) certmedic.Outcome {
	worse, detail := t.servedWorse(ctx)
	switch {
	case ctx.Err() != nil:
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	case worse:
		o.Evidence = append(o.Evidence, certmedic.Evidence{Source: "probe", Line: detail})
		o.Kind, o.Reason, o.Detail = certmedic.OutcomeFailed, reasonServedWorse, strings.TrimPrefix(o.Detail+"; "+detail, "; ")
	case o.Kind == certmedic.OutcomeRehearsed:
		o.Detail = detail
	}
	return o
}

// keeps lists what the rehearsal must leave as it is: the lineage, where certbot is at work on it.
func (t *transaction) keeps() ([]string, error) {
	if t.action.Kind != certmedic.RehearseRenewal {
		return nil, nil
	}
	way, err := t.r.o.Renewal(t.before.Certificate)
	if err != nil || way.Certbot == nil {
		return nil, err
	}
	return way.Certbot.Around.Keeps, nil
}

// ranWell judges by how the commands ended, of which bad is the first that failed.
func (t *transaction) ranWell(bad *certmedic.Run) certmedic.Outcome {
	switch {
	case bad == nil && renew.Rehearsed(t.action.Runs):
		return certmedic.Outcome{Kind: certmedic.OutcomeRehearsed}
	case bad == nil:
		return failed(reasonNotRehearsed, errors.New("certbot came across nothing to renew"))
	}
	outcome := runFailed(*bad)
	if t.action.Kind == certmedic.RehearseHooks {
		return outcome
	}
	outcome.Evidence = explained(*bad)
	if why := renew.Explain(*bad); why.Reason != renew.Unknown {
		outcome.Reason = string(why.Reason)
	}
	return outcome
}

// servedWorse looks, in rounds, whether every bound address serves what it served before the rehearsal,
// or the stored version. A service that restarts gets its time.
func (t *transaction) servedWorse(ctx context.Context) (worse bool, detail string) {
	deadline := time.Now().Add(t.r.o.VerifyTimeout)
	for good := 0; ; {
		sight, err := t.r.o.Look(ctx, t.action.Certificate)
		worse, detail = true, fmt.Sprint(err)
		if err == nil {
			worse, detail = worsened(t.before, sight)
		}
		if good++; worse {
			good = 0
		}
		if good == rounds || ctx.Err() != nil || worse && time.Now().After(deadline) {
			return worse, detail
		}
		pauseFor(ctx, roundGap)
	}
}

// worsened compares two looks. What presented nothing before cannot be worse.
func worsened(before, now Sight) (worse bool, detail string) {
	was := map[string]certmedic.Fingerprint{}
	for _, a := range before.Addresses {
		if a.Bound && a.Leaf != "" {
			was[a.Address] = a.Leaf
		}
	}
	stored, _ := now.Stored.Leaf()
	same := 0
	for _, a := range now.Addresses {
		switch leaf, known := was[a.Address]; {
		case !known:
		case a.Leaf == "":
			return true, fmt.Sprintf("%s presents no certificate any more: %s", a.Address, a.Detail)
		case a.Leaf != leaf && a.Leaf != stored.SHA256:
			return true, fmt.Sprintf("%s serves %s, and %s before", a.Address, a.Leaf.Short(), leaf.Short())
		default:
			same++
		}
	}
	switch {
	case len(was) == 0:
		return false, "no address is bound to the certificate, so that only exit codes tell"
	case same == 0:
		return true, "none of the addresses that served it before is there any more"
	}
	return false, fmt.Sprintf("every bound address serves what it served before (%d)", same)
}

// recordRehearsal writes a rehearsal down, beside the actions, and tells who listens.
func (r *Remediator) recordRehearsal(a certmedic.Action) error {
	if err := r.o.Rehearsals.Record(a); err != nil {
		return fmt.Errorf("recording the rehearsal of %q: %w", a.Certificate, err)
	}
	if r.o.Rehearsed != nil {
		r.o.Rehearsed(a)
	}
	return nil
}

// rehearsals returns the rehearsals that may have been in flight when certmedic last ended.
func (r *Remediator) rehearsals() ([]certmedic.Action, error) {
	if r.o.Rehearsals == nil {
		return nil, nil
	}
	all, err := r.o.Rehearsals.Actions("", time.Now().Add(-historyFor))
	if err != nil {
		return nil, fmt.Errorf("reading the rehearsals: %w", err)
	}
	return all, nil
}

// resumeRehearsal ends a rehearsal whose commands were waited for. How they ended is not known, so
// that nothing follows from it.
func (r *Remediator) resumeRehearsal(ctx context.Context, a certmedic.Action) error {
	t := &transaction{r: r, action: a, dir: r.runDir(a)}
	stopped := t.afterStop(ctx)
	if ctx.Err() != nil {
		return nil
	}
	a = t.action
	a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: reasonInterrupted, Detail: "certmedic was restarted meanwhile", Evidence: stopped}
	return r.end(ctx, &a)
}
