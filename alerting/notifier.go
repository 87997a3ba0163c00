package alerting

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Notification is what one receiver is told about one conversation, in one message.
type Notification struct {
	Receiver     string
	Conversation string // the dedup key; all messages with it belong together
	Status       Status // of the whole conversation, after these events
	Events       []Event
	Open         []Event // the newest event of each incident that fires, these events included; the worst first
	Ack          *Ack    // who looks after it; nil: nobody said so

	// Again says that an earlier attempt may have been delivered although nothing says so:
	// certmedic or the connection ended before the answer.
	Again bool

	// Memory is what the notifier had kept of this conversation by Remember; nil at first.
	// Remember keeps it durably before it returns, and may be called during an attempt that
	// fails later on. What was kept of a conversation goes with its end. Both are nil where
	// the notification belongs to no conversation.
	Memory   json.RawMessage
	Remember func(memory json.RawMessage) error
}

// Notifier delivers notifications by one protocol. It reports two facts: whether the
// notification was delivered, and if it was not, whether a retry is worth it. It makes
// one attempt, obeys ctx, holds no state that a restart would lose, keeps secrets out of
// its errors, and is called by one goroutine at a time. An error that wraps a
// [RetryAfterError] says when to try again.
type Notifier interface {
	Notify(ctx context.Context, n Notification) (retry bool, err error)
}

// NotifierFunc makes a function a [Notifier].
type NotifierFunc func(ctx context.Context, n Notification) (retry bool, err error)

// Notify calls the function.
func (f NotifierFunc) Notify(ctx context.Context, n Notification) (bool, error) { return f(ctx, n) }

// Paced is implemented by notifiers whose service takes only so many messages. Pace
// returns the least time between two of them; what happens meanwhile is coalesced.
type Paced interface {
	Pace() time.Duration
}

// Single is implemented by notifiers whose messages hold exactly one event. The pipeline
// then sends a notification for each event, so that every one is accounted for.
type Single interface {
	OneEvent() bool
}

// Wait returns an error that says that a notifier keeps to its own pace, has not sent anything, or
// only what it remembers, and goes on from there. It counts neither as an attempt nor, up to a
// minute, as a failure.
func Wait(delay time.Duration) error { return &waitError{delay} }

type waitError struct{ delay time.Duration }

func (e *waitError) Error() string {
	return fmt.Sprintf("waiting %v to keep to the receiver's limits", e.delay)
}

// RetryAfterError is a receiver's demand to wait before the next attempt.
type RetryAfterError struct {
	Delay time.Duration
	Err   error
}

// Error returns the cause with the delay.
func (e *RetryAfterError) Error() string { return fmt.Sprintf("%v (retry after %v)", e.Err, e.Delay) }

// Unwrap returns the cause.
func (e *RetryAfterError) Unwrap() error { return e.Err }

func paceOf(n Notifier) time.Duration {
	if p, ok := n.(Paced); ok {
		return p.Pace()
	}
	return 0
}

func takesOneEvent(n Notifier) bool {
	s, ok := n.(Single)
	return ok && s.OneEvent()
}
