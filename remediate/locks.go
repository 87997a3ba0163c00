package remediate

import (
	"context"
	"slices"
	"sync"
)

// locksOf returns what an action must not share with another one: its certificate, the services
// that its plan reloads, and, for trials of the fleet's breaker, the trial, so that the next one sees
// how the last one ended.
func locksOf(certificate string, c considered) []string {
	keys := append([]string{lockOf(certificate)}, c.plan.Locks...)
	if c.trial {
		keys = append(keys, "trial")
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// lockOf is the lock of a certificate.
func lockOf(certificate string) string { return "certificate\x00" + certificate }

// keyedLocks hands out one lock per key, so that two actions never share a service. Who asked first
// has it first: nobody waits for more than one action of each certificate that asked before.
type keyedLocks struct {
	mu     sync.Mutex
	queues map[string][]*ticket // by key, the first one holds it
}

// ticket is one's place in the queues of all its keys, which it took at one moment. So two tickets
// never wait for each other.
type ticket struct {
	keys  []string
	ready chan struct{} // closed when it is the first everywhere
}

// acquire takes all keys together.
func (k *keyedLocks) acquire(ctx context.Context, keys []string) (release func(), err error) {
	t := k.enqueue(slices.Compact(slices.Sorted(slices.Values(keys))))
	select {
	case <-t.ready:
		return func() { k.leave(t) }, nil
	case <-ctx.Done():
		k.leave(t)
		return nil, ctx.Err()
	}
}

func (k *keyedLocks) enqueue(keys []string) *ticket {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.queues == nil {
		k.queues = map[string][]*ticket{}
	}
	t := &ticket{keys: keys, ready: make(chan struct{})}
	for _, key := range keys {
		k.queues[key] = append(k.queues[key], t)
	}
	if k.firstLocked(t) {
		close(t.ready)
	}
	return t
}

// leave takes a ticket out of its queues, and calls those whose turn it is then.
func (k *keyedLocks) leave(t *ticket) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := map[*ticket]bool{}
	for _, key := range t.keys {
		queue := k.queues[key]
		at := slices.Index(queue, t)
		if queue = slices.Delete(queue, at, at+1); len(queue) == 0 {
			delete(k.queues, key)
			continue
		}
		k.queues[key] = queue
		if at == 0 {
			next[queue[0]] = true
		}
	}
	for t := range next {
		if k.firstLocked(t) {
			close(t.ready)
		}
	}
}

func (k *keyedLocks) firstLocked(t *ticket) bool {
	return !slices.ContainsFunc(t.keys, func(key string) bool { return k.queues[key][0] != t })
}
