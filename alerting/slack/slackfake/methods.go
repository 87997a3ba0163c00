package slackfake

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxText     = 40_000
	maxMetadata = 8_000
)

// args are the arguments of a call.
type args url.Values

func (a args) get(name string) string { return url.Values(a).Get(name) }

// where returns the channel of a call, by its ID or, where that will do, by its name.
func (s *Server) where(a args, byName bool) (*channel, error) {
	name := a.get("channel")
	if c := s.channels[name]; c != nil {
		return c, nil
	}
	for _, c := range s.channels {
		if byName && strings.TrimPrefix(name, "#") == c.name {
			return c, nil
		}
	}
	return nil, refusal("channel_not_found")
}

// draft reads the content of a message.
func (a args) draft() (m Message, err error) {
	m.Text = a.get("text")
	blocks := a.get("blocks")
	switch {
	case utf8.RuneCountInString(m.Text) > maxText:
		return m, refusal("msg_too_long")
	case m.Text == "" && blocks == "" && a.get("attachments") == "":
		return m, refusal("no_text")
	case a.get("attachments") != "":
		return m, refusal("invalid_attachments") // this fake has none
	}
	if blocks != "" {
		m.Blocks = json.RawMessage(blocks)
		if err := checkBlocks(m.Blocks); err != nil {
			return m, err
		}
	}
	if data := a.get("metadata"); data != "" {
		if len(data) > maxMetadata {
			return m, refusal("metadata_too_large")
		}
		if json.Unmarshal([]byte(data), &m.Metadata) != nil {
			return m, refusal("invalid_metadata_format")
		}
		if m.Metadata.EventType == "" || m.Metadata.EventPayload == nil {
			return m, refusal("invalid_metadata_schema")
		}
	}
	return m, nil
}

// postMessage is chat.postMessage.
func (s *Server) postMessage(a args) (map[string]any, error) {
	c, err := s.where(a, true)
	if err != nil {
		return nil, err
	}
	if c.closed != "" {
		return nil, refusal(c.closed)
	}
	m, err := a.draft()
	if err != nil {
		return nil, err
	}
	m.ThreadTS, m.Broadcast = a.get("thread_ts"), a.get("reply_broadcast") == "true"
	if m.ThreadTS != "" {
		parent := c.find(m.ThreadTS)
		switch {
		case parent == nil:
			return nil, refusal("thread_not_found")
		case parent.ThreadTS != "":
			return nil, refusal("cannot_reply_to_message")
		case parent.deleted:
			m.ThreadTS = "" // Slack posts it to the channel then
		}
	}
	if err := s.spend(c); err != nil {
		return nil, err
	}
	s.add(c, &m)
	return map[string]any{"channel": c.id, "ts": m.TS, "message": m.view(true)}, nil
}

// add puts a message into a channel.
func (s *Server) add(c *channel, m *Message) {
	m.Channel, m.TS = c.id, s.stamp()
	c.messages = append(c.messages, m)
	if m.ThreadTS == "" {
		s.outcome.Posts++
	} else {
		s.outcome.Replies++
	}
}

func (c *channel) find(ts string) *Message {
	i := slices.IndexFunc(c.messages, func(m *Message) bool { return m.TS == ts })
	if i < 0 {
		return nil
	}
	return c.messages[i]
}

// update is chat.update.
func (s *Server) update(a args) (map[string]any, error) {
	c, err := s.where(a, false)
	if err != nil {
		return nil, err
	}
	m := c.find(a.get("ts"))
	switch {
	case c.closed != "":
		return nil, refusal(c.closed)
	case m == nil || m.deleted:
		return nil, refusal("message_not_found")
	case m.Hook:
		return nil, refusal("cant_update_message")
	case m.frozen != "":
		return nil, refusal(m.frozen)
	}
	draft, err := a.draft()
	if err != nil {
		return nil, err
	}
	m.Text = draft.Text
	if a.get("blocks") != "" { // without blocks the old ones stay
		m.Blocks = draft.Blocks
	}
	if draft.Metadata.EventType != "" {
		m.Metadata = draft.Metadata
	}
	m.Edits++
	s.outcome.Edits++
	return map[string]any{"channel": c.id, "ts": m.TS, "text": m.Text, "message": m.view(true)}, nil
}

