package webhook

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// Body is the JSON object of a request. Every key is always there: lists are never null,
// and what is not known is an empty string, or null for not_after and days_left. Times
// are RFC 3339 in UTC.
type Body struct {
	Event       alerting.Kind         `json:"event"` // firing, update, resolved, renewed, deployed
	Certificate string                `json:"certificate"`
	Domains     []string              `json:"domains"`
	Severity    certmedic.Severity    `json:"severity"`
	Status      alerting.Status       `json:"status"` // of all that has this dedup_key: firing or resolved
	Summary     string                `json:"summary"`
	Reason      string                `json:"reason"`
	NotAfter    *time.Time            `json:"not_after"`
	DaysLeft    *int                  `json:"days_left"` // whole days, rounded down; negative after expiry
	Issuer      string                `json:"issuer"`
	Serial      string                `json:"serial"`
	SHA256      certmedic.Fingerprint `json:"sha256"`
	Timestamp   time.Time             `json:"timestamp"` // of the event, not of its delivery
	DedupKey    string                `json:"dedup_key"` // certmedic/<certificate>/<episode>
	Rule        string                `json:"rule"`
	Members     []string              `json:"members"` // affected addresses
	Evidence    []certmedic.Evidence  `json:"evidence"`
	Runbook     string                `json:"runbook"`
	Incident    string                `json:"incident"` // its id; empty for good news
}

func bodyOf(n alerting.Notification, e alerting.Event) Body {
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
		Timestamp:   e.Time.UTC(),
		DedupKey:    n.Conversation,
		Rule:        e.Incident.Rule,
		Members:     list(e.Incident.Members),
		Evidence:    list(e.Incident.Evidence),
		Runbook:     e.Incident.Runbook,
		Incident:    e.Incident.ID,
	}
	if days, ok := e.Certificate.DaysLeft(e.Time); ok {
		notAfter := e.Certificate.NotAfter.UTC()
		b.NotAfter, b.DaysLeft = &notAfter, &days
	}
	return b
}

func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
