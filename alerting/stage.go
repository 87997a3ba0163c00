package alerting

import (
	"context"
	"time"
)

// Batch is what the stages of the pipeline hand on: the events of one conversation that
// one receiver may be told.
type Batch struct {
	Receiver     string
	Conversation string
	Since        time.Time // when the oldest of them was told
	Status       Status    // set by dedup
	Open         []Event   // set by dedup: what fires once this is delivered, the worst first
	Items        []Item
}

// Item is an event on its way.
type Item struct {
	Event Event
	Why   Reason // why it is sent, set by dedup

	unsent bool  // it replaced a firing event that was never sent
	again  bool  // it may have been delivered before
	late   bool  // what waits may be newer than it: then its time decides
	slot   *slot // its place in the outbox
}

// sharesPlace reports whether another item has the same place in the outbox: it is the same event, told
// again. What takes the one out of there takes out the other.
func (it Item) sharesPlace(other Item) bool {
	return it.slot != nil && other.slot != nil && it.slot.entry.ID == other.slot.entry.ID
}

// Stage is one step of the pipeline. It returns the batch as the next stage shall see
// it. A batch without items ends the walk without an error; what it drops it must take
// out of the outbox. With an error the returned batch holds what is still to be sent.
type Stage interface {
	Exec(ctx context.Context, b Batch) (Batch, error)
}

// Series runs stages one after the other, as long as something is left.
type Series []Stage

// Exec runs the stages in order.
func (s Series) Exec(ctx context.Context, b Batch) (Batch, error) {
	for _, stage := range s {
		if len(b.Items) == 0 {
			return b, nil
		}
		var err error
		if b, err = stage.Exec(ctx, b); err != nil {
			return b, err
		}
	}
	return b, nil
}

// filter keeps the items that keep accepts and drops the others.
func (b Batch) filter(keep func(*Item) bool, drop func(Item)) Batch {
	var kept []Item
	for _, it := range b.Items {
		if keep(&it) {
			kept = append(kept, it)
		} else {
			drop(it)
		}
	}
	b.Items = kept
	return b
}
