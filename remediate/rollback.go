package remediate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/lineage"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// lending is a rollback that is considered.
type lending struct {
	plan      deploy.Plan
	facts     guard.Rollback
	loan      rollback.Loan // that will stand
	untrusted error         // why what it would run or install cannot be trusted
}

// considerRollback looks for a version to roll back to, where there is a need for one, and plans
// how it gets to where it is served.
func (r *Remediator) considerRollback(ctx context.Context, q Request, s Sight, stands rollback.Loan, history []certmedic.Action) lending {
	l := lending{plan: deploy.Plan{Certificate: q.Certificate}, facts: guard.Rollback{Gone: gone(s), Stuck: r.stuck(s, history)}}
	leaf, stored := s.Stored.Leaf()
	l.plan.Version = leaf.SHA256
	cs := guard.Case{
		Now: time.Now(), Certificate: s.Certificate, Kind: q.Kind, ByHand: q.ByHand, Force: q.Force,
		Stored: s.Stored, Problems: s.Problems, Denied: r.denied(s), Loan: stands, Rollback: l.facts,
	}
	cs.Needed, cs.Bound, cs.ServedDire = need(s)
	if !guard.RollbackNeed(cs).Allowed() {
		return l
	}
	if r.o.Candidates == nil || r.o.Loans == nil {
		l.facts.Rejected = "nobody knows of any"
		return l
	}
	all, err := r.candidates(ctx, q, s)
	if err != nil {
		l.facts.Rejected = err.Error()
		return l
	}
	l.loan = rollback.Loan{Certificate: q.Certificate, Instead: leaf.SHA256, Why: wrong(q, s), Way: r.way(s.Certificate), Count: count(history, q), Pinned: stands.Pinned}
	if !stored {
		l.loan.Instead = direLeaf(s)
	}
	chosen, rejected, ok := rollback.Choose(rollback.Need{
		Now: cs.Now, Names: names(s), Bad: l.loan.Instead, Left: stands.Instead, Dire: cs.ServedDire || l.facts.Gone, Wanted: q.To,
	}, reachable(all, l.loan.Way))
	if !ok {
		l.facts.Rejected = listedReasons(rejected)
		return l
	}
	return r.planRollback(l, s, chosen, rejected, stands)
}

// candidatesFor is how long a rule's wish does with what was found out about older versions, while
// something else stands against it: CAs are asked for that. Right before it acts all is found out anew.
const candidatesFor = 5 * time.Minute

// found is what was found out about the older versions of a certificate.
type found struct {
	at     time.Time
	stored certmedic.Fingerprint
	all    []rollback.Candidate
}

// candidates returns the older versions of a certificate.
func (r *Remediator) candidates(ctx context.Context, q Request, s Sight) ([]rollback.Candidate, error) {
	leaf, _ := s.Stored.Leaf()
	r.mu.Lock()
	before, ok := r.found[q.Certificate]
	r.mu.Unlock()
	if age := time.Since(before.at); ok && !q.ByHand && before.stored == leaf.SHA256 && age >= 0 && age < candidatesFor {
		return before.all, nil
	}
	all, err := r.o.Candidates(ctx, s.Certificate, s.Stored)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found[q.Certificate] = found{time.Now(), leaf.SHA256, all}
	return all, nil
}

// forget has the older versions of a certificate be looked at anew.
func (r *Remediator) forget(certificate string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.found, certificate)
}

