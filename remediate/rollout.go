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
	"github.com/certmedic/certmedic/remediate/remote/rollout"
)

// The reasons of outcomes of a roll-out.
const (
	reasonUnreachable = guard.NodesUnreachable
	reasonNodes       = "nodes_failed" // some did not take it
	reasonStopped     = "stopped"      // this member may not go on
)

// rolling is a roll-out while it is at work. One goroutine has it; those at work on a host only send
// what came of it.
type rolling struct {
	t       *transaction
	plan    rollout.Plan
	record  rollout.Record
	results chan nodeResult
	running int
	sieved  bool  // it was asked which of the others answer
	stopped error // why nothing more is begun
	fenced  bool  // a host has seen a higher token
}

// nodeResult is what came of a node.
type nodeResult struct {
	node      string
	state     certmedic.NodeState
	detail    string
	runs      []certmedic.Run
	evidence  []certmedic.Evidence
	installed bool  // the version was installed, and is kept
	fenced    error // another member was there
}

// rollOut brings a version to the nodes that are due: to some first, then in waves. The part on this
// host is one of them, and the first.
func (t *transaction) rollOut(ctx context.Context) certmedic.Outcome {
	t.undone()
	o := t.rolling()
	if len(t.nodes.due) == 0 && len(t.plan.Pushes) > 0 {
		return t.rolledOut(ctx, o, "") // all hosts have it
	}
	if err := o.plan.Check(); err != nil {
		return failed("rollout", err)
	}
	for ctx.Err() == nil {
		step := o.plan.Next(o.record)
		for _, h := range step.Joined {
			o.record[h] = rollout.Progress{Wave: step.Wave, State: rollout.NotBegun}
		}
		if step.Over || o.stopped != nil && o.running == 0 {
			return t.rolledOut(ctx, o, step.Why)
		}
		for _, h := range step.Begin {
			if o.stopped == nil {
				o.begin(ctx, h)
			}
		}
		switch {
		case o.running > 0:
			o.end(ctx, <-o.results)
		case o.stopped == nil && len(step.Begin) == 0: // what is at work here ended with certmedic
			return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
		}
	}
	for o.running > 0 {
		o.end(ctx, <-o.results)
	}
	return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
}

func (t *transaction) rolling() *rolling {
	o := &rolling{t: t, plan: careful(t.before.Certificate.Destinations), record: rollout.Record{}}
	o.plan.Hosts = t.nodes.due
	if t.resumed { // none has to wait for another one
		o.plan.Canaries, o.plan.Wave, o.plan.Tolerated = len(t.nodes.due), 100, 100
	}
	o.results = make(chan nodeResult, len(o.plan.Hosts))
	return o
}

// careful returns how a version gets to the hosts of several destinations: as the most careful of
// them wants it.
func careful(destinations []certmedic.Destination) rollout.Plan {
	p := rollout.Plan{Canaries: 1, Wave: 100, Parallel: 1000, Tolerated: 100}
	for _, d := range destinations {
		if len(d.Remote()) == 0 {
			continue
		}
		q := rollout.Plan{Canaries: 1, Wave: 25, Parallel: 5, Tolerated: d.Rollout.Tolerated}
		for _, set := range []struct{ to, from *int }{{&q.Canaries, &d.Rollout.Canaries}, {&q.Wave, &d.Rollout.Wave}, {&q.Parallel, &d.Rollout.Parallel}} {
			if *set.from != 0 {
				*set.to = *set.from
			}
		}
		p = rollout.Plan{
			Canaries: max(p.Canaries, q.Canaries), Wave: min(p.Wave, q.Wave),
			Parallel: min(p.Parallel, q.Parallel), Tolerated: min(p.Tolerated, q.Tolerated),
		}
	}
	return p
}

