package coord_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
	"github.com/certmedic/certmedic/internal/coord/embedded"
	"github.com/certmedic/certmedic/internal/store"
)

const ttl = 10 * time.Second

// keeping is a keeper that runs, and what it said.
type keeping struct {
	*coord.Keeper
	engine coord.Engine
	end    func() // and wait until it ended

	mu    sync.Mutex
	said  []string
	at    []time.Time
	lease coord.Lease // that it spoke of last
}

func keep(t *testing.T, engine coord.Engine, names ...string) *keeping {
	t.Helper()
	k := &keeping{engine: engine}
	k.Keeper = coord.NewKeeper(engine, ttl, func(l coord.Lease, held bool) {
		k.mu.Lock()
		defer k.mu.Unlock()
		word := map[bool]string{true: "has", false: "lost"}[held]
		k.said, k.at, k.lease = append(k.said, fmt.Sprintf("%s %s", word, l.Name)), append(k.at, time.Now()), l
		if _, still := k.Held(l.Name, time.Now()); still != held {
			t.Errorf("as it says that it %s %q it says %v when it is asked", word, l.Name, still)
		}
	})
	k.Want(names)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.Run(ctx)
	}()
	k.end = func() {
		cancel()
		<-done
	}
	t.Cleanup(k.end)
	return k
}

func (k *keeping) expect(t *testing.T, said ...string) {
	t.Helper()
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if fmt.Sprint(k.said) != fmt.Sprint(said) {
		t.Errorf("it said %q, want %q", k.said, said)
	}
	k.said, k.at = nil, nil
}

func TestKeeperOnASingleHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state, err := store.Open(filepath.Join(t.TempDir(), "state"), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer state.Close()
		engine, err := embedded.New(state, "a", ttl)
		if err != nil {
			t.Fatal(err)
		}
		k := keep(t, engine, "shop")
		k.expect(t, "has shop")
		first, _ := k.Held("shop", time.Now())
		for range 100 {
			time.Sleep(ttl / 2)
			if l, held := k.Held("shop", time.Now()); !held || l.Token != first.Token {
				t.Fatalf("it holds %+v, %v after %+v", l, held, first)
			}
		}
		k.expect(t)
		k.Want([]string{"blog", "blog"})
		k.expect(t, "lost shop", "has blog")
		k.Want([]string{"shop", "blog"})
		k.expect(t, "has shop")
		if l, err := k.Confirm(t.Context(), "shop"); err != nil || l.Token <= first.Token {
			t.Errorf("held again it is %+v, %v after %+v", l, err, first)
		}
		k.Want([]string{"shop"})
		k.expect(t, "lost blog")
		k.end()
		k.expect(t, "lost shop")
		if _, err := k.Confirm(t.Context(), "shop"); !errors.Is(err, coord.ErrLost) {
			t.Errorf("after its end it confirms with %v", err)
		}
	})
}

func TestKeeperTakesOver(t *testing.T) {
	for _, row := range []struct {
		about  string
		end    func(m *coordtest.Memory, a *keeping)
		within time.Duration
		says   []string // the one whose lease ends
	}{
		{"when another gives up", func(_ *coordtest.Memory, a *keeping) { a.end() }, ttl / 3, []string{"lost shop"}},
		{"when another crashed", func(m *coordtest.Memory, a *keeping) { m.Crash(a.engine) }, ttl + ttl/3, []string{"lost shop"}},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &coordtest.Memory{}
				a := keep(t, m.Open(t, "a", ttl), "shop")
				a.expect(t, "has shop")
				b := keep(t, m.Open(t, "b", ttl), "shop")
				time.Sleep(10*ttl + 3*time.Second)
				b.expect(t)
				start := time.Now()
				row.end(m, a)
				time.Sleep(row.within + time.Second)
				synctest.Wait()
				lost := a.at[0]
				b.mu.Lock()
				if len(b.at) != 1 || b.at[0].Sub(start) > row.within || !b.at[0].After(lost) || b.lease.Token != 2 {
					t.Errorf("%s after the end, which the other noticed at %s, it has %+v since %s", time.Since(start), lost, b.lease, b.at)
				}
				b.mu.Unlock()
				a.expect(t, row.says...)
				b.expect(t, "has shop")
			})
		})
	}
}

