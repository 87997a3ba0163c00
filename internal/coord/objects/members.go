package objects

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

// presence is what the object of a member holds.
type presence struct {
	Member coord.Member  `json:"member"`
	TTL    time.Duration `json:"ttl_ns"`
	Left   bool          `json:"left,omitempty"`
}

// Join implements [coord.Members].
func (e *Engine) Join(ctx context.Context, m coord.Member) error {
	if m.Name != e.o.Member {
		return fmt.Errorf("joining as %q: this is a session of %q", m.Name, e.o.Member)
	}
	m.Started = m.Started.UTC().Round(0)
	p := presence{Member: m, TTL: e.o.TTL}
	e.joining.Lock()
	defer e.joining.Unlock()
	select {
	case <-e.closed:
		return fmt.Errorf("joining as %q: the session was closed", m.Name)
	default:
	}
	if err := e.show(ctx, p); err != nil {
		return fmt.Errorf("joining as %q: %w", m.Name, err)
	}
	e.joins++
	join := e.joins
	e.beats.Go(func() {
		e.beat(ctx, p)
		e.leave(context.WithoutCancel(ctx), join, p)
	})
	return nil
}

// beat shows that the member lives until it leaves. A failure is made good by the next beat.
func (e *Engine) beat(ctx context.Context, p presence) {
	for e.pause(ctx, e.o.TTL/3) {
		_ = e.show(ctx, p)
	}
}

// leave says that the member left, unless it joined again. Where that fails the others find out by
// themselves.
func (e *Engine) leave(ctx context.Context, join int, p presence) {
	e.joining.Lock()
	defer e.joining.Unlock()
	if e.joins == join {
		p.Left = true
		_ = e.show(ctx, p)
	}
}

// pause waits for about as long, and says whether to go on.
func (e *Engine) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d - time.Duration(rand.Int64N(int64(d/5))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-e.closed:
	}
	return false
}

// show writes the member's object, whatever is in it.
func (e *Engine) show(ctx context.Context, p presence) error {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	key := memberPrefix + p.Member.Name
	for range attempts {
		o, _, err := e.store.Get(ctx, key)
		if err != nil {
			return err
		}
		if _, err = e.swap(ctx, key, o.Tag, p); !errors.Is(err, coord.ErrStale) {
			return err
		}
	}
	return fmt.Errorf("others write the object of the member %q all the time: is the name used twice?", p.Member.Name)
}

// Watch implements [coord.Members].
func (e *Engine) Watch(ctx context.Context, changed func([]coord.Member)) error {
	known := false
	var last []coord.Member
	for {
		living, err := e.living(ctx)
		if err == nil && (!known || !slices.EqualFunc(living, last, coord.Member.Equal)) {
			known, last = true, living
			changed(slices.Clone(living))
		}
		if !e.pause(ctx, e.o.TTL/3) {
			if ctx.Err() == nil {
				return errors.New("watching the members: the session was closed")
			}
			return ctx.Err()
		}
	}
}

// living returns the members that were heard of within their time to live, by name.
func (e *Engine) living(ctx context.Context) ([]coord.Member, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	var mu sync.Mutex
	var living []coord.Member
	err := e.readAll(ctx, memberPrefix, func(ctx context.Context, key string) error {
		var p presence
		o, ok, err := e.read(ctx, key, &p)
		if err != nil || !ok || p.Left || o.Now.Sub(o.Modified) >= p.TTL+e.o.Resolution {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		living = append(living, p.Member)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for members: %w", err)
	}
	slices.SortFunc(living, func(a, b coord.Member) int { return cmp.Compare(a.Name, b.Name) })
	return living, nil
}