// planRollback plans how a version that was chosen gets to where it is served.
func (r *Remediator) planRollback(l lending, s Sight, chosen rollback.Candidate, rejected []rollback.Rejected, stands rollback.Loan) lending {
	now := time.Now().UTC()
	leaf, _ := chosen.Leaf()
	l.facts.Chosen, l.facts.Served = leaf.SHA256, serves(s, leaf.SHA256)
	l.loan.Version, l.loan.NotBefore, l.loan.Since, l.loan.Until = leaf.SHA256, leaf.NotBefore, now, rollback.Deadline(leaf, now)
	if stands.Version == leaf.SHA256 { // it is lent once more, and no longer than it was
		l.loan.Since, l.loan.Until = stands.Since, earlier(stands.Until, l.loan.Until)
	}
	pin := l.loan.Way == rollback.WayPinned || l.loan.Way == rollback.WayAppend && l.loan.Count > 1
	l.loan.Pinned = l.loan.Pinned || pin
	l.plan, l.untrusted = r.rollbackPlan(s.Certificate, chosen, l.loan, pin && l.loan.Pinned, stands.Pinned)
	l.plan.Certificate, l.plan.Version = s.Certificate.Name, leaf.SHA256
	if l.loan.Way != rollback.WayAuto {
		l.plan.Notes = append(l.plan.Notes, fmt.Sprintf("%s is rolled back to, issued %s, from the %s; the way is %s", leaf.SHA256.Short(), day(leaf.NotBefore), chosen.Origin, l.loan.Way))
		l.plan.Notes = append(l.plan.Notes, fmt.Sprintf("it is a loan, until %s at the latest", day(l.loan.Until)))
	}
	for _, no := range rejected {
		l.plan.Notes = append(l.plan.Notes, "not rolled back to: "+no.String())
	}
	return l
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// rollbackPlan is the plan itself. An empty one says in its notes why there is no way.
func (r *Remediator) rollbackPlan(c certmedic.Certificate, chosen rollback.Candidate, l rollback.Loan, pin, pinned bool) (deploy.Plan, error) {
	switch l.Way {
	case rollback.WayDeployPath:
		return deploy.Steps(c.Destinations, chosen.Stored, r.o.Environ, false)
	case rollback.WayAppend, rollback.WayPinned:
		return r.lineagePlan(c, chosen, l.Way, pin, pinned)
	}
	return deploy.Plan{Notes: []string{"it has no deploy steps that install files, and its source is no lineage of certbot"}}, nil
}

// lineagePlan plans a change of a lineage and what makes services load it. Where certbot is to be
// kept from renewing, and is not yet, that is part of it.
func (r *Remediator) lineagePlan(c certmedic.Certificate, chosen rollback.Candidate, way rollback.Way, pin, pinned bool) (deploy.Plan, error) {
	place, err := r.o.Place(c)
	if err != nil {
		return deploy.Plan{}, err
	}
	leaf, _ := chosen.Leaf()
	lent := certmedic.Stored{Chain: chosen.Stored.Chain, Names: chosen.Stored.Names, Files: certmedic.StoredFiles{Cert: place.Live + "/cert.pem"}}
	plan, err := r.loading(c, lent)
	if err != nil {
		return deploy.Plan{}, err
	}
	if len(plan.Elsewhere) > 0 {
		return deploy.Plan{Notes: []string{"it has destinations on other hosts, which a change of the lineage does not bring it to: the way deploy-path does"}}, nil
	}
	if plan.Empty() {
		plan.Notes = append(plan.Notes, "it has no deploy hook or step that would make a service load the version")
		return plan, nil
	}
	var steps []lineage.Request
	if way == rollback.WayAppend {
		steps = append(steps, lineage.Request{Do: lineage.Append, Place: place, Files: chosen.Stored.Files, Version: leaf.SHA256})
	}
	switch {
	case way == rollback.WayPinned:
		steps = append(steps, lineage.Request{Do: lineage.Pin, Place: place, Version: leaf.SHA256})
	case pin && !pinned:
		steps = append(steps, lineage.Request{Do: lineage.Pin, Place: place})
	}
	commands, err := r.lineageSteps(steps)
	plan.Commands = append(commands, plan.Commands...)
	plan.Basis += "/" + string(way)
	plan.Verify = fmt.Sprintf("every bound address serves %s, in two rounds one second apart; else the lineage is as it was before", leaf.SHA256.Short())
	return plan, err
}

// loading plans what makes services load what the links of a lineage lead to: its deploy steps, none
// of which installs a file, or else certbot's hooks.
func (r *Remediator) loading(c certmedic.Certificate, stored certmedic.Stored) (deploy.Plan, error) {
	if len(c.Destinations) > 0 {
		plan, err := deploy.Steps(c.Destinations, stored, r.o.Environ, true)
		plan.Locks = append(plan.Locks, deploy.LockHooks) // as whatever needs certbot's locks
		return plan, err
	}
	hooks, err := r.o.Hooks(c)
	if err != nil {
		return deploy.Plan{}, err
	}
	return deploy.Hooks(stored, hooks, r.o.Environ)
}

// lineageSteps makes commands of requests.
func (r *Remediator) lineageSteps(steps []lineage.Request) ([]deploy.Command, error) {
	commands := make([]deploy.Command, 0, len(steps))
	for _, q := range steps {
		data, err := json.Marshal(q)
		if err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
		commands = append(commands, deploy.Command{
			Name: stepName(q.Do), Phase: deploy.PhaseSource, Argv: []string{r.o.Self, "step", "lineage"}, Env: r.o.Environ, Request: data,
		})
	}
	return commands, nil
}

// stepPrefix begins the names of the steps that change a lineage.
const stepPrefix = "lineage: "

func stepName(do lineage.Do) string { return stepPrefix + string(do) }

// way returns how a certificate is rolled back; auto where there is no way.
func (r *Remediator) way(c certmedic.Certificate) rollback.Way {
	way := rollback.WayAuto
	if r.o.RollbackWay != nil {
		way = r.o.RollbackWay(c)
	}
	installs := slices.ContainsFunc(c.Destinations, func(d certmedic.Destination) bool { return len(d.Files) > 0 || d.Push.Some() })
	switch {
	case way == rollback.WayDeployPath && !installs, way != rollback.WayDeployPath && way != rollback.WayAuto && c.Source.Kind != certmedic.SourceCertbot:
		return rollback.WayAuto
	case way != rollback.WayAuto:
		return way
	case installs:
		return rollback.WayDeployPath
	case c.Source.Kind == certmedic.SourceCertbot:
		return rollback.WayAppend
	}
	return rollback.WayAuto
}

// reachable returns the candidates that a way can lead to: links of certbot's lead to versions in
// its archive alone.
func reachable(all []rollback.Candidate, way rollback.Way) []rollback.Candidate {
	if way != rollback.WayPinned {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(c rollback.Candidate) bool { return c.Origin != rollback.FromArchive })
}

// names returns the names that a version has to be for: those that clients ask the certificate's
// endpoints for, and those of the stored version, unless that is not for the former either: then
// it may be somebody else's.
func names(s Sight) []string {
	var asked []string
	for _, ep := range s.Certificate.Endpoints {
		name := ep.ServerName
		if name == "" {
			name, _, _ = net.SplitHostPort(ep.Address)
		}
		if net.ParseIP(name) == nil && name != "localhost" && name != "" && !slices.Contains(asked, name) {
			asked = append(asked, name)
		}
	}
	if certmedic.HasFinding(s.Problems, certmedic.NameMismatch) && len(asked) > 0 {
		return asked
	}
	for _, name := range s.Stored.Names {
		if !slices.Contains(asked, name) {
			asked = append(asked, name)
		}
	}
	return asked
}

// wrong says what is wrong with the version that is left.
func wrong(q Request, s Sight) string {
	if q.ByHand && len(s.Problems) > 0 {
		return string(s.Problems[0].Code) + ": " + s.Problems[0].Detail
	}
	return q.Why
}

// count returns the how manieth rollback for one cause it is, within 30 days: the cause is the
// rule that asks. What a person asks for is the first of its cause, as somebody looks into it.
func count(history []certmedic.Action, q Request) int {
	n := 1
	for _, a := range history {
		if !q.ByHand && a.Certificate == q.Certificate && a.By == q.By && lent(a) {
			n++
		}
	}
	return n
}

// lent reports whether an action in the journal is a rollback that healed, and not the end of one.
func lent(a certmedic.Action) bool {
	return a.Kind == certmedic.ActionRollback && a.Basis != basisReturn && a.Outcome.Kind == certmedic.OutcomeHealed
}

// listedReasons says why each version was rejected.
func listedReasons(rejected []rollback.Rejected) string {
	if len(rejected) == 0 {
		return "no older version is kept"
	}
	all := make([]string, 0, len(rejected))
	for _, no := range rejected {
		all = append(all, no.String())
	}
	return strings.Join(all, "; ")
}

// gone reports whether addresses are bound, and none of them presents anything.
func gone(s Sight) bool {
	bound := false
	for _, a := range s.Addresses {
		if a.Bound && a.Leaf != "" {
			return false
		}
		bound = bound || a.Bound
	}
	return bound
}

// serves reports whether every bound address serves a version.
func serves(s Sight, version certmedic.Fingerprint) bool {
	bound := false
	for _, a := range s.Addresses {
		if a.Bound && a.Leaf != version {
			return false
		}
		bound = bound || a.Bound
	}
	return bound
}

// direLeaf returns an invalid version that is served.
func direLeaf(s Sight) certmedic.Fingerprint {
	for _, a := range s.Addresses {
		if a.Bound && a.Dire {
			return a.Leaf
		}
	}
	return ""
}

// stuck reports whether having the stored version served was tried until it was given up, or
// cannot be tried.
func (r *Remediator) stuck(s Sight, history []certmedic.Action) bool {
	leaf, ok := s.Stored.Leaf()
	if !ok {
		return true
	}
	plan, err := r.plan(s, Request{Certificate: s.Certificate.Name, Kind: certmedic.ActionRedeploy})
	plan.Version = leaf.SHA256
	tried, _ := attempts(history, certmedic.ActionRedeploy, plan)
	return err != nil || plan.Empty() || tried >= guard.MaxAttempts
}

// tries returns what counts as a try of an action. Of a rollback only rollbacks do: all others are
// for another version, and say nothing about it.
func tries(history []certmedic.Action, kind certmedic.ActionKind) []certmedic.Action {
	if kind != certmedic.ActionRollback {
		return history
	}
	return slices.DeleteFunc(slices.Clone(history), func(a certmedic.Action) bool { return a.Kind != kind || a.Basis == basisReturn })
}

// rollback has an older version served, by the way of the loan, and keeps the loan where that is
// seen.
func (t *transaction) rollback(ctx context.Context) certmedic.Outcome {
	if err := t.prepare(); err != nil {
		return failed("prepare", err)
	}
	t.earlier = nil // what was put back has to be done again, all of it
	if t.loan.Way == rollback.WayDeployPath {
		o := t.run(ctx) // before the action is looked at
		return t.r.settle(t.action, t.loan, o)
	}
	return t.r.settle(t.action, t.loan, t.lend(ctx))
}

// lend changes the lineage, runs its hooks, and looks. What does not come to be served is taken
// back.
func (t *transaction) lend(ctx context.Context) certmedic.Outcome {
	if err := t.still(ctx); err != nil {
		return notLed(err)
	}
	_, bad := t.commands(ctx)
	switch {
	case bad != nil && bad.Result == certmedic.RunCancelled:
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	case bad != nil && strings.HasPrefix(bad.Name, stepPrefix):
		return t.takeBack(ctx, runFailed(*bad))
	}
	window := t.r.o.VerifyTimeout
	if bad != nil {
		window = roundGap
	}
	verified, detail := t.verify(ctx, window)
	switch {
	case ctx.Err() != nil:
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	case verified && bad != nil:
		healed := runFailed(*bad)
		healed.Kind, healed.Detail = certmedic.OutcomeHealed, "served everywhere, although "+healed.Detail
		return healed
	case verified:
		return certmedic.Outcome{Kind: certmedic.OutcomeHealed, Detail: detail}
	case bad != nil:
		return t.takeBack(ctx, runFailed(*bad))
	}
	return t.takeBack(ctx, certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "not_served", Detail: detail})
}

