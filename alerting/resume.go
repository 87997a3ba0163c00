package alerting

import (
	"context"
	"time"
)

// openTimeout bounds how long a start waits for what other members told.
const openTimeout = 5 * time.Second

// open reads what all members told, which is newer than what this one kept. What it kept of what the
// others could not be told of is joined to that.
func (c *choir) open(ctx context.Context, kept []Delivery) {
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	pages, err := c.Book.Pages(ctx)
	if err != nil {
		c.log.Warn("what other members told is not known, some of it may be told again", "err", err)
	}
	unshared := map[string]string{}
	for _, d := range kept {
		certificate, shared := certificateOf(d.Conversation)
		switch {
		case !shared:
		case d.Unshared, err != nil:
			unshared[certificate] = d.Key
		default:
			c.leaf(certificate) // has no page where nobody knows of it any more
		}
	}
	for _, p := range pages {
		c.leaf(p.Certificate).page = p
	}
	c.mu.Lock()
	leaves := make(map[string]*leaf, len(c.leaves))
	for certificate, l := range c.leaves {
		leaves[certificate] = l
	}
	c.mu.Unlock()
	for certificate, l := range leaves {
		if _, alone := unshared[certificate]; !alone && err == nil {
			c.take(l, l.page)
		}
	}
	for certificate, key := range unshared {
		c.keepUnshared(c.leaf(certificate), key)
	}
}

// keepUnshared notes that more was told than the page says.
func (c *choir) keepUnshared(l *leaf, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.unshared = true
	if len(l.page.Lines) == 0 {
		l.page.Key = key
	}
}

// delivery returns what is to be kept of a conversation.
func (c *choir) delivery(q *queue, conversation string) Delivery {
	d := q.delivery(conversation)
	if _, shared := certificateOf(conversation); c != nil && shared {
		d.Key, d.Unshared = c.key(conversation), c.unshared(conversation)
	}
	return d
}

// mine reports whether this member told of an event's incident.
func (c *choir) mine(e Event) bool { return c == nil || e.Member == "" || e.Member == c.Member }

// mayHaveSent reports whether an event of an earlier run, of which is not kept that it was delivered, may have
// been. Where other members know what was begun it was that, or not.
func (c *choir) mayHaveSent(q *queue, e Event) bool {
	certificate, shared := certificateOf(e.Conversation())
	if c == nil || !shared {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.leaves[certificate]
	if l == nil || l.read.IsZero() || l.unshared {
		return true
	}
	s := l.page.Lines[q.receiver].Sending
	return s != nil && s.Member == c.Member
}

// catches reports whether a start may end what was told of an event: of what members share nothing is
// ended before it was judged here, but for an end that was rejected.
func (c *choir) catches(e Event) bool {
	_, shared := certificateOf(e.Conversation())
	return c == nil || !shared || e.Kind == KindResolved && e.Member == c.Member
}

// former reports whether an event was told before there were other members: then it ends, and goes on
// as all members name it.
func (c *choir) former(e Event) bool {
	_, shared := certificateOf(e.Conversation())
	return c != nil && !shared && !e.Own()
}

// leave returns what was told as receivers know it, where there are no other members any more.
func (a *Alerter) leave(d Delivery) Delivery {
	if _, shared := certificateOf(d.Conversation); a.choir != nil || !shared || d.Key == "" {
		return d
	}
	if err := a.spool.settle(Delivery{Receiver: d.Receiver, Conversation: d.Conversation}, nil); err != nil {
		a.opts.Log.Error("what was told as a member of a cluster is not forgotten", "err", err)
	}
	d.Conversation, d.Key = d.Key, ""
	for i := range d.Told {
		d.Told[i].Incident.DedupKey = d.Conversation
	}
	return d
}

// shareAll brings to the others what was told while they could not be asked.
func (c *choir) shareAll(ctx context.Context) {
	c.mu.Lock()
	var all []*leaf
	for _, l := range c.leaves {
		if l.unshared {
			all = append(all, l)
		}
	}
	c.mu.Unlock()
	for _, l := range all {
		unlock := l.lock()
		err := c.share(ctx, l)
		unlock()
		if err != nil {
			c.log.Warn("other members do not know yet what was told", "certificate", l.page.Certificate, "err", err)
			return
		}
	}
}