// TestKeeperLetsGoInTime cuts a member off at many points of the time to live: it says that it lost its lease before
// anybody else can have it.
func TestKeeperLetsGoInTime(t *testing.T) {
	for part := range 20 {
		synctest.Test(t, func(t *testing.T) {
			m := &coordtest.Memory{}
			a := keep(t, m.Open(t, "a", ttl), "shop")
			a.expect(t, "has shop")
			other := m.Open(t, "b", ttl)
			time.Sleep(ttl + time.Duration(part)*ttl/20)
			down := errors.New("the line is cut")
			m.Fail(func(member string) error {
				if member == "a" {
					return down
				}
				return nil
			})
			start := time.Now()
			for time.Since(start) < 2*ttl {
				if _, err := other.Acquire(t.Context(), "shop"); err == nil {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			taken := time.Now()
			synctest.Wait()
			if _, held := a.Held("shop", time.Now()); held || len(a.at) != 1 || !a.at[0].Before(taken) || a.at[0].After(a.lease.Expires) {
				t.Errorf("another has the lease since %s, and it %v holds it until %s, having said %q at %s", taken, held, a.lease.Expires, a.said, a.at)
			}
			if since, err := a.Trouble(); !errors.Is(err, down) || since.Before(start) || since.Sub(start) > ttl/3 {
				t.Errorf("the line is cut since %s, and it says since %s: %v", start, since, err)
			}
			m.Fail(nil)
			time.Sleep(ttl)
			if _, err := a.Trouble(); err != nil {
				t.Errorf("it can be asked again, and it says %v", err)
			}
		})
	}
}

// TestKeeperOutlivesShortTrouble has renewals fail for less than the time to live.
func TestKeeperOutlivesShortTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &coordtest.Memory{}
		a := keep(t, m.Open(t, "a", ttl), "shop", "blog")
		time.Sleep(ttl)
		for range 30 {
			m.Fail(func(string) error { return errors.New("busy") })
			time.Sleep(ttl / 3)
			m.Fail(nil)
			time.Sleep(ttl / 3)
		}
		synctest.Wait()
		if len(a.said) != 2 {
			t.Errorf("it said %q", a.said)
		}
	})
}

// deaf is a coordinator that does not answer within the time of a call.
type deaf struct{ coord.Coordinator }

func (d deaf) Renew(ctx context.Context, l coord.Lease) (coord.Lease, error) {
	<-ctx.Done()
	return l, ctx.Err()
}

func TestKeeperDoesNotWaitForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &coordtest.Memory{}
		var lost time.Time
		k := coord.NewKeeper(deaf{m.Open(t, "a", ttl)}, ttl, func(_ coord.Lease, held bool) {
			if !held && lost.IsZero() {
				lost = time.Now()
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), ttl-time.Second/2)
		defer cancel()
		k.Want([]string{"shop"})
		start := time.Now()
		k.Run(ctx)
		if since := lost.Sub(start); lost.IsZero() || since > ttl-ttl/10 {
			t.Errorf("with a coordinator that does not answer it let go after %s", since)
		}
	})
}

func TestKeeperConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &coordtest.Memory{}
		engine := m.Open(t, "a", ttl)
		a := keep(t, engine, "shop")
		a.expect(t, "has shop")
		time.Sleep(time.Second)
		l, err := a.Confirm(t.Context(), "shop")
		if want := coord.Expiry(time.Now(), ttl); err != nil || !l.Expires.Equal(want) {
			t.Errorf("confirmed it lasts until %s, want %s, %v", l.Expires, want, err)
		}
		if held, _ := a.Held("shop", time.Now()); held != l {
			t.Errorf("it holds %+v after it confirmed %+v", held, l)
		}
		if _, err := a.Confirm(t.Context(), "blog"); !errors.Is(err, coord.ErrLost) {
			t.Errorf("a lease that it never had: %v", err)
		}
		if err := engine.Release(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Open(t, "b", ttl).Acquire(t.Context(), "shop"); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Confirm(t.Context(), "shop"); !errors.Is(err, coord.ErrLost) {
			t.Errorf("a lease that another took is confirmed with %v", err)
		}
		a.expect(t, "lost shop") // at once, not with the next renewal
		m.Fail(func(string) error { return errors.New("down") })
		if _, err := a.Confirm(t.Context(), "shop"); !errors.Is(err, coord.ErrLost) {
			t.Errorf("what is not held needs no coordinator: %v", err)
		}
	})
}

// TestKeepersOfMany has three members and many names, and one of them crash again and again.
func TestKeepersOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &coordtest.Memory{}
		var names []string
		for i := range 40 {
			names = append(names, fmt.Sprintf("c%d", i))
		}
		all := []*keeping{keep(t, m.Open(t, "a", ttl), names...), keep(t, m.Open(t, "b", ttl), names...), keep(t, m.Open(t, "c", ttl), names...)}
		for round := range 30 {
			time.Sleep(time.Duration(round) * ttl / 7)
			synctest.Wait()
			for _, name := range names {
				holders := 0
				for _, k := range all {
					if _, held := k.Held(name, time.Now()); held {
						holders++
					}
				}
				if holders > 1 {
					t.Fatalf("%d members hold %q", holders, name)
				}
			}
			if round%5 == 4 {
				i := round % 3
				m.Crash(all[i].engine)
				old := all[i]
				go old.end()
				all[i] = keep(t, m.Open(t, string(rune('a'+i)), ttl), names...)
			}
		}
		time.Sleep(2 * ttl)
		synctest.Wait()
		held := 0
		for _, k := range all {
			for _, name := range names {
				if _, ok := k.Held(name, time.Now()); ok {
					held++
				}
			}
		}
		if held != len(names) {
			t.Errorf("of %d leases %d are held", len(names), held)
		}
	})
}

// slow is an engine that takes a second to release a lease.
type slow struct{ coord.Engine }

func (s slow) Release(ctx context.Context, l coord.Lease) error {
	time.Sleep(time.Second)
	return s.Engine.Release(ctx, l)
}

// TestWantedAgain takes a name away and gives it back before it was released.
func TestWantedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &coordtest.Memory{}
		a := keep(t, slow{m.Open(t, "a", ttl)}, "shop")
		a.expect(t, "has shop")
		for range 20 {
			a.Want(nil)
			a.expect(t, "lost shop")
			a.Want([]string{"shop"})
			a.expect(t)
			time.Sleep(ttl)
			a.expect(t, "has shop")
			time.Sleep(ttl)
			a.expect(t)
		}
	})
}

func TestHolds(t *testing.T) {
	now := time.Now()
	l := coord.Lease{Token: 1, Expires: now.Add(time.Second)}
	wall := l.Expires.Round(0) // without the monotonic clock
	for _, row := range []struct {
		about string
		lease coord.Lease
		now   time.Time
		holds bool
	}{
		{"before its end", l, now, true},
		{"at its end", l, l.Expires, false},
		{"no lease", coord.Lease{Expires: l.Expires}, now, false},
		{"by the wall clock alone it is over: the machine slept", coord.Lease{Token: 1, Expires: wall}, now.Add(2 * time.Second).Round(0), false},
	} {
		if got := row.lease.Holds(row.now); got != row.holds {
			t.Errorf("%s: %v", row.about, got)
		}
	}
}
