package remediate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/remote"
	"github.com/certmedic/certmedic/remediate/remote/session"
)

// visit is a node that is worked on, over one connection. What it opens on the host it also ends, or
// leaves for the next visit where the connection ends.
type visit struct {
	t       *transaction
	node    string
	session *session.Session
	open    []*remote.Deployment // in the order in which they were begun
	result  nodeResult
	before  []Served // what the node served
}

// onHost brings the version to another host: all of its destinations there, then the proof by new
// handshakes with that very host, and everything back as it was where that fails. It shares nothing
// with the others that are at work, but reads the transaction.
func (t *transaction) onHost(ctx context.Context, node string) nodeResult {
	v := &visit{t: t, node: node, result: nodeResult{node: node}, before: t.before.at(node)}
	release, err := t.r.locks.acquire(ctx, hostLocks(node, t.plan.Elsewhere))
	if err != nil {
		return v.ends(certmedic.NodeRunning, "certmedic ended meanwhile")
	}
	defer release()
	if v.session, err = t.r.o.Dial(ctx, node); err != nil {
		if ctx.Err() != nil {
			return v.ends(certmedic.NodeRunning, "certmedic ended meanwhile")
		}
		return v.ends(certmedic.NodeUnreachable, err.Error())
	}
	defer v.session.Close()
	for _, e := range t.plan.Elsewhere {
		if slices.Contains(e.Hosts, node) && !v.deploy(ctx, e) {
			return v.result
		}
	}
	return v.prove(ctx)
}

// hostLocks are the locks of the services of a host, and of what is installed there. They are taken
// for the time of the visit: whoever has them waits for nobody else's.
func hostLocks(node string, all []deploy.Elsewhere) []string {
	keys := []string{}
	for _, e := range all {
		if !slices.Contains(e.Hosts, node) {
			continue
		}
		keys = append(keys, strings.Join([]string{"host", node, "destination", e.Name}, "\x00"))
		for _, c := range e.Commands {
			if c.Phase == deploy.PhaseReload {
				keys = append(keys, strings.Join(append([]string{"host", node, "reload"}, c.Argv...), "\x00"))
			}
		}
	}
	return keys
}

// order is what a host gets of a destination.
func (t *transaction) order(e deploy.Elsewhere) remote.Order {
	o := remote.Order{
		Certificate: t.action.Certificate, Version: t.action.Version, Token: t.action.Token, Destination: e.Destination,
		Timeout: t.r.timeout(t.action.Kind),
	}
	for _, f := range e.Files {
		o.Files = append(o.Files, remote.File{InstalledFile: f.InstalledFile, Data: f.Content()})
	}
	return o
}

// deploy carries out one destination. Where that does not succeed, those before it are put back, too.
func (v *visit) deploy(ctx context.Context, e deploy.Elsewhere) (ok bool) {
	d := remote.Deploy(ctx, v.session, v.t.order(e))
	v.runs(d)
	if d.Outcome.Reason == remote.ReasonInstalled {
		v.open = append(v.open, d)
		return true
	}
	v.result.evidence = append(v.result.evidence, d.Outcome.Evidence...)
	v.failed(ctx, d.Outcome)
	return false
}

// runs takes the commands of a deployment, with little of what they printed: there may be many hosts.
func (v *visit) runs(d *remote.Deployment) {
	for _, run := range d.Runs {
		v.result.runs = append(v.result.runs, shortened(run))
	}
	for _, note := range d.Notes {
		v.result.evidence = append(v.result.evidence, certmedic.Evidence{Source: v.node, Line: note})
	}
}

// maxOutput bounds what is kept of the output of a command on another host, in bytes.
const maxOutput = 4 << 10

func shortened(run certmedic.Run) certmedic.Run {
	for _, text := range []*string{&run.Stdout, &run.Stderr} {
		if len(*text) > maxOutput {
			*text, run.Truncated = strings.ToValidUTF8((*text)[:maxOutput], ""), true
		}
	}
	return run
}

// failed ends a visit on which a destination did not succeed.
func (v *visit) failed(ctx context.Context, o certmedic.Outcome) {
	state := certmedic.NodeFailed
	switch {
	case o.Kind == certmedic.OutcomeRunning && ctx.Err() != nil:
		v.ends(certmedic.NodeRunning, "certmedic ended meanwhile")
		return
	case o.Kind == certmedic.OutcomeRunning:
		v.ends(certmedic.NodeUnreachable, "the connection was lost: "+o.Detail)
		return
	case o.Reason == remote.ReasonFenced, o.Reason == remote.ReasonClaimed:
		v.result.fenced = fmt.Errorf("%s: %s", v.node, o.Detail)
	case o.Kind == certmedic.OutcomePutBack, o.Reason == "order", o.Reason == "enter", o.Reason == "stage":
		state = certmedic.NodePutBack
	}
	detail := o.Detail
	for _, d := range slices.Backward(v.open) {
		back := v.putBack(ctx, d, o)
		if back.Kind != certmedic.OutcomePutBack {
			state, detail = certmedic.NodeFailed, detail+"; "+back.Detail
		}
	}
	if state == certmedic.NodePutBack {
		detail += v.asBefore(ctx)
	}
	v.ends(state, detail)
}

