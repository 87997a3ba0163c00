package alerting

import (
	"context"
	"time"

	"github.com/certmedic/certmedic"
)

// mute is the stage that keeps quiet what a silence says, and what would only distract: an
// incident of severity info while a worse one of the same conversation fires. The end of what
// was told is always told. What is muted is told when what muted it has ended, if it still fires.
type mute struct {
	queue    *queue
	silenced func(e Event, now time.Time) bool // by a silence, or by the hours of the receiver's routes
	drop     func(Item)
}

// Exec drops what is muted.
func (m mute) Exec(_ context.Context, b Batch) (Batch, error) {
	now := time.Now()
	b = b.filter(func(it *Item) bool { return m.speaks(it.Event, now) }, m.drop)
	worse := m.queue.knowsWorseThanInfo(b.Conversation)
	for _, it := range b.Items {
		worse = worse || it.Event.Kind.firing() && it.Event.Severity != certmedic.SeverityInfo
	}
	if !worse {
		return b, nil
	}
	return b.filter(func(it *Item) bool {
		if !it.Event.Kind.firing() || it.Event.Severity != certmedic.SeverityInfo {
			return true
		}
		m.queue.mute(it.Event)
		return false
	}, m.drop), nil
}

// speaks reports whether an event is told although there are silences.
func (m mute) speaks(e Event, now time.Time) bool {
	switch {
	case e.Kind.acks():
		return true
	case e.Kind == KindResolved && m.queue.muted(e):
		known := m.queue.knownIn(e.Conversation())
		if _, told := known[e.Incident.ID]; told {
			m.queue.speaksAgain(e)
			return true
		}
		m.queue.forget(e)
		return false
	case e.Kind == KindResolved || !m.silenced(e, now):
		return true
	}
	m.queue.mute(e)
	return false
}
