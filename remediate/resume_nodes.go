package remediate

import (
	"context"
	"fmt"
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/remote"
)

// rolled reports whether an action brought a version to several nodes.
func rolled(a certmedic.Action) bool { return len(a.Nodes) > 0 }

// resumeNodes ends a roll-out that was in flight: each node that was at work is finished, or put back
// where the version is not to be had any more, or where it was taken out of the configuration. No further
// one is begun: what is still needed asks for itself.
func (r *Remediator) resumeNodes(ctx context.Context, t *transaction) certmedic.Outcome {
	interrupted := certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: reasonInterrupted, Detail: "certmedic was restarted meanwhile"}
	began := nodesIn(t.action.Nodes, certmedic.NodeRunning)
	sight, errLook := r.look(ctx, t.action.Certificate)
	err := t.regain(ctx)
	if ctx.Err() != nil {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	t.before = sight
	if slices.Contains(began, certmedic.LocalHost) { // what is on this host nobody else ends
		if o := r.resumeHere(ctx, t); o.Kind == certmedic.OutcomeRunning {
			return o
		}
		began = slices.DeleteFunc(began, func(node string) bool { return node == certmedic.LocalHost })
	}
	if err != nil {
		t.leave(began, err)
		interrupted.Detail += "; " + err.Error()
		return interrupted
	}
	plan, err := deploy.Plan{}, errLook
	if err == nil {
		plan, err = r.surveyAgain(ctx, t)
	}
	out := began
	if err == nil {
		out = slices.DeleteFunc(slices.Clone(began), func(node string) bool { return !t.takenOut(node) })
	}
	if len(out) > 0 {
		o := r.recoverNodes(ctx, t, out, interrupted)
		if o.Kind == certmedic.OutcomeRunning {
			return o
		}
		interrupted = o
	}
	if err != nil {
		interrupted.Detail += ", because " + err.Error()
		return interrupted
	}
	return t.finish(ctx, plan, slices.DeleteFunc(began, func(node string) bool { return slices.Contains(out, node) }), interrupted.Detail)
}

// finish brings the nodes that were at work to their end, which are still in the configuration.
func (t *transaction) finish(ctx context.Context, plan deploy.Plan, began []string, said string) certmedic.Outcome {
	t.plan, t.resumed, t.nodes.due = plan, true, began
	t.nodes.owed = slices.Compact(slices.Sorted(slices.Values(append(t.nodes.owed, began...))))
	var o certmedic.Outcome
	if len(began) == 0 {
		t.undone()
		o = t.rolledOut(ctx, &rolling{t: t}, "certmedic was restarted meanwhile")
	} else {
		o = t.rollOut(ctx)
	}
	o.Detail = said + "; " + o.Detail
	return o
}

// takenOut reports whether a destination that was at work on a node is not there any more.
func (t *transaction) takenOut(node string) bool {
	return slices.ContainsFunc(t.action.Nodes, func(n certmedic.NodeStatus) bool {
		isIt := func(d certmedic.Destination) bool { return d.Name == n.Destination && isOn(d, node) }
		return n.Node == node && n.State == certmedic.NodeRunning && !slices.ContainsFunc(t.before.Certificate.Destinations, isIt)
	})
}

// leave says of nodes that were at work that this member may not end that.
func (t *transaction) leave(nodes []string, err error) {
	for _, node := range nodes {
		result := nodeResult{node: node, state: certmedic.NodeUnreachable, detail: "what was begun is left to whoever acts: " + err.Error()}
		if err := (&rolling{t: t}).note(result); err != nil {
			t.r.o.Log.Error("keeping what is known of a node", "action", t.action.ID, "err", err)
		}
	}
}

// regain takes up an action after a restart: with the token of the lease that this member has now, unless
// another one was at work on the nodes since.
func (t *transaction) regain(ctx context.Context) error {
	if t.r.o.Nodes == nil || t.r.o.Dial == nil {
		return fmt.Errorf("there is no way to reach other hosts")
	}
	began := t.action.Token
	if t.r.o.Confirm != nil {
		token, err := t.r.o.Confirm(ctx, t.action.Certificate)
		if err != nil {
			return err
		}
		t.action.Token = token
	}
	known, err := t.r.o.Nodes.Nodes(ctx, t.action.Certificate)
	if err != nil {
		return err
	}
	for _, n := range known {
		if n.Token > began {
			return fmt.Errorf("another member has been at work on %q since", n.Node)
		}
	}
	return nil
}

