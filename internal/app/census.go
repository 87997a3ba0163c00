package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
)

// census keeps at hand what was done last on the nodes of certificates, which the members of a cluster
// share, and where nodes are, so that nobody who only looks has to wait for that.
type census struct {
	certificates []certmedic.Certificate
	nodes        remediate.Nodes                                              // nil: nothing is deployed to other hosts
	lookup       func(ctx context.Context, host string) ([]netip.Addr, error) // of the names of nodes
	changed      func(certificate string)                                     // told where what was done on nodes is not what was known
	log          *slog.Logger
	again        chan string // certificates whose nodes are to be read at once

	mu        sync.Mutex
	statuses  map[string][]certmedic.NodeStatus // by certificate
	addresses map[string][]netip.Addr           // by node
	failed    map[string]bool                   // what could not be read or found the last time
}

// How often nodes are read and looked up, how long one of them may take, and how many are asked for at a
// time.
const (
	censusEvery   = 15 * time.Second
	censusTimeout = 5 * time.Second
	censusTakers  = 16
)

// newCensus returns a census of certificates that knows nothing but where this host is.
func newCensus(certificates []certmedic.Certificate, log *slog.Logger) *census {
	return &census{
		certificates: certificates, changed: func(string) {}, log: log, again: make(chan string, 16), failed: map[string]bool{},
		statuses: map[string][]certmedic.NodeStatus{}, addresses: map[string][]netip.Addr{certmedic.LocalHost: own()},
	}
}

// own returns the addresses of this machine.
func own() []netip.Addr {
	var all []netip.Addr
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil // nothing is taken for this machine's, as little as without a network
	}
	for _, a := range found {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				all = append(all, ip.Unmap())
			}
		}
	}
	return all
}

// Run reads and looks up again and again until ctx ends.
func (c *census) Run(ctx context.Context) error {
	tick := time.NewTicker(censusEvery)
	defer tick.Stop()
	for {
		c.take(ctx)
		for due := false; !due; {
			select {
			case <-ctx.Done():
				return nil
			case name := <-c.again:
				c.read(ctx, name)
			case <-tick.C:
				due = true
			}
		}
	}
}

// take brings everything up to date once.
func (c *census) take(ctx context.Context) {
	c.place(certmedic.LocalHost, own())
	var questions []func()
	seen := map[string]bool{}
	for _, cert := range c.certificates {
		if len(cert.Nodes) > 0 {
			questions = append(questions, func() { c.read(ctx, cert.Name) })
		}
		for _, n := range cert.Nodes {
			if !seen[n.Name] {
				seen[n.Name] = true
				questions = append(questions, func() { c.find(ctx, n) })
			}
		}
	}
	var group sync.WaitGroup
	slots := make(chan struct{}, censusTakers)
	for _, ask := range questions {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			ask()
		})
	}
	group.Wait()
}

// Changed has the nodes of a certificate read at once, because something was done there.
func (c *census) Changed(certificate string) {
	select {
	case c.again <- certificate:
	default: // the next round is soon
	}
}

// Nodes returns what was done last on the nodes of a certificate, as far as is known now.
func (c *census) Nodes(certificate string) []certmedic.NodeStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.statuses[certificate]
}

// Addresses returns where a node is, beside what the configuration says.
func (c *census) Addresses(node string) []netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addresses[node]
}

// read reads what was done on the nodes of a certificate. What was known stays where that fails.
func (c *census) read(ctx context.Context, certificate string) {
	if c.nodes == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, censusTimeout)
	defer cancel()
	all, err := c.nodes.Nodes(ctx, certificate)
	if c.told(ctx, fmt.Sprintf("reading what was done on the nodes of %q", certificate), err) != nil {
		return
	}
	c.mu.Lock()
	before, known := c.statuses[certificate]
	c.statuses[certificate] = all
	c.mu.Unlock()
	if !known || !slices.Equal(before, all) {
		c.changed(certificate)
	}
}

// find looks up the addresses of a node that are names.
func (c *census) find(ctx context.Context, n certmedic.Node) {
	ctx, cancel := context.WithTimeout(ctx, censusTimeout)
	defer cancel()
	var all []netip.Addr
	for _, name := range n.Addresses {
		if _, err := netip.ParseAddr(name); err == nil {
			continue
		}
		found, err := c.lookup(ctx, name)
		if c.told(ctx, fmt.Sprintf("looking up %q, where the node %q is", name, n.Name), err) != nil {
			return
		}
		all = append(all, found...)
	}
	if len(all) > 0 {
		c.place(n.Name, all)
	}
}

func (c *census) place(node string, addresses []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addresses[node] = addresses
}

// told has the log say once that something fails, and returns the error.
func (c *census) told(ctx context.Context, doing string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !c.failed[doing] && ctx.Err() == nil {
		c.log.Warn(doing, "err", err)
	}
	c.failed[doing] = err != nil
	return err
}
