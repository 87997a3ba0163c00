// Package body is what programs are told about an event: one JSON object, which the webhook
// receiver posts, commands get on their standard input, and templates are filled with. Its form
// is a promise, which docs/webhooks.md writes down: keys are added, never renamed or removed.
package body

import (
	"cmp"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// Body is an event as a JSON object. Every key is always there: lists and mappings are never
// null, and what is not known is an empty string, or null for not_before, not_after and
// days_left. Times are RFC 3339 in UTC.
type Body struct {
	Event          alerting.Kind         `json:"event"`
	Certificate    string                `json:"certificate"`
	Domains        []string              `json:"domains"`
	Severity       certmedic.Severity    `json:"severity"`
	Status         alerting.Status       `json:"status"` // of all that has this dedup_key: firing or resolved
	Summary        string                `json:"summary"`
	Reason         string                `json:"reason"`
	NotBefore      *time.Time            `json:"not_before"`
	NotAfter       *time.Time            `json:"not_after"`
	DaysLeft       *int                  `json:"days_left"` // whole days, rounded down; negative after expiry
	Issuer         string                `json:"issuer"`
	Serial         string                `json:"serial"`
	SHA256         certmedic.Fingerprint `json:"sha256"`
	Stage          certmedic.Stage       `json:"stage"`
	Labels         map[string]string     `json:"labels"`
	Timestamp      time.Time             `json:"timestamp"` // of the event, not of its delivery
	DedupKey       string                `json:"dedup_key"` // certmedic/<certificate>/<episode>
	Rule           string                `json:"rule"`
	Members        []string              `json:"members"` // affected addresses
	Evidence       []certmedic.Evidence  `json:"evidence"`
	Cause          certmedic.Cause       `json:"cause"`         // that a diagnosis named; empty while none did
	CauseSummary   string                `json:"cause_summary"` // the same in a sentence
	Fix            string                `json:"fix"`           // commands for a shell, in lines
	NextStep       string                `json:"next_step"`     // what happens next, with its time
	Runbook        string                `json:"runbook"`
	Incident       string                `json:"incident"` // its id; empty for good news
	AcknowledgedBy string                `json:"acknowledged_by"`
	Undelivered    string                `json:"undelivered"` // at the fallback: who did not take it, and why
	Drill          bool                  `json:"drill"`
}

// Of returns what is told about one event of a notification.
func Of(n alerting.Notification, e alerting.Event) Body {
	b := Body{
		Event:       e.Kind,
		Certificate: e.Certificate.Name,
		Domains:     list(e.Certificate.Domains),
		Severity:    e.Severity,
		Status:      n.Status,
		Summary:     e.Incident.Summary,
		Reason:      e.Incident.Reason,
		Issuer:      e.Certificate.Issuer,
		Serial:      e.Certificate.Serial,
		SHA256:      e.Certificate.SHA256,
		Stage:       e.Certificate.Stage,
		Labels:      e.Certificate.Labels,
		Timestamp:   e.Time.UTC(),
		DedupKey:    n.Conversation,
		Rule:        e.Incident.Rule,
		Members:     list(e.Incident.Members),
		Evidence:    list(e.Incident.Evidence),
		Cause:       e.Incident.Cause,
		Fix:         e.Incident.Fix,
		NextStep:    e.Incident.NextStep,
		Runbook:     e.Incident.Runbook,
		Incident:    e.Incident.ID,
		Undelivered: e.Undelivered,
		Drill:       e.Drill,

		CauseSummary: e.Incident.CauseSummary,
	}
	if b.Labels == nil {
		b.Labels = map[string]string{}
	}
	if days, ok := e.Certificate.DaysLeft(e.Time); ok {
		b.NotAfter, b.DaysLeft = utc(e.Certificate.NotAfter), &days
	}
	if !e.Certificate.NotBefore.IsZero() {
		b.NotBefore = utc(e.Certificate.NotBefore)
	}
	if ack := cmp.Or(e.Ack, n.Ack); ack != nil && e.Kind != alerting.KindUnacknowledged {
		b.AcknowledgedBy = ack.By
	}
	return b
}

// CauseText returns the cause for people, its sentence with its code; empty while none is known.
func (b Body) CauseText() string {
	return certmedic.Incident{Cause: b.Cause, CauseSummary: b.CauseSummary}.CauseText()
}

// Map returns the body by its JSON keys, as templates see it: numbers are float64 there, and what
// is null is nil.
func (b Body) Map() (map[string]any, error) {
	data, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	return m, json.Unmarshal(data, &m)
}

// Runbook returns the address of the page that says what to do: the rule's own where it names
// one, or its name behind the prefix. Empty where there is neither.
func Runbook(prefix, name string) string {
	switch u, err := url.Parse(name); {
	case name == "":
		return ""
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return name
	case prefix == "":
		return ""
	default:
		return prefix + url.PathEscape(name)
	}
}

// Line returns text on one line, for what cannot hold more: subjects, labels, records of logs.
func Line(text string) string { return strings.Join(strings.Fields(text), " ") }

func utc(t time.Time) *time.Time {
	t = t.UTC()
	return &t
}

func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
