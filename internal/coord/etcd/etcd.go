package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/certmedic/certmedic/internal/coord"
)

var _ coord.Engine = (*Engine)(nil)

// Options are what an engine is made with.
type Options struct {
	Endpoints []string // URLs or host:port
	Prefix    string   // of all keys, such as "/certmedic"
	Member    string
	TTL       time.Duration // of leases and members, in whole seconds; etcd may make it longer
	Timeout   time.Duration // of a call; 0: 5 s

	TLS                *tls.Config // for https endpoints
	Username, Password string      // empty: none

	// Dial connects to host:port; nil: as usual.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

const (
	defaultTimeout = 5 * time.Second
	minTTL         = 2 * time.Second // etcd makes it no shorter with its own defaults
	pingEvery      = 10 * time.Second
	pingTimeout    = 3 * time.Second
	maxRecords     = 100_000
)

// Engine is a session of one member.
type Engine struct {
	o Options

	making chan struct{} // taken while a client or a session is made

	beating chan struct{} // taken by who uses pulse
	pulse   *pulse

	mu      sync.Mutex
	client  *clientv3.Client
	session *session
	over    []clientv3.LeaseID // sessions that etcd has still to be told to forget

	ctx   context.Context // of what the session runs, until Close
	stop  context.CancelFunc
	tasks sync.WaitGroup

	joining sync.Mutex
	joins   int // the last one is what counts
}

// New returns a session. It asks etcd nothing, so that a member starts without it too.
func New(o Options) (*Engine, error) {
	if err := coord.CheckName(o.Member); err != nil {
		return nil, fmt.Errorf("naming a member: %w", err)
	}
	switch {
	case o.TTL < minTTL:
		return nil, fmt.Errorf("a lease of %s is shorter than %s", o.TTL, minTTL)
	case o.Password != "" && o.Username == "":
		return nil, errors.New("etcd has a password and no user name")
	}
	secure, err := wantsTLS(o)
	if err != nil {
		return nil, err
	}
	if secure && o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	o.Prefix = strings.TrimRight(o.Prefix, "/")
	e := &Engine{o: o, making: make(chan struct{}, 1), beating: make(chan struct{}, 1)}
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e, nil
}

// wantsTLS reports whether the endpoints are spoken to with TLS. All have to be alike: the client goes by
// the first one.
func wantsTLS(o Options) (bool, error) {
	if len(o.Endpoints) == 0 {
		return false, errors.New("etcd has no endpoints")
	}
	secure := 0
	for _, endpoint := range o.Endpoints {
		scheme, _, ok := strings.Cut(endpoint, "://")
		switch {
		case ok && scheme == "https", !ok && o.TLS != nil:
			secure++
		case ok && scheme != "http":
			return false, fmt.Errorf("the endpoint %q of etcd is neither http nor https", endpoint)
		case o.TLS != nil:
			return false, fmt.Errorf("the endpoint %q of etcd is http, and TLS is configured", endpoint)
		}
	}
	if secure != 0 && secure != len(o.Endpoints) {
		return false, fmt.Errorf("of %d endpoints of etcd %d have TLS", len(o.Endpoints), secure)
	}
	return secure != 0, nil
}

// Close ends the session, and with it every lease of it, at once where etcd can be reached.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.stop()
	e.mu.Unlock()
	e.tasks.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), e.o.Timeout)
	defer cancel()
	if err := e.lock(ctx); err != nil {
		return fmt.Errorf("closing the session: %w", err)
	}
	defer e.unlock()
	e.mu.Lock()
	client := e.client
	e.client = nil
	e.mu.Unlock()
	if client == nil {
		return nil
	}
	e.drop(e.newest())
	e.forget(ctx, client)
	if err := client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("closing the connections to etcd: %w", err)
	}
	return nil
}

// run begins a task of the session, unless that was closed.
func (e *Engine) run(task func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() == nil {
		e.tasks.Go(task)
	}
}

// lock waits until no client and no session is being made.
func (e *Engine) lock(ctx context.Context) error {
	select {
	case e.making <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) unlock() { <-e.making }

// call bounds a call and finds the client for it, for as long as the engine is open.
func (e *Engine) call(ctx context.Context) (context.Context, *clientv3.Client, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	stop := context.AfterFunc(e.ctx, cancel)
	client, err := e.connect(ctx)
	return ctx, client, func() { stop(); cancel() }, err
}

// connect returns the client. With a user name it can only be made while etcd can be reached.
func (e *Engine) connect(ctx context.Context) (*clientv3.Client, error) {
	if e.ctx.Err() != nil {
		return nil, errors.New("the session was closed")
	}
	if err := e.lock(ctx); err != nil {
		return nil, err
	}
	defer e.unlock()
	e.mu.Lock()
	client := e.client
	e.mu.Unlock()
	if err := ctx.Err(); err != nil || client != nil {
		return client, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            e.o.Endpoints,
		DialTimeout:          e.o.Timeout,
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: pingTimeout,
		PermitWithoutStream:  true,
		TLS:                  e.o.TLS,
		Username:             e.o.Username,
		Password:             e.o.Password,
		DialOptions:          e.dialOptions(),
		Logger:               zap.NewNop(), // what goes wrong is in the errors
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return nil, errors.Join(errors.New("the session was closed"), client.Close())
	}
	e.client = client
	return client, nil
}

func (e *Engine) dialOptions() []grpc.DialOption {
	if e.o.Dial == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithContextDialer(e.o.Dial)}
}

func (e *Engine) leaseKey(name string) string  { return e.o.Prefix + "/leases/" + name }
func (e *Engine) recordKey(key string) string  { return e.o.Prefix + "/records/" + key }
func (e *Engine) memberKey(name string) string { return e.o.Prefix + "/members/" + name }
