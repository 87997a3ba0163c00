package remediate

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/certmedic/certmedic"
)

// queue has tickets wait for locks, and notes in which order they get them.
type queue struct {
	locks keyedLocks

	mu   sync.Mutex
	got  []string
	free map[string]func()
}

func (q *queue) take(ctx context.Context, name string, keys ...string) {
	go func() {
		if release, err := q.locks.acquire(ctx, keys); err == nil {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.got = append(q.got, name)
			q.free[name] = release
		}
	}()
	synctest.Wait()
}

func (q *queue) leave(name string) {
	q.mu.Lock()
	free := q.free[name]
	q.mu.Unlock()
	free()
	synctest.Wait()
}

func TestLocksAreHandedOutInTheOrderOfAsking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{free: map[string]func(){}}
		ctx := t.Context()
		q.take(ctx, "a", "nginx", "shop")
		q.take(ctx, "b", "nginx")
		q.take(ctx, "c", "nginx", "nginx", "postfix")
		q.take(ctx, "d", "postfix")
		q.take(ctx, "e", "dovecot")
		gone, give := context.WithCancel(ctx)
		q.take(gone, "f", "dovecot", "nginx")
		q.take(ctx, "g", "nginx")
		give() // up
		synctest.Wait()
		if !slices.Equal(q.got, []string{"a", "e"}) {
			t.Fatalf("at first %q", q.got)
		}
		for _, name := range []string{"a", "b", "c"} {
			q.leave(name)
		}
		q.take(ctx, "h", "shop", "postfix")
		q.leave("d")
		if want := []string{"a", "e", "b", "c", "d", "g", "h"}; len(q.got) != len(want) || !slices.Equal(q.got[:4], want[:4]) {
			t.Errorf("in the order %q, want %q", q.got, want)
		}
		for _, name := range []string{"e", "g", "h"} {
			q.leave(name)
		}
		if len(q.locks.queues) != 0 {
			t.Errorf("left behind: %v", q.locks.queues)
		}
	})
}

func TestSharing(t *testing.T) {
	t.Parallel()
	action := func(id string, locks ...string) certmedic.Action { return certmedic.Action{ID: id, Locks: locks} }
	groups := sharing([]certmedic.Action{
		action("1", "a", "nginx"), action("2", "b", "postfix"), action("3", "c"), action("4", "nginx", "postfix"), action("5", "d"),
	})
	var got [][]string
	for _, g := range groups {
		var ids []string
		for _, a := range g {
			ids = append(ids, a.ID)
		}
		slices.Sort(ids)
		got = append(got, ids)
	}
	if want := [][]string{{"3"}, {"1", "2", "4"}, {"5"}}; !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("groups %q, want %q", got, want)
	}
}
