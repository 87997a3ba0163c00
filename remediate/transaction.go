package remediate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// transaction is one action while it is carried out. Every change of the action is in the
// journal before what it describes happens.
type transaction struct {
	r       *Remediator
	action  certmedic.Action
	plan    deploy.Plan
	before  Sight
	earlier *certmedic.Action // the last attempt of the same cure
	byHand  bool
	force   bool          // a person spends the reserve, too
	loan    rollback.Loan // of a rollback: what will stand
	dir     string        // for output and backups

	prepared bool       // something was made of the new files already
	gaveBack bool       // what was given away was given again as it was before
	asked    guard.Case // what the guard was asked

	nodes    survey               // how the nodes stand to the version, where there are others than this host
	node     string               // the one whose addresses alone are looked at; empty: all
	evidence []certmedic.Evidence // from nodes
	resumed  bool                 // the nodes that are due were begun before a restart, and are only brought to their end
}

// run applies the plan and returns the outcome; running means that certmedic was told to
// end while a command was at work.
func (t *transaction) run(ctx context.Context) certmedic.Outcome {
	if t.action.Kind == certmedic.ActionRenew {
		return t.renew(ctx)
	}
	if len(t.nodes.hosts) > 0 {
		return t.rollOut(ctx)
	}
	return t.install(ctx)
}

// install applies what of the plan is for this host.
func (t *transaction) install(ctx context.Context) certmedic.Outcome {
	installation, err := deploy.Stage(t.plan, filepath.Join(t.dir, "backup"))
	if err != nil {
		return failed("stage", err)
	}
	t.action.Changes = installation.Changes()
	if err := t.r.record(t.action); err != nil {
		return failed("journal", errors.Join(err, installation.Abort()))
	}
	if no := t.enter(ctx, installation); no.Kind != "" {
		return no
	}
	if err := installation.Commit(); err != nil {
		return t.putBack(ctx, failed("install", err), false)
	}
	reloaded, bad := t.commands(ctx)
	if bad == nil && len(t.nodes.hosts) == 0 { // else once the other hosts have it, too
		bad = t.give(ctx)
	}
	if bad != nil && bad.Result == certmedic.RunCancelled {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	window := t.r.o.VerifyTimeout
	if bad != nil {
		if len(t.plan.Files) > 0 || t.gaveAny() {
			return t.putBack(ctx, runFailed(*bad), reloaded)
		}
		window = roundGap
	}
	verified, detail := t.verify(ctx, window)
	if worse, answered := t.answersWorse(ctx, verified); answered {
		if _, _, dire := need(t.before); dire || len(t.plan.Files) == 0 {
			return worse // a service that fails behind a good certificate is better off than one behind a bad one
		}
		return t.putBack(ctx, worse, reloaded)
	}
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
		return runFailed(*bad)
	case t.proven():
		return certmedic.Outcome{Kind: certmedic.OutcomeHealed, Detail: "what got the version shows it; " + detail}
	}
	unseen := certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "not_served", Detail: detail}
	if len(t.plan.Files) > 0 && t.watched() && !t.first() && !t.moved(ctx) {
		return t.putBack(ctx, unseen, reloaded)
	}
	return unseen
}

// commands runs the plan's commands in order. Hooks all run, as certbot runs them; the steps
// of a destination stop at the first that fails. It returns whether a reload was begun, and
// the first command that did not succeed.
func (t *transaction) commands(ctx context.Context) (reloaded bool, bad *certmedic.Run) {
	for _, c := range t.plan.Commands {
		if c.Phase == deploy.PhaseHook && t.ranBefore(c) {
			continue
		}
		reloaded = reloaded || c.Phase == deploy.PhaseReload
		t.prepared = t.prepared || c.Phase == deploy.PhasePrepare
		run := t.command(ctx, c)
		if !run.Succeeded() && bad == nil {
			bad = &run
		}
		if bad != nil && (c.Phase != deploy.PhaseHook || bad.Result == certmedic.RunCancelled) {
			return reloaded, bad
		}
	}
	return reloaded, bad
}

