package slack

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// memory is what is kept of a conversation.
type memory struct {
	Channel string `json:"channel,omitempty"` // the ID
	TS      string `json:"ts,omitempty"`      // of the message

	Title  string             `json:"title,omitempty"`  // what it was about at its worst
	Worst  certmedic.Severity `json:"worst,omitempty"`  // what it was at its worst
	Called certmedic.Severity `json:"called,omitempty"` // for which people were called
	Since  time.Time          `json:"since,omitzero"`   // when its first incident fired

	Shown     string    `json:"shown,omitempty"`     // hash of what the message shows
	Edited    time.Time `json:"edited,omitzero"`     // when it was posted or edited
	Said      []string  `json:"said,omitempty"`      // ids of what the message and its thread say, the newest last
	Named     []string  `json:"named,omitempty"`     // members that are listed in the thread
	Continues string    `json:"continues,omitempty"` // address of the message before this one

	Search reading `json:"search,omitzero"` // of the channel, for a message whose answer was lost
	Thread reading `json:"thread,omitzero"` // of the thread, for what it says already

	// Of an incoming webhook: how many of the messages of one notification were posted.
	Batch string `json:"batch,omitempty"`
	Sent  int    `json:"sent,omitempty"`
}

// maxSaid bounds the ids that are kept. Only what one notification holds can come again.
const maxSaid = 500

// readMemory takes what cannot be read for nothing: the message is then found by its metadata,
// or posted again.
func readMemory(data json.RawMessage) memory {
	var m memory
	if len(data) == 0 || json.Unmarshal(data, &m) != nil {
		return memory{}
	}
	return m
}

func (m *memory) saw(ids ...string) {
	for _, id := range ids {
		if !slices.Contains(m.Said, id) {
			m.Said = append(m.Said, id)
		}
	}
	m.Said = m.Said[max(0, len(m.Said)-maxSaid):]
}

// untilEdit returns how long the message must not be edited yet. After a clock was set back it is not
// known when the message was edited: then it may be.
func (m *memory) untilEdit() time.Duration {
	ago := time.Since(m.Edited)
	if ago < 0 {
		return 0
	}
	return editEvery - ago
}

// shows notes what the message shows now.
func (t *telling) shows(m message) {
	v := t.v
	t.memory.Shown, t.memory.Edited = m.hash(), time.Now()
	if since := v.since(); t.memory.Since.IsZero() || since.Before(t.memory.Since) {
		t.memory.Since = since
	}
	if !v.over && (t.memory.Title == "" || v.main.Severity.Rank() > t.memory.Worst.Rank()) {
		t.memory.Title, t.memory.Worst = oneLine(v.main.Incident.Summary), v.main.Severity
	}
}

// called notes for which severity people were called.
func (t *telling) called() {
	if !t.v.over && !t.v.news() {
		t.memory.Called = t.v.main.Severity
	}
}

// eventIDs are the ids of the events of this notification.
func (t *telling) eventIDs() []string {
	ids := make([]string, 0, len(t.of.Events))
	for _, e := range t.of.Events {
		ids = append(ids, eventID(e))
	}
	return ids
}

// eventID is the same for the same event, in every run.
func eventID(e alerting.Event) string {
	return idOf(string(e.Kind), e.Incident.ID, e.Time.UTC().Format(time.RFC3339Nano))
}

// idOf returns a short hash of parts.
func idOf(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}
