package slack

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"
)

const (
	eventType = "certmedic" // of the metadata of every message
	pageSize  = 200
	maxPages  = 10
	leeway    = 5 * time.Minute // that the clock of Slack may be behind ours
)

// metadata says whose message it is, and which events or parts of lists it tells. Slack keeps
// it with the message and shows it to apps only.
func (t *telling) metadata(ids []string) goslack.SlackMetadata {
	return goslack.SlackMetadata{EventType: eventType, EventPayload: map[string]any{
		"conversation": t.of.Conversation, "receiver": t.of.Receiver, "says": strings.Join(ids, " "),
	}}
}

// says returns the ids of what a message tells, if it is one of this conversation.
func (t *telling) says(m goslack.Message) (ids []string, ours bool) {
	p := m.Metadata.EventPayload
	if m.Metadata.EventType != eventType || p["conversation"] != t.of.Conversation || p["receiver"] != t.of.Receiver {
		return nil, false
	}
	text, _ := p["says"].(string)
	return strings.Fields(text), true
}

// find looks for the message that an earlier attempt may have posted without hearing of it: in
// the channel, newer than a message that is known, since the first incident. What Slack does
// not allow to be read is taken for not posted: better told twice than never.
func (t *telling) find(ctx context.Context, after string) error {
	channel, err := t.channelID(ctx)
	if channel == "" || err != nil {
		return err
	}
	place := &t.memory.Search
	resumed := place.Cursor != ""
	if !resumed {
		*place = reading{Oldest: after}
		if after == "" {
			place.Oldest = strconv.FormatInt(t.v.begin().Add(-leeway).Unix(), 10)
		}
	}
	p := &goslack.GetConversationHistoryParameters{ChannelID: channel, Oldest: place.Oldest, Limit: pageSize, IncludeAllMetadata: true}
	found := false
	err = place.pages(func(cursor string) (next string, err error) {
		p.Cursor = cursor
		var page *goslack.GetConversationHistoryResponse
		err = t.n.call(ctx, methodHistory, channel, func(ctx context.Context) (err error) {
			page, err = t.n.api.GetConversationHistoryContext(ctx, p)
			return err
		})
		if err != nil {
			return "", err
		}
		if found = t.recognise(channel, page.Messages); found || !page.HasMore {
			return "", nil
		}
		return page.ResponseMetaData.NextCursor, nil
	})
	if found || resumed || place.Pages > 0 { // how far it came; or that what is posted from now on is to be looked for anew
		t.remember()
	}
	return err
}

// reading is how far a list of several pages was read. Where Slack's pace stops it, it goes on from
// there: begun anew each time, a long list might never come to its end.
type reading struct {
	Oldest string `json:"oldest,omitempty"`
	Cursor string `json:"cursor,omitempty"`
	Pages  int    `json:"pages,omitempty"`
}

// pages reads page after page until there is none, or too many. What Slack does not allow to be read
// has no pages.
func (r *reading) pages(read func(cursor string) (next string, err error)) error {
	for r.Pages < maxPages {
		next, err := read(r.Cursor)
		if err != nil && !denied(err) {
			return err
		}
		if next == "" {
			break
		}
		r.Cursor, r.Pages = next, r.Pages+1
	}
	*r = reading{}
	return nil
}

// recognise goes on from the first of the messages that is ours.
func (t *telling) recognise(channel string, messages []goslack.Message) bool {
	for _, m := range messages {
		ids, ours := t.says(m)
		if !ours || m.ThreadTimestamp != "" && m.ThreadTimestamp != m.Timestamp || t.v.news() && !t.v.beats() && !t.any(ids) {
			continue
		}
		t.n.id = channel
		t.memory.Channel, t.memory.TS = channel, m.Timestamp
		t.memory.saw(ids...)
		return true
	}
	return false
}

// any reports whether one of the ids is an event of this notification.
func (t *telling) any(ids []string) bool {
	return slices.ContainsFunc(t.eventIDs(), func(id string) bool { return slices.Contains(ids, id) })
}

// channelID returns the channel's ID, which reading needs. It is empty where it cannot be found.
func (t *telling) channelID(ctx context.Context) (string, error) {
	name, isName := strings.CutPrefix(t.n.config.Channel, "#")
	switch {
	case t.n.id != "":
		return t.n.id, nil
	case !isName && isChannelID(t.n.config.Channel):
		return t.n.config.Channel, nil
	}
	p := &goslack.GetConversationsParameters{
		ExcludeArchived: true, Limit: pageSize, Types: []string{"public_channel", "private_channel"},
	}
	err := t.n.listed.pages(func(cursor string) (next string, err error) {
		p.Cursor = cursor
		var channels []goslack.Channel
		err = t.n.call(ctx, methodList, "", func(ctx context.Context) (err error) {
			channels, next, err = t.n.api.GetConversationsContext(ctx, p)
			return err
		})
		for _, c := range channels {
			if c.Name == name {
				t.n.id, next = c.ID, ""
			}
		}
		return next, err
	})
	return t.n.id, err
}

// isChannelID reports whether it looks like the ID of a channel, a group or a direct message.
func isChannelID(s string) bool {
	return len(s) >= 9 && strings.ContainsRune("CGD", rune(s[0])) && strings.ToUpper(s) == s
}

// heard reads the thread for what an earlier attempt may have said without hearing of it.
func (t *telling) heard(ctx context.Context) error {
	p := &goslack.GetConversationRepliesParameters{
		ChannelID: t.memory.Channel, Timestamp: t.memory.TS, Limit: pageSize, IncludeAllMetadata: true,
	}
	lost := false
	err := t.memory.Thread.pages(func(cursor string) (next string, err error) {
		p.Cursor = cursor
		var replies []goslack.Message
		err = t.n.call(ctx, methodReplies, p.ChannelID, func(ctx context.Context) (err error) {
			replies, _, next, err = t.n.api.GetConversationRepliesContext(ctx, p)
			return err
		})
		lost = gone(err)
		for _, m := range replies {
			if ids, ours := t.says(m); ours && m.Timestamp != t.memory.TS {
				t.memory.saw(ids...)
			}
		}
		return next, err
	})
	if lost {
		return errGone
	}
	t.remember()
	return err
}

// errGone says that the message whose thread was to be continued is not there any more.
var errGone = errors.New("the message is gone")