// ranBefore reports whether a hook succeeded in the last attempt, in which another one
// failed: only what failed, or did not run, is run again.
func (t *transaction) ranBefore(c deploy.Command) bool {
	if t.earlier == nil || t.earlier.Outcome.Kind != certmedic.OutcomeFailed {
		return false
	}
	failed := map[string]bool{}
	for _, r := range t.earlier.Runs {
		if !r.Succeeded() {
			failed[r.Name] = true
		}
	}
	return len(failed) > 0 && !failed[c.Name]
}

// request writes what a step of certmedic's own is asked for.
func (t *transaction) request(path string, request []byte) error {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	if err := os.WriteFile(path, request, 0o600); err != nil {
		return fmt.Errorf("writing the request: %w", err)
	}
	return nil
}

// first reports whether nothing was there before: no file that was replaced, and nothing that was
// served. Then there is nothing to go back to, and the service may only now be able to start.
func (t *transaction) first() bool {
	return !slices.ContainsFunc(t.action.Changes, func(c certmedic.Change) bool { return c.Backup != "" || c.LinkBefore != "" }) &&
		!slices.ContainsFunc(t.before.Addresses, func(a Served) bool { return a.Bound && a.Leaf != "" })
}

// watched reports whether any address is bound. Without one a person asked for something that
// nobody can see, and there is no proof that the old files are better.
func (t *transaction) watched() bool {
	return slices.ContainsFunc(t.before.Addresses, func(a Served) bool { return a.Bound })
}

// moved reports whether some bound address serves the new version now and none was lost:
// then the old files are not better.
func (t *transaction) moved(ctx context.Context) bool {
	now, err := t.look(ctx)
	if err != nil {
		return false
	}
	served := map[string]certmedic.Fingerprint{}
	for _, a := range now.Addresses {
		served[a.Address] = a.Leaf
	}
	moved := false
	for _, a := range t.before.Addresses {
		if a.Bound && a.Leaf != "" && served[a.Address] == "" {
			return false
		}
		moved = moved || a.Bound && served[a.Address] == t.action.Version
	}
	return moved
}

// putBack undoes what was done on this host, and then what was given away.
func (t *transaction) putBack(ctx context.Context, because certmedic.Outcome, reloaded bool) certmedic.Outcome {
	if len(t.action.Changes)+len(t.plan.Commands) > 0 {
		return t.giveBack(ctx, t.filesBack(ctx, because, reloaded))
	}
	because.Kind = certmedic.OutcomePutBack
	return t.giveBack(ctx, because)
}

// filesBack restores the old files and, where a reload was begun, makes the services load
// them again and looks whether they serve what they served before.
func (t *transaction) filesBack(ctx context.Context, because certmedic.Outcome, reloaded bool) certmedic.Outcome {
	if err := t.fenced(); err != nil {
		because.Kind, because.Detail = certmedic.OutcomeFailed, because.Detail+"; nothing is put back: "+err.Error()
		return because
	}
	if err := deploy.PutBack(t.action.Changes); err != nil {
		because.Kind, because.Detail = certmedic.OutcomeFailed, because.Detail+"; "+err.Error()
		return because
	}
	for i := range t.action.Changes {
		t.action.Changes[i].PutBack = true
	}
	because.Kind = certmedic.OutcomePutBack
	for _, c := range t.again(reloaded) {
		c.Name += " (put back)"
		run := t.command(ctx, c)
		if run.Result == certmedic.RunCancelled {
			return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
		}
		if !run.Succeeded() {
			because.Kind = certmedic.OutcomeFailed
			because.Detail += "; the old files are back, but " + runFailed(run).Detail
			return because
		}
	}
	if reloaded {
		because.Detail += "; the old files are back" + t.asBefore(ctx)
		return because
	}
	at := t.strayed(ctx)
	if at == "" {
		because.Detail += "; the old files are back, no service had loaded the new ones"
		return because
	}
	because.Detail += "; the old files are back, but " + at + " had begun to serve the new ones by itself" + t.recall(ctx)
	return because
}

