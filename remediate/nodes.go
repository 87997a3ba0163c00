package remediate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
)

// stance says how a node stands to a version.
type stance int

const (
	stanceFine   stance = iota
	stanceBehind        // another version was installed on it last, and nothing that it serves says otherwise
	stanceStale         // it serves another version
)

// at returns what a node's addresses served in a look.
func (s Sight) at(node string) []Served {
	var all []Served
	for _, a := range s.Addresses {
		if a.Node == node {
			all = append(all, a)
		}
	}
	return all
}

// stanceOf tells how a node stands to a version, by what it serves and by what is known of its
// destinations. A newer version that is served is no reason to step back.
func stanceOf(s Sight, node string, known []certmedic.NodeStatus, version certmedic.Fingerprint) stance {
	at := s.at(node)
	seen := len(at) > 0
	for _, a := range at {
		switch {
		case a.Leaf != "" && a.Leaf != version && a.Newer && !a.Dire:
			return stanceFine
		case a.Leaf != "" && a.Leaf != version && a.Bound:
			return stanceStale
		}
		seen = seen && a.Leaf == version
	}
	for _, d := range s.Certificate.Destinations {
		if len(d.Files) == 0 || !isOn(d, node) {
			continue
		}
		last := statusOf(known, d.Name, node)
		if last.Version != version && (last.Version != "" || !seen) || open(last, version) {
			return stanceBehind
		}
	}
	return stanceFine
}

// open reports whether the last that is known of a destination is that a version was begun there. What was
// left on the host has to be ended, whatever it serves: it would be put back in the end.
func open(last certmedic.NodeStatus, version certmedic.Fingerprint) bool {
	return last.Want == version && last.Attempts > 0 && (last.State == certmedic.NodeRunning || last.State == certmedic.NodeUnreachable)
}

// Behind names the nodes that have another version than the one that is to be everywhere, as far as
// is known, although nothing that they serve shows it: they cannot be reached, or nobody looks there.
func Behind(s Sight, known []certmedic.NodeStatus, version certmedic.Fingerprint) []string {
	var names []string
	for _, n := range s.Certificate.Nodes {
		if stanceOf(s, n.Name, known, version) == stanceBehind {
			names = append(names, n.Name)
		}
	}
	return names
}

func isOn(d certmedic.Destination, node string) bool {
	return slices.Contains(d.Hosts, node) || node == certmedic.LocalHost && d.Local()
}

// statusOf returns what is known of a destination on a node; a status of nothing where that is
// nothing.
func statusOf(known []certmedic.NodeStatus, destination, node string) certmedic.NodeStatus {
	for _, n := range known {
		if n.Destination == destination && n.Node == node {
			return n
		}
	}
	return certmedic.NodeStatus{Destination: destination, Node: node, State: certmedic.NodeWaiting}
}

// survey is how the nodes of a certificate stand to the version of a plan.
type survey struct {
	known []certmedic.NodeStatus
	hosts []string // all that the plan is for, in the order of the configuration
	owed  []string // those that need it
	due   []string // those that get it now
	guess bool     // nothing is known against those that need it, but an address that is nobody's serves another version

	waits certmedic.NodeStatus // where none is due: the one that is tried next
}

// survey looks which nodes need what a plan brings, and which of these it is tried for now. There is
// nothing to see where a plan is for this host alone.
func (r *Remediator) survey(ctx context.Context, q Request, s Sight, p deploy.Plan) (survey, error) {
	if len(p.Elsewhere) == 0 {
		return survey{}, nil
	}
	if r.o.Nodes == nil || r.o.Dial == nil {
		return survey{}, fmt.Errorf("planning for other hosts: there is no way to reach them")
	}
	known, err := r.o.Nodes.Nodes(ctx, q.Certificate)
	if err != nil {
		return survey{}, fmt.Errorf("reading what is known of the nodes of %q: %w", q.Certificate, err)
	}
	v := survey{known: known, hosts: hostsOf(s.Certificate, p)}
	for _, h := range v.hosts {
		how := stanceOf(s, h, known, p.Version)
		if how == stanceStale || how == stanceBehind && q.Kind != certmedic.ActionReload || q.ByHand && q.Force {
			v.owed = append(v.owed, h)
		}
	}
	if v.owed == nil {
		v.owed = v.suspects(s, p.Version)
		v.guess = true
	}
	v.sort(q, s.Certificate, p, time.Now())
	return v, nil
}

