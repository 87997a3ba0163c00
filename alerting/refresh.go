package alerting

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Refresher is implemented by notifiers whose service forgets what is not repeated. Refresh
// repeats what fires: open has a notification for each conversation that the receiver knows of,
// with what is open in it and without events. Its error names what did not take all of it. Every
// returns the time between two repetitions. The first follows right after the start, so that a
// restart is not taken for an end.
type Refresher interface {
	Refresh(ctx context.Context, open []Notification) error
	Every() time.Duration
}

// refresh repeats to one receiver what it knows, until the process ends. It goes past the outbox:
// what it says is nothing new.
func (a *Alerter) refresh(ctx context.Context, name string, to Refresher) {
	q, said := a.queues[name], ""
	for ctx.Err() == nil && !a.hurrying() {
		err := q.inTurn(ctx, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, sendTimeout)
			defer cancel()
			return refreshOnce(ctx, to, a.open(q))
		})
		if ctx.Err() != nil {
			return
		}
		if why := q.refreshed(err); why != said {
			a.opts.Log.Warn("repeating what fires", "receiver", name, "failed", why != "", "err", why)
			said = why
		}
		if sleep(ctx, to.Every(), a.hurry) != nil {
			return
		}
	}
}

func refreshOnce(ctx context.Context, to Refresher, open []Notification) error {
	if len(open) == 0 {
		return nil
	}
	return to.Refresh(ctx, open)
}

// open returns what certainly was told and is not about to change, by conversation.
// Of what members share each repeats what it told itself.
func (a *Alerter) open(q *queue) []Notification {
	texts := a.texts(q.receiver)
	q.mu.Lock()
	conversations := slices.Sorted(maps.Keys(q.talks))
	q.mu.Unlock()
	var all []Notification
	for _, conversation := range conversations {
		known := q.knownIn(conversation)
		maps.DeleteFunc(known, func(_ string, t told) bool {
			return t.state != delivered || q.changes(t.event) || !a.choir.mine(t.event)
		})
		if len(known) == 0 {
			continue
		}
		n := Notification{Receiver: q.receiver, Conversation: a.choir.key(conversation), Status: StatusFiring, Open: worded(openAfter(known, nil), texts)}
		n.Memory, n.Ack = q.memoryOf(conversation)
		all = append(all, n)
	}
	return all
}

// changes reports whether something newer about the event's incident waits, or is being told.
func (q *queue) changes(e Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.movesLocked(e)
}

// refreshed notes what a repetition came to and returns that in words, empty where it succeeded.
func (q *queue) refreshed(err error) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		q.stale, q.staleWhy = 0, ""
		return ""
	}
	q.stale++
	q.staleWhy = clean(err.Error())
	return q.staleWhy
}
