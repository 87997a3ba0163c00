package objects_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
	"github.com/certmedic/certmedic/internal/coord/objects"
)

func TestObjects(t *testing.T) {
	coordtest.Test(t, true, func(testing.TB) coordtest.World {
		const ttl = 10 * time.Second
		m := &coordtest.Memory{}
		return coordtest.World{
			Open:  func(t testing.TB, member string) coord.Engine { return m.Open(t, member, ttl) },
			Crash: m.Crash, Mend: m.Mend,
			TTL: ttl, Ends: ttl, Steps: 10000,
		}
	})
}

// coarse is a store whose clock has ticks, as file systems and HTTP have, and which may lose answers.
type coarse struct {
	*coordtest.Memory
	tick    time.Duration
	deaf    bool // to the next answer
	twice   bool // is the next write sent, as clients do that hear nothing
	written time.Duration
}

func (c *coarse) Get(ctx context.Context, key string) (objects.Object, bool, error) {
	o, ok, err := c.Memory.Get(ctx, key)
	o.Now, o.Modified = o.Now.Truncate(c.tick), o.Modified.Truncate(c.tick)
	return o, ok, err
}

func (c *coarse) Swap(ctx context.Context, key, tag string, value []byte) (string, error) {
	time.Sleep(c.written)
	newTag, err := c.Memory.Swap(ctx, key, tag, value)
	if c.twice {
		c.twice = false
		return c.Memory.Swap(ctx, key, tag, value)
	}
	if c.deaf {
		c.deaf = false
		return "", errors.New("the answer was lost")
	}
	return newTag, err
}

func open(t *testing.T, store objects.Store, member string, o objects.Options) *objects.Engine {
	t.Helper()
	o.Member = member
	e, err := objects.New(store, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// TestTicks writes a lease at every part of a tick.
func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = 3 * time.Second
		store := &coarse{Memory: &coordtest.Memory{}, tick: time.Second}
		o := objects.Options{TTL: ttl, Resolution: store.tick}
		a, b := open(t, store, "a", o), open(t, store, "b", o)
		for range 20 {
			l, err := a.Acquire(t.Context(), "shop")
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			for {
				next, err := b.Acquire(t.Context(), "shop")
				if err == nil {
					if since := time.Since(start); since < ttl || since > ttl+2*store.tick {
						t.Errorf("a lease of %s was taken over after %s", ttl, since)
					}
					if err := b.Release(t.Context(), next); err != nil || next.Token <= l.Token {
						t.Errorf("after %+v: %+v, %v", l, next, err)
					}
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(70 * time.Millisecond)
		}
	})
}

func TestLostAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &coarse{Memory: &coordtest.Memory{}, tick: time.Nanosecond}
		o := objects.Options{TTL: 10 * time.Second}
		a, b := open(t, store, "a", o), open(t, store, "b", o)

		store.deaf = true
		if l, err := a.Acquire(t.Context(), "shop"); err == nil {
			t.Errorf("a has %+v, of which it heard nothing", l)
		}
		if _, err := b.Acquire(t.Context(), "shop"); !errors.Is(err, coord.ErrHeld) {
			t.Errorf("the lease that a took without knowing is free: %v", err)
		}
		l, err := a.Acquire(t.Context(), "shop")
		if err != nil || l.Token != 1 {
			t.Fatalf("a does not find its own lease: %+v, %v", l, err)
		}
		store.deaf = true
		if _, err := a.Renew(t.Context(), l); err == nil || errors.Is(err, coord.ErrLost) {
			t.Errorf("a renewal without an answer gave %v", err)
		}
		if l, err = a.Renew(t.Context(), l); err != nil || l.Token != 1 {
			t.Errorf("the lease was renewed without an answer, and then gone: %v", err)
		}
		store.deaf = true
		if err := a.Release(t.Context(), l); err == nil {
			t.Error("a release without an answer gave no error")
		}
		if err := a.Release(t.Context(), l); err != nil {
			t.Errorf("releasing again: %v", err)
		}
		if l, err := b.Acquire(t.Context(), "shop"); err != nil || l.Token != 2 {
			t.Errorf("b got %+v, %v", l, err)
		}
	})
}

func TestWritesThatAreSentTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &coarse{Memory: &coordtest.Memory{}, tick: time.Nanosecond}
		a := open(t, store, "a", objects.Options{TTL: 10 * time.Second})

		store.twice = true
		l, err := a.Acquire(t.Context(), "shop")
		if err != nil || l.Token != 1 {
			t.Fatalf("acquiring gave %+v, %v", l, err)
		}
		store.twice = true
		if l, err = a.Renew(t.Context(), l); err != nil || l.Token != 1 {
			t.Errorf("renewing gave %+v, %v", l, err)
		}
		store.twice = true
		if err := a.Release(t.Context(), l); err != nil {
			t.Errorf("releasing gave %v", err)
		}
		store.twice = true
		r, err := a.Put(t.Context(), "order", 0, 1, []byte("x"))
		if err != nil || r.Revision != 1 {
			t.Errorf("writing gave %+v, %v", r, err)
		}
		other := &racing{Memory: store.Memory, key: "records/order", value: []byte(`{"revision":2,"token":9}`)}
		b := open(t, other, "b", objects.Options{TTL: 10 * time.Second})
		if _, err := b.Put(t.Context(), "order", 1, 1, []byte("y")); !errors.Is(err, coord.ErrStale) {
			t.Errorf("writing just after another did gave %v", err)
		}
	})
}

// racing has another write one's own object just before one does.
type racing struct {
	*coordtest.Memory
	key   string
	value []byte
}

func (r *racing) Swap(ctx context.Context, key, tag string, value []byte) (string, error) {
	if key == r.key {
		if _, err := r.Memory.Swap(ctx, key, tag, r.value); err != nil {
			return "", err
		}
	}
	return r.Memory.Swap(ctx, key, tag, value)
}

// TestLeaseEndsFromTheRequestOn counts the time that a write takes against the lease, and not for it.
func TestLeaseEndsFromTheRequestOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &coarse{Memory: &coordtest.Memory{}, tick: time.Nanosecond, written: 2 * time.Second}
		a := open(t, store, "a", objects.Options{TTL: 10 * time.Second})
		start := time.Now()
		l, err := a.Acquire(t.Context(), "shop")
		if want := start.Add(9 * time.Second); err != nil || !l.Expires.Equal(want) {
			t.Errorf("the lease ends %s after it was asked for, %v", l.Expires.Sub(start), err)
		}
	})
}

func TestBrokenObjectsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &coordtest.Memory{}
		e := m.Open(t, "a", time.Second)
		for _, key := range []string{"leases/shop", "records/shop"} {
			if _, err := m.Swap(t.Context(), key, "", []byte("{")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := e.Acquire(t.Context(), "shop"); err == nil || errors.Is(err, coord.ErrHeld) {
			t.Errorf("a lease of what is no lease gave %v", err)
		}
		if _, _, err := e.Get(t.Context(), "shop"); err == nil {
			t.Error("a broken record was read")
		}
		if _, err := e.Put(t.Context(), "shop", 0, 1, nil); err == nil || errors.Is(err, coord.ErrStale) {
			t.Errorf("writing upon a broken record gave %v", err)
		}
		if _, err := e.List(t.Context(), ""); err == nil {
			t.Error("a broken record was listed")
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for about, o := range map[string]objects.Options{
		"a member without a name": {TTL: time.Second},
		"no time to live":         {Member: "a"},
		"too short a one":         {Member: "a", TTL: time.Millisecond},
	} {
		if _, err := objects.New(&coordtest.Memory{}, o); err == nil {
			t.Errorf("%s was accepted", about)
		}
	}
}
