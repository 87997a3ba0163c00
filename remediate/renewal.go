package remediate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/lineage"
	"github.com/certmedic/certmedic/remediate/renew"
)

// Ledger knows what was spent of the CAs' limits. What it was told is on disk when Take or Spend
// returns. Take is Ask and, where the order may be placed, Spend for it, with nobody in between.
type Ledger interface {
	Ask(now time.Time, o ledger.Order) ledger.Decision
	Take(now time.Time, o ledger.Order) (ledger.Decision, error)
	Spend(e ledger.Entry) error
}

// The reasons of renewals that did not heal, beside those of the command itself and of
// [renew.Explain].
const (
	reasonStoredNotServed = "stored_not_served" // a new version is stored; having it served is the turn of a redeploy
	reasonNoNewVersion    = "no_new_version"    // the command claims to have succeeded
	reasonBadVersion      = "bad_version"       // what is stored now is no better
)

// renewTimeout is the least time that a renewal may take: it waits for its CA, for DNS, and
// for all its hooks, and ending it half-way leaves what its pre-hook stopped.
const renewTimeout = 30 * time.Minute

// renewRest is the longest time that no rule asks again after a CA has issued a version.
const renewRest = 24 * time.Hour

// renewal tells what the guard has to know about a renewal.
func renewal(history []certmedic.Action, q Request, s Sight) guard.Renewal {
	leaf, stands := s.Stored.Leaf()
	g := guard.Renewal{Asked: q.Version == leaf.SHA256, Ours: s.Certificate.Source.Kind == certmedic.SourceACME}
	g.First = g.Ours && !stands && len(s.Stored.Findings) == 0
	g.Rests, g.Failed = rests(history, q.Certificate, leaf.Lifetime())
	return g
}

// early reports whether a renewal is an order of certmedic's own, for a version of which more is
// left than CAs suggest: a third of its life, or half of one below ten days.
func early(p deploy.Plan, s Sight, now time.Time) bool {
	leaf, ok := s.Stored.Leaf()
	own := slices.ContainsFunc(p.Commands, func(c deploy.Command) bool { return c.Phase == deploy.PhaseRenew && len(c.Request) > 0 })
	share := 0.36
	if leaf.Lifetime() < 10*24*time.Hour {
		share = 0.54
	}
	return ok && own && leaf.RemainingRatio(now) > share
}

// rests returns until when no rule has a certificate renewed, and how many renewals in a row
// left nothing new. History is newest first.
func rests(history []certmedic.Action, certificate string, life time.Duration) (until time.Time, failed int) {
	var last *certmedic.Action
	for i := range history {
		a := &history[i]
		if a.Certificate != certificate || a.Kind != certmedic.ActionRenew || !guard.Acted(*a) {
			continue
		}
		if issued(*a) {
			if last == nil {
				return earlier(a.EndedAt, time.Now()).Add(min(renewRest, life/3)), 0
			}
			break
		}
		if failed++; last == nil {
			last = a
		}
	}
	if last == nil {
		return time.Time{}, 0
	}
	return earlier(last.EndedAt, time.Now()).Add(ledger.Pause(failed, random(last.ID))), failed
}

// earlier returns the earlier of two times: what the journal has from a clock that was ahead
// must not hold back for longer than it would have.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// issued reports whether a renewal left a new version.
func issued(a certmedic.Action) bool {
	return a.Outcome.Kind == certmedic.OutcomeHealed || a.Outcome.Reason == reasonStoredNotServed
}

// random is a source that says the same for the same action after a restart.
func random(id string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return rand.New(rand.NewPCG(h.Sum64(), 0))
}

// how says what certbot cannot know: that a version is out although its dates are good, by its key
// or by its CA. Other problems, such as a chain that is not trusted here, would come back with the
// next version. What its owner switched off stays off, unless a person forces it; what a rollback
// switched off is certmedic's own to renew.
func (r *Remediator) how(s Sight, way renew.Way, force bool) renew.How {
	denied := r.denied(s)
	out := denied || certmedic.HasFinding(s.Problems, certmedic.Revoked)
	off := way.Certbot != nil && way.Certbot.Off
	_, pinned, _ := lineage.Pinned(r.pinDir(s.Certificate.Name)) // in doubt it is its owner's
	return renew.How{Force: force || pinned || out && !off, NewKey: denied}
}

// planRenewal plans a renewal. The error says that what it would run cannot be trusted.
func (r *Remediator) planRenewal(s Sight, q Request) (deploy.Plan, error) {
	way, err := r.o.Renewal(s.Certificate)
	var plan deploy.Plan
	switch {
	case errors.Is(err, renew.ErrNoWay):
	case err != nil:
		return deploy.Plan{}, err
	case way.ACME != nil:
		plan, err = r.planACME(*way.ACME, s, q.ByHand)
	case len(s.Stored.Chain) > 0:
		plan, err = renew.Plan(way, r.o.Environ, r.how(s, way, q.Force))
	}
	if errors.Is(err, renew.ErrNoWay) {
		return deploy.Plan{Notes: []string{err.Error()}}, nil
	}
	return plan, err
}

