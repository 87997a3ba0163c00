package pagerduty

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/redact"
)

// bounds say how much of the details is sent.
type bounds struct {
	items int // of each list
	runes int // of each text
}

// narrowing are bounds to try one after the other. Of the last, even 5 incidents with 5 members
// and 5 lines of evidence each are below 100 KB, whatever characters they have.
var narrowing = []bounds{{items: 1000, runes: 2000}, {items: 300, runes: 400}, {items: 50, runes: 200}, {items: 5, runes: 100}}

// details are the custom details of an alert.
type details struct {
	about

	Incidents        []incident `json:"incidents"` // the worst first
	IncidentsLeftOut int        `json:"incidents_left_out,omitempty"`
	Acknowledged     string     `json:"acknowledged,omitempty"`
	Approval         string     `json:"approval,omitempty"`
	Undelivered      string     `json:"undelivered,omitempty"`
	Conversation     string     `json:"conversation"`
	FirstAlert       string     `json:"first_alert,omitempty"` // dedup key of the acknowledged alert, in the second one
	More             string     `json:"more,omitempty"`        // where the rest is, when something was left out
}

// about are the facts of the certificate.
type about struct {
	Certificate    string            `json:"certificate,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Domains        []string          `json:"domains,omitempty"`
	DomainsLeftOut int               `json:"domains_left_out,omitempty"`
	DaysLeft       *int              `json:"days_left,omitempty"` // whole days, rounded down; negative after expiry
	NotAfter       *time.Time        `json:"not_after,omitempty"`
	Issuer         string            `json:"issuer,omitempty"`
	Serial         string            `json:"serial,omitempty"`
	SHA256         string            `json:"sha256,omitempty"`
	Stage          certmedic.Stage   `json:"stage,omitempty"` // how far its newest version has come
	Drill          bool              `json:"drill,omitempty"`
}

// incident is one of those that fire.
type incident struct {
	Rule            string             `json:"rule"`
	Severity        certmedic.Severity `json:"severity"`
	Subject         string             `json:"subject"`
	Summary         string             `json:"summary"`
	Reason          string             `json:"reason"`
	Cause           string             `json:"cause,omitempty"` // that a diagnosis named, in words
	Fix             string             `json:"fix,omitempty"`
	Since           time.Time          `json:"since"`
	NextStep        string             `json:"next_step,omitempty"`
	Members         []string           `json:"members,omitempty"`
	MembersLeftOut  int                `json:"members_left_out,omitempty"`
	Evidence        []string           `json:"evidence,omitempty"`
	EvidenceLeftOut int                `json:"evidence_left_out,omitempty"`
	Runbook         string             `json:"runbook,omitempty"`
}

func (n *Notifier) alertDetails(note alerting.Notification, first string, b bounds) details {
	worst := note.Open[0]
	d := details{about: aboutOf(worst, b), Conversation: b.text(note.Conversation), FirstAlert: first, Undelivered: b.text(worst.Undelivered)}
	open, left := clip(note.Open, b)
	d.IncidentsLeftOut = left
	cut := left + d.DomainsLeftOut
	for _, e := range open {
		i := incidentOf(e.Incident, b)
		i.Severity, i.Runbook = e.Severity, b.text(n.config.runbook(e.Incident.Runbook))
		d.Incidents = append(d.Incidents, i)
		cut += i.MembersLeftOut + i.EvidenceLeftOut
	}
	if cut > 0 {
		d.More = n.config.BaseURL
	}
	if a := note.Ack; a != nil {
		d.Acknowledged = b.text(fmt.Sprintf("by %s at %s", a.By, a.At.UTC().Format(time.RFC3339)))
	}
	if a := worst.Approval; a != nil {
		d.Approval = b.text(fmt.Sprintf("%s waits for approval until %s: %s", a.ID, a.Expires.UTC().Format(time.RFC3339), a.Summary))
	}
	return d
}

func incidentOf(in certmedic.Incident, b bounds) incident {
	i := incident{
		Rule: b.text(in.Rule), Subject: b.text(in.Subject.String()), Summary: b.text(in.Summary), Reason: b.text(in.Reason),
		Since: in.FiringAt.UTC(), NextStep: b.text(in.NextStep), Cause: b.text(in.CauseText()), Fix: b.text(in.Fix),
	}
	i.Members, i.MembersLeftOut = b.texts(in.Members)
	evidence, left := clip(in.Evidence, b)
	i.EvidenceLeftOut = left
	for _, e := range evidence {
		i.Evidence = append(i.Evidence, b.text(e.Source+": "+e.Line))
	}
	return i
}

func aboutOf(e alerting.Event, b bounds) about {
	c := e.Certificate
	a := about{
		Certificate: b.text(c.Name), Issuer: b.text(c.Issuer), Serial: b.text(c.Serial), SHA256: b.text(string(c.SHA256)),
		Stage: c.Stage, Drill: e.Drill,
	}
	a.Domains, a.DomainsLeftOut = b.texts(c.Domains)
	if days, ok := c.DaysLeft(e.Time); ok {
		notAfter := c.NotAfter.UTC()
		a.DaysLeft, a.NotAfter = &days, &notAfter
	}
	names, _ := clip(slices.Sorted(maps.Keys(c.Labels)), b)
	for _, name := range names {
		if a.Labels == nil {
			a.Labels = map[string]string{}
		}
		a.Labels[b.text(name)] = b.text(c.Labels[name])
	}
	return a
}

// changeDetails are the custom details of a change event.
func changeDetails(e alerting.Event, b bounds) map[string]any {
	return map[string]any{"event": e.Kind, "certificate": aboutOf(e, b)}
}

// text returns a text of others without control characters, and no longer than the bound.
func (b bounds) text(s string) string { return redact.Truncate(redact.Plain(s), b.runes) }

func (b bounds) texts(all []string) (kept []string, left int) {
	all, left = clip(all, b)
	for _, s := range all {
		kept = append(kept, b.text(s))
	}
	return kept, left
}

// clip returns the first items, and how many were left out.
func clip[T any](items []T, b bounds) (kept []T, left int) {
	kept = items[:min(len(items), b.items)]
	return kept, len(items) - len(kept)
}
