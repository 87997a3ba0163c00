package alerting

import (
	"slices"
	"sync"
	"time"
)

const (
	maxConversations = 50_000 // waiting per receiver
	maxEvents        = 2_000  // waiting per conversation, ends aside: what was told has to end
)

// queue holds what one receiver is still to be told, newest state only, and what it was
// told. Its mutex is never held during I/O, so adding to it never blocks.
type queue struct {
	receiver string
	wake     chan struct{} // holds a token when something was added
	turn     chan struct{} // holds a token while the notifier is called

	mu       sync.Mutex // guards all below
	waiting  map[string]*Batch
	order    []string // conversations that wait, oldest first
	inFlight time.Time
	inHand   map[string]bool  // keys of the events that were taken last
	talks    map[string]*talk // by conversation, what the receiver knows
	notUntil time.Time        // no notification before
	health
}

func newQueue(receiver string) *queue {
	return &queue{
		receiver: receiver,
		wake:     make(chan struct{}, 1),
		turn:     make(chan struct{}, 1),
		waiting:  map[string]*Batch{},
		talks:    map[string]*talk{},
	}
}

// add puts an item into its conversation. It returns what must leave the outbox: the
// item that it replaced, or itself where the queue is full.
func (q *queue) add(it Item) (replaced []Item, full bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	conversation := it.Event.Conversation()
	b := q.waiting[conversation]
	if b == nil {
		if len(q.waiting) >= maxConversations {
			return []Item{it}, true
		}
		b = &Batch{Receiver: q.receiver, Conversation: conversation, Since: it.Event.Time}
		q.waiting[conversation] = b
		q.order = append(q.order, conversation)
	}
	items, replaced, full := merge(b.Items, it)
	b.Items = items
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return replaced, full
}

// merge adds an item to others, of which it replaces the one with the same key.
func merge(items []Item, newer Item) (merged, replaced []Item, full bool) {
	for i, old := range items {
		if old.Event.key() != newer.Event.key() {
			continue
		}
		if newer.late && newer.Event.Time.Before(old.Event.Time) {
			items[i].unsent = old.unsent || newer.unsent || newer.Event.Kind.firing()
			items[i].again = old.again || newer.again
			return items, []Item{newer}, false
		}
		newer.unsent, newer.again = old.unsent || old.Event.Kind.firing(), old.again || newer.again
		items[i] = newer
		if newer.sharesPlace(old) {
			return items, nil, false
		}
		return items, []Item{old}, false
	}
	if len(items) >= maxEvents && newer.Event.Kind != KindResolved {
		return items, []Item{newer}, true
	}
	return append(items, newer), nil, false
}

// take removes the conversation that has waited longest.
func (q *queue) take() (Batch, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inFlight, q.inHand = time.Time{}, nil
	if len(q.order) == 0 {
		return Batch{}, false
	}
	b := q.waiting[q.order[0]]
	delete(q.waiting, q.order[0])
	q.order = q.order[1:]
	q.inFlight = b.Since
	q.inHand = map[string]bool{}
	for _, it := range b.Items {
		q.inHand[it.Event.key()] = true
	}
	return *b, true
}

// putBack returns what was not sent, together with what has come for its conversation
// since: as the first to be taken next, or behind the others. Items that were replaced by
// newer ones go to drop.
func (q *queue) putBack(b Batch, first bool, drop func(Item)) {
	if len(b.Items) == 0 {
		return
	}
	q.mu.Lock()
	b, replaced := q.absorb(b)
	q.inFlight = time.Time{}
	q.waiting[b.Conversation] = &b
	if first {
		q.order = slices.Insert(q.order, 0, b.Conversation)
	} else {
		q.order = append(q.order, b.Conversation)
	}
	q.mu.Unlock()
	for _, it := range replaced {
		drop(it)
	}
}

// absorb moves what waits for the batch's conversation into the batch.
func (q *queue) absorb(b Batch) (merged Batch, replaced []Item) {
	newer := q.waiting[b.Conversation]
	if newer == nil {
		return b, nil
	}
	delete(q.waiting, b.Conversation)
	q.order = slices.DeleteFunc(q.order, func(c string) bool { return c == b.Conversation })
	b.Items = slices.Clone(b.Items)
	for _, it := range newer.Items {
		items, old, _ := merge(b.Items, it)
		b.Items = items
		replaced = append(replaced, old...)
	}
	return b, replaced
}

// hasNewer reports whether something has come for a conversation that was taken.
func (q *queue) hasNewer(conversation string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting[conversation] != nil
}

// ends reports whether the end of the event's incident is to be told.
func (q *queue) ends(e Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.waiting[e.Conversation()]
	return b != nil && slices.ContainsFunc(b.Items, func(it Item) bool {
		return it.Event.key() == e.key() && it.Event.Kind == KindResolved
	})
}

// oldest returns since when the oldest undelivered event waits; zero where none does.
func (q *queue) oldest() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest := q.inFlight
	for _, b := range q.waiting {
		if oldest.IsZero() || b.Since.Before(oldest) {
			oldest = b.Since
		}
	}
	return oldest
}

// hold keeps the next notification back until t.
func (q *queue) hold(t time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.notUntil = t
}

func (q *queue) heldUntil() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.notUntil
}
