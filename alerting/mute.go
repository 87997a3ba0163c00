package alerting

import (
	"context"

	"github.com/certmedic/certmedic"
)

// mute is the stage that keeps quiet what would only distract: an incident of severity
// info while a worse one of the same conversation fires. Its end is told if its
// beginning was.
type mute struct {
	queue *queue
	drop  func(Item)
}

// Exec drops what is muted.
func (m mute) Exec(_ context.Context, b Batch) (Batch, error) {
	worse := m.queue.knowsWorseThanInfo(b.Conversation)
	for _, it := range b.Items {
		worse = worse || it.Event.Kind.firing() && it.Event.Severity != certmedic.SeverityInfo
	}
	if !worse {
		return b, nil
	}
	return b.filter(func(it *Item) bool {
		return !it.Event.Kind.firing() || it.Event.Severity != certmedic.SeverityInfo
	}, m.drop), nil
}