// putBack ends an open deployment by having the old files back.
func (v *visit) putBack(ctx context.Context, d *remote.Deployment, because certmedic.Outcome) certmedic.Outcome {
	before := len(d.Runs)
	back := d.PutBack(ctx, because)
	for _, run := range d.Runs[before:] {
		v.result.runs = append(v.result.runs, shortened(run))
	}
	return back
}

// prove looks whether the node serves the version, in rounds, and keeps what was installed, or not.
func (v *visit) prove(ctx context.Context) nodeResult {
	sub := v.scoped()
	if len(v.before) == 0 {
		if detail := v.hashes(ctx); detail != "" {
			return v.back(ctx, certmedic.Outcome{Kind: certmedic.OutcomeFailed, Reason: "hashes", Detail: detail})
		}
		return v.keep(ctx, hashesTell)
	}
	verified, detail := sub.verify(ctx, v.t.r.o.VerifyTimeout)
	if worse, answered := sub.answersWorse(ctx, verified); answered && !v.dire() {
		return v.back(ctx, worse)
	}
	switch {
	case ctx.Err() != nil:
		return v.ends(certmedic.NodeRunning, "certmedic ended meanwhile")
	case verified:
		return v.keep(ctx, detail)
	case !sub.watched(), sub.moved(ctx):
		kept := v.keep(ctx, detail)
		if kept.state == certmedic.NodeDone { // there is no proof that the old files are better
			return v.ends(certmedic.NodeFailed, "installed, but not seen served: "+detail)
		}
		return kept
	}
	return v.back(ctx, certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "not_served", Detail: detail})
}

// dire reports whether the node served what is invalid already.
func (v *visit) dire() bool {
	return slices.ContainsFunc(v.before, func(a Served) bool { return a.Bound && a.Dire })
}

// scoped returns a transaction that sees this node alone.
func (v *visit) scoped() *transaction {
	sub := &transaction{r: v.t.r, before: v.t.before, loan: v.t.loan, node: v.node, action: certmedic.Action{
		Certificate: v.t.action.Certificate, Kind: v.t.action.Kind, Version: v.t.action.Version,
	}}
	sub.before.Addresses = v.before
	return sub
}

// hashes says which file of the node is not the version's; empty where all are.
func (v *visit) hashes(ctx context.Context) string {
	want := map[string]string{}
	var paths []string
	for _, e := range v.t.plan.Elsewhere {
		for _, f := range e.Files {
			if slices.Contains(e.Hosts, v.node) {
				want[f.To] = f.ContentSHA256()
				paths = append(paths, f.To)
			}
		}
	}
	got, err := remote.Hashes(ctx, v.session, paths)
	if err != nil {
		return err.Error()
	}
	for _, path := range paths {
		if got[path] != want[path] {
			return fmt.Sprintf("%q does not hold what was installed", path)
		}
	}
	return ""
}

// keep ends a visit whose version is proven.
func (v *visit) keep(ctx context.Context, detail string) nodeResult {
	var errs []error
	for _, d := range v.open {
		errs = append(errs, d.Keep(ctx))
	}
	err := errors.Join(errs...)
	switch {
	case err == nil:
		v.result.installed = len(v.installs()) > 0
		return v.ends(certmedic.NodeDone, detail)
	case errors.Is(err, remote.ErrClaimed), errors.Is(err, remote.ErrFenced):
		v.result.fenced = fmt.Errorf("%s: %w", v.node, err)
		return v.ends(certmedic.NodeFailed, err.Error())
	case ctx.Err() != nil:
		return v.ends(certmedic.NodeRunning, "certmedic ended meanwhile")
	}
	return v.ends(certmedic.NodeUnreachable, "it serves the version, but what was there before could not be cleared away: "+err.Error())
}

// back ends a visit whose version is not proven: everything is as it was.
func (v *visit) back(ctx context.Context, o certmedic.Outcome) nodeResult {
	changed := func(d *remote.Deployment) bool { return len(d.Changes) > 0 }
	if !slices.ContainsFunc(v.open, changed) { // a reload alone has nothing to put back, unless it went on with what was open
		return v.ends(certmedic.NodeFailed, o.Detail)
	}
	for _, d := range slices.Backward(v.open) {
		back := v.putBack(ctx, d, o)
		switch {
		case back.Kind == certmedic.OutcomeRunning && ctx.Err() != nil:
			return v.ends(certmedic.NodeRunning, "certmedic ended meanwhile")
		case back.Kind == certmedic.OutcomeRunning:
			return v.ends(certmedic.NodeUnreachable, o.Detail+"; the connection was lost while it was put back")
		case back.Kind != certmedic.OutcomePutBack:
			return v.ends(certmedic.NodeFailed, back.Detail)
		}
		o.Detail = back.Detail
	}
	return v.ends(certmedic.NodePutBack, o.Detail+v.asBefore(ctx))
}

// installs returns the destinations of this visit that install files.
func (v *visit) installs() []deploy.Elsewhere {
	return slices.DeleteFunc(slices.Clone(v.t.plan.Elsewhere), func(e deploy.Elsewhere) bool {
		return !slices.Contains(e.Hosts, v.node) || len(e.Files) == 0
	})
}

// asBefore says whether the node serves what it served before.
func (v *visit) asBefore(ctx context.Context) string { return v.scoped().asBefore(ctx) }

func (v *visit) ends(state certmedic.NodeState, detail string) nodeResult {
	v.result.state, v.result.detail = state, detail
	return v.result
}
