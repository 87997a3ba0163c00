package check

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/live"
)

// slow is a checker whose handshakes take as many milliseconds as their port says.
func slow(parallel int, inFlight, most *atomic.Int64) *Checker {
	return &Checker{Parallel: parallel, Prober: probe.Prober{
		Handshake: func(ctx context.Context, r live.Request) live.Result {
			if n := inFlight.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer inFlight.Add(-1)
			select {
			case <-time.After(time.Duration(r.Address.Port()) * time.Millisecond):
			case <-ctx.Done():
			}
			return live.Result{Stage: certmedic.ProbeConnect, Err: &certmedic.ProbeError{Reason: certmedic.Timeout, Detail: "slow"}}
		},
		Lookup: func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("not used") },
	}}
}

func numbered(n int, port func(int) int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield(fmt.Sprintf("10.0.%d.%d:%d", i/250, i%250, port(i))) {
				return
			}
		}
	}
}

func TestRunKeepsTheOrderAndItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inFlight, most atomic.Int64
		c := slow(4, &inFlight, &most)
		targets := numbered(1000, func(i int) int { return 1 + (i*37)%50 })
		var got []string
		if err := c.Run(t.Context(), targets, func(r Result) error { got = append(got, r.Target); return nil }); err != nil {
			t.Fatal(err)
		}
		if want := slices.Collect(targets); !slices.Equal(got, want) {
			t.Error("the results are not in the order of the targets")
		}
		if most.Load() > 4 {
			t.Errorf("%d targets were checked at a time, want at most 4", most.Load())
		}
	})
}

func TestRunReadsAheadOnlySoFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inFlight, most atomic.Int64
		c := slow(2, &inFlight, &most)
		var taken atomic.Int64
		targets := func(yield func(string) bool) {
			for target := range numbered(500, func(i int) int { return map[bool]int{true: 60000, false: 1}[i == 0] }) {
				taken.Add(1)
				if !yield(target) {
					return
				}
			}
		}
		first := true
		err := c.Run(t.Context(), targets, func(Result) error {
			if limit := int64(2*ahead + 2 + 2); first && taken.Load() > limit {
				t.Errorf("%d targets were taken while the first one stalled, want at most %d", taken.Load(), limit)
			}
			first = false
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestRunEndsEarly(t *testing.T) {
	broken := errors.New("broken pipe")
	for _, row := range []struct {
		about string
		emit  func(cancel func()) error
		want  error
	}{
		{"with the context", func(cancel func()) error { cancel(); return nil }, context.Canceled},
		{"with the first error of its receiver", func(func()) error { return broken }, broken},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var inFlight, most atomic.Int64
				results := 0
				err := slow(4, &inFlight, &most).Run(ctx, numbered(100, func(int) int { return 10 }), func(Result) error {
					results++
					return row.emit(cancel)
				})
				if !errors.Is(err, row.want) || results != 1 {
					t.Errorf("after %d results the error is %v, want %v after 1", results, err, row.want)
				}
				if inFlight.Load() != 0 {
					t.Errorf("%d checks are left behind", inFlight.Load())
				}
			})
		})
	}
}

func TestRunDoesNotWaitForTargetsOnceItIsToldToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		never := make(chan struct{})
		defer close(never)
		silent := func(func(string) bool) { <-never }
		time.AfterFunc(time.Second, cancel)
		var inFlight, most atomic.Int64
		err := slow(1, &inFlight, &most).Run(ctx, silent, func(Result) error { return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	})
}
