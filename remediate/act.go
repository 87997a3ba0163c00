package remediate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// Request asks for one action.
type Request struct {
	Certificate string
	Kind        certmedic.ActionKind
	By          string // a rule, or the person who asks
	Why         string
	ByHand      bool                  // a person asks
	Force       bool                  // by hand: act even where nothing needs it
	To          certmedic.Fingerprint // by hand: the version that must be the stored one, or a beginning of it
	Plan        string                // by hand: the hash of the only plan that may be carried out; empty: any
	Version     certmedic.Fingerprint // of a rule: the stored version that it speaks of
}

// Plan says what the request would do now and whether it would be allowed, and does
// nothing.
func (r *Remediator) Plan(ctx context.Context, q Request) (deploy.Plan, guard.Decision, error) {
	c, err := r.consider(ctx, q)
	return c.plan, c.decision, err
}

// Act carries out one action that a person asked for, and returns it as the journal has it.
// A refusal is not an error: it is an action with the outcome refused. Beside Run the action
// goes on when ctx ends, and ends with Run.
func (r *Remediator) Act(ctx context.Context, q Request) (certmedic.Action, error) {
	ctx, end, err := r.begin(ctx)
	if err != nil {
		return certmedic.Action{}, err
	}
	defer end()
	q.ByHand = true
	a, _, err := r.attempt(ctx, q, told{})
	return a, err
}

// considered is a request with a fresh look at what it is about.
type considered struct {
	sight    Sight
	plan     deploy.Plan
	decision guard.Decision
	attempts int
	earlier  *certmedic.Action // the last attempt of the same cure
	loan     rollback.Loan     // of a rollback: what will stand
	trial    bool              // the one that a half-open breaker of the fleet lets through
	asked    guard.Case        // what the guard was asked
	approval approval.Approval // what people said of the plan; without an ID: nothing
	nodes    survey            // how the nodes stand to the version, where there are others than this host
}

// consider looks at the certificate, plans, and asks the guard.
func (r *Remediator) consider(ctx context.Context, q Request) (considered, error) {
	sight, err := r.look(ctx, q.Certificate)
	if err != nil {
		return considered{}, err
	}
	return r.weigh(ctx, q, sight, "")
}

// weigh plans for what was seen, and asks the guard. disagree says where looks did not see the
// same.
func (r *Remediator) weigh(ctx context.Context, q Request, sight Sight, disagree string) (considered, error) {
	plan, untrusted := r.plan(sight, q)
	now := time.Now()
	history, err := r.o.Journal.Actions("", now.Add(-historyFor))
	if err != nil {
		return considered{}, fmt.Errorf("reading the journal: %w", err)
	}
	if leaf, ok := sight.Stored.Leaf(); ok {
		plan.Version = leaf.SHA256 // also of a plan that could not be made
	}
	stands, err := r.loan(q.Certificate)
	if err != nil {
		return considered{}, err
	}
	var lend lending
	if q.Kind == certmedic.ActionRollback {
		lend = r.considerRollback(ctx, q, sight, stands, history)
		plan, untrusted = lend.plan, lend.untrusted
	}
	c := considered{sight: sight, plan: plan, loan: lend.loan}
	if c.nodes, err = r.survey(ctx, q, sight, plan); err != nil {
		return considered{}, err
	}
	c.nodes.narrow(&c.plan)
	if err := r.seal(q, &c); err != nil {
		return considered{}, err
	}
	c.attempts, c.earlier = attempts(tries(history, q.Kind), q.Kind, plan)
	cs := guard.Case{
		Now: now, Certificate: sight.Certificate, Kind: q.Kind, ByHand: q.ByHand, Force: q.Force,
		Stored: sight.Stored, Problems: sight.Problems, Denied: r.denied(sight), Runnable: !plan.Empty() && !c.nodes.idle(plan), Untrusted: untrusted,
		Frozen: r.o.Frozen(), MaxPerHour: r.o.MaxPerHour, ActionsLastHour: actionsSince(history, now.Add(-time.Hour)),
		Attempts: c.attempts, Settles: sight.Since.Add(r.o.Grace),
		ClockDoubt: r.o.ClockDoubt(), Disagree: disagree, Opens: r.o.Windows.Opens(now),
		Relapses: guard.Relapses(history, q.Certificate, plan.Version, now), Failures: guard.Failures(history, q.Certificate, now),
		Blast: r.reach(history, q.Certificate, now), Approval: said(c.approval),
	}
	if c.earlier != nil {
		cs.LastAttempt = c.earlier.EndedAt
	}
	cs.Needed, cs.Bound, cs.ServedDire = need(sight)
	cs.Down = down(sight)
	cs.Needed = cs.Needed || cs.Down != "" && q.Kind == certmedic.ActionRedeploy && undeployed(sight.Certificate)
	cs.ServedNewer = slices.ContainsFunc(sight.Addresses, func(a Served) bool { return a.Bound && a.Newer })
	cs.Rollback, cs.Loan = lend.facts, stands
	if q.Kind == certmedic.ActionRenew {
		cs.Attempts, cs.Renewal = 0, renewal(history, q, sight) // a renewal has a patience of its own
		cs.Renewal.Early = early(plan, sight, now)
	}
	c.nodes.tell(&cs)
	r.leads(&cs)
	cs.Saved = saved(history, q.Certificate, cs.Lead)
	c.trial = cs.Failures.HalfOpen(now) && !q.ByHand
	c.decision, c.asked = guard.Decide(cs), cs
	if q.Kind == certmedic.ActionRenew && c.decision.Allowed() {
		if c.decision, c.plan.Cost = r.affordable(q, sight); c.decision.Allowed() {
			c.decision = r.elsewhere(ctx, q, sight)
		}
	}
	if c.decision.Reason == guard.NothingToRun && c.nodes.idle(plan) {
		c.decision.Detail = fmt.Sprintf("no host of %q needs it: what serves another version is at no address of theirs", q.Certificate)
	}
	if c.decision.Reason == guard.NothingToRun && len(plan.Notes) > 0 {
		c.decision.Detail += ": " + strings.Join(plan.Notes, "; ")
	}
	if leaf, ok := sight.Stored.Leaf(); c.decision.Allowed() && q.To != "" && q.Kind != certmedic.ActionRollback && (!ok || !prefixed(leaf.SHA256, q.To)) {
		c.decision = guard.Decision{Reason: guard.UnsupportedKind, Detail: fmt.Sprintf("version %q is not the stored one; only that can be redeployed", q.To)}
	}
	return c, nil
}

