package alerting

import (
	"context"
	"time"
)

// agree is the stage that keeps to what the members of a cluster agree on: the speaker tells, and the
// others tell what they alone see, and the end of what they told. What is not told waits with what is
// muted. On a single host it lets everything pass.
type agree struct {
	choir *choir
	queue *queue
	drop  func(Item)
}

// Exec drops what another member tells.
func (g agree) Exec(ctx context.Context, b Batch) (Batch, error) {
	certificate, shared := certificateOf(b.Conversation)
	if g.choir == nil || !shared {
		return b, nil
	}
	speaks := g.choir.Speaks(certificate)
	g.choir.look(ctx, certificate, func(read time.Time) bool { return g.choir.wants(b.Items, speaks, read) })
	known := g.queue.knownIn(b.Conversation)
	return b.filter(func(it *Item) bool {
		tells := g.tells(*it, known[it.Event.Incident.ID], speaks)
		switch {
		case tells:
		case it.Event.Kind == KindResolved:
			g.queue.speaksAgain(it.Event)
			g.choir.ended(it.Event)
		default:
			g.queue.mute(it.Event)
		}
		return tells
	}, g.drop), nil
}

// tells reports whether this member tells an event, of whose incident t was told.
func (g agree) tells(it Item, t told, speaks bool) bool {
	e, c := it.Event, g.choir
	knows := t.state != unknown && t.state != rejected
	mine := knows && t.event.Member == c.Member
	switch {
	case !e.Kind.about():
		certificate, _ := certificateOf(e.Conversation())
		return speaks && c.Lives(c.Member, certificate)
	case e.Kind == KindResolved && knows:
		return mine || speaks && !c.Lives(t.event.Member, e.Certificate.Name)
	case e.Kind == KindResolved:
		return it.again || it.unsent || speaks && c.Lost()
	case knows && !mine && c.told(t.event, e), !knows && c.outlived(e, time.Now()):
		return false
	}
	return speaks || mine || c.impatient(e)
}

// told reports whether another member told of an incident what this one would tell of it.
func (c *choir) told(t, e Event) bool {
	if c.Lives(t.Member, e.Certificate.Name) {
		return t.Severity.Rank() >= e.Severity.Rank()
	}
	return t.Severity == e.Severity // or it is told by who inherits it
}

// wants reports whether a page has to be read to decide about items.
func (c *choir) wants(items []Item, speaks bool, read time.Time) bool {
	if speaks {
		return read.IsZero()
	}
	now := time.Now()
	for _, it := range items {
		if due := it.Event.Time.Add(c.Patience); it.Event.Kind.firing() && !now.Before(due) && read.Before(due) {
			return true
		}
	}
	return false
}

// impatient reports whether the speaker had its time to tell an event, and it is known since that it did not.
func (c *choir) impatient(e Event) bool {
	certificate, _ := certificateOf(e.Conversation())
	due := e.Time.Add(c.Patience)
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.leaves[certificate]
	return !time.Now().Before(due) && l != nil && !l.read.Before(due)
}

// quiet reports whether an event that waits goes on to wait, because another member tells it; t is what
// the receiver was told of its incident.
func (c *choir) quiet(e Event, t told, now time.Time) bool {
	certificate, shared := certificateOf(e.Conversation())
	if c == nil || !shared {
		return false
	}
	toldOf := t.state == delivered && t.event.Member != c.Member && c.told(t.event, e)
	switch {
	case toldOf, t.state == unknown && c.outlived(e, now):
		return true // until the page says something else
	case c.Speaks(certificate), c.impatient(e):
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.leaves[certificate]
	return l != nil && now.Before(l.next) || now.Before(e.Time.Add(c.Patience))
}