// begin begins with a node: that it did is on disk before anything is done there.
func (o *rolling) begin(ctx context.Context, node string) {
	t := o.t
	if err := t.still(ctx); err != nil {
		o.stopped = err
		return
	}
	q := o.record[node]
	q.State = rollout.Running
	o.record[node] = q
	if err := o.note(nodeResult{node: node, state: certmedic.NodeRunning}); err != nil {
		o.set(nodeResult{node: node, state: certmedic.NodeWaiting})
		o.stopped = err
		return
	}
	if node == certmedic.LocalHost {
		o.end(ctx, t.onThisHost(ctx))
		return
	}
	o.running++
	go func() { o.results <- t.onHost(ctx, node) }()
}

// end takes the result of a node.
func (o *rolling) end(ctx context.Context, r nodeResult) {
	if r.node != certmedic.LocalHost {
		o.running--
		o.t.action.Runs = append(o.t.action.Runs, r.runs...)
	}
	q := o.record[r.node]
	q.State = rollout.State(r.state)
	o.record[r.node] = q
	if r.fenced != nil {
		o.stopped, o.fenced = r.fenced, true
	}
	err := o.note(r)
	if err == nil && r.state == certmedic.NodeUnreachable && !o.sieved {
		o.sieved = true
		err = o.sieve(ctx)
	}
	if err != nil && o.stopped == nil {
		o.stopped = err
	}
}

// sieve finds out at once which of the hosts that have not begun cannot be reached: one after the other
// they would hold up all else for long.
func (o *rolling) sieve(ctx context.Context) error {
	var rest []string
	for _, h := range o.plan.Hosts {
		if q, ok := o.record[h]; h != certmedic.LocalHost && (!ok || q.State == rollout.NotBegun) {
			rest = append(rest, h)
		}
	}
	_, why := o.t.r.answering(ctx, rest)
	if ctx.Err() != nil || len(why) == 0 {
		return nil
	}
	for h, detail := range why {
		o.record[h] = rollout.Progress{Wave: o.record[h].Wave, State: rollout.Unreachable}
		o.set(nodeResult{node: h, state: certmedic.NodeRunning})
		o.set(nodeResult{node: h, state: certmedic.NodeUnreachable, detail: detail})
	}
	return o.t.keepNodes(context.Background())
}

// note puts what became of a node into the action and what the members share, and both on disk.
func (o *rolling) note(r nodeResult) error {
	o.set(r)
	o.t.evidence = append(o.t.evidence, r.evidence...)
	return o.t.keepNodes(context.Background())
}

// set puts what became of a node into the action.
func (o *rolling) set(r nodeResult) {
	t, now := o.t, time.Now().UTC()
	for _, d := range t.destinationsOn(r.node) {
		n := statusOf(t.action.Nodes, d.Name, r.node)
		if n.State != r.state {
			n.Since = now
		}
		if n.Want != t.action.Version || n.Basis != t.action.Basis {
			n.Attempts = 0 // of another cure
		}
		n.State, n.Want, n.Wave, n.Token = r.state, t.action.Version, o.record[r.node].Wave, t.action.Token
		n.Detail, n.Basis = brief(r.detail), t.action.Basis
		switch r.state {
		case certmedic.NodeRunning:
			n.Tried = now
			n.Attempts++
		case certmedic.NodeDone:
			n.Attempts = 0
		}
		if r.installed && len(d.Files) > 0 {
			n.Version = t.action.Version
		}
		t.setStatus(n)
	}
}

// destinationsOn returns the destinations on a node: those of the certificate, or, of a node that was taken
// out of the configuration while it was at work, those that were there, by name alone.
func (t *transaction) destinationsOn(node string) []certmedic.Destination {
	all := slices.DeleteFunc(slices.Clone(t.before.Certificate.Destinations), func(d certmedic.Destination) bool { return !isOn(d, node) })
	for _, n := range t.action.Nodes {
		if n.Node == node && n.State == certmedic.NodeRunning && !slices.ContainsFunc(all, func(d certmedic.Destination) bool { return d.Name == n.Destination }) {
			all = append(all, certmedic.Destination{Name: n.Destination, Hosts: []string{node}})
		}
	}
	return all
}

