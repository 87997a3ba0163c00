package alerting

import (
	"context"
	"time"
)

// group is the stage that waits a moment after the first event of a conversation, so
// that what happens together is told together.
type group struct {
	queue *queue
	wait  time.Duration
	drop  func(Item)
	hurry <-chan struct{} // closed when the process ends: nothing more will come
}

// Exec waits until the oldest event is as old as the group wait. When others have come
// meanwhile it puts the batch back, so that all of them go through the stages together;
// their wait is over then.
func (g group) Exec(ctx context.Context, b Batch) (Batch, error) {
	left := min(g.wait, time.Until(b.Since.Add(g.wait))) // a clock that was set back does not wait longer
	if err := sleep(ctx, left, g.hurry); err != nil {
		return b, err
	}
	if g.queue.hasNewer(b.Conversation) {
		g.queue.putBack(b, true, g.drop)
		return Batch{}, nil
	}
	return b, nil
}

// sleep waits for d, or until hurry is closed. Its error is that of ctx.
func sleep(ctx context.Context, d time.Duration, hurry <-chan struct{}) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-hurry:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
