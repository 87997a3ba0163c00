package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/certmedic/certmedic/internal/coord"
)

// session is an etcd lease of this member.
type session struct {
	id   clientv3.LeaseID
	over chan struct{} // closed when it is

	mu      sync.Mutex
	asked   time.Time   // when the last request to keep it alive that succeeded was made
	expires coord.Lease // only its end
}

// extended notes that etcd granted the time to live after it was asked at start.
func (s *session) extended(start time.Time, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.Before(start) {
		s.asked, s.expires = start, coord.Lease{Token: 1, Expires: coord.Expiry(start, ttl)}
	}
}

func (s *session) alive(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expires.Holds(now)
}

func (s *session) end() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expires.Expires
}

func (s *session) lastAsked() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// newest returns the session that was begun last, which may be over; nil where none was, or where it was dropped.
func (e *Engine) newest() *session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.session
}

// current returns the session while it is alive; nil otherwise.
func (e *Engine) current() *session {
	if s := e.newest(); s != nil && s.alive(time.Now()) {
		return s
	}
	return nil
}

// begin returns the session, and makes one where there is none. Keys of an earlier one, which is
// over for us before it is for etcd, are given free.
func (e *Engine) begin(ctx context.Context, client *clientv3.Client) (*session, error) {
	if s := e.current(); s != nil {
		return s, nil
	}
	if err := e.lock(ctx); err != nil {
		return nil, fmt.Errorf("beginning a session: %w", err)
	}
	defer e.unlock()
	if s := e.current(); s != nil {
		return s, nil
	}
	e.drop(e.newest())
	e.forget(ctx, client)
	start := time.Now()
	granted, err := client.Grant(ctx, int64((e.o.TTL+time.Second-1)/time.Second))
	if err != nil {
		return nil, fmt.Errorf("beginning a session: %w", err)
	}
	ttl := time.Duration(granted.TTL) * time.Second
	s := &session{id: granted.ID, over: make(chan struct{})}
	s.extended(start, ttl)
	e.mu.Lock()
	e.session = s
	e.mu.Unlock()
	e.run(func() { e.keep(s, ttl) })
	return s, nil
}

// drop ends a session for this member, if that has not happened.
func (e *Engine) drop(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s == nil || e.session != s {
		return
	}
	e.session = nil
	close(s.over)
	e.over = append(e.over, s.id)
}

// forget tells etcd of sessions that are over. What it does not hear of ends by itself.
func (e *Engine) forget(ctx context.Context, client *clientv3.Client) {
	e.mu.Lock()
	over := e.over
	e.over = nil
	e.mu.Unlock()
	for _, id := range over {
		ctx, cancel := context.WithTimeout(ctx, e.o.TTL/3)
		_, _ = client.Revoke(ctx, id)
		cancel()
	}
}

// keep keeps a session alive until it is over, or the engine closed. A failure leaves time for another
// attempt, or two.
func (e *Engine) keep(s *session, ttl time.Duration) {
	wait := ttl / 3
	for {
		timer := time.NewTimer(min(wait, time.Until(s.end())))
		select {
		case <-timer.C:
		case <-s.over:
			timer.Stop()
			return
		case <-e.ctx.Done():
			timer.Stop()
			return
		}
		err := e.extend(e.ctx, s, ttl/5)
		if errors.Is(err, coord.ErrLost) || !s.alive(time.Now()) {
			e.drop(s)
			return
		}
		wait = ttl / 3
		if err != nil {
			wait = ttl / 20
		}
	}
}

// extend keeps a session alive from now on, unless that was asked for a moment ago.
func (e *Engine) extend(ctx context.Context, s *session, timeout time.Duration) error {
	start := time.Now()
	if !s.alive(start) {
		return coord.ErrLost
	}
	if start.Sub(s.lastAsked()) < e.o.TTL/20 {
		return nil
	}
	ctx, client, done, err := e.call(ctx)
	defer done()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err = e.beat(ctx, client, s)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return coord.ErrLost
	}
	if err != nil {
		return fmt.Errorf("keeping the session alive: %w", err)
	}
	return nil
}