// setStatus puts the status of a destination on a node in place of the one before.
func (t *transaction) setStatus(n certmedic.NodeStatus) {
	t.action.Nodes = slices.Clone(t.action.Nodes) // the journal's listeners have the one before
	same := func(o certmedic.NodeStatus) bool { return o.Destination == n.Destination && o.Node == n.Node }
	if i := slices.IndexFunc(t.action.Nodes, same); i >= 0 {
		t.action.Nodes[i] = n
		return
	}
	t.action.Nodes = append(t.action.Nodes, n)
}

// sharing bounds how long it is waited until what is known of nodes is kept.
const sharingTimeout = 10 * time.Second

// keepNodes has what is known of the nodes kept, by the members and by the journal. It does not end
// with what is at work: what was done has to be known.
func (t *transaction) keepNodes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sharingTimeout)
	defer cancel()
	all := slices.Clone(t.action.Nodes)
	return errors.Join(t.r.record(t.action), t.r.o.Nodes.SaveNodes(ctx, t.action.Certificate, t.action.Token, all))
}

// rolledOut tells the outcome of a roll-out that has come to its end. Why says why hosts were left
// out.
func (t *transaction) rolledOut(ctx context.Context, o *rolling, why string) certmedic.Outcome {
	tally := t.tally()
	outcome := certmedic.Outcome{Evidence: t.evidence}
	done := fmt.Sprintf("%d of %d hosts are done", len(tally[certmedic.NodeDone]), len(t.nodes.owed))
	if len(t.nodes.owed) == 0 {
		done = "the hosts have it already"
	}
	switch {
	case ctx.Err() != nil:
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	case o.stopped != nil:
		outcome.Kind, outcome.Reason = certmedic.OutcomeFailed, reasonStopped
		if o.fenced {
			outcome.Reason = string(guard.Fenced)
		}
		outcome.Detail = done + "; then it was stopped: " + o.stopped.Error()
		return outcome
	case len(tally[certmedic.NodeFailed])+len(tally[certmedic.NodePutBack])+len(tally[certmedic.NodeWaiting]) > 0:
		return t.refused(tally, outcome, done, why)
	case len(tally[certmedic.NodeUnreachable]) > 0:
		outcome.Kind, outcome.Reason = certmedic.OutcomeUnverified, reasonUnreachable
		outcome.Detail = done + "; " + t.named(tally[certmedic.NodeUnreachable], "could not be reached and gets it when it is back")
		return outcome
	}
	if bad := t.give(ctx); bad != nil {
		return ungiven(*bad, done, t.evidence)
	}
	verified, detail := t.verifyAll(ctx)
	if ctx.Err() != nil {
		return certmedic.Outcome{Kind: certmedic.OutcomeRunning}
	}
	outcome.Kind, outcome.Detail = certmedic.OutcomeHealed, done+"; "+detail
	if !verified {
		outcome.Kind, outcome.Reason = certmedic.OutcomeUnverified, "not_served"
	}
	return outcome
}

// refused is the outcome where hosts did not take the version.
func (t *transaction) refused(tally map[certmedic.NodeState][]string, o certmedic.Outcome, done, why string) certmedic.Outcome {
	o.Kind, o.Reason, o.Detail = certmedic.OutcomeUnverified, reasonNodes, done
	switch {
	case len(tally[certmedic.NodeFailed]) > 0:
		o.Kind = certmedic.OutcomeFailed
	case len(tally[certmedic.NodeDone]) == 0 && len(tally[certmedic.NodePutBack]) > 0:
		o.Kind = certmedic.OutcomePutBack
	}
	for _, of := range []struct {
		state certmedic.NodeState
		says  string
	}{
		{certmedic.NodeFailed, "failed, and is not as it was"},
		{certmedic.NodePutBack, "did not take it, and is as it was"},
		{certmedic.NodeUnreachable, "could not be reached"},
		{certmedic.NodeWaiting, "was left alone"},
	} {
		if len(tally[of.state]) > 0 {
			o.Detail += "; " + t.named(tally[of.state], of.says)
		}
	}
	if why != "" && len(tally[certmedic.NodeWaiting]) > 0 {
		o.Detail += ", because " + why
	}
	return o
}