// strayed returns an address that serves the new version although nothing was reloaded: some
// services read their files for each process that they start. It is empty where two rounds saw
// none.
func (t *transaction) strayed(ctx context.Context) string {
	at := t.strayedNow(ctx)
	if at == "" && len(t.before.Addresses) > 0 {
		pauseFor(ctx, roundGap)
		at = t.strayedNow(ctx)
	}
	return at
}

func (t *transaction) strayedNow(ctx context.Context) string {
	now, err := t.look(ctx)
	if err != nil {
		return ""
	}
	for _, a := range now.Addresses {
		was := func(b Served) bool { return b.Address == a.Address && b.Leaf == a.Leaf }
		if a.Bound && a.Leaf == t.action.Version && !slices.ContainsFunc(t.before.Addresses, was) {
			return a.Address
		}
	}
	return ""
}

// recall reloads every destination but the one that failed, whose service would not take it,
// and says what came of it.
func (t *transaction) recall(ctx context.Context) string {
	failed := map[string]bool{}
	for _, run := range t.action.Runs {
		failed[destinationOf(run.Name)] = failed[destinationOf(run.Name)] || !run.Succeeded()
	}
	for _, c := range t.plan.Commands {
		if c.Phase != deploy.PhaseReload || failed[destinationOf(c.Name)] {
			continue
		}
		c.Name += " (put back)"
		if run := t.command(ctx, c); !run.Succeeded() {
			return "; " + runFailed(run).Detail
		}
	}
	return "; it was reloaded" + t.asBefore(ctx)
}

// destinationOf returns the destination that a command's name begins with.
func destinationOf(command string) string {
	name, _, _ := strings.Cut(command, ": ")
	return name
}

// asBefore says whether every address serves again what it served before the action.
func (t *transaction) asBefore(ctx context.Context) string {
	if len(t.before.Addresses) == 0 || t.gaveAny() && !t.gaveBack {
		return ""
	}
	pauseFor(ctx, roundGap)
	now, err := t.look(ctx)
	if err != nil {
		return ""
	}
	for _, a := range t.before.Addresses {
		if !slices.ContainsFunc(now.Addresses, func(b Served) bool { return b.Address == a.Address && b.Leaf == a.Leaf }) {
			return ", but " + a.Address + " does not serve what it served before"
		}
	}
	return " and served as before"
}

func failed(reason string, err error) certmedic.Outcome {
	return certmedic.Outcome{Kind: certmedic.OutcomeFailed, Reason: reason, Detail: err.Error()}
}

// runFailed turns a command that did not succeed into an outcome with its evidence: which
// command, how it ended, and the line of its stderr that says most.
func runFailed(run certmedic.Run) certmedic.Outcome {
	how, verb := string(run.Result), "ended with "
	switch run.Result {
	case certmedic.RunExited:
		how = fmt.Sprintf("exit code %d", run.ExitCode)
	case certmedic.RunSignaled:
		how, verb = "killed by "+run.Signal, "was "
	case certmedic.RunTimedOut:
		how, verb = "timed out after "+run.Duration.Round(time.Second).String(), ""
	case certmedic.RunNotStarted:
		how, verb = "not started", "was "
	}
	evidence := []certmedic.Evidence{{Source: run.Name, Line: how}}
	if run.Detail != "" {
		evidence[0].Line += ": " + run.Detail
	}
	if line := tellingLine(run.Stderr); line != "" {
		evidence = append(evidence, certmedic.Evidence{Source: run.Name, Line: line, Output: true})
	}
	return certmedic.Outcome{
		Kind: certmedic.OutcomeFailed, Reason: string(run.Result), Detail: fmt.Sprintf("%q %s%s", run.Name, verb, evidence[0].Line),
		Evidence: evidence,
	}
}

// tellingLine returns the first line by which a service or systemctl calls something an
// error, because summaries and hints follow it; without such a line the last one.
func tellingLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines {
		lower := strings.ToLower(line)
		for _, mark := range []string{"[emerg]", "[alert]", "[crit]", "[error]", "syntax error", "failed because"} {
			if strings.Contains(lower, mark) {
				return strings.TrimSpace(line)
			}
		}
	}
	return strings.TrimSpace(lines[len(lines)-1])
}
