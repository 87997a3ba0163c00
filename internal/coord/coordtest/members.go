package coordtest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

// sight is what a session sees of the members.
type sight struct {
	mu  sync.Mutex
	now []coord.Member
	any bool
}

// watch watches the members until the test ends.
func watch(t *testing.T, e coord.Engine) *sight {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s, done := &sight{}, make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Watch(ctx, func(living []coord.Member) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.now, s.any = living, true
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

func (s *sight) last() []coord.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// await waits until exactly these members are seen, for as long as that may take at most.
func (s *sight) await(t *testing.T, w World, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(w.Ends + 2*w.TTL); ; time.Sleep(w.TTL / 20) {
		var names []string
		for _, m := range s.last() {
			names = append(names, m.Name)
		}
		s.mu.Lock()
		known := s.any
		s.mu.Unlock()
		if known && slices.Equal(names, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s later the members are %q, want %q", w.Ends+2*w.TTL, names, want)
		}
	}
}

func testMembers(t *testing.T, w World) {
	join := func(member string) (coord.Engine, context.CancelFunc) {
		e := w.Open(t, member)
		ctx, leave := context.WithCancel(t.Context())
		t.Cleanup(leave)
		if err := e.Join(ctx, coord.Member{Name: member, Started: time.Now()}); err != nil {
			t.Fatal(err)
		}
		return e, leave
	}
	a, leaveA := join("a")
	seen := watch(t, a)
	seen.await(t, w, "a")
	_, leaveB := join("b")
	seen.await(t, w, "a", "b")
	c, _ := join("c")
	seen.await(t, w, "a", "b", "c")
	late := watch(t, c)
	late.await(t, w, "a", "b", "c")

	time.Sleep(2 * w.Ends) // they stay for as long as they live
	seen.await(t, w, "a", "b", "c")
	leaveB()
	seen.await(t, w, "a", "c")
	leaveA()
	late.await(t, w, "c")
	join("b")
	late.await(t, w, "b", "c")
	_ = c.Close()
	other := watch(t, a)
	other.await(t, w, "b")
	seen.await(t, w, "b")
}

func testLoss(t *testing.T, w World) {
	if w.Crash == nil {
		return
	}
	a, b := w.Open(t, "a"), w.Open(t, "b")
	for member, e := range map[string]coord.Engine{"a": a, "b": b} {
		if err := e.Join(t.Context(), coord.Member{Name: member, Started: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	l := acquire(t, b, "shop")
	seen := watch(t, a)
	seen.await(t, w, "a", "b")
	w.crash(b)
	seen.await(t, w, "a")
	time.Sleep(w.Ends)
	w.Mend(b)
	seen.await(t, w, "a", "b")
	lost(t, b, l)
	if again := acquire(t, b, "shop"); again.Token <= l.Token {
		t.Errorf("after the token %d comes %d", l.Token, again.Token)
	}
}
