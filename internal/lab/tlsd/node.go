// Package tlsd runs TLS nodes for tests and for the laboratory. A [Node] is one
// listener that behaves as a web server does: it loads its certificate files when it
// starts and again only when it is told to reload, so that "renewed on disk, the old
// one served" is real. It answers https with 200 and its name, and it can be told to
// misbehave in the ways of [Faults] while it runs.
package tlsd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
)

const (
	connectionLife = time.Minute           // a connection lives no longer, however it behaves
	defaultPace    = 20 * time.Millisecond // of the slow fault
	portAttempts   = 20                    // to find a port that is free on all hosts of a group
)

// Options say what a node is. Without files it serves nothing until Serve is called.
type Options struct {
	Name     string // what it calls itself in its answers
	Listen   string // host:port; empty: a free port of 127.0.0.1
	CertFile string // PEM, the leaf with its chain
	KeyFile  string // PEM

	// Issuer signs the leaves that the faults expired, not_yet_valid and wrong_name
	// serve. Nil: an authority of the node's own, which nobody trusts.
	Issuer *mint.CA
	Pace   time.Duration // between two bytes of the slow fault; 0: 20 ms
}

// Node is a running TLS server.
type Node struct {
	options  Options
	listener net.Listener
	stopped  context.Context //nolint:containedctx // it is the node's own life, not a caller's
	stop     context.CancelFunc
	ended    sync.WaitGroup

	mu      sync.Mutex
	loaded  tls.Certificate
	shown   tls.Certificate // loaded, or what the fault shows instead of it
	fault   Fault
	reloads int
	served  int
}

// Start loads the files, if there are any, and serves until Stop is called or ctx ends.
func Start(ctx context.Context, o Options) (*Node, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Pace <= 0 {
		o.Pace = defaultPace
	}
	if o.Issuer == nil {
		issuer, err := mint.NewCA("Nobody's Root")
		if err != nil {
			return nil, err
		}
		o.Issuer = issuer
	}
	n := &Node{options: o}
	if o.CertFile != "" {
		if err := n.load(); err != nil {
			return nil, err
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("starting node %q: %w", o.Name, err)
	}
	n.listener = listener
	n.stopped, n.stop = context.WithCancel(ctx)
	n.ended.Go(func() {
		<-n.stopped.Done()
		_ = listener.Close() // ends the accept loop
	})
	n.ended.Go(n.accept)
	return n, nil
}

// StartGroup starts one node for each host, all on the same port: the addresses behind
// one name. Their names are the option's name with the host after it.
func StartGroup(ctx context.Context, o Options, hosts ...string) ([]*Node, error) {
	if len(hosts) == 0 {
		return nil, errors.New("starting a group of nodes: no hosts")
	}
	var last error
	for range portAttempts {
		nodes, err := startAll(ctx, o, hosts)
		if err == nil {
			return nodes, nil
		}
		last = err
	}
	return nil, last
}

func startAll(ctx context.Context, o Options, hosts []string) ([]*Node, error) {
	var nodes []*Node
	name, port := o.Name, "0"
	for _, host := range hosts {
		o.Name, o.Listen = name+" "+host, net.JoinHostPort(host, port)
		node, err := Start(ctx, o)
		if err != nil {
			for _, started := range nodes {
				started.Stop()
			}
			return nil, err
		}
		nodes = append(nodes, node)
		_, port, _ = net.SplitHostPort(node.Addr())
	}
	return nodes, nil
}

// Addr returns the node's host:port.
func (n *Node) Addr() string { return n.listener.Addr().String() }

// Serve makes the node show this certificate from the next connection on, whatever its
// files say.
func (n *Node) Serve(certificate tls.Certificate) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.show(n.fault, certificate)
}

// Reload reads the files again, as a web server does on SIGHUP. When they cannot be
// used, the node keeps what it has and says so.
func (n *Node) Reload() error {
	n.mu.Lock()
	n.reloads++
	stale := n.fault == Stale
	n.mu.Unlock()
	if stale || n.options.CertFile == "" {
		return nil
	}
	return n.load()
}

// SetFault makes the node misbehave from the next connection on, and behave again with
// [None].
func (n *Node) SetFault(fault Fault) error {
	if _, err := ParseFault(string(fault)); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.show(fault, n.loaded)
}

// Reloads returns how often the node was told to reload.
func (n *Node) Reloads() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reloads
}

// Connections returns how many connections the node has accepted.
func (n *Node) Connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.served
}

// Stop ends the node, cuts its connections and waits for them.
func (n *Node) Stop() {
	n.stop()
	n.ended.Wait()
}

func (n *Node) load() error {
	certificate, err := tls.LoadX509KeyPair(n.options.CertFile, n.options.KeyFile)
	if err != nil {
		return fmt.Errorf("loading the certificate of node %q: %w", n.options.Name, err)
	}
	return n.Serve(certificate)
}

// show is called with the mutex held.
func (n *Node) show(fault Fault, loaded tls.Certificate) error {
	shown := loaded
	if len(loaded.Certificate) > 0 {
		made, err := present(fault, loaded, n.options.Issuer)
		if err != nil {
			return fmt.Errorf("making the certificate for fault %q: %w", fault, err)
		}
		shown = made
	}
	n.fault, n.loaded, n.shown = fault, loaded, shown
	return nil
}

func (n *Node) accept() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			if n.stopped.Err() != nil {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: others will close theirs
			continue
		}
		n.mu.Lock()
		n.served++
		fault, shown := n.fault, n.shown
		n.mu.Unlock()
		n.ended.Go(func() { n.connection(conn, fault, shown) })
	}
}

// connection serves one connection. It ends with the connection, with the node, or
// when its time is over.
func (n *Node) connection(conn net.Conn, fault Fault, shown tls.Certificate) {
	release := context.AfterFunc(n.stopped, func() { _ = conn.Close() })
	defer release()
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(connectionLife)) // fails only on closed connections
	if misbehave(conn, fault) {
		return
	}
	if fault == Slow {
		conn = slowConn{Conn: conn, pace: n.options.Pace}
	}
	config, err := configFor(fault, shown)
	if err != nil {
		return
	}
	answer(tls.Server(conn, config), n.options.Name)
}
