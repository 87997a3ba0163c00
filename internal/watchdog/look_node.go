package watchdog

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/rules"
)

// LookAt reads a certificate's source and probes the addresses of one node now, and returns what was
// seen there. It takes nothing into the picture, which is of all addresses.
func (w *Watchdog) LookAt(ctx context.Context, certificate, node string) (remediate.Sight, error) {
	w.mu.Lock()
	e, ok := w.entries[certificate]
	if !ok {
		w.mu.Unlock()
		return remediate.Sight{}, fmt.Errorf("there is no certificate %q", certificate)
	}
	endpoints := w.endpointsAt(e, node)
	w.mu.Unlock()
	observations := w.probeAll(ctx, endpoints)
	if err := ctx.Err(); err != nil {
		return remediate.Sight{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.placed(e, e.sight(observations)), nil
}

// endpointsAt returns the endpoints that have addresses of a node, with these alone.
func (w *Watchdog) endpointsAt(e *entry, node string) []certmedic.Endpoint {
	s := &surveyor{w: w}
	var all []certmedic.Endpoint
	for _, ep := range e.cert.Endpoints {
		var own []string
		for _, a := range e.observed[e.name(ep)].Addresses {
			ip, _, err := net.SplitHostPort(a.Address)
			if err == nil && s.node(e, a.Address) == node && !slices.Contains(own, ip) {
				own = append(own, ip)
			}
		}
		if len(own) > 0 {
			ep.Addresses = own
			all = append(all, ep)
		}
	}
	return all
}

// placed says of each address that was looked at which node it is of.
func (w *Watchdog) placed(e *entry, s remediate.Sight) remediate.Sight {
	if len(e.cert.Nodes) == 0 {
		return s
	}
	by := &surveyor{w: w}
	for i := range s.Addresses {
		s.Addresses[i].Node = by.node(e, s.Addresses[i].At)
	}
	return s
}

// nodesFacts says which nodes have another version than the one that is to be everywhere, although
// nothing that they serve shows it.
func (w *Watchdog) nodesFacts(e *entry, c *rules.CertificateFacts) {
	const variable = "certificate.nodes_behind"
	leaf, ok := e.stored.Leaf()
	if len(e.cert.Nodes) == 0 || w.o.Nodes == nil {
		return
	}
	known := w.o.Nodes(e.cert.Name)
	switch {
	case !ok:
		undecide(c.Undecided, "nothing stored is known", variable)
		return
	case known == nil:
		undecide(c.Undecided, "what was done on its nodes is not known yet", variable)
		return
	case e.deploying():
		undecide(c.Undecided, "certbot is at work", variable)
		return
	}
	version := leaf.SHA256
	if e.loan != nil {
		version = e.loan.Version
	}
	behind := w.behind(e, known, version)
	c.NodesBehind = int64(len(behind))
	support := rules.Support{Members: behind}
	for _, n := range known {
		if !slices.Contains(behind, n.Node) {
			continue
		}
		line := n.Destination + " is " + strings.ReplaceAll(string(n.State), "_", " ") + " since " + day(n.Since)
		if n.Detail != "" {
			line += ": " + n.Detail
		}
		support.Evidence = append(support.Evidence, certmedic.Evidence{Source: n.Node, Line: line})
	}
	c.Support[variable] = support
}

func (w *Watchdog) behind(e *entry, known []certmedic.NodeStatus, version certmedic.Fingerprint) []string {
	observations := make([]certmedic.Observation, 0, len(e.observed))
	for _, o := range e.observed {
		observations = append(observations, o)
	}
	return remediate.Behind(w.placed(e, e.sight(observations)), known, version)
}
