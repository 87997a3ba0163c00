package alerting

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Outbox keeps over a restart what must still be delivered, and what was. Implementations are
// checked by alertingtest.TestOutbox. Its methods are called by several goroutines.
type Outbox interface {
	// Put keeps the entries durably before it returns: all or, with an error, none. An entry
	// with the same id is replaced.
	Put(entries ...Entry) error

	// Pending returns all entries that are not done, in any order.
	Pending() ([]Entry, error)

	// Done forgets the entries with these ids. An unknown id is not an error.
	Done(ids ...string) error

	// Deliveries returns what was told, of every conversation that goes on.
	Deliveries() ([]Delivery, error)

	// Settle keeps a delivery in place of the one of the same receiver and conversation, or
	// forgets that where it is over, and forgets the entries with these ids: all or nothing.
	Settle(d Delivery, done []string) error
}

// Delivery is what one receiver was told about one conversation.
type Delivery struct {
	Receiver     string          `json:"receiver"`
	Conversation string          `json:"conversation"`
	Told         []Event         `json:"told"`             // the newest event of each incident that it knows of, or the end that it rejected
	Memory       json.RawMessage `json:"memory,omitempty"` // what the notifier keeps
	Ack          *Ack            `json:"ack,omitempty"`
	Since        time.Time       `json:"since,omitzero"` // of the first event of the conversation that it was told

	// Of a conversation that members of a cluster share.
	Key      string `json:"key,omitempty"`      // by which the receiver knows it
	Unshared bool   `json:"unshared,omitempty"` // the other members could not be told of all of it
}

// Over reports whether nothing of the delivery is worth to be kept.
func (d Delivery) Over() bool { return len(d.Told) == 0 && len(d.Memory) == 0 && d.Ack == nil }

// Entry is an event that one receiver has not got yet.
type Entry struct {
	ID       string `json:"id"` // the same for the same event and receiver
	Receiver string `json:"receiver"`
	Event    Event  `json:"event"`
}

func newEntry(receiver string, e Event) Entry {
	id := receiver + "/" + e.Conversation() + "/" + e.key() + "/" + string(e.Kind) +
		"/" + strconv.FormatInt(e.Time.UnixNano(), 10)
	return Entry{ID: id, Receiver: receiver, Event: e}
}

// spool writes items to the outbox and takes them out again. Its mutex is held during
// disk I/O, so Tell never takes it: items are saved by the Alerter's own goroutine, or
// at the latest right before they are sent. A broken outbox never stops a delivery.
type spool struct {
	mu     sync.Mutex
	outbox Outbox // nil keeps nothing
	log    *slog.Logger
}

// slot is the place of one event in the outbox, see [spool].
type slot struct {
	entry       Entry
	saved, done bool
}

// save keeps events, all at once: the disk is waited for once, however many there are.
func (s *spool) save(slots ...*slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var unsaved []*slot
	for _, sl := range slots {
		if s.outbox != nil && !sl.saved && !sl.done {
			unsaved = append(unsaved, sl)
		}
	}
	if len(unsaved) > 0 {
		s.put(unsaved)
	}
}

// put keeps events. Where that fails it keeps each by itself: one that cannot be kept is no reason
// not to keep the others.
func (s *spool) put(slots []*slot) {
	entries := make([]Entry, 0, len(slots))
	for _, sl := range slots {
		entries = append(entries, sl.entry)
	}
	err := s.outbox.Put(entries...)
	for _, sl := range slots {
		switch {
		case err == nil:
			sl.saved = true
		case len(slots) > 1:
			s.put([]*slot{sl})
		default:
			s.log.Error("notification not kept, it is lost if certmedic ends now", "receiver", sl.entry.Receiver, "err", err)
		}
	}
}

// done takes events out of the outbox, all at once.
func (s *spool) done(slots ...*slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, sl := range slots {
		if sl.done = true; sl.saved {
			ids = append(ids, sl.entry.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	if err := s.outbox.Done(ids...); err != nil {
		s.log.Error("notifications not taken out of the outbox, they will be sent again", "count", len(ids), "err", err)
	}
}

// settle keeps what a receiver was told and takes the items out of the outbox. Where that fails
// the items stay in it, and are sent again after a restart.
func (s *spool) settle(d Delivery, items []Item) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for _, it := range items {
		it.slot.done = true
		if it.slot.saved {
			ids = append(ids, it.slot.entry.ID)
		}
	}
	if s.outbox == nil {
		return nil
	}
	if err := s.outbox.Settle(d, ids); err != nil {
		return fmt.Errorf("keeping what %q was told: %w", d.Receiver, err)
	}
	return nil
}

// deliveries returns what receivers were told in earlier runs.
func (s *spool) deliveries() ([]Delivery, error) {
	if s.outbox == nil {
		return nil, nil
	}
	all, err := s.outbox.Deliveries()
	if err != nil {
		return nil, fmt.Errorf("reading what was told: %w", err)
	}
	return all, nil
}

// pending returns what an earlier run has not delivered, oldest first.
func (s *spool) pending() ([]*slot, error) {
	if s.outbox == nil {
		return nil, nil
	}
	entries, err := s.outbox.Pending()
	if err != nil {
		return nil, fmt.Errorf("reading the outbox: %w", err)
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.Event.Time.Compare(b.Event.Time) })
	slots := make([]*slot, 0, len(entries))
	for _, e := range entries {
		slots = append(slots, &slot{entry: e, saved: true})
	}
	return slots, nil
}
