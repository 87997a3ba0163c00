package objects

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

var _ coord.Engine = (*Engine)(nil)

// Object is what a store has under a key.
type Object struct {
	Value    []byte
	Tag      string    // of this very version; never empty, and never used again
	Modified time.Time // when it was written, by the store's clock; not before the write was asked for
	Now      time.Time // when it was read, by the store's clock; set without an object too
}

// Store keeps small objects under keys of any text.
type Store interface {
	// Get returns an object; ok is false where there is none.
	Get(ctx context.Context, key string) (o Object, ok bool, err error)
	// Swap writes a value if the object has this tag (empty: if there is none), and returns the
	// new tag. [coord.ErrStale] says that it has another; any other error leaves open whether it was written.
	Swap(ctx context.Context, key, tag string, value []byte) (string, error)
	// List returns the keys that begin with a prefix, in any order.
	List(ctx context.Context, prefix string) ([]string, error)
}

// Options are what an engine is made with.
type Options struct {
	Member     string
	TTL        time.Duration // of leases and members; at least [MinTTL]
	Timeout    time.Duration // of a call; 0: 5 s
	Resolution time.Duration // how far the store's readings of its clock can be behind: the length of its tick
}

// MinTTL is the shortest time to live.
const MinTTL = 100 * time.Millisecond

const (
	defaultTimeout = 5 * time.Second
	attempts       = 4       // at a swap that others are faster at
	maxKeys        = 100_000 // of a listing
	readers        = 16      // of a listing's objects, at a time
	leasePrefix    = "leases/"
	recordPrefix   = "records/"
	memberPrefix   = "members/"
)

// Engine is a session of one member.
type Engine struct {
	store   Store
	o       Options
	session string

	closed chan struct{}
	close  sync.Once
	beats  sync.WaitGroup

	joining sync.Mutex
	joins   int // the last one is what counts
}

// New returns a session. It asks the store nothing.
func New(store Store, o Options) (*Engine, error) {
	if err := coord.CheckName(o.Member); err != nil {
		return nil, fmt.Errorf("naming a member: %w", err)
	}
	if o.TTL < MinTTL {
		return nil, fmt.Errorf("a lease of %s is shorter than %s", o.TTL, MinTTL)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Engine{store: store, o: o, session: rand.Text(), closed: make(chan struct{})}, nil
}

// Close lets the member leave and waits for that. Leases that were not released end by themselves.
func (e *Engine) Close() error {
	e.joining.Lock()
	e.close.Do(func() { close(e.closed) })
	e.joining.Unlock()
	e.beats.Wait()
	return nil
}

func (e *Engine) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, e.o.Timeout)
}

// lease is what the object of a lease holds.
type lease struct {
	Generation uint64        `json:"generation"`
	Member     string        `json:"member"`
	Session    string        `json:"session"`
	TTL        time.Duration `json:"ttl_ns"`
	Released   bool          `json:"released,omitempty"`
}

// left returns how long it lasts at most, from when the object was read. It is counted from the
// later end of the tick in which it was written.
func (l lease) left(o Object, resolution time.Duration) time.Duration {
	if l.Released {
		return 0
	}
	return l.TTL + resolution - o.Now.Sub(o.Modified)
}

// Acquire implements [coord.Coordinator].
func (e *Engine) Acquire(ctx context.Context, name string) (coord.Lease, error) {
	if err := coord.CheckName(name); err != nil {
		return coord.Lease{}, fmt.Errorf("acquiring a lease: %w", err)
	}
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	l, err := coord.Lease{Name: name}, coord.ErrStale
	for range attempts {
		if l, err = e.acquire(ctx, name); !errors.Is(err, coord.ErrStale) {
			break
		}
	}
	if errors.Is(err, coord.ErrStale) {
		err = coord.ErrHeld // by one of those who were faster each time
	}
	if err != nil {
		return l, fmt.Errorf("acquiring the lease of %q: %w", name, err)
	}
	return l, nil
}

func (e *Engine) acquire(ctx context.Context, name string) (coord.Lease, error) {
	found, o, err := e.readLease(ctx, name)
	if err != nil {
		return coord.Lease{Name: name}, err
	}
	left := found.left(o, e.o.Resolution)
	switch {
	case left <= 0:
		return e.swapLease(ctx, name, o.Tag, found.Generation+1)
	case found.Session == e.session: // an answer to an earlier swap was lost, or it is asked for again
		return e.swapLease(ctx, name, o.Tag, found.Generation)
	}
	return coord.Lease{Name: name, Member: found.Member, Token: found.Generation, Expires: time.Now().Add(left)}, coord.ErrHeld
}

