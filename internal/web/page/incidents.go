package page

import (
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/docs"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// Incidents is the list of incidents.
type Incidents struct {
	Incidents    []certmedic.Incident // open ones first
	Acknowledged map[string]alerting.Ack
}

// incident is an incident in words.
type incident struct {
	certmedic.Incident
	Href            string
	About           string
	CertificateHref string // empty: it is about none
	Status          certmedic.Status
	Word            string
	Since           moment
	Lasted          string
	Next            []next
	Link            link   // to the runbook; empty where it has no page
	Keeper          string // who looks after it; empty: nobody said so
	Kept            moment // since when
}

func newIncident(in certmedic.Incident, now time.Time) incident {
	m := incident{
		Incident: in, Href: incidentHref(in.ID), About: in.Subject.String(), Status: severityStatus(in.Severity), Word: string(in.State),
		Since: at(in.PendingAt, now), Next: steps(watchdog.View{}, in.NextStep, now), Link: runbookLink(in.Runbook),
	}
	if in.Subject.Certificate != "" {
		m.CertificateHref = certificateHref(in.Subject.Certificate)
	}
	switch {
	case in.State == certmedic.StateFiring:
		m.Since = at(in.FiringAt, now)
	case !in.Open():
		m.Status = certmedic.StatusOK
	}
	if !in.EndedAt.IsZero() {
		m.Lasted = span(in.EndedAt.Sub(in.PendingAt))
	}
	return m
}

// runbookLink leads to a runbook: a page of certmedic's own, or an address that a rule names.
func runbookLink(name string) link {
	if strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "http://") {
		return link{name, name}
	}
	if _, ok := docs.Page(name); ok {
		return link{"runbook " + name, "/runbooks/" + segment(name)}
	}
	return link{}
}

// keptBy adds who looks after it.
func (in incident) keptBy(acknowledged map[string]alerting.Ack, now time.Time) incident {
	if ack, ok := acknowledged[in.DedupKey]; ok && in.Open() {
		in.Keeper, in.Kept = ack.By, at(ack.At, now)
	}
	return in
}

func (i Incidents) shown(now time.Time) shown {
	var m struct{ Open, Ended []incident }
	for _, in := range i.Incidents {
		shown := newIncident(in, now).keptBy(i.Acknowledged, now)
		if in.Open() {
			m.Open = append(m.Open, shown)
		} else {
			m.Ended = append(m.Ended, shown)
		}
	}
	slices.SortStableFunc(m.Open, func(a, b incident) int { return b.Severity.Rank() - a.Severity.Rank() })
	return shown{Template: "incidents", Title: "Incidents", Section: "/incidents", Live: true, Data: m}
}

// Incident is one incident.
type Incident struct {
	Incident     certmedic.Incident
	View         *watchdog.View     // of its certificate; nil: it is about none, or about one that is gone
	Actions      []certmedic.Action // of its certificate, the newest first; those within its time are shown
	Acknowledged map[string]alerting.Ack
	Trusted      bool // who reads may say that they look after it
}

// incidentModel is what the template shows.
type incidentModel struct {
	incident
	Pending, Firing, Cleared, Ended, ToldAt moment
	Actions                                 []action
	Asks                                    bool // nobody looks after it yet, and who reads may
}

func (i Incident) shown(now time.Time) shown {
	in := i.Incident
	m := incidentModel{
		incident: newIncident(in, now).keptBy(i.Acknowledged, now),
		Pending:  at(in.PendingAt, now), Firing: at(in.FiringAt, now), Cleared: at(in.ClearedAt, now), Ended: at(in.EndedAt, now), ToldAt: at(in.ToldAt, now),
	}
	m.Asks = i.Trusted && in.State == certmedic.StateFiring && m.Keeper == ""
	if i.View != nil {
		m.Next = steps(*i.View, in.NextStep, now)
	}
	for _, a := range i.Actions {
		if !a.StartedAt.Before(in.PendingAt) && (in.EndedAt.IsZero() || !a.StartedAt.After(in.EndedAt)) {
			m.Actions = append(m.Actions, newAction(a, now))
		}
	}
	return shown{Template: "incident-page", Title: in.Rule + ": " + in.Subject.String(), Section: "/incidents", Live: in.Open(), Data: m}
}