// takeBack has the lineage be as it was, and, where a hook had run, its services load that.
func (t *transaction) takeBack(ctx context.Context, because certmedic.Outcome) certmedic.Outcome {
	loaded := slices.ContainsFunc(t.action.Runs, func(run certmedic.Run) bool { return !strings.HasPrefix(run.Name, stepPrefix) && run.PID != 0 })
	if bad := t.undo(ctx); bad != nil {
		return t.notBack(because, *bad, "the lineage is not as it was")
	}
	because.Kind = certmedic.OutcomePutBack
	if !loaded {
		because.Detail += "; the lineage is as it was, no service had loaded it"
		return because
	}
	commands, err := t.loading(ctx)
	if err != nil {
		because.Kind, because.Detail = certmedic.OutcomeFailed, because.Detail+"; the lineage is as it was, but no service is made to load that: "+err.Error()
		return because
	}
	for _, c := range commands {
		c.Name += " (put back)"
		if run := t.command(ctx, c); !run.Succeeded() {
			return t.notBack(because, run, "the lineage is as it was")
		}
	}
	because.Detail += "; the lineage is as it was" + t.asBefore(ctx)
	return because
}

// notBack is the outcome where a step or hook of taking back did not succeed.
func (t *transaction) notBack(because certmedic.Outcome, bad certmedic.Run, how string) certmedic.Outcome {
	if bad.Result == certmedic.RunCancelled {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	because.Kind, because.Detail = certmedic.OutcomeFailed, because.Detail+"; "+how+", but "+runFailed(bad).Detail
	return because
}

// How often it is tried to take back a step, and how far apart. While certbot holds its locks it is
// tried on: nobody else would ever let it renew again.
const (
	undoTries = 5
	undoGap   = 2 * time.Second
)

// undo takes back the steps that changed the lineage, the last one first. It returns the one that
// did not succeed, nil where all did. It may wait for certbot for as long as ctx lives; the next
// start goes on with that.
func (t *transaction) undo(ctx context.Context) *certmedic.Run {
	for _, run := range slices.Backward(slices.Clone(t.action.Runs)) {
		request, ok := t.undoing(run)
		if !ok {
			continue
		}
		commands, err := t.r.lineageSteps([]lineage.Request{request})
		if err != nil {
			return &certmedic.Run{Name: stepName(request.Do), Result: certmedic.RunNotStarted, Detail: err.Error()}
		}
		if last := t.undoOne(ctx, commands[0]); !last.Succeeded() {
			return &last
		}
	}
	return nil
}

// undoOne takes back one step.
func (t *transaction) undoOne(ctx context.Context, c deploy.Command) certmedic.Run {
	at := len(t.action.Runs)
	for try := 1; ; try++ {
		run := t.command(ctx, c)
		held := run.Result == certmedic.RunExited && run.ExitCode == lineage.ExitHeld
		if run.Succeeded() || run.Result == certmedic.RunCancelled || try >= undoTries && !held {
			return run
		}
		if try == undoTries {
			t.r.o.Log.Warn("a rollback cannot be taken back before certbot is done", "action", t.action.ID, "certificate", t.action.Certificate)
		}
		pauseFor(ctx, min(time.Duration(try)*undoGap, settle))
		t.action.Runs = t.action.Runs[:at] // the journal has the last try
	}
}

// undoing returns what takes a step back, as the request says that the step was given.
func (t *transaction) undoing(run certmedic.Run) (q lineage.Request, ok bool) {
	if !strings.HasPrefix(run.Name, stepPrefix) || run.PID == 0 || len(run.Argv) == 0 {
		return q, false
	}
	data, err := readSmall(run.Argv[len(run.Argv)-1])
	if err := errors.Join(err, json.Unmarshal(data, &q)); err != nil {
		return q, false
	}
	switch q.Do {
	case lineage.Append:
		q.Do = lineage.Retract
	case lineage.Pin:
		q.Do = lineage.Unpin
	default:
		return q, false
	}
	return q, true
}

// loading plans what makes services load what is stored now.
func (t *transaction) loading(ctx context.Context) ([]deploy.Command, error) {
	sight, err := t.r.o.Look(ctx, t.action.Certificate)
	if err != nil {
		return nil, err
	}
	plan, err := t.r.loading(sight.Certificate, sight.Stored)
	return plan.Commands, err
}

// verify looks whether the version of the action is served. By the deploy steps of a rollback
// another version than the stored one is to be served.
func (t *transaction) verify(ctx context.Context, window time.Duration) (ok bool, detail string) {
	beside := t.action.Kind == certmedic.ActionRollback && t.loan.Way == rollback.WayDeployPath
	return t.r.verifyThat(ctx, expected{t.action.Certificate, t.action.Version, beside, t.node}, window)
}

// resumeRollback ends a rollback that was in flight: where the version is served everywhere it
// stands, else everything is as it was before.
func (r *Remediator) resumeRollback(ctx context.Context, a certmedic.Action) error {
	t := &transaction{r: r, action: a, dir: r.runDir(a)}
	interrupted := certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: reasonInterrupted, Detail: "certmedic was restarted meanwhile"}
	loan, err := readLoan(t.dir)
	if err != nil || a.Basis == basisReturn { // nothing was begun, or the loan stands and its end is tried again
		t.action.Outcome = interrupted
		return r.end(ctx, &t.action)
	}
	t.loan = loan
	if loan.Way == rollback.WayDeployPath && rolled(a) {
		t.action.Outcome = r.settle(t.action, loan, r.resumeNodes(ctx, t))
		if t.action.Outcome.Kind == certmedic.OutcomeRunning {
			return nil
		}
		return r.end(ctx, &t.action)
	}
	if loan.Way == rollback.WayDeployPath {
		r.sweep(ctx, a)
	}
	verified, detail := t.verify(ctx, roundGap)
	interrupted.Detail += "; " + detail
	switch {
	case ctx.Err() != nil:
		return nil
	case verified && deploy.Installed(a.Changes) && t.ranSteps() && (loan.Way != rollback.WayDeployPath || r.gaveAll(ctx, a)):
		t.action.Outcome = certmedic.Outcome{Kind: certmedic.OutcomeHealed, Reason: reasonInterrupted, Detail: interrupted.Detail}
	case len(a.Changes) > 0 || t.gaveAny():
		t.action.Outcome = r.revert(ctx, &t.action, detail)
	case len(a.Runs) > 0:
		t.action.Outcome = t.takeBack(ctx, interrupted)
	default:
		t.action.Outcome = interrupted
	}
	t.action.Outcome = r.settle(t.action, loan, t.action.Outcome)
	if t.action.Outcome.Kind == certmedic.OutcomeRunning {
		return nil
	}
	return r.end(ctx, &t.action)
}

// ranSteps reports whether every step was begun that the loan is made of.
func (t *transaction) ranSteps() bool {
	began := func(do lineage.Do) bool {
		return slices.ContainsFunc(t.action.Runs, func(run certmedic.Run) bool { return run.Name == stepName(do) && run.PID != 0 })
	}
	switch t.loan.Way {
	case rollback.WayAppend:
		return began(lineage.Append) && (!t.loan.Pinned || t.wasPinned() || began(lineage.Pin))
	case rollback.WayPinned:
		return began(lineage.Pin)
	}
	return len(t.action.Changes) > 0 || t.gaveAny()
}

// wasPinned reports whether an earlier loan keeps certbot from renewing.
func (t *transaction) wasPinned() bool {
	stands, err := t.r.loan(t.action.Certificate)
	return err == nil && stands.Pinned
}