// timeout returns the most time that a command of an action may take.
func (r *Remediator) timeout(kind certmedic.ActionKind) time.Duration {
	if kind == certmedic.ActionRenew || kind == certmedic.RehearseRenewal {
		return max(r.o.CommandTimeout, renewTimeout)
	}
	return r.o.CommandTimeout
}

// order is what a renewal of a certificate asks its CA for.
func (r *Remediator) order(s Sight, byHand bool) ledger.Order {
	leaf, _ := s.Stored.Leaf()
	o := ledger.Order{
		Directory: s.Stored.Directory, Names: slices.Concat(leaf.DNSNames, leaf.IPAddresses), Exempt: ledger.ExemptRenewal,
		By: ledger.ByCertmedic, Expires: leaf.NotAfter, Issued: s.Stored.Issued,
	}
	if byHand {
		o.By = ledger.ByPerson
	}
	if _, _, dire := need(s); dire {
		o.Expires = leaf.NotBefore // what is served is as good as ended
	}
	return r.atCA(s, o)
}

// affordable asks the ledger whether a renewal may be ordered now, and says what it costs. The
// reserve is for people who say that they want to spend it.
func (r *Remediator) affordable(q Request, s Sight) (d guard.Decision, cost string) {
	if r.o.Ledger == nil {
		return guard.Decision{}, "an order; no limits of its CA are known"
	}
	o := r.order(s, q.ByHand)
	o.Keep = !q.Force
	answer := r.o.Ledger.Ask(time.Now(), o)
	return refusedBy(answer, q.ByHand), costOf(answer.Balance)
}

// refusedBy returns a ledger's answer as a guard's.
func refusedBy(answer ledger.Decision, byHand bool) guard.Decision {
	d := guard.Decision{Reason: guard.RateLimited, Detail: answer.Detail, Retry: answer.Retry}
	switch {
	case answer.Allowed():
		return guard.Decision{}
	case answer.Reason == ledger.Backoff:
		d.Reason = guard.Backoff
	case answer.Reason == ledger.Reserved && byHand:
		d.Detail += "; by hand, --force spends it"
	}
	return d
}

// costOf says what an order costs, by the limit of which least is left.
func costOf(balance []ledger.Remaining) string {
	if len(balance) == 0 {
		return "an order; no limits of its CA are known"
	}
	least := slices.MinFunc(balance, func(a, b ledger.Remaining) int { return int(a.Left - b.Left) })
	return fmt.Sprintf("an order and a certificate; %d are left of %s for %q", least.Left, least.Limit, least.Key)
}

// spend writes down what a renewal spends, or how it ended. Without a ledger there is nothing
// to write.
func (r *Remediator) spend(kind ledger.Kind, o ledger.Order, with func(*ledger.Entry)) error {
	if r.o.Ledger == nil {
		return nil
	}
	e := ledger.Entry{Time: time.Now(), Kind: kind, Directory: o.Directory, Account: o.Account, Names: o.Names, Exempt: o.Exempt, By: o.By}
	if with != nil {
		with(&e)
	}
	return r.o.Ledger.Spend(e)
}

// judged is what is known of a renewal that has ended, besides its action.
type judged struct {
	before certmedic.CertFacts // of the version before, maybe its fingerprint alone, or nothing
	order  *ledger.Order       // as it was placed; nil: as one would be placed now
	window time.Duration       // to become visible in
}