func prefixed(version, beginning certmedic.Fingerprint) bool {
	return len(version) >= len(beginning) && version[:len(beginning)] == beginning
}

// plan makes the plan for an action; the error says why what it would run or install
// cannot be trusted.
func (r *Remediator) plan(s Sight, q Request) (deploy.Plan, error) {
	plan, err, kind := deploy.Plan{}, error(nil), q.Kind
	switch {
	case kind == certmedic.ActionRenew:
		plan, err = r.planRenewal(s, q)
	case len(s.Stored.Chain) == 0, kind == certmedic.ActionRollback: // see [Remediator.considerRollback]
	case len(s.Certificate.Destinations) > 0:
		plan, err = deploy.Steps(s.Certificate.Destinations, s.Stored, r.o.Environ, kind == certmedic.ActionReload)
	case kind == certmedic.ActionRedeploy && s.Certificate.Source.Kind == certmedic.SourceCertbot:
		var hooks []deploy.Hook
		if hooks, err = r.o.Hooks(s.Certificate); err == nil {
			plan, err = deploy.Hooks(s.Stored, hooks, r.o.Environ)
		}
	}
	plan.Certificate = s.Certificate.Name
	return plan, err
}

// denied reports whether the key of the stored version is on the deny list.
func (r *Remediator) denied(s Sight) bool {
	leaf, ok := s.Stored.Leaf()
	return ok && r.o.Denied != nil && r.o.Denied(leaf.SPKISHA256)
}

// need reports whether a bound address serves another version than the stored one, whether
// any address is bound, and whether something that is served is invalid already. A newer
// valid version that is served is no need: installing the stored one would be a step back.
func need(s Sight) (needed, bound, dire bool) {
	leaf, _ := s.Stored.Leaf()
	for _, a := range s.Addresses {
		bound = bound || a.Bound
		needed = needed || a.Bound && a.Leaf != "" && a.Leaf != leaf.SHA256 && (!a.Newer || a.Dire)
		dire = dire || a.Bound && a.Dire
	}
	return needed, bound, dire
}

// undeployed reports whether a destination lacks a file: its service may wait for that to begin.
func undeployed(c certmedic.Certificate) bool {
	for _, d := range c.Destinations {
		for _, f := range d.Files {
			if !d.Local() {
				continue
			}
			if _, err := os.Stat(f.To); errors.Is(err, fs.ErrNotExist) {
				return true
			}
		}
	}
	return false
}

