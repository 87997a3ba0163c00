package alerting

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	sendTimeout  = 30 * time.Second // for one attempt, whatever the notifier's own is
	firstBackoff = time.Second
	lastBackoff  = 5 * time.Minute
	longestDelay = time.Hour // a receiver's Retry-After is obeyed up to here
)

// The outcomes of notifications, as counted for each receiver.
const (
	OutcomeDelivered = "delivered"
	OutcomeRetried   = "retried"  // an attempt failed, another follows
	OutcomeRejected  = "rejected" // it will never be delivered
	OutcomeDropped   = "dropped"  // the queue was full
)

// Outcomes returns the closed set of outcomes.
func Outcomes() []string {
	return []string{OutcomeDelivered, OutcomeRetried, OutcomeRejected, OutcomeDropped}
}

// notify is the stage that sends: in the outbox before, out of it after. The policy of
// retries is here and nowhere else.
type notify struct {
	receiver Notifier
	queue    *queue
	spool    *spool
	choir    *choir
	log      *slog.Logger
	count    func(outcome string)
	divert   func(items []Item, err error) // hands what was rejected to somebody else
	settled  func(items []Item, err error) // hears of what will not be sent again
	texts    func(e Event) Event           // the receiver's own words
}

// Exec makes one attempt for each notification. It returns what has to be sent again,
// with the error of the attempt that failed.
func (n notify) Exec(ctx context.Context, b Batch) (Batch, error) {
	var slots []*slot
	for _, it := range b.Items {
		slots = append(slots, it.slot)
	}
	n.spool.save(slots...)
	size := len(b.Items)
	if takesOneEvent(n.receiver) {
		size = 1
	}
	for len(b.Items) > 0 {
		if err := n.send(ctx, b, b.Items[:size]); err != nil {
			return b, err
		}
		b.Items = b.Items[size:]
	}
	return b, nil
}

// send returns an error where the items must be sent again.
func (n notify) send(ctx context.Context, b Batch, items []Item) error {
	claimed, err := n.choir.begin(ctx, n.queue, b.Conversation, items)
	if err != nil {
		return err
	}
	for i := range items {
		items[i].again = items[i].again || claimed.again
	}
	notification := n.notificationOf(ctx, b, items)
	before := n.queue.knownIn(b.Conversation)
	n.remember(items, attempted)
	retry, err := n.queue.speak(ctx, n.receiver, notification)
	log := n.log.With("receiver", b.Receiver, "conversation", b.Conversation)
	var wait *waitError
	switch {
	case err == nil:
		n.queue.succeeded()
		n.settle(ctx, b.Conversation, items, delivered)
		n.settled(items, nil)
		return nil
	case errors.As(err, &wait):
		if memory, _ := n.queue.memoryOf(b.Conversation); bytes.Equal(memory, notification.Memory) {
			n.queue.unremember(items, before) // nothing was sent, not even a part
		}
		n.queue.pauses(err, wait.delay)
		n.queue.hold(time.Now().Add(min(wait.delay, longestDelay)))
		return err
	case !retry:
		log.Error("notification rejected", "err", clean(err.Error()))
		n.queue.rejected(err)
		n.divert(items, err)
		n.settle(ctx, b.Conversation, items, rejected)
		n.settled(items, err)
		return nil
	}
	for i := range items {
		items[i].again = true
	}
	delay := retryDelay(err, n.queue.failed(err))
	n.queue.pauses(err, delay)
	n.queue.hold(time.Now().Add(delay))
	n.count(OutcomeRetried)
	log.Warn("notification not delivered", "retry_in", delay, "err", clean(err.Error()))
	return err
}

// settle ends items that will not be sent again.
func (n notify) settle(ctx context.Context, conversation string, items []Item, state delivery) {
	n.remember(items, state)
	n.queue.forgetOver(conversation)
	if slices.ContainsFunc(items, func(it Item) bool { return !it.Event.Kind.News() }) { // which are not on the page
		n.choir.settle(ctx, n.queue, conversation, true)
	}
	if err := n.spool.settle(n.delivery(conversation), items); err != nil {
		n.log.Error("a delivery is not kept, it may be repeated after a restart", "err", err)
	}
	if state == delivered {
		n.count(OutcomeDelivered)
	} else {
		n.count(OutcomeRejected)
	}
}

// delivery returns what is to be kept of a conversation.
func (n notify) delivery(conversation string) Delivery {
	return n.choir.delivery(n.queue, conversation)
}

func (n notify) remember(items []Item, state delivery) {
	for _, it := range items {
		n.queue.remember(it.Event, state)
	}
}

func (n notify) notificationOf(ctx context.Context, b Batch, items []Item) Notification {
	out := Notification{Receiver: b.Receiver, Conversation: n.choir.key(b.Conversation), Status: b.Status}
	out.Memory, out.Ack = n.queue.memoryOf(b.Conversation)
	out.Remember = func(memory json.RawMessage) error {
		n.queue.keepsMemory(b.Conversation, memory)
		n.choir.settle(ctx, n.queue, b.Conversation, false)
		return n.spool.settle(n.delivery(b.Conversation), nil)
	}
	out.Open = worded(b.Open, n.texts)
	for _, it := range items {
		out.Events = append(out.Events, n.texts(it.Event))
		out.Again = out.Again || it.again
		if it.Event.Kind.acks() {
			out.Ack = it.Event.looksAfter()
		}
	}
	return out
}

// retryDelay returns how long to wait after a failure: what the receiver asked for, or
// an exponential back-off, between half and all of 1 s, 2 s, 4 s ... 5 min.
func retryDelay(err error, failures int) time.Duration {
	var asked *RetryAfterError
	if errors.As(err, &asked) && asked.Delay > 0 {
		return min(asked.Delay, longestDelay)
	}
	delay := lastBackoff
	if failures < 9 { // 2^9 s is more than the last back-off
		delay = min(lastBackoff, firstBackoff<<failures)
	}
	return max(firstBackoff, delay/2+rand.N(delay/2))
}