// hostsOf returns the hosts that a plan is for.
func hostsOf(c certmedic.Certificate, p deploy.Plan) []string {
	var hosts []string
	for _, n := range c.Nodes {
		here := n.Name == certmedic.LocalHost && len(p.Files)+len(p.Commands) > 0
		if here || slices.ContainsFunc(p.Elsewhere, func(e deploy.Elsewhere) bool { return slices.Contains(e.Hosts, n.Name) }) {
			hosts = append(hosts, n.Name)
		}
	}
	slices.SortStableFunc(hosts, func(a, b string) int { // this host first: its own part is the first canary
		return btoi(b == certmedic.LocalHost) - btoi(a == certmedic.LocalHost)
	})
	return hosts
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// reaches returns where a plan is carried out.
func reaches(c certmedic.Certificate, p deploy.Plan) []string {
	if len(p.Elsewhere) == 0 {
		return []string{certmedic.LocalHost}
	}
	return hostsOf(c, p)
}

// present returns what is known of the nodes that the certificate has now.
func (v *survey) present(c certmedic.Certificate) []certmedic.NodeStatus {
	return slices.DeleteFunc(slices.Clone(v.known), func(n certmedic.NodeStatus) bool {
		return !slices.ContainsFunc(c.Destinations, func(d certmedic.Destination) bool { return d.Name == n.Destination && isOn(d, n.Node) })
	})
}

// suspects returns the nodes whose own addresses are not known, where an address that is no node's,
// such as that of a load balancer, serves another version: it may be one of theirs.
func (v *survey) suspects(s Sight, version certmedic.Fingerprint) []string {
	stale := slices.ContainsFunc(s.Addresses, func(a Served) bool {
		return a.Bound && a.Leaf != "" && a.Leaf != version && (!a.Newer || a.Dire) && !slices.Contains(v.hosts, a.Node)
	})
	if !stale {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(v.hosts), func(h string) bool { return len(s.at(h)) > 0 })
}

// sort tells those that are due from those that wait for their next try, or for others, or were given
// up. A person waits for nothing. A host that cannot be reached, or on which something is open, is never
// given up.
func (v *survey) sort(q Request, c certmedic.Certificate, p deploy.Plan, now time.Time) {
	var next time.Time
	held := v.held(c, p)
	for _, h := range v.owed {
		n := v.worst(h)
		switch {
		case q.ByHand, v.guess:
			v.due = append(v.due, h)
			continue
		case held && !declined(n, p) && n.Version != p.Version:
			continue
		case n.Want != p.Version, n.Basis != p.Basis: // another cure
			v.due = append(v.due, h)
			continue
		}
		if declined(n, p) && n.Attempts >= guard.MaxAttempts {
			continue
		}
		again := earlier(n.Tried, now).Add(guard.Delay(n.Attempts))
		if !again.After(now) {
			v.due = append(v.due, h)
		} else if next.IsZero() || again.Before(next) {
			next, v.waits = again, n
		}
	}
}

// held reports whether hosts that a version was not tried on wait for those that refused it, as they did
// in the roll-out in which that was.
func (v *survey) held(c certmedic.Certificate, p deploy.Plan) bool {
	plan, no, done := careful(c.Destinations), 0, 0
	for _, h := range v.hosts {
		n := v.worst(h)
		no += btoi(declined(n, p))
		done += btoi(n.State == certmedic.NodeDone && n.Want == p.Version)
	}
	return no > 0 && (no*100 > plan.Tolerated*len(v.hosts) || done < min(plan.Canaries, len(v.hosts)))
}

// declined reports whether a node did not take what a plan brings.
func declined(n certmedic.NodeStatus, p deploy.Plan) bool {
	return n.Want == p.Version && n.Basis == p.Basis && (n.State == certmedic.NodePutBack || n.State == certmedic.NodeFailed)
}

// idle reports whether a plan is for hosts of which none needs it, and gives the version to nobody else.
func (v *survey) idle(p deploy.Plan) bool {
	return len(v.hosts) > 0 && len(v.owed) == 0 && len(p.Pushes) == 0
}

// worst returns the status of that destination of a node which was tried most often.
func (v *survey) worst(node string) certmedic.NodeStatus {
	worst := certmedic.NodeStatus{Node: node}
	for _, n := range v.known {
		if n.Node == node && (worst.Destination == "" || n.Attempts > worst.Attempts) {
			worst = n
		}
	}
	return worst
}

// tell says to the guard what the nodes need. Their patience takes the place of the action's, as each
// has its own.
func (v *survey) tell(cs *guard.Case) {
	if len(v.owed) == 0 || v.guess {
		return
	}
	if cs.Kind != certmedic.ActionRollback { // which is for what is served
		cs.Needed, cs.Bound = true, true // they are its nodes, whether anything was seen there or not
	}
	switch {
	case len(v.due) > 0:
		cs.Attempts = 0
	case v.waits.Node != "":
		cs.Attempts, cs.LastAttempt, cs.Patient = v.waits.Attempts, v.waits.Tried, true
	default:
		cs.Attempts = guard.MaxAttempts
	}
}

// narrow leaves in a plan what is done for the nodes that get it now; all of it where none needs it, so
// that people see it.
func (v *survey) narrow(p *deploy.Plan) {
	if len(p.Elsewhere) == 0 || len(v.owed) == 0 {
		return
	}
	hosts := v.due
	if len(hosts) == 0 {
		hosts = v.owed
	}
	if !slices.Contains(hosts, certmedic.LocalHost) {
		p.Files, p.Commands = []deploy.File{}, []deploy.Command{}
	}
	var left []deploy.Elsewhere
	for _, e := range p.Elsewhere {
		e.Hosts = slices.DeleteFunc(slices.Clone(e.Hosts), func(h string) bool { return !slices.Contains(hosts, h) })
		if len(e.Hosts) > 0 {
			left = append(left, e)
		}
	}
	p.Elsewhere = left
	if spared := len(v.hosts) - len(hosts); spared > 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("of its %d hosts the other %d are left alone", len(v.hosts), spared))
	}
}