// Renew implements [coord.Coordinator].
func (e *Engine) Renew(ctx context.Context, l coord.Lease) (coord.Lease, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	renewed, err := e.renew(ctx, l)
	if err != nil {
		return l, fmt.Errorf("renewing the lease of %q: %w", l.Name, err)
	}
	return renewed, nil
}

func (e *Engine) renew(ctx context.Context, l coord.Lease) (coord.Lease, error) {
	session, tag, _ := strings.Cut(l.Opaque, " ")
	if session != e.session || !l.Holds(time.Now()) {
		return l, coord.ErrLost
	}
	renewed, err := e.swapLease(ctx, l.Name, tag, l.Token)
	if !errors.Is(err, coord.ErrStale) {
		return renewed, err
	}
	// The answer to an earlier renewal may have been lost, and the lease be ours all the same.
	o, err := e.own(ctx, l)
	if err != nil {
		return l, err
	}
	if renewed, err = e.swapLease(ctx, l.Name, o.Tag, l.Token); errors.Is(err, coord.ErrStale) {
		return l, coord.ErrLost
	}
	return renewed, err
}

// own returns the object of a lease that this session holds; ErrLost where it does not.
func (e *Engine) own(ctx context.Context, l coord.Lease) (Object, error) {
	found, o, err := e.readLease(ctx, l.Name)
	if err != nil {
		return o, err
	}
	if found.Generation != l.Token || found.left(o, e.o.Resolution) <= 0 {
		return o, coord.ErrLost
	}
	return o, nil
}

// Release implements [coord.Coordinator].
func (e *Engine) Release(ctx context.Context, l coord.Lease) error {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	session, tag, _ := strings.Cut(l.Opaque, " ")
	if session != e.session {
		return nil
	}
	end := e.lease(l.Token)
	end.Released = true
	_, err := e.swap(ctx, leasePrefix+l.Name, tag, end)
	if errors.Is(err, coord.ErrStale) {
		var o Object
		if o, err = e.own(ctx, l); err == nil {
			_, err = e.swap(ctx, leasePrefix+l.Name, o.Tag, end)
		}
	}
	if err != nil && !errors.Is(err, coord.ErrStale) && !errors.Is(err, coord.ErrLost) {
		return fmt.Errorf("releasing the lease of %q: %w", l.Name, err)
	}
	return nil
}

func (e *Engine) lease(generation uint64) lease {
	return lease{Generation: generation, Member: e.o.Member, Session: e.session, TTL: e.o.TTL}
}

func (e *Engine) readLease(ctx context.Context, name string) (lease, Object, error) {
	var l lease
	o, _, err := e.read(ctx, leasePrefix+name, &l)
	return l, o, err
}

// swapLease writes a lease of this session. Time is counted from before it is asked for.
func (e *Engine) swapLease(ctx context.Context, name, tag string, generation uint64) (coord.Lease, error) {
	start := time.Now()
	l := coord.Lease{Name: name, Member: e.o.Member, Token: generation, Expires: coord.Expiry(start, e.o.TTL)}
	tag, err := e.swap(ctx, leasePrefix+name, tag, e.lease(generation))
	l.Opaque = e.session + " " + tag
	return l, err
}

// read decodes an object; one that is not there leaves into as it is.
func (e *Engine) read(ctx context.Context, key string, into any) (o Object, ok bool, err error) {
	if o, ok, err = e.store.Get(ctx, key); err != nil || !ok {
		return o, false, err
	}
	if err := json.Unmarshal(o.Value, into); err != nil {
		return o, false, fmt.Errorf("reading %q: %w", key, err)
	}
	return o, true, nil
}

func (e *Engine) swap(ctx context.Context, key, tag string, value any) (string, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("encoding %q: %w", key, err)
	}
	return e.store.Swap(ctx, key, tag, data)
}

// readAll calls f for every key below a prefix, for several at a time.
func (e *Engine) readAll(ctx context.Context, prefix string, f func(ctx context.Context, key string) error) error {
	keys, err := e.store.List(ctx, prefix)
	if err != nil {
		return err
	}
	if len(keys) > maxKeys {
		return fmt.Errorf("there are %d objects below %q, more than %d", len(keys), prefix, maxKeys)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, readers)
	var all sync.WaitGroup
	for _, key := range keys {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			if err := f(ctx, key); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}