// tally returns the nodes that need the version by how far they came, in the order of the plan.
func (t *transaction) tally() map[certmedic.NodeState][]string {
	all := map[certmedic.NodeState][]string{}
	for _, node := range t.nodes.owed {
		state := certmedic.NodeWaiting
		for _, n := range t.action.Nodes {
			if n.Node == node && n.Want == t.action.Version {
				state = n.State
			}
		}
		all[state] = append(all[state], node)
	}
	return all
}

// undone takes back that nodes are done which serve another version again: they count only once they got
// it anew.
func (t *transaction) undone() {
	for _, n := range slices.Clone(t.action.Nodes) {
		if n.State == certmedic.NodeDone && !t.force && slices.Contains(t.nodes.owed, n.Node) {
			n.State, n.Detail, n.Since = certmedic.NodeWaiting, "it serves another version again", time.Now().UTC()
			t.setStatus(n)
		}
	}
}

// maxNamed bounds how many nodes an outcome names.
const maxNamed = 10

// named says something of some nodes, each with why.
func (t *transaction) named(nodes []string, says string) string {
	var all []string
	for _, node := range nodes[:min(len(nodes), maxNamed)] {
		detail := ""
		for _, n := range t.action.Nodes {
			if n.Node == node && n.Detail != "" {
				detail = " (" + n.Detail + ")"
			}
		}
		all = append(all, node+detail)
	}
	if more := len(nodes) - maxNamed; more > 0 {
		all = append(all, fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, ", ") + " " + says
}

// verifyAll looks, once every host is done, whether every bound address serves the version, those too
// that are no host's own.
func (t *transaction) verifyAll(ctx context.Context) (ok bool, detail string) {
	if !t.watched() && t.unseen(ctx) {
		return true, "no address is bound to the certificate, so that the files tell: their hashes are those of the version"
	}
	return t.verify(ctx, t.r.o.VerifyTimeout)
}

// unseen reports whether no address is bound to the certificate.
func (t *transaction) unseen(ctx context.Context) bool {
	now, err := t.look(ctx)
	return err == nil && !slices.ContainsFunc(now.Addresses, func(a Served) bool { return a.Bound })
}

// onThisHost carries out the part of the plan on this host, with its own way back.
func (t *transaction) onThisHost(ctx context.Context) nodeResult {
	whole := t.before
	t.node = certmedic.LocalHost
	t.before.Addresses = whole.at(t.node)
	o := t.install(ctx)
	alone := len(t.before.Addresses) == 0
	t.node, t.before = "", whole
	r := nodeResult{node: certmedic.LocalHost, detail: o.Detail, evidence: o.Evidence}
	switch {
	case o.Kind == certmedic.OutcomeRunning:
		r.state, r.detail = certmedic.NodeRunning, "certmedic ended meanwhile"
	case o.Kind == certmedic.OutcomeHealed:
		r.state, r.installed = certmedic.NodeDone, len(t.plan.Files) > 0
	case o.Kind == certmedic.OutcomePutBack:
		r.state = certmedic.NodePutBack
	case o.Kind == certmedic.OutcomeRefused:
		r.state, r.fenced = certmedic.NodeWaiting, errors.New(o.Detail)
	case o.Kind == certmedic.OutcomeUnverified && alone && deploy.Installed(t.action.Changes):
		r.state, r.installed, r.detail = certmedic.NodeDone, len(t.plan.Files) > 0, hashesTell
	default:
		r.state = certmedic.NodeFailed
	}
	return r
}

// hashesTell is said of a node of which no address is known.
const hashesTell = "no address of it is known, so that the hashes of its files tell"