// attempts counts how often the cure of this plan was tried without healing, since it last
// healed or was another one, and returns the last try. History is newest first.
func attempts(history []certmedic.Action, kind certmedic.ActionKind, p deploy.Plan) (n int, last *certmedic.Action) {
	for i := range history {
		a := &history[i]
		if a.Certificate != p.Certificate || !guard.Acted(*a) {
			continue
		}
		if a.Version != p.Version || a.Basis != p.Basis || a.Outcome.Kind == certmedic.OutcomeHealed {
			break
		}
		if a.Kind != kind {
			continue // a reload that did not heal says nothing about a redeploy
		}
		if n++; last == nil {
			last = a
		}
	}
	return n, last
}

func actionsSince(history []certmedic.Action, since time.Time) int {
	n := 0
	for _, a := range history {
		if (guard.Acted(a) || a.Outcome.Kind == certmedic.OutcomeRunning) && a.StartedAt.After(since) {
			n++
		}
	}
	return n
}

// attempt carries out one request if the guard allows it, before and after its turn came.
// A refusal that was told before is not recorded again.
func (r *Remediator) attempt(ctx context.Context, q Request, told told) (certmedic.Action, guard.Decision, error) {
	if err := r.resumeOnce(ctx); err != nil {
		return certmedic.Action{}, guard.Decision{}, err
	}
	if d := r.follows(q); !d.Allowed() {
		return certmedic.Action{}, d, nil
	}
	c, err := r.consider(ctx, q)
	if err != nil {
		return certmedic.Action{}, guard.Decision{}, err
	}
	if !c.decision.Allowed() {
		a, err := r.refuse(q, c, told)
		return a, c.decision, err
	}
	release, err := r.turn(ctx, q.Certificate, c)
	if err != nil {
		return certmedic.Action{}, guard.Decision{}, err
	}
	defer release()
	if c, err = r.reconsider(ctx, q, c.sight); err != nil {
		return certmedic.Action{}, guard.Decision{}, err
	}
	if q.Plan != "" && q.Plan != c.plan.Hash {
		return certmedic.Action{}, guard.Decision{}, fmt.Errorf("%s of %q would do something else by now than what was looked at: nothing was done", q.Kind, q.Certificate)
	}
	if err := r.knock(ctx, q, &c); err != nil {
		return certmedic.Action{}, guard.Decision{}, err
	}
	t := r.transaction(q, c)
	if err := r.prove(ctx, &c, &t.action); err != nil {
		return t.action, guard.Decision{}, err
	}
	if err := r.admit(&c, t.action); err != nil {
		return t.action, guard.Decision{}, err
	}
	if !c.decision.Allowed() {
		a, err := r.refuse(q, c, told)
		return a, c.decision, err
	}
	delete(told, q.Kind)
	a, err := r.carryOut(ctx, t)
	return a, guard.Decision{}, err
}

// turn waits until the action may run beside the others. Trials of the fleet's breaker run one
// after the other, so that the next sees how the last one ended.
func (r *Remediator) turn(ctx context.Context, certificate string, c considered) (release func(), err error) {
	unlock, err := r.locks.acquire(ctx, locksOf(certificate, c))
	if err != nil {
		return nil, err
	}
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		unlock()
		return nil, ctx.Err()
	}
	return func() { <-r.slots; unlock() }, nil
}

// refuse returns the refused action, and records it where it says something new: not the
// patience between two attempts, nor what the owner did not opt in to.
func (r *Remediator) refuse(q Request, c considered, told told) (certmedic.Action, error) {
	a := newAction(q, c)
	a.EndedAt = a.StartedAt
	if leaf, ok := c.sight.Stored.Leaf(); ok {
		a.Version = leaf.SHA256 // also of a rollback, which is for another one
	}
	a.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: string(c.decision.Reason), Detail: c.decision.Detail}
	this := refusal{reason: c.decision.Reason, version: c.plan.Version}
	if err := r.present(q, c, &a, &this); err != nil {
		return a, err
	}
	before := told[q.Kind]
	record := before.recorded != this && (q.ByHand || !quiet(this.reason))
	if (record || before.reason != this.reason) && r.o.Refused != nil {
		r.o.Refused(this.reason)
	}
	if before.reason = this.reason; !record {
		told[q.Kind] = before
		return a, nil
	}
	told[q.Kind] = refused{this.reason, this}
	return a, r.record(a)
}

