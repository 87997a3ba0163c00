package alerting

import (
	"context"
	"errors"
	"time"
)

// errStopping says that the process ends before the receiver takes another message. What
// is left stays in the outbox.
var errStopping = errors.New("stopping before the receiver may be asked again")

// pace is the stage that keeps to what a receiver takes: the least time between two
// messages, and the pause after a failure.
type pace struct {
	queue *queue
	every time.Duration
	hurry <-chan struct{}
	drop  func(Item)
}

// Exec waits for the receiver's next turn. When something newer has come for the
// conversation meanwhile, it puts the batch back, so that the newest state goes through
// the earlier stages and is sent instead; its turn has then come already.
func (p pace) Exec(ctx context.Context, b Batch) (Batch, error) {
	turn := p.queue.heldUntil()
	if err := sleep(ctx, time.Until(turn), p.hurry); err != nil {
		return b, err
	}
	if time.Until(turn) > p.every { // in a hurry, and not a matter of pace
		return b, errStopping
	}
	if err := sleep(ctx, time.Until(turn), nil); err != nil {
		return b, err
	}
	if p.queue.hasNewer(b.Conversation) {
		p.queue.putBack(b, true, p.drop)
		return Batch{}, nil
	}
	p.queue.hold(time.Now().Add(p.every))
	return b, nil
}
