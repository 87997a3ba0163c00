package alerting

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

const (
	listenEvery  = time.Second
	inheritEvery = time.Minute     // while nothing changes: a member may have told something on its own
	inheritSoon  = 2 * time.Second // after a failure, or while something was not judged here
	inheritLate  = time.Minute     // the longest of these pauses, which double

	inheritPage = 20 * time.Millisecond // longer for each page: in a bucket each is a call
)

// listen follows who speaks and who lives, until the process ends: it has told what waited for that,
// and takes over what members told that are gone.
func (a *Alerter) listen(ctx context.Context) {
	if a.choir == nil {
		return
	}
	tick := time.NewTicker(listenEvery)
	defer tick.Stop()
	var next time.Time
	before, pause := "", inheritSoon
	for {
		now := time.Now()
		if present := a.choir.present(); present != before {
			before, next, pause = present, now, inheritSoon
		}
		if !now.Before(next) && !a.choir.Lost() {
			pages, settled := a.inherit(ctx)
			next = now.Add(inheritEvery + time.Duration(pages)*inheritPage)
			if !settled {
				next = now.Add(pause + time.Duration(pages)*inheritPage)
				pause = min(2*pause, inheritLate)
			}
		}
		a.Unmute(now)
		select {
		case <-tick.C:
		case <-a.hurry:
			return
		case <-ctx.Done():
			return
		}
	}
}

// present says who speaks and who lives, so that a change is seen.
func (c *choir) present() string {
	var all []string
	tellers := c.tellers()
	c.mourn(tellers)
	for _, member := range tellers {
		if c.Lives(member, "") {
			all = append(all, member)
		}
	}
	if c.Speaks("") {
		all = append(all, "speaks")
	}
	if c.Lost() {
		all = append(all, "lost")
	}
	return strings.Join(all, "\x00")
}