// quiet reports whether the journal need not have a refusal that a rule's wish met with.
func quiet(reason guard.Reason) bool {
	switch reason {
	case guard.NoNeed, guard.LoanStands, guard.Backoff, guard.Deploying, guard.Settling, guard.ModeObserve, guard.NotLeader, guard.Elsewhere:
		return true
	}
	return false
}

// told is what a worker's last refusals were, by action.
type told map[certmedic.ActionKind]refused

type refused struct {
	reason   guard.Reason // of the last one
	recorded refusal      // the last one that the journal has
}

type refusal struct {
	reason  guard.Reason
	version certmedic.Fingerprint // that is stored
	plan    string                // the ID of the plan that people are shown; empty: they are shown none
}

func newAction(q Request, c considered) certmedic.Action {
	now := time.Now().UTC()
	return certmedic.Action{
		ID: newID(now), Certificate: q.Certificate, Kind: q.Kind, Version: c.plan.Version, Basis: c.plan.Basis,
		By: q.By, Why: q.Why, Attempt: c.attempts + 1, StartedAt: now, Runs: []certmedic.Run{},
	}
}

// newID returns an identifier that sorts by time and serves as a folder's name.
func newID(now time.Time) string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return now.Format("20060102T150405.000") + "-" + hex.EncodeToString(b[:])
}

// record writes the action to the journal and tells who listens.
func (r *Remediator) record(a certmedic.Action) error {
	if a.Kind.Rehearses() {
		return r.recordRehearsal(a)
	}
	if err := r.o.Journal.Record(a); err != nil {
		return fmt.Errorf("journaling %s of %q: %w", a.Kind, a.Certificate, err)
	}
	r.o.Changed(a)
	return nil
}

// transaction returns what would carry out a plan; nothing of it has begun.
func (r *Remediator) transaction(q Request, c considered) *transaction {
	t := &transaction{r: r, action: newAction(q, c), plan: c.plan, before: c.sight, earlier: c.earlier, byHand: q.ByHand, force: q.Force, loan: c.loan, asked: c.asked}
	t.action.Outcome.Kind = certmedic.OutcomeRunning
	t.action.Locks = locksOf(q.Certificate, c)
	if c.approval.State == approval.Approved {
		t.action.Approval, t.action.ApprovedBy = c.approval.ID, c.approval.By
	}
	t.nodes, t.action.Nodes = c.nodes, c.nodes.present(c.sight.Certificate)
	t.dir = r.runDir(t.action)
	return t
}

// carryOut applies a plan whose intent is journaled, verifies and records the outcome.
func (r *Remediator) carryOut(ctx context.Context, t *transaction) (certmedic.Action, error) {
	apply := t.run
	if t.action.Kind == certmedic.ActionRollback {
		apply = t.rollback
	}
	t.action.Outcome = apply(ctx)
	if t.action.Outcome.Kind == certmedic.OutcomeRunning {
		return t.action, ctx.Err() // certmedic ends; the next start verifies what is in flight
	}
	return t.action, r.end(ctx, &t.action)
}

// end records an action that has ended and removes its folder. While that cannot be recorded it is
// tried again, for as long as the daemon runs: until then nothing new begins where the action was at
// work.
func (r *Remediator) end(ctx context.Context, a *certmedic.Action) error {
	a.EndedAt = time.Now().UTC()
	for wait := doze; ; wait = min(2*wait, settle) {
		err := r.record(*a)
		if err == nil {
			return r.clear(*a)
		}
		if !r.running() || ctx.Err() != nil {
			return err
		}
		r.o.Log.Error("an action has ended, which cannot be recorded; it is tried again", "action", a.ID, "err", err)
		pauseFor(ctx, wait)
	}
}

// clear removes the folder of an action that has ended. It stays where the old files are
// not back: it holds the only copy of them.
func (r *Remediator) clear(a certmedic.Action) error {
	if a.Outcome.Kind == certmedic.OutcomeFailed && slices.ContainsFunc(a.Changes, func(c certmedic.Change) bool { return !c.PutBack }) {
		return nil
	}
	if err := errors.Join(os.RemoveAll(r.runDir(a)), deploy.Tidy(a.Changes)); err != nil {
		return fmt.Errorf("clearing up after %s of %q: %w", a.Kind, a.Certificate, err)
	}
	return nil
}

func (r *Remediator) runDir(a certmedic.Action) string { return filepath.Join(r.o.RunDir, a.ID) }