// nodesIn returns the nodes that are in a state, each once.
func nodesIn(all []certmedic.NodeStatus, state certmedic.NodeState) []string {
	var names []string
	for _, n := range all {
		if n.State == state && !slices.Contains(names, n.Node) {
			names = append(names, n.Node)
		}
	}
	return names
}

// surveyAgain plans once more what an action was to bring to other hosts, and looks how they stand to it.
func (r *Remediator) surveyAgain(ctx context.Context, t *transaction) (deploy.Plan, error) {
	stored, err := r.storedAs(ctx, t.before, t.action.Version)
	if err != nil {
		return deploy.Plan{}, err
	}
	plan, err := deploy.Steps(t.before.Certificate.Destinations, stored, r.o.Environ, t.action.Kind == certmedic.ActionReload)
	if err != nil {
		return deploy.Plan{}, err
	}
	plan.Version = t.action.Version
	t.nodes, err = r.survey(ctx, Request{Certificate: t.action.Certificate, Kind: t.action.Kind, ByHand: true}, t.before, plan)
	return plan, err
}

// storedAs returns a version as it is stored, or kept.
func (r *Remediator) storedAs(ctx context.Context, s Sight, version certmedic.Fingerprint) (certmedic.Stored, error) {
	if leaf, ok := s.Stored.Leaf(); ok && leaf.SHA256 == version {
		return s.Stored, nil
	}
	if r.o.Candidates != nil {
		all, err := r.o.Candidates(ctx, s.Certificate, s.Stored)
		if err != nil {
			return certmedic.Stored{}, err
		}
		for _, c := range all {
			if leaf, ok := c.Leaf(); ok && leaf.SHA256 == version {
				return c.Stored, nil
			}
		}
	}
	return certmedic.Stored{}, fmt.Errorf("version %s is not stored any more", version.Short())
}

// resumeHere ends the part of a roll-out on this host, as a deployment on this host alone is ended.
func (r *Remediator) resumeHere(ctx context.Context, t *transaction) certmedic.Outcome {
	r.sweep(ctx, t.action)
	t.node = certmedic.LocalHost
	verified, detail := t.verify(ctx, roundGap)
	t.node = ""
	result := nodeResult{node: certmedic.LocalHost, detail: detail}
	installed := deploy.Installed(t.action.Changes)
	switch {
	case ctx.Err() != nil:
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	case installed && (verified || t.before.Certificate.Name != "" && len(t.before.at(certmedic.LocalHost)) == 0):
		result.state, result.installed = certmedic.NodeDone, len(t.action.Changes) > 0
	case len(t.action.Changes) > 0:
		o := r.revert(ctx, &t.action, detail)
		if o.Kind == certmedic.OutcomeRunning {
			return o
		}
		result.state, result.detail = certmedic.NodeFailed, o.Detail
		if o.Kind == certmedic.OutcomePutBack {
			result.state = certmedic.NodePutBack
		}
	default:
		result.state = certmedic.NodeWaiting
	}
	if err := (&rolling{t: t}).note(result); err != nil {
		r.o.Log.Error("keeping what is known of a node", "action", t.action.ID, "err", err)
	}
	return certmedic.Outcome{}
}

// recoverNodes puts back what was begun on nodes. A host that cannot be reached now is left: whoever
// deploys there next ends it first.
func (r *Remediator) recoverNodes(ctx context.Context, t *transaction, nodes []string, o certmedic.Outcome) certmedic.Outcome {
	for _, node := range nodes {
		result := t.recoverOn(ctx, node)
		if ctx.Err() != nil {
			return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
		}
		if err := (&rolling{t: t}).note(result); err != nil {
			r.o.Log.Error("keeping what is known of a node", "action", t.action.ID, "err", err)
		}
		o.Detail += fmt.Sprintf("; %s (%s)", node, brief(result.detail))
	}
	return o
}

