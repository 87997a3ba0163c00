package coord_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
)

// TestLate holds an engine that is opened late to what every engine has to keep.
func TestLate(t *testing.T) {
	coordtest.Test(t, true, func(testing.TB) coordtest.World {
		m := &coordtest.Memory{}
		return coordtest.World{
			Open: func(t testing.TB, member string) coord.Engine {
				late := coord.NewLate(func(context.Context) (coord.Engine, error) { return m.Open(t, member, ttl), nil }, time.Second)
				t.Cleanup(func() { _ = late.Close() })
				return late
			},
			TTL: ttl, Ends: ttl, Steps: 500,
		}
	})
}

func TestLateOpensWhenItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &coordtest.Memory{}
		down := errors.New("the folder is not mounted")
		var attempts atomic.Int64
		var isUp atomic.Bool
		late := coord.NewLate(func(context.Context) (coord.Engine, error) {
			attempts.Add(1)
			if !isUp.Load() {
				return nil, down
			}
			return m.Open(t, "a", ttl), nil
		}, 5*time.Second)
		k := keep(t, late, "shop")
		seen := make(chan []coord.Member, 10)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = late.Watch(ctx, func(living []coord.Member) { seen <- living }) }()
		entered := make(chan error)
		go func() { entered <- coord.Enter(ctx, late, coord.Member{Name: "a"}, time.Second) }()

		for range 100 {
			time.Sleep(100 * time.Millisecond)
			if _, _, err := late.Get(ctx, "order"); !errors.Is(err, down) {
				t.Fatalf("while it is down a call gives %v", err)
			}
		}
		if n := attempts.Load(); n > 3 {
			t.Errorf("in 10 s it was tried %d times", n)
		}
		if _, err := k.Trouble(); !errors.Is(err, down) {
			t.Errorf("the trouble is %v", err)
		}
		isUp.Store(true)
		if err := <-entered; err != nil {
			t.Errorf("it is there, and joining gives %v", err)
		}
		for living := range seen {
			if len(living) == 1 && living[0].Name == "a" {
				break
			}
		}
		time.Sleep(ttl)
		k.expect(t, "has shop")
		k.end()
		cancel()
		if err := late.Close(); err != nil {
			t.Error(err)
		}
		if _, err := late.Acquire(t.Context(), "shop"); err == nil {
			t.Error("after it was closed it gives leases")
		}
	})
}

// TestLateIsNotOpenedAfterItsEnd closes it while it is being opened.
func TestLateIsNotOpenedAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &coordtest.Memory{}
		late := coord.NewLate(func(context.Context) (coord.Engine, error) {
			time.Sleep(time.Second)
			return m.Open(t, "a", ttl), nil
		}, time.Second)
		failed := make(chan error)
		go func() {
			_, err := late.Acquire(t.Context(), "shop")
			failed <- err
		}()
		synctest.Wait()
		hurried, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := late.Acquire(hurried, "shop"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that has no time to wait gives %v", err)
		}
		_ = late.Close()
		if err := <-failed; err == nil {
			t.Error("what was closed while it was opened gives leases")
		}
	})
}
