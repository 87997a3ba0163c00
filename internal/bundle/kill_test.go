package bundle_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/bundletest"
)

var errKilled = errors.New("killed")

// failing is a store whose write number `at` is the last thing that its user did.
type failing struct {
	*bundletest.Memory
	at    int
	after bool // the write still happens
	dead  bool
}

func (f *failing) write(do func() error) error {
	if f.dead {
		return errKilled
	}
	if f.at--; f.at > 0 {
		return do()
	}
	f.dead = true
	if f.after {
		_ = do()
	}
	return errKilled
}

func (f *failing) Get(ctx context.Context, key, known string) (bundle.Object, error) {
	if f.dead {
		return bundle.Object{}, errKilled
	}
	return f.Memory.Get(ctx, key, known)
}

func (f *failing) Create(ctx context.Context, key string, data []byte) error {
	return f.write(func() error { return f.Memory.Create(ctx, key, data) })
}

func (f *failing) Swap(ctx context.Context, key, tag string, data []byte) error {
	return f.write(func() error { return f.Memory.Swap(ctx, key, tag, data) })
}

func (f *failing) Remove(ctx context.Context, key string) error {
	return f.write(func() error { return f.Memory.Remove(ctx, key) })
}

// TestKilledAtEachWrite ends a publisher before and after each of its writes. A consumer finds the
// old version or the new one, whole; the next publisher, with a higher token, goes on; and what
// the first one left is removed in the end.
func TestKilledAtEachWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, fresh := w.version(t, shop), w.version(t, shop)
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			when := fmt.Sprintf("write %d (done: %t)", at, after)
			memory := &bundletest.Memory{}
			first := w.publish(t, memory, old, 1, "")
			store := &failing{Memory: memory, at: at, after: after}
			_, err := bundle.Publish(t.Context(), store, fresh, w.options(2, first.Version))
			if err == nil {
				err = bundle.Prune(t.Context(), store, shop, 1)
			}
			b, errLatest := bundle.Latest(t.Context(), memory, shop, w.trust())
			if errLatest != nil || string(b.Fullchain) != string(old.Fullchain) && string(b.Fullchain) != string(fresh.Fullchain) {
				t.Fatalf("%s: a consumer finds %v", when, errLatest)
			}
			next := w.publish(t, memory, fresh, 3, first.Version)
			if b, err := bundle.Latest(t.Context(), memory, shop, w.trust()); err != nil || b.Manifest.Version != next.Version {
				t.Fatalf("%s, and another one went on: %v", when, err)
			}
			must(t, bundle.Prune(t.Context(), memory, shop, bundle.Keep))
			if keys, _ := memory.List(t.Context(), ""); len(keys) != 11 {
				t.Errorf("%s: in the end there are %q", when, keys)
			}
			if err == nil && at > 6 {
				break
			}
		}
	}
}

// turns has one of several members make one step at a time, as a seed says.
type turns struct {
	*bundletest.Memory
	ready chan int
	go_   chan struct{}
	who   int
}

func (s turns) wait() { s.ready <- s.who; <-s.go_ }

func (s turns) Get(ctx context.Context, key, known string) (bundle.Object, error) {
	s.wait()
	return s.Memory.Get(ctx, key, known)
}

func (s turns) Create(ctx context.Context, key string, data []byte) error {
	s.wait()
	return s.Memory.Create(ctx, key, data)
}

func (s turns) Swap(ctx context.Context, key, tag string, data []byte) error {
	s.wait()
	return s.Memory.Swap(ctx, key, tag, data)
}

func (s turns) Remove(ctx context.Context, key string) error {
	s.wait()
	return s.Memory.Remove(ctx, key)
}

// TestInterleavings has two publishers with tokens of their own publish several versions each, in
// random turns. After each step a consumer finds a whole version, or none before the first; the
// token and the sequence never go back; and each publication that succeeded goes on from the one
// that its publisher named.
func TestInterleavings(t *testing.T) {
	t.Parallel()
	seeds := 40
	if os.Getenv("CERTMEDIC_CHAOS") != "" {
		seeds = 5000
	}
	w := newWorld(t)
	var versions []bundle.Version
	for range 6 {
		versions = append(versions, w.version(t, shop))
	}
	w.seal, w.opener = bundle.Seal{Plaintext: true}, bundle.Opener{Plaintext: true} // cheaper
	for seed := range seeds {
		interleave(t, w, versions, uint64(seed))
		if t.Failed() {
			return
		}
	}
}

// success is a publication that its publisher was told to have succeeded.
type success struct{ previous, version certmedic.Fingerprint }

func interleave(t *testing.T, w *world, versions []bundle.Version, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	memory := &bundletest.Memory{}
	ready := make(chan int)
	const members = 2
	gates := make([]chan struct{}, members)
	done := make(chan []success, members)
	tokens := []uint64{1 + random.Uint64N(3), 1 + random.Uint64N(3)}
	for who := range members {
		gates[who] = make(chan struct{})
		store := turns{memory, ready, gates[who], who}
		go func() {
			done <- work(store, w, versions[who*3:who*3+3], tokens[who])
			ready <- -1
		}()
	}
	var all []success
	var mark bundle.Mark
	waiting := map[int]bool{}
	for range members {
		waiting[<-ready] = true
	}
	for len(waiting) > 0 {
		who := pick(random, waiting)
		delete(waiting, who)
		gates[who] <- struct{}{}
		if next := <-ready; next >= 0 { // it came to its next step
			waiting[next] = true
		} else {
			all = append(all, <-done...)
		}
		mark = consume(t, w, memory, mark, seed)
	}
	for i, s := range all {
		for _, other := range all[:i] {
			if s.previous == other.previous && s.version != other.version {
				t.Errorf("seed %d: two publications go on from %q", seed, s.previous.Short())
			}
		}
	}
}

func pick(random *rand.Rand, waiting map[int]bool) int {
	number := random.IntN(len(waiting))
	for who := range 2 {
		if waiting[who] {
			if number == 0 {
				return who
			}
			number--
		}
	}
	return -1
}

// work publishes versions one after the other, each going on from what is current.
func work(store bundle.Store, w *world, versions []bundle.Version, token uint64) []success {
	var all []success
	for _, v := range versions {
		var previous certmedic.Fingerprint
		if m, err := bundle.Current(context.Background(), store, shop, nil); err == nil {
			previous = m.Version
		}
		if m, err := bundle.Publish(context.Background(), store, v, w.options(token, previous)); err == nil {
			all = append(all, success{previous, m.Version})
			_ = bundle.Prune(context.Background(), store, shop, 1)
		}
	}
	return all
}

func consume(t *testing.T, w *world, store bundle.Reader, mark bundle.Mark, seed uint64) bundle.Mark {
	t.Helper()
	trust := w.trust()
	trust.After = mark
	b, err := bundle.Latest(t.Context(), store, shop, trust)
	if errors.Is(err, bundle.ErrNotFound) && mark == (bundle.Mark{}) {
		return mark
	}
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
	return b.Mark
}