func (t *transaction) recoverOn(ctx context.Context, node string) nodeResult {
	v := &visit{t: t, node: node, result: nodeResult{node: node}}
	var begun []deploy.Elsewhere
	for _, d := range t.destinationsOn(node) {
		begun = append(begun, deploy.Elsewhere{Destination: d, Name: d.Name, Hosts: []string{node}, Commands: []deploy.Remote{{Phase: deploy.PhaseReload, Argv: d.Reload}}})
	}
	release, err := t.r.locks.acquire(ctx, hostLocks(node, begun))
	if err != nil {
		return v.ends(certmedic.NodeRunning, err.Error())
	}
	defer release()
	s, err := t.r.o.Dial(ctx, node)
	if err != nil {
		return v.ends(certmedic.NodeUnreachable, "what was begun could not be put back: "+err.Error())
	}
	defer s.Close()
	v.ends(certmedic.NodePutBack, "what was begun there is put back")
	for _, e := range begun {
		back := remote.Recover(ctx, s, t.order(e))
		v.runs(back)
		switch o := back.Outcome; {
		case o.Kind == certmedic.OutcomeRunning:
			return v.ends(certmedic.NodeUnreachable, "the connection was lost: "+o.Detail)
		case o.Kind != certmedic.OutcomePutBack && o.Kind != certmedic.OutcomeHealed:
			v.ends(certmedic.NodeFailed, o.Detail) // the other destinations are put back all the same
		case o.Kind == certmedic.OutcomePutBack && len(e.Destination.Files) == 0:
			v.result.detail += ", and no service was made to load it, as nobody knows how any more"
		}
	}
	return v.result
}

// rehearseElsewhere runs, on each host in turn, the commands that a deployment would run there. It ends
// at the first that fails.
func (t *transaction) rehearseElsewhere(ctx context.Context) (bad certmedic.Outcome) {
	if len(t.plan.Elsewhere) == 0 {
		return certmedic.Outcome{}
	}
	if t.r.o.Dial == nil {
		return failed(reasonNotRehearsed, fmt.Errorf("there is no way to reach other hosts"))
	}
	if t.r.o.Confirm != nil {
		token, err := t.r.o.Confirm(ctx, t.action.Certificate)
		if err != nil {
			return failed(reasonNotRehearsed, err)
		}
		t.action.Token = token
	}
	for _, node := range hostsOf(t.before.Certificate, t.plan) {
		if node == certmedic.LocalHost {
			continue
		}
		r := t.rehearseOn(ctx, node)
		t.action.Runs = append(t.action.Runs, r.runs...)
		if r.state == certmedic.NodeDone {
			continue
		}
		reason := "command"
		if r.state == certmedic.NodeUnreachable {
			reason = reasonUnreachable
		}
		return certmedic.Outcome{Kind: certmedic.OutcomeFailed, Reason: reason, Detail: node + ": " + r.detail, Evidence: r.evidence}
	}
	return certmedic.Outcome{}
}

func (t *transaction) rehearseOn(ctx context.Context, node string) nodeResult {
	v := &visit{t: t, node: node, result: nodeResult{node: node}}
	release, err := t.r.locks.acquire(ctx, hostLocks(node, t.plan.Elsewhere))
	if err != nil {
		return v.ends(certmedic.NodeRunning, err.Error())
	}
	defer release()
	if v.session, err = t.r.o.Dial(ctx, node); err != nil {
		return v.ends(certmedic.NodeUnreachable, err.Error())
	}
	defer v.session.Close()
	for _, e := range t.plan.Elsewhere {
		if !slices.Contains(e.Hosts, node) {
			continue
		}
		d := remote.Deploy(ctx, v.session, t.order(e)) // without files there is nothing to put back
		v.runs(d)
		if d.Outcome.Reason != remote.ReasonInstalled {
			v.result.evidence = append(v.result.evidence, d.Outcome.Evidence...)
			return v.ends(certmedic.NodeFailed, d.Outcome.Detail)
		}
	}
	return v.ends(certmedic.NodeDone, "")
}
