package slack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goslack "github.com/slack-go/slack"

	"github.com/certmedic/certmedic/alerting"
)

const (
	maxLine   = 600  // of the thread, for one event
	maxReply  = 8000 // of all sections of a reply
	maxMember = 4096 // the longest path that Linux knows; names of hosts are shorter
)

// reply is a message of the thread.
type reply struct {
	ids     []string // what it tells
	lines   []string
	names   []string // members that it lists
	calling string   // mention, from the configuration
}

// follow brings the thread up to date: a line for each event that the message was not posted
// with, and the members for which the message has no room.
func (t *telling) follow(ctx context.Context) error {
	replies := t.replies()
	if len(replies) > 0 && t.of.Again {
		if err := t.heard(ctx); err != nil {
			return t.unlessGone(ctx, err)
		}
		replies = t.replies()
	}
	for _, r := range replies {
		if err := t.say(ctx, r); err != nil {
			return t.unlessGone(ctx, err)
		}
	}
	return nil
}

// unlessGone begins anew where the thread's message is not there any more.
func (t *telling) unlessGone(ctx context.Context, err error) error {
	if !gone(err) && !errors.Is(err, errGone) || t.reposted {
		return err
	}
	if err := t.repost(ctx, err); err != nil {
		return err
	}
	return t.follow(ctx)
}

// say posts a reply.
func (t *telling) say(ctx context.Context, r reply) error {
	options := []goslack.MsgOption{goslack.MsgOptionTS(t.memory.TS), goslack.MsgOptionMetadata(t.metadata(r.ids))}
	posted, err := t.send(ctx, t.memory.Channel, r.message(), options...)
	if err != nil {
		return err
	}
	if posted.ThreadTimestamp == "" {
		t.memory.TS = "" // the message was deleted, and Slack put the reply into the channel
	}
	t.memory.saw(r.ids...)
	t.memory.Named = append(t.memory.Named, r.names...)
	if r.calling != "" {
		t.called()
	}
	t.remember()
	return nil
}

// replies are what the thread lacks.
func (t *telling) replies() []reply {
	v, replies := t.v, t.lines()
	if len(replies) > 0 && !v.over && v.main.Severity.Rank() > t.memory.Called.Rank() {
		replies[0].calling = t.n.config.Mention[v.main.Severity]
	}
	_, hidden := t.render()
	return append(replies, t.lists(hidden)...)
}

// lines tell the events that were not told, in the order in which they happened.
func (t *telling) lines() []reply {
	var replies []reply
	used := maxReply
	for _, e := range t.v.events {
		id := eventID(e)
		if slices.Contains(t.memory.Said, id) {
			continue
		}
		line := cut(t.line(e), maxLine)
		if used += jsonLength(line); used > maxReply {
			replies, used = append(replies, reply{}), jsonLength(line)
		}
		last := &replies[len(replies)-1]
		last.ids, last.lines = append(last.ids, id), append(last.lines, line)
	}
	return replies
}

// line says what happened in one line of text.
func (t *telling) line(e alerting.Event) string {
	at, what := e.Time.UTC().Format("15:04:05 UTC"), oneLine(e.Incident.Summary)
	switch e.Kind {
	case alerting.KindResolved:
		return fmt.Sprintf("%s %s  Resolved: %s", signResolved, at, what)
	case alerting.KindAcknowledged:
		return fmt.Sprintf("%s %s  Acknowledged by %s", signAck, at, who(e.Ack))
	case alerting.KindUnacknowledged:
		return fmt.Sprintf("%s %s  No longer acknowledged%s", signAck, at, prefixed(", by ", takenBackBy(e.Ack)))
	case alerting.KindFiring, alerting.KindUpdate:
		return fmt.Sprintf("%s %s  %s: %s. %s", sign(e.Severity), at, title(string(e.Severity)), what, oneLine(cmp.Or(prefixed("Cause: ", e.Incident.CauseText()), e.Incident.Reason)))
	}
	return fmt.Sprintf("%s %s  %s: %s", signNews, at, title(string(e.Kind)), what)
}

// lists name the members that the message has no room for, and that no earlier list named. A
// list that the thread has already, by its id, is not posted again.
func (t *telling) lists(hidden []string) []reply {
	var replies []reply
	var group []string
	used := 0
	end := func() {
		id := idOf(append([]string{"members"}, group...)...)
		if len(group) > 0 && !slices.Contains(t.memory.Said, id) {
			replies = append(replies, reply{ids: []string{id}, names: group})
		}
		group, used = nil, 0
	}
	for _, name := range hidden {
		if slices.Contains(t.memory.Named, name) {
			continue
		}
		if used += jsonLength(name) + 2; used > maxReply {
			end()
			used = jsonLength(name) + 2
		}
		group = append(group, name)
	}
	end()
	for i := range replies {
		replies[i].lines = []string{fmt.Sprintf("Affected too, of %d in all:", len(t.v.places))}
	}
	return replies
}

// message renders a reply: plain text, but for the mention that the configuration holds.
func (r reply) message() message {
	var blocks []goslack.Block
	if r.calling != "" {
		blocks = append(blocks, goslack.NewSectionBlock(markup(r.calling), nil, nil))
	}
	texts := []string{}
	for _, line := range r.lines {
		if last := len(texts) - 1; last >= 0 && escapedLength(texts[last])+escapedLength(line)+1 <= maxSection {
			texts[last] += "\n" + line
			continue
		}
		texts = append(texts, line)
	}
	for _, text := range append(texts, pack(r.names, maxSection)...) {
		blocks = append(blocks, goslack.NewSectionBlock(plainText(text, maxSection), nil, nil))
	}
	return message{text: strings.TrimSpace(r.calling + " " + fit(strings.Join(r.lines, "\n"), maxFallback)), blocks: blocks}
}