// tellers returns the members that told something, or may have.
func (c *choir) tellers() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, l := range c.leaves {
		for _, line := range l.page.Lines {
			for _, e := range line.Told {
				all = append(all, e.Member)
			}
			if line.Sending != nil {
				all = append(all, line.Sending.Member)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// inherit takes over what was told by members that are gone, where this one speaks, and what it told
// itself in an earlier run. It returns how many pages there are, and whether there is nothing left to decide.
func (a *Alerter) inherit(ctx context.Context) (read int, settled bool) {
	a.choir.shareAll(ctx)
	pages, err := a.choir.Book.Pages(ctx)
	if err != nil {
		a.opts.Log.Warn("what members told is not known", "err", err)
		return 0, false
	}
	settled = true
	for _, p := range pages {
		l := a.choir.leaf(p.Certificate)
		unlock := l.lock()
		a.choir.refresh(l, p)
		unlock()
		for name, q := range a.queues {
			settled = a.inheritLine(ctx, q, p.Certificate, p.Lines[name]) && settled
		}
	}
	for _, q := range a.queues {
		settled = a.inheritOwn(q) && settled
	}
	return len(pages), settled
}

// inheritOwn ends what this member may have told in an earlier run although no page says so.
func (a *Alerter) inheritOwn(q *queue) (settled bool) {
	settled = true
	for _, e := range q.knownEvents() {
		_, shared := certificateOf(e.Conversation())
		if !shared || e.Member != a.choir.Member || q.knownOf(e).state != attempted {
			continue
		}
		switch holds, known := a.choir.Holds(e); {
		case !known:
			settled = false
		case !holds:
			a.endOf(q, e, true)
		}
	}
	return settled
}

// refresh takes a page over unless a newer one is known. The leaf's turn is held.
func (c *choir) refresh(l *leaf, p Page) {
	if l.page.Revision <= p.Revision && !l.unshared {
		c.take(l, p)
	}
}

// inheritLine decides what becomes of what one receiver was told by members that are gone.
func (a *Alerter) inheritLine(ctx context.Context, q *queue, certificate string, line Line) (settled bool) {
	settled = true
	adopted := false
	speaks := a.choir.Speaks(certificate)
	for _, e := range line.Told {
		if !a.choir.orphan(e.Member, certificate, speaks) || e.Kind == KindResolved && e.Member == a.choir.Member {
			continue // an end that was rejected is told once more after a start
		}
		switch holds, known := a.choir.Holds(e); {
		case !known, !holds && !a.choir.ends(e, e.Member):
			settled = false
		case !holds:
			a.endOf(q, e, false)
		case e.Member != a.choir.Member && q.adopt(e, a.choir.Member):
			adopted = true
		}
	}
	if s := line.Sending; s != nil && !a.choir.ours(s) && a.choir.orphan(s.Member, certificate, speaks) {
		settled = a.inheritDoubt(q, *s) && settled
	}
	if adopted {
		a.choir.settle(ctx, q, SharedConversation(certificate), false)
	}
	return settled
}

// orphan reports whether this member goes on with what a member told: with its own, and with that of
// members that are gone, or that judge the certificate no more.
func (c *choir) orphan(member, certificate string, speaks bool) bool {
	return member == c.Member || speaks && !c.Lives(member, certificate)
}

// inheritDoubt ends what a receiver may have been told, and what is over.
func (a *Alerter) inheritDoubt(q *queue, s Sending) (settled bool) {
	settled = true
	for _, e := range s.Events {
		holds, known := a.choir.Holds(e)
		if holds || !e.Kind.firing() {
			continue // what holds is told, and what ended is known to be told of
		}
		if !known || !a.choir.ends(e, s.Member) {
			settled = false
			continue
		}
		if q.knownOf(e).state == unknown {
			q.doubt(e)
		}
		a.endOf(q, e, true)
	}
	return settled
}

// mourning is for how long a member has to be gone before what it alone saw is ended: it may come back, and
// nobody else can tell.
const mourning = 10 * time.Minute

// ended notes that an incident that another member told of was here, and is over.
func (c *choir) ended(e Event) {
	certificate, _ := certificateOf(e.Conversation())
	l := c.leaf(certificate)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !l.page.tells(e.Incident.ID) {
		return
	}
	if l.over == nil {
		l.over = map[string]bool{}
	}
	l.over[e.Incident.ID] = true
}

// ends reports whether this member may tell the end of what does not hold here, and a member told.
func (c *choir) ends(e Event, teller string) bool {
	certificate, _ := certificateOf(e.Conversation())
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.leaves[certificate]; teller == c.Member || l != nil && l.over[e.Incident.ID] {
		return true
	}
	if c.Lives(teller, "") {
		return true // it leaves the certificate to this one
	}
	since, gone := c.gone[teller]
	return gone && time.Since(since) >= mourning
}

// mourn notes who of those that told something is gone, and since when.
func (c *choir) mourn(tellers []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, member := range tellers {
		if _, known := c.gone[member]; !known && !c.Lives(member, "") {
			c.gone[member] = time.Now()
		}
	}
	maps.DeleteFunc(c.gone, func(member string, _ time.Time) bool { return c.Lives(member, "") || !slices.Contains(tellers, member) })
}

// endOf has it told that an incident is over; again says that the receiver may or may not know of it.
func (a *Alerter) endOf(q *queue, e Event, again bool) {
	if q.ends(e) || q.isInHand(e) {
		return
	}
	if e.Kind != KindResolved {
		e.Kind, e.Time, e.Step = KindResolved, time.Now(), certmedic.Step{}
	}
	a.enqueue(q, Item{Event: e, again: again, slot: &slot{entry: newEntry(q.receiver, e)}})
}

// adopt makes an incident that another member told of this member's own, as this one sees it where that
// is no news. It reports whether anything changed.
func (q *queue) adopt(e Event, member string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.talks[e.Conversation()]
	if t == nil {
		return false
	}
	known, ok := t.told[e.Incident.ID]
	if !ok || known.event.Member == member {
		return false
	}
	if own, waits := t.quiet[e.Incident.ID]; waits {
		severity := known.event.Severity
		known.event = own
		known.event.Severity = severity
		if own.Severity == severity {
			delete(t.quiet, e.Incident.ID)
		}
	}
	known.event.Member = member
	t.told[e.Incident.ID] = known
	return true
}

// agreed takes over what the members agree that the receiver was told in a conversation. What is on its
// way stays in doubt.
func (q *queue) agreed(conversation string, d Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.talks[conversation]
	if t == nil && d.Over() {
		return
	}
	t = q.talkOf(conversation)
	before := t.told
	t.told = map[string]told{}
	t.take(d)
	for id, known := range before {
		if _, there := t.told[id]; !there && known.state == attempted {
			t.told[id] = known
		}
	}
	if t.empty() {
		delete(q.talks, conversation)
	}
}

// knownOf returns what the receiver was told of an event's incident.
func (q *queue) knownOf(e Event) told {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t := q.talks[e.Conversation()]; t != nil {
		return t.told[e.Incident.ID]
	}
	return told{}
}

// isInHand reports whether something about the event's incident is being told.
func (q *queue) isInHand(e Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.inHand[e.key()]
}