// renew has a new version issued, and judges by what is stored and served afterwards. The
// order is written down before it can be placed. What stands around it in the plan is run
// before and, whatever came of that, after it.
func (t *transaction) renew(ctx context.Context) certmedic.Outcome {
	o := t.r.order(t.before, t.byHand)
	o.Keep = !t.force
	stopped := t.ordered(ctx, o)
	if stopped.Kind == certmedic.OutcomeRunning {
		return stopped
	}
	if !t.afterKill(ctx) {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	revived := t.afterStop(ctx)
	after := t.after(ctx)
	switch {
	case after == nil:
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	case stopped.Kind != "":
		return also(stopped, *after)
	}
	leaf, _ := t.before.Stored.Leaf()
	known := judged{before: leaf, window: t.window()}
	if o.Account != "" { // else the order is certbot's or a command's, who choose its names
		known.order = &o
	}
	outcome := also(t.r.renewed(ctx, &t.action, known), *after)
	outcome.Evidence = append(outcome.Evidence, revived...)
	return outcome
}

// renewed judges a renewal that has ended: by the version that is stored now, never by an exit
// code.
func (r *Remediator) renewed(ctx context.Context, a *certmedic.Action, known judged) certmedic.Outcome {
	sight, err := r.o.Look(ctx, a.Certificate)
	if ctx.Err() != nil {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	if err != nil {
		return failed("look", err)
	}
	leaf, ok := sight.Stored.Leaf()
	run := renew.Ordered(a.Runs)
	if known.order == nil {
		known.order = new(r.order(sight, false))
	}
	if !ok || leaf.SHA256 == a.Version {
		return r.notRenewed(*known.order, run)
	}
	if err := r.spend(ledger.KindCertificate, asTaken(*known.order, run), func(e *ledger.Entry) { e.Version = leaf.SHA256 }); err != nil {
		r.o.Log.Error("ledger", "action", a.ID, "err", err)
	}
	if r.denied(sight) {
		detail := fmt.Sprintf("the new version %s has a key that is denied: have the next one made with a new key", leaf.SHA256.Short())
		return certmedic.Outcome{Kind: certmedic.OutcomeFailed, Reason: reasonBadVersion, Detail: detail, Evidence: explained(run)}
	}
	if why := noBetter(sight, leaf, known.before); why != "" {
		return certmedic.Outcome{Kind: certmedic.OutcomeFailed, Reason: reasonBadVersion, Detail: why, Evidence: explained(run)}
	}
	return r.renewedTo(ctx, a.Certificate, leaf, run, known.window)
}

// noBetter says why what is stored after a renewal is not what it was for; empty where it is.
func noBetter(s Sight, leaf, before certmedic.CertFacts) string {
	switch {
	case len(s.Problems) > 0:
		return fmt.Sprintf("the new version %s has a problem: %s: %s", leaf.SHA256.Short(), s.Problems[0].Code, s.Problems[0].Detail)
	case !leaf.NotBefore.After(before.NotBefore) && !leaf.NotAfter.After(before.NotAfter):
		return fmt.Sprintf("another version, %s, is stored, which is not newer", leaf.SHA256.Short())
	}
	return ""
}

// renewedTo looks whether a new version is served. Where it is not, that is drift, which has
// cheaper remedies.
func (r *Remediator) renewedTo(ctx context.Context, certificate string, leaf certmedic.CertFacts, run certmedic.Run, window time.Duration) certmedic.Outcome {
	verified, detail := r.verify(ctx, certificate, leaf.SHA256, window)
	if ctx.Err() != nil {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	o := certmedic.Outcome{Kind: certmedic.OutcomeHealed, Detail: fmt.Sprintf("version %s is stored; %s", leaf.SHA256.Short(), detail)}
	if !verified {
		o.Kind, o.Reason = certmedic.OutcomeUnverified, reasonStoredNotServed
	}
	if !run.Succeeded() {
		o.Evidence = explained(run)
	}
	return o
}

// notRenewed says why a renewal left nothing new, and remembers that.
func (r *Remediator) notRenewed(o ledger.Order, run certmedic.Run) certmedic.Outcome {
	why := renew.Explain(run)
	kind := ledger.KindFailure
	if why.Reason == renew.ChallengeFailed {
		kind = ledger.KindFailedValidation
	}
	var err error
	if why.Version != "" { // it was issued all the same
		err = r.spend(ledger.KindCertificate, asTaken(o, run), func(e *ledger.Entry) { e.Version = why.Version })
	}
	err = errors.Join(err, r.spend(kind, o, func(e *ledger.Entry) { e.Failed = why.Failed }))
	if err == nil && (why.Until.After(time.Now()) || why.Reason == renew.Paused) {
		err = r.spend(ledger.KindPause, o, func(e *ledger.Entry) { e.Until, e.Detail = why.Until, "as it answered to "+run.Name+quoted(why) })
	}
	if err != nil {
		r.o.Log.Error("ledger", "err", err)
	}
	outcome := certmedic.Outcome{
		Kind: certmedic.OutcomeFailed, Reason: reasonNoNewVersion,
		Detail: fmt.Sprintf("%q ended with exit code 0, but no new version is stored", run.Name), Evidence: explained(run),
	}
	if !run.Succeeded() {
		ended := runFailed(run)
		outcome.Reason, outcome.Detail = ended.Reason, "no new version is stored: "+ended.Detail
	}
	if why.Reason != renew.Unknown {
		outcome.Reason = string(why.Reason)
	}
	return outcome
}

// quoted quotes what a CA that wants to be left alone said first. Where a pause is ended is in the
// evidence alone: the URL holds a token, and what the ledger says is shown to everybody.
func quoted(why renew.Explanation) string {
	if len(why.Lines) == 0 {
		return ""
	}
	return ": " + redact.Text(why.Lines[0])
}

// explained is the evidence that a renewal leaves: how its command ended, and what that said.
func explained(run certmedic.Run) []certmedic.Evidence {
	why := renew.Explain(run)
	if len(why.Lines) == 0 && !run.Succeeded() {
		return runFailed(run).Evidence
	}
	evidence := runFailed(run).Evidence[:1]
	for _, line := range why.Lines {
		evidence = append(evidence, certmedic.Evidence{Source: run.Name, Line: line, Output: true})
	}
	return evidence
}
