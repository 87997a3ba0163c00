package slackfake

import (
	"encoding/json"
	"slices"
	"strings"
)

// Message is a message of a channel or of a thread.
type Message struct {
	Channel   string
	TS        string
	ThreadTS  string // of the message that it answers; empty: none
	Broadcast bool   // a reply that the channel shows too
	Text      string
	Blocks    json.RawMessage
	Metadata  Metadata
	Edits     int
	Hook      bool // through an incoming webhook

	deleted bool
	frozen  string
}

// Metadata is what an app keeps with a message.
type Metadata struct {
	EventType    string         `json:"event_type"`
	EventPayload map[string]any `json:"event_payload"`
}

// Conversation is certmedic's conversation of the message, by its metadata.
func (m Message) Conversation() string {
	s, _ := m.Metadata.EventPayload["conversation"].(string)
	return s
}

// Shown is all that the blocks show, one text in a line, as a reader sees it: without escapes,
// asterisks and addresses. Labels and values of a section's fields are lines too.
func (m Message) Shown() string {
	var lines []string
	for _, t := range textsOf(m.Blocks) {
		if t.Type == "mrkdwn" {
			t.Text = tokens.ReplaceAllStringFunc(strings.Trim(t.Text, "*"), labelOf)
		}
		lines = append(lines, unescape(t.Text))
	}
	return strings.Join(lines, "\n")
}

// labelOf is what is shown of a link or a date; mentions are shown as they are.
func labelOf(token string) string {
	if _, label, ok := strings.Cut(strings.TrimSuffix(token, ">"), "|"); ok {
		return label
	}
	return token
}

// Markup is every link, date and mention in the message, such as "<!here>".
func (m Message) Markup() []string {
	found := tokens.FindAllString(m.Text, -1)
	for _, t := range textsOf(m.Blocks) {
		if t.Type == "mrkdwn" {
			found = append(found, tokens.FindAllString(t.Text, -1)...)
		}
	}
	return found
}

// Buttons returns the values of the buttons by their action IDs.
func (m Message) Buttons() map[string]string {
	buttons := map[string]string{}
	var blocks []block
	if json.Unmarshal(m.Blocks, &blocks) != nil {
		return buttons
	}
	for _, b := range blocks {
		if b.Type != "actions" {
			continue
		}
		for _, raw := range b.Elements {
			var e button
			if json.Unmarshal(raw, &e) == nil {
				buttons[e.ActionID] = e.Value
			}
		}
	}
	return buttons
}

// Messages returns the messages of all channels outside of threads, oldest first.
func (s *Server) Messages() []Message {
	return s.messages(func(m *Message) bool { return m.ThreadTS == "" })
}

// Replies returns the thread below a message, oldest first.
func (s *Server) Replies(ts string) []Message {
	return s.messages(func(m *Message) bool { return m.ThreadTS == ts })
}

// In returns the messages of one of certmedic's conversations outside of threads.
func (s *Server) In(conversation string) []Message {
	return s.messages(func(m *Message) bool { return m.ThreadTS == "" && m.Conversation() == conversation })
}

func (s *Server) messages(keep func(*Message) bool) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Message
	for _, c := range s.channels {
		for _, m := range c.messages {
			if !m.deleted && keep(m) {
				all = append(all, *m)
			}
		}
	}
	slices.SortFunc(all, func(a, b Message) int { return strings.Compare(a.TS, b.TS) })
	return all
}

// view is a message as the API shows it.
func (m *Message) view(metadata bool) map[string]any {
	v := map[string]any{
		"type": "message", "ts": m.TS, "text": m.Text, "bot_id": "B0FAKE", "user": "U0FAKEBOT", "app_id": "A0FAKE",
	}
	if len(m.Blocks) > 0 {
		v["blocks"] = m.Blocks
	}
	if m.ThreadTS != "" {
		v["thread_ts"] = m.ThreadTS
	}
	if metadata && m.Metadata.EventType != "" {
		v["metadata"] = m.Metadata
	}
	return v
}