// permalink is chat.getPermalink.
func (s *Server) permalink(a args) (map[string]any, error) {
	c, err := s.where(a, false)
	if err != nil {
		return nil, err
	}
	m := c.find(a.get("message_ts"))
	if m == nil || m.deleted {
		return nil, refusal("message_not_found")
	}
	link := "https://fake.slack.com/archives/" + c.id + "/p" + strings.ReplaceAll(m.TS, ".", "")
	return map[string]any{"channel": c.id, "permalink": link}, nil
}

// history is conversations.history: the newest first, without threads.
func (s *Server) history(a args) (map[string]any, error) {
	s.outcome.Lookups++
	c, err := s.where(a, false)
	if err != nil {
		return nil, err
	}
	var found []*Message
	for _, m := range slices.Backward(c.messages) {
		if !m.deleted && (m.ThreadTS == "" || m.Broadcast) && a.within(m.TS) {
			found = append(found, m)
		}
	}
	return a.page(found, 100)
}

// replies is conversations.replies: the message and its thread, the oldest first.
func (s *Server) replies(a args) (map[string]any, error) {
	s.outcome.Lookups++
	c, err := s.where(a, false)
	if err != nil {
		return nil, err
	}
	root := c.find(a.get("ts"))
	if root == nil || root.deleted {
		return nil, refusal("thread_not_found")
	}
	found := []*Message{root}
	for _, m := range c.messages {
		if !m.deleted && m.ThreadTS == root.TS && a.within(m.TS) {
			found = append(found, m)
		}
	}
	return a.page(found, 1000)
}

// timestamps may be given without a fraction.
var timestamps = regexp.MustCompile(`^\d+(\.\d{1,6})?$`)

// within reports whether a timestamp is between oldest and latest, which are left out unless
// inclusive is said.
func (a args) within(ts string) bool {
	inclusive := slices.Contains([]string{"1", "true"}, a.get("inclusive"))
	compare := func(bound string) int {
		x, _ := strconv.ParseFloat(ts, 64)
		y, _ := strconv.ParseFloat(bound, 64)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	if oldest := a.get("oldest"); timestamps.MatchString(oldest) {
		if d := compare(oldest); d < 0 || d == 0 && !inclusive {
			return false
		}
	}
	if latest := a.get("latest"); timestamps.MatchString(latest) {
		if d := compare(latest); d > 0 || d == 0 && !inclusive {
			return false
		}
	}
	return true
}

// bounds returns where a page begins and ends. The cursor is the place of its first item.
func (a args) bounds(of, usual int) (from, to int, err error) {
	limit := usual
	if s := a.get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > 999 && usual < 1000 || limit > 1000 {
			return 0, 0, refusal("invalid_limit")
		}
	}
	if s := a.get("cursor"); s != "" {
		if from, err = strconv.Atoi(s); err != nil || from < 0 || from > of {
			return 0, 0, refusal("invalid_cursor")
		}
	}
	return from, min(of, from+limit), nil
}

func (a args) page(found []*Message, usual int) (map[string]any, error) {
	from, to, err := a.bounds(len(found), usual)
	if err != nil {
		return nil, err
	}
	metadata := slices.Contains([]string{"1", "true"}, a.get("include_all_metadata"))
	messages := []map[string]any{}
	for _, m := range found[from:to] {
		messages = append(messages, m.view(metadata))
	}
	return map[string]any{
		"messages": messages, "has_more": to < len(found), "response_metadata": map[string]any{"next_cursor": cursor(to, len(found))},
	}, nil
}

func cursor(to, of int) string {
	if to >= of {
		return ""
	}
	return strconv.Itoa(to)
}

// list is conversations.list.
func (s *Server) list(a args) (map[string]any, error) {
	s.outcome.Lookups++
	var ids []string
	for id := range s.channels {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	from, to, err := a.bounds(len(ids), 100)
	if err != nil {
		return nil, err
	}
	channels := []map[string]any{}
	for _, id := range ids[from:to] {
		channels = append(channels, map[string]any{"id": id, "name": s.channels[id].name, "is_channel": true, "is_member": true})
	}
	return map[string]any{"channels": channels, "response_metadata": map[string]any{"next_cursor": cursor(to, len(ids))}}, nil
}
