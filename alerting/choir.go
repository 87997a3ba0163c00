package alerting

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// The reasons not to send now what is to be sent. What is left is decided about again.
var (
	errChanged = errors.New("another member told of it meanwhile")
	errClaimed = errors.New("another member is telling it")
)

const (
	askAgain  = 250 * time.Millisecond // where another member is telling, or took over
	maxWrites = 5                      // attempts to write what came of a delivery

	settleTimeout = 5 * time.Second
)

// choir is what an [Alerter] knows of what all members told. A nil choir is that of a single host.
// No lock is held during I/O, but that of the one certificate that it is about.
type choir struct {
	Voice
	session time.Time
	queues  map[string]*queue
	log     *slog.Logger

	mu     sync.Mutex // guards the following, and what leaves hold but for their turn
	leaves map[string]*leaf
	gone   map[string]time.Time // since when members are that told something
}

// leaf is a page as this member saw it last.
type leaf struct {
	turn chan struct{} // holds a token while the page is read or written

	page     Page
	read     time.Time // zero: not yet
	next     time.Time // when to look again, after a failure
	unshared bool      // something was told that is not on the page yet
	failing  time.Time // since when the page cannot be written; zero: it can

	over map[string]bool // incidents that another member told of, and that were here, and have ended here
}

// lock waits for the leaf's turn, which lasts as long as the coordinator's bound on a call at most, and returns
// what ends it.
func (l *leaf) lock() (unlock func()) {
	l.turn <- struct{}{}
	return func() { <-l.turn }
}

func newChoir(v *Voice, queues map[string]*queue, log *slog.Logger) *choir {
	if v == nil {
		return nil
	}
	return &choir{Voice: *v, session: time.Now().UTC(), queues: queues, log: log, leaves: map[string]*leaf{}, gone: map[string]time.Time{}}
}

func (c *choir) leaf(certificate string) *leaf {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.leaves[certificate]
	if l == nil {
		l = &leaf{turn: make(chan struct{}, 1), page: Page{Certificate: certificate}}
		c.leaves[certificate] = l
	}
	return l
}