// knock tries to reach the hosts that are due, where all of them could not be reached the last time:
// an action is only begun once one answers. It is not asked for what people want.
func (r *Remediator) knock(ctx context.Context, q Request, c *considered) error {
	v := &c.nodes
	lost := func(h string) bool {
		return v.worst(h).State == certmedic.NodeUnreachable && v.worst(h).Want == c.plan.Version
	}
	if q.ByHand || !c.decision.Allowed() || len(v.due) == 0 || slices.ContainsFunc(v.due, func(h string) bool { return !lost(h) }) {
		return nil
	}
	answers, why := r.answering(ctx, v.due)
	if len(answers) > 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	now := time.Now().UTC()
	for i := range v.known {
		if n := &v.known[i]; slices.Contains(v.due, n.Node) {
			n.Attempts, n.Tried, n.Detail = n.Attempts+1, now, brief(why[n.Node])
		}
	}
	token := uint64(0)
	for _, n := range v.known {
		token = max(token, n.Token)
	}
	c.decision = guard.Decision{
		Reason: guard.Backoff, Detail: "no connection to " + strings.Join(v.due, ", ") + ": " + why[v.due[0]],
		Retry: now.Add(guard.Delay(v.worst(v.due[0]).Attempts)),
	}
	return r.o.Nodes.SaveNodes(ctx, q.Certificate, token, v.known)
}

// answering returns those of several hosts that can be logged in to, and why others cannot.
func (r *Remediator) answering(ctx context.Context, hosts []string) (answers []string, why map[string]string) {
	type answer struct {
		host string
		err  error
	}
	slots, all := make(chan struct{}, knockers), make(chan answer, len(hosts))
	for _, h := range hosts {
		go func() { // ends with its dialling, which is bounded
			slots <- struct{}{}
			defer func() { <-slots }()
			s, err := r.o.Dial(ctx, h)
			if err == nil {
				s.Close()
			}
			all <- answer{h, err}
		}()
	}
	why = map[string]string{}
	for range hosts {
		a := <-all
		if a.err == nil {
			answers = append(answers, a.host)
		} else {
			why[a.host] = a.err.Error()
		}
	}
	return answers, why
}

// knockers bounds how many hosts are tried at a time.
const knockers = 8

// maxDetail bounds what is kept of why a node is not done, in bytes.
const maxDetail = 300

func brief(text string) string {
	if len(text) <= maxDetail {
		return text
	}
	return strings.ToValidUTF8(text[:maxDetail], "") + "..."
}
