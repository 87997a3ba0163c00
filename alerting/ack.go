package alerting

import (
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// looksAfter returns who looks after the conversation once the event is told; nil: nobody does.
func (e Event) looksAfter() *Ack {
	if e.Kind == KindUnacknowledged {
		return nil
	}
	return e.Ack
}

// Acknowledge tells everybody who knows of a conversation that somebody looks after it. It
// reports whether anybody knows.
func (a *Alerter) Acknowledge(conversation string, ack Ack) bool {
	return a.acknowledge(conversation, KindAcknowledged, ack)
}

// Unacknowledge tells everybody who knows of a conversation that nobody looks after it any more;
// of the one who took the acknowledgement back By is empty where that was nobody, but time. It
// reports whether anybody knows of the conversation.
func (a *Alerter) Unacknowledge(conversation string, by Ack) bool {
	return a.acknowledge(conversation, KindUnacknowledged, by)
}

func (a *Alerter) acknowledge(conversation string, kind Kind, ack Ack) bool {
	known := false
	for _, name := range slices.Sorted(maps.Keys(a.queues)) {
		known = a.tellAck(name, conversation, kind, ack) || known
	}
	return known
}

// tellAck reports whether the receiver knows of the conversation.
func (a *Alerter) tellAck(receiver, conversation string, kind Kind, ack Ack) bool {
	q := a.queues[receiver]
	e, ok := q.newestIn(conversation)
	if !ok {
		return false
	}
	e.Kind, e.Time, e.Ack, e.Step = kind, ack.At, &ack, certmedic.Step{}
	e = e.presentable()
	a.enqueue(q, Item{Event: e, slot: &slot{entry: newEntry(receiver, e)}})
	return true
}

// TellAcks tells receivers who looks after what, as far as they do not know: nobody could be told
// before the first message of a conversation was delivered, and an earlier run may have ended between
// a person's word and its way into the outbox. Call it now and then. A receiver that hears of a
// conversation only after somebody took it over is not told that: there it is news for people.
func (a *Alerter) TellAcks(now time.Time) {
	if a.opts.Acknowledged == nil {
		return
	}
	acks := a.opts.Acknowledged()
	for name, q := range a.queues {
		for conversation, knows := range q.settledAcks() {
			ack, there := acks[conversation]
			switch {
			case there && (knows.ack == nil && !ack.At.Before(knows.since) || knows.ack != nil && !knows.ack.same(ack)):
				a.tellAck(name, conversation, KindAcknowledged, ack)
			case !there && knows.ack != nil:
				a.tellAck(name, conversation, KindUnacknowledged, Ack{At: now})
			}
		}
	}
}

// same reports whether it is the word of the same person at the same time.
func (a Ack) same(b Ack) bool { return a.By == clean(b.By) && a.At.Equal(b.At) }

// knownAck is what a receiver knows of who looks after a conversation.
type knownAck struct {
	ack   *Ack
	since time.Time // of the first event of the conversation that it was told
}

// settledAcks returns what the receiver knows of the conversations of which it was told, and about
// which nothing is on its way.
func (q *queue) settledAcks() map[string]knownAck {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := map[string]knownAck{}
	for conversation, t := range q.talks {
		if since, settled := q.settledLocked(t); settled && q.waiting[conversation] == nil {
			all[conversation] = knownAck{ack: t.ack, since: since}
		}
	}
	return all
}

func (q *queue) settledLocked(t *talk) (since time.Time, settled bool) {
	if q.inHand[Event{Kind: KindAcknowledged}.key()] {
		return time.Time{}, false
	}
	for _, known := range t.told {
		if known.state == owed {
			continue
		}
		if known.state != delivered || q.inHand[known.event.key()] {
			return time.Time{}, false
		}
		if since.IsZero() || known.event.Time.Before(since) {
			since = known.event.Time
		}
	}
	if !t.since.IsZero() && t.since.Before(since) {
		return t.since, true // what it was told last may be newer than a person's word
	}
	return since, !since.IsZero()
}