// key returns what receivers know a conversation by.
func (c *choir) key(conversation string) string {
	certificate, shared := certificateOf(conversation)
	if c == nil || !shared {
		return conversation
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.leaves[certificate]; l != nil && (len(l.page.Lines) > 0 || l.unshared) {
		return l.page.Key
	}
	return "certmedic/" + certificate // news outside an episode
}

// outward returns the event as receivers know it.
func (c *choir) outward(e Event) Event {
	if _, shared := certificateOf(e.Incident.DedupKey); c != nil && shared {
		e.Incident.DedupKey = c.key(e.Incident.DedupKey)
	}
	return e
}

// unshared reports whether something was told in a conversation that the others cannot know of.
func (c *choir) unshared(conversation string) bool {
	certificate, shared := certificateOf(conversation)
	if c == nil || !shared {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.leaves[certificate]
	return l != nil && l.unshared
}

// take takes a page over: what it says was told is what receivers know.
func (c *choir) take(l *leaf, p Page) {
	c.mu.Lock()
	l.page, l.read = p, time.Now()
	maps.DeleteFunc(l.over, func(id string, _ bool) bool { return !p.tells(id) })
	c.mu.Unlock()
	conversation := SharedConversation(p.Certificate)
	for name, q := range c.queues {
		if !c.ours(p.Lines[name].Sending) { // else more is known here
			q.agreed(conversation, p.Lines[name].Delivery)
		}
	}
}

// ours reports whether this very process is sending, or did not get to write what came of it.
func (c *choir) ours(s *Sending) bool {
	return s != nil && s.Member == c.Member && s.Session.Equal(c.session)
}

// reread reads the page again. The leaf's turn is held.
func (c *choir) reread(ctx context.Context, l *leaf) error {
	p, err := c.Book.Page(ctx, l.page.Certificate)
	if err != nil {
		return err
	}
	c.take(l, p)
	return nil
}

// look reads a page where it is wanted, and joins what was told without it.
func (c *choir) look(ctx context.Context, certificate string, wanted func(read time.Time) bool) {
	l := c.leaf(certificate)
	defer l.lock()()
	c.mu.Lock()
	look := (l.unshared || wanted(l.read)) && !c.Lost()
	c.mu.Unlock()
	if !look {
		return
	}
	if err := c.share(ctx, l); err != nil {
		c.mu.Lock()
		l.next = time.Now().Add(c.Patience)
		c.mu.Unlock()
		c.log.Warn("what other members told is not known", "certificate", certificate, "err", err)
	}
}

// claim is what a member wrote before it sends.
type claim struct {
	made  bool // there is one; news of a certificate go without
	again bool // it may have been sent before
}

// begin says on the page what is about to be sent, so that nobody else sends it, and whoever comes
// after this member knows that it may have arrived.
func (c *choir) begin(ctx context.Context, q *queue, conversation string, items []Item) (claim, error) {
	certificate, shared := certificateOf(conversation)
	if c == nil || !shared || !slices.ContainsFunc(items, func(it Item) bool { return !it.Event.Kind.News() }) {
		return claim{}, nil
	}
	if c.Speaks(certificate) {
		if err := c.Confirm(ctx, certificate); err != nil {
			q.hold(time.Now().Add(askAgain))
			return claim{}, errors.Join(errChanged, err)
		}
	}
	l := c.leaf(certificate)
	defer l.lock()()
	if c.Lost() {
		return c.alone(l, q, items)
	}
	if c.isUnread(l) {
		if err := c.share(ctx, l); err != nil {
			return c.alone(l, q, items)
		}
		return claim{}, errChanged
	}
	next, again, err := c.claim(l, q, items)
	if err != nil {
		return claim{}, err
	}
	written, err := c.Book.Write(ctx, next)
	switch {
	case err == nil:
		c.set(l, written)
		return claim{made: true, again: again}, nil
	case errors.Is(err, ErrOvertaken) && c.reread(ctx, l) == nil:
		return claim{}, errChanged
	}
	return c.alone(l, q, items)
}

// isUnread reports whether it is not known what others told.
func (c *choir) isUnread(l *leaf) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return l.read.IsZero() || l.unshared
}

// alone has something told without asking the others, who cannot be asked, and may have told it, once it is
// this member's turn to. Where it is the pages alone that fail, that is so after a while, too.
func (c *choir) alone(l *leaf, q *queue, items []Item) (claim, error) {
	now := time.Now()
	since := items[0].Event.Time
	for _, it := range items {
		if it.Event.Time.After(since) {
			since = it.Event.Time
		}
	}
	c.mu.Lock()
	if l.failing.IsZero() {
		l.failing = now
	}
	turn := c.Lost() && c.Alone(since) || now.Sub(l.failing) >= c.Patience
	c.mu.Unlock()
	if !turn {
		q.hold(now.Add(askAgain))
		return claim{}, errClaimed
	}
	c.unsettled(l)
	return claim{made: true, again: true}, nil
}

// unsettled notes that something was told that is not on the page.
func (c *choir) unsettled(l *leaf) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(l.page.Lines) == 0 && !l.unshared {
		l.page.Key = keyOf(l.page.Certificate, time.Now())
	}
	l.unshared = true
}

// set takes over what this member wrote.
func (c *choir) set(l *leaf, p Page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.page, l.unshared, l.failing = p, false, time.Time{}
}

// claim returns the page with what is about to be sent on it.
func (c *choir) claim(l *leaf, q *queue, items []Item) (next Page, again bool, err error) {
	now := time.Now().UTC()
	next = l.page
	next.Lines = maps.Clone(next.Lines)
	line := next.Lines[q.receiver]
	if before := line.Sending; before != nil {
		if before.Member != c.Member && c.Lives(before.Member, "") && now.Sub(before.At) < sendingFor {
			q.hold(now.Add(askAgain))
			return next, false, errClaimed
		}
		again = !c.ours(before)
	}
	if len(next.Lines) == 0 {
		next.Key, next.Lines = keyOf(next.Certificate, now), map[string]Line{}
	}
	line.Receiver, line.Conversation = q.receiver, SharedConversation(next.Certificate)
	line.Sending = &Sending{Member: c.Member, Session: c.session, At: now, Events: []Event{}}
	for _, it := range items {
		if it.Event.Kind.about() {
			line.Sending.Events = append(line.Sending.Events, it.Event.slim())
		}
	}
	next.Lines[q.receiver] = line
	return next, again, nil
}

