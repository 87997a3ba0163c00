package coord

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var _ Engine = (*Late)(nil)

// Late is an engine that is opened when it is needed, and tried again while that fails: a
// certmedic starts, and watches, while the folder or the bucket that members share cannot be reached.
type Late struct {
	open  func(ctx context.Context) (Engine, error)
	retry time.Duration

	opening chan struct{} // taken by who opens it

	mu     sync.Mutex
	engine Engine
	closed bool
	failed error     // of the last attempt
	at     time.Time // when that ended
}

// NewLate returns an engine that open opens, which is tried at most once in the time of retry. A call that opens it
// takes as long as that does, too.
func NewLate(open func(ctx context.Context) (Engine, error), retry time.Duration) *Late {
	return &Late{open: open, retry: retry, opening: make(chan struct{}, 1)}
}

// opened returns the engine; the error says why there is none.
func (l *Late) opened(ctx context.Context) (Engine, error) {
	if e, err := l.known(time.Now()); e != nil || err != nil {
		return e, err
	}
	select {
	case l.opening <- struct{}{}:
		defer func() { <-l.opening }()
	case <-ctx.Done():
		return nil, fmt.Errorf("opening the coordinator: %w", ctx.Err())
	}
	if e, err := l.known(time.Now()); e != nil || err != nil {
		return e, err // another opened it, or tried
	}
	e, err := l.open(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.closed {
		return nil, errors.Join(errors.New("opening the coordinator: the session was closed"), e.Close())
	}
	if err != nil {
		err = fmt.Errorf("opening the coordinator: %w", err)
		if ctx.Err() == nil { // else it was this caller's lack of time
			l.failed, l.at = err, time.Now()
		}
		return nil, err
	}
	l.engine = e
	return e, nil
}

// known returns the engine or the error that stand; neither where it is time to try.
func (l *Late) known(now time.Time) (Engine, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, errors.New("opening the coordinator: the session was closed")
	case l.engine == nil && l.failed != nil && now.Sub(l.at) < l.retry:
		return nil, l.failed
	}
	return l.engine, nil
}

// Close implements [Engine].
func (l *Late) Close() error {
	l.mu.Lock()
	e := l.engine
	l.closed = true
	l.mu.Unlock()
	if e == nil {
		return nil
	}
	return e.Close()
}

// Acquire implements [Coordinator].
func (l *Late) Acquire(ctx context.Context, name string) (Lease, error) {
	e, err := l.opened(ctx)
	if err != nil {
		return Lease{Name: name}, err
	}
	return e.Acquire(ctx, name)
}

// Renew implements [Coordinator].
func (l *Late) Renew(ctx context.Context, lease Lease) (Lease, error) {
	e, err := l.opened(ctx)
	if err != nil {
		return lease, err
	}
	return e.Renew(ctx, lease)
}

// Release implements [Coordinator].
func (l *Late) Release(ctx context.Context, lease Lease) error {
	e, err := l.opened(ctx)
	if err != nil {
		return err
	}
	return e.Release(ctx, lease)
}

// Get implements [Records].
func (l *Late) Get(ctx context.Context, key string) (Record, bool, error) {
	e, err := l.opened(ctx)
	if err != nil {
		return Record{}, false, err
	}
	return e.Get(ctx, key)
}

// Put implements [Records].
func (l *Late) Put(ctx context.Context, key string, revision, token uint64, value []byte) (Record, error) {
	e, err := l.opened(ctx)
	if err != nil {
		return Record{}, err
	}
	return e.Put(ctx, key, revision, token, value)
}

// List implements [Records].
func (l *Late) List(ctx context.Context, prefix string) ([]Record, error) {
	e, err := l.opened(ctx)
	if err != nil {
		return nil, err
	}
	return e.List(ctx, prefix)
}

// Join implements [Members].
func (l *Late) Join(ctx context.Context, m Member) error {
	e, err := l.opened(ctx)
	if err != nil {
		return err
	}
	return e.Join(ctx, m)
}

// Watch implements [Members].
func (l *Late) Watch(ctx context.Context, changed func([]Member)) error {
	for {
		e, err := l.opened(ctx)
		if err == nil {
			return e.Watch(ctx, changed)
		}
		if !pause(ctx, l.retry) {
			return ctx.Err()
		}
	}
}

// Enter joins, and tries again every so often while that fails, until ctx ends.
func Enter(ctx context.Context, to Members, m Member, every time.Duration) error {
	for {
		err := to.Join(ctx, m)
		if err == nil {
			return nil
		}
		if !pause(ctx, jitter(every)) {
			return err
		}
	}
}
