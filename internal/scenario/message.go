package scenario

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// newsOf returns the news that something is, where the test speaks of messages.
func (p *play) newsOf(at time.Time, certificate string, kind watchdog.NewsKind, t certmedic.Transition) watchdog.News {
	if p.teller == nil {
		return watchdog.News{}
	}
	if !t.Time.IsZero() {
		at = t.Time
	}
	if certificate == "" {
		return watchdog.News{Kind: kind, Time: at, Transition: t}
	}
	return p.world.cert(certificate).seen().sim.News(at, kind, t)
}

// speak has told what happened since it was called last.
func (p *play) speak(ctx context.Context) error {
	from := p.spoken
	p.spoken = len(p.log)
	if p.teller == nil {
		return nil
	}
	for _, h := range p.log[from:] {
		if h.failing != "" {
			continue
		}
		if err := p.teller.hear(ctx, h.news); err != nil {
			return err
		}
	}
	return nil
}

// click presses the button of a step, of what was sent before it.
func (p *play) click(ctx context.Context, s placed[stepForm]) error {
	if s.value.SlackClick == nil {
		return nil
	}
	f, now := *s.value.SlackClick, p.world.wall(p.world.now)
	if err := p.teller.advance(ctx, now); err != nil {
		return err
	}
	if err := p.teller.click(now, f.value); err != nil {
		p.fail(f.at, "somebody to press "+f.value.Action.value, "%v", err)
	}
	return nil
}

// send sends what was told at a step. What a service does not take fails the test.
func (p *play) send(ctx context.Context, at place) error {
	if p.teller == nil {
		return nil
	}
	if err := p.teller.advance(ctx, p.world.wall(p.world.now).Add(groupWait)); err != nil {
		return err
	}
	for _, why := range p.teller.refused {
		p.fail(at, "every message to be taken", "%s", why)
	}
	p.teller.refused = nil
	return nil
}

// expectMessages holds what was sent since the step that expected something of a receiver last
// against what a step expects.
func (p *play) expectMessages(at place, want expectForm) {
	if want.Slack != nil {
		p.expectSlack(at, *want.Slack, want.Some)
	}
	if want.PagerDuty != nil {
		p.expectPager(at, *want.PagerDuty, want.Some)
	}
}

func (p *play) expectSlack(at place, want []placed[slackForm], some bool) {
	got := newest(p.sentTo(receiverSlack, &p.slacked))
	fits := func(w placed[slackForm], m message) bool { return p.teller.isSlack(w.value, m) }
	missing, extra := unmatched(want, got, fits)
	for _, m := range missing {
		p.fail(m.at, "in Slack: "+m.value.String(), "there was:%s%s", list(got, message.String), metAlready(m, got, fits))
	}
	extra = slices.DeleteFunc(extra, func(m message) bool { return m.op == opReply })
	if !some && len(extra) > 0 {
		p.fail(at, "nothing else in Slack", "there was:%s", list(extra, message.String))
	}
}

func (p *play) expectPager(at place, want []placed[pagerForm], some bool) {
	got := p.sentTo(receiverPager, &p.paged)
	for _, w := range want {
		p.nameKey(w.value, got)
	}
	fits := func(w placed[pagerForm], m message) bool {
		return isPager(w.value, m) && p.isKey(w.value.DedupKey, m.key)
	}
	missing, extra := unmatched(want, got, fits)
	for _, m := range missing {
		p.fail(m.at, "of PagerDuty: "+m.value.String(), "there was:%s%s%s", list(got, message.String), p.keyHint(m.value), metAlready(m, got, fits))
	}
	if !some && len(extra) > 0 {
		p.fail(at, "nothing else of PagerDuty", "there was:%s", list(extra, message.String))
	}
}

// sentTo returns what a receiver was sent from an index on, which it moves to the end.
func (p *play) sentTo(receiver string, from *int) []message {
	var sent []message
	for _, m := range p.teller.sent[*from:] {
		if m.receiver == receiver {
			sent = append(sent, m)
		}
	}
	*from = len(p.teller.sent)
	return sent
}

// newest leaves out the updates of a message that another one followed.
func newest(sent []message) []message {
	var kept []message
	for i, m := range sent {
		followed := slices.ContainsFunc(sent[i+1:], func(n message) bool { return n.op == opUpdate && n.key == m.key })
		if m.op != opUpdate || !followed {
			kept = append(kept, m)
		}
	}
	return kept
}

// isSlack reports whether a message is as expected.
func (t *teller) isSlack(want slackForm, m message) bool {
	if want.Op.value != m.op || !m.shows(want.Contains) {
		return false
	}
	if want.Thread == nil {
		return true
	}
	thread := message{}
	for _, other := range t.sent {
		if other.op == opReply && other.key == m.key {
			thread.text += other.text + "\n"
		}
	}
	return thread.shows(want.Thread.Contains)
}

// isPager reports whether an event is as expected, but for its key.
func isPager(want pagerForm, m message) bool {
	return want.Action.value == m.op && (want.Severity.value == "" || want.Severity.value == m.severity) && m.shows(want.Contains)
}

func (m message) shows(all words) bool {
	return !slices.ContainsFunc(all, func(text string) bool { return !strings.Contains(m.text, text) })
}

// nameKey gives a name of a story's to the dedup key of the first event that fits and whose key has
// none, where the name is new.
func (p *play) nameKey(want pagerForm, got []message) {
	if _, known := p.keys[want.DedupKey]; known || want.DedupKey == "" {
		return
	}
	for _, m := range got {
		named := false
		for _, key := range p.keys {
			named = named || key == m.key
		}
		if !named && m.key != "" && isPager(want, m) {
			p.keys[want.DedupKey] = m.key
			return
		}
	}
}

// isKey reports whether a key is the one of a name.
func (p *play) isKey(name, key string) bool { return name == "" || p.keys[name] == key && key != "" }

func (p *play) keyHint(want pagerForm) string {
	if key := p.keys[want.DedupKey]; key != "" {
		return fmt.Sprintf("\nthe story calls %s the key %s", want.DedupKey, key)
	}
	return ""
}

// neverSent reports messages that must not have been sent, or not so often.
func (p *play) neverSent(n placed[neverForm]) {
	var sent []message
	for _, m := range p.teller.sent {
		switch {
		case n.value.Slack != nil && m.receiver == receiverSlack && p.teller.isSlack(n.value.Slack.value.Form, m),
			n.value.PagerDuty != nil && m.receiver == receiverPager && isPager(n.value.PagerDuty.value.Form, m) && p.isKey(n.value.PagerDuty.value.Form.DedupKey, m.key):
			sent = append(sent, m)
		}
	}
	if most := n.value.most(); len(sent) > most {
		p.fail(n.at, fmt.Sprintf("this to be sent %s", times(most)), "it was sent %s:%s", times(len(sent)), list(sent, message.String))
	}
}

// most returns how often it may happen.
func (f neverForm) most() int {
	switch {
	case f.Slack != nil:
		return cmp.Or(f.Slack.value.CountGT, f.CountGT)
	case f.PagerDuty != nil:
		return cmp.Or(f.PagerDuty.value.CountGT, f.CountGT)
	}
	return f.CountGT
}