// settle writes on the page what a receiver knows now; done says that nothing is on its way any more.
func (c *choir) settle(ctx context.Context, q *queue, conversation string, done bool) {
	certificate, shared := certificateOf(conversation)
	if c == nil || !shared {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	l := c.leaf(certificate)
	defer l.lock()()
	if c.Lost() || c.isUnread(l) {
		c.unsettled(l)
		return
	}
	if err := c.write(ctx, l, q.delivery(conversation), done); err != nil {
		c.log.Warn("other members do not know yet what was told", "certificate", certificate, "receiver", q.receiver, "err", err)
		c.unsettled(l)
	}
}

// write writes the line of one receiver, beside what others write meanwhile. The leaf's turn is held.
func (c *choir) write(ctx context.Context, l *leaf, d Delivery, done bool) error {
	base, overtaken := l.page, false
	for range maxWrites {
		written, err := c.Book.Write(ctx, withLine(base, d, done))
		switch {
		case err == nil && overtaken:
			c.set(l, written)
			c.take(l, written)
			return nil
		case err == nil:
			c.set(l, written)
			return nil
		case !errors.Is(err, ErrOvertaken):
			return err
		}
		if base, err = c.Book.Page(ctx, base.Certificate); err != nil {
			return err
		}
		overtaken = true
		if theirs := base.Lines[d.Receiver]; !c.ours(theirs.Sending) {
			d = joined(d, theirs.Delivery) // it took so long that another member went on
		}
	}
	return ErrOvertaken
}

// withLine returns a page that says of a receiver what a delivery does.
func withLine(p Page, d Delivery, done bool) Page {
	p.Lines = maps.Clone(p.Lines)
	if p.Lines == nil {
		p.Lines = map[string]Line{}
	}
	line := p.Lines[d.Receiver]
	p.Ended = endedAfter(p.Ended, line.Told, d.Told, time.Now().UTC())
	line.Delivery = d
	if done {
		line.Sending = nil
	}
	p.Lines[d.Receiver] = line
	if d.Over() && line.Sending == nil {
		delete(p.Lines, d.Receiver)
	}
	return p
}

// keepEnded is for how long it is known of an incident that its end was told.
const keepEnded = time.Hour

// endedAfter returns of which incidents the end was told, once others than before are told of.
func endedAfter(ended map[string]time.Time, before, after []Event, now time.Time) map[string]time.Time {
	all := map[string]time.Time{}
	for id, at := range ended {
		if now.Sub(at) < keepEnded {
			all[id] = at
		}
	}
	for _, e := range before {
		if e.Kind.firing() && !slices.ContainsFunc(after, func(o Event) bool { return o.Incident.ID == e.Incident.ID }) {
			all[e.Incident.ID] = now
		}
	}
	return all
}

// outlived reports whether the end of an incident was told lately by a member that saw it earlier than this one will: it is not
// told again unless it goes on.
func (c *choir) outlived(e Event, now time.Time) bool {
	certificate, _ := certificateOf(e.Conversation())
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.leaves[certificate]
	if l == nil {
		return false
	}
	ended, there := l.page.Ended[e.Incident.ID]
	return there && e.Incident.FiringAt.Before(ended) && now.Before(ended.Add(c.Patience))
}

// joined is what a receiver was told by two members that did not know of each other: what one of
// them told was told, and the newer counts.
func joined(ours, theirs Delivery) Delivery {
	told := map[string]Event{}
	for _, e := range slices.Concat(theirs.Told, ours.Told) {
		if before, there := told[e.Incident.ID]; !there || before.Time.Before(e.Time) {
			told[e.Incident.ID] = e
		}
	}
	ours.Told = nil
	for _, id := range slices.Sorted(maps.Keys(told)) {
		ours.Told = append(ours.Told, told[id])
	}
	if len(theirs.Memory) > 0 {
		ours.Memory = theirs.Memory
	}
	if ours.Ack == nil {
		ours.Ack = theirs.Ack
	}
	if ours.Since.IsZero() || !theirs.Since.IsZero() && theirs.Since.Before(ours.Since) {
		ours.Since = theirs.Since
	}
	return ours
}

// share reads a page, and where something was told without it has both say the same. The leaf's turn is held.
func (c *choir) share(ctx context.Context, l *leaf) error {
	p, err := c.Book.Page(ctx, l.page.Certificate)
	if err != nil {
		return err
	}
	c.mu.Lock()
	unshared, own := l.unshared, l.page.Key
	c.mu.Unlock()
	if unshared {
		conversation := SharedConversation(p.Certificate)
		if len(p.Lines) == 0 {
			p.Key = own
		}
		for name, q := range c.queues {
			if d := q.delivery(conversation); !d.Over() {
				p = withLine(p, joined(d, p.Lines[name].Delivery), false)
			}
		}
		if p, err = c.Book.Write(ctx, p); err != nil {
			return err
		}
	}
	c.set(l, p)
	c.take(l, p)
	return nil
}
