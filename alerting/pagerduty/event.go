package pagerduty

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	pd "github.com/PagerDuty/go-pagerduty"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/redact"
)

const (
	product    = "certmedic"
	maxSummary = 1024       // characters
	maxField   = 255        // characters of source, component and class; no limit is documented
	maxBody    = 500 * 1000 // bytes, where PagerDuty takes 512 KB
)

// trigger returns the event that opens or updates an alert: the worst of what fires in front,
// all of it in the details. escalates is the key of the first alert, where this is the second.
func (n *Notifier) trigger(note alerting.Notification, key, escalates string) pd.V2Event {
	worst := note.Open[0]
	ev := n.alert("trigger", key)
	ev.Links = n.links(worst.Incident.Runbook)
	ev.Payload = &pd.V2Payload{
		Summary:   summary(note, escalates != ""),
		Source:    redact.Truncate(source(worst), maxField),
		Severity:  n.config.severity(worst.Severity),
		Timestamp: worst.Time.UTC().Format(time.RFC3339),
		Component: redact.Truncate(line(worst.Certificate.Name), maxField),
		Class:     redact.Truncate(line(worst.Incident.Rule), maxField),
	}
	fit(func(b bounds) any {
		ev.Payload.Details = n.alertDetails(note, escalates, b)
		return ev
	})
	return ev
}

// alert returns an event without a payload, as it is enough to acknowledge and to resolve.
func (n *Notifier) alert(action, key string) pd.V2Event {
	return pd.V2Event{RoutingKey: n.config.RoutingKey, Action: action, DedupKey: key, Client: product, ClientURL: n.config.BaseURL}
}

// change returns the change event of news about a certificate.
func (n *Notifier) change(e alerting.Event) pd.ChangeEvent {
	said := cmp.Or(line(e.Incident.Summary), line(strings.ReplaceAll(string(e.Kind), "_", " ")+" "+e.Certificate.Name), product)
	ev := pd.ChangeEvent{
		RoutingKey: n.config.RoutingKey,
		Payload: pd.ChangeEventPayload{
			Summary:   redact.Truncate(drillMark(e)+said, maxSummary),
			Source:    redact.Truncate(source(e), maxField),
			Timestamp: e.Time.UTC().Format(time.RFC3339),
		},
	}
	if n.config.BaseURL != "" {
		ev.Links = []pd.ChangeEventLink{{Href: n.config.BaseURL, Text: product}}
	}
	fit(func(b bounds) any {
		ev.Payload.CustomDetails = changeDetails(e, b)
		return ev
	})
	return ev
}

// fit makes an event with ever narrower bounds until it is within PagerDuty's size. The last
// always is.
func fit(event func(bounds) any) {
	for _, b := range narrowing {
		if data, err := json.Marshal(event(b)); err == nil && len(data) <= maxBody {
			return
		}
	}
}

func summary(note alerting.Notification, worse bool) string {
	worst := note.Open[0]
	mark, more := drillMark(worst), ""
	if worse {
		mark += "worse since it was acknowledged: "
	}
	if further := len(note.Open) - 1; further > 0 {
		more = fmt.Sprintf(" (and %d more)", further)
	}
	in := worst.Incident
	said := cmp.Or(line(in.Summary), line(in.Reason), line(in.Rule+" "+in.Subject.String()), product)
	return mark + redact.Truncate(said, maxSummary-len(mark)-len(more)) + more
}

func drillMark(e alerting.Event) string {
	if e.Drill {
		return "[DRILL] "
	}
	return ""
}

// source returns the name of what is broken, as people would look for it.
func source(e alerting.Event) string {
	name := e.Certificate.Name
	if len(e.Certificate.Domains) > 0 {
		name = e.Certificate.Domains[0]
	}
	subject := e.Incident.Subject
	return cmp.Or(line(name), line(subject.Endpoint), line(subject.Certificate), product)
}

// link is a link of an alert.
type link struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

func (n *Notifier) links(runbook string) []any {
	var links []any
	if href := n.config.runbook(runbook); href != "" {
		links = append(links, link{href, "runbook"})
	}
	if n.config.BaseURL != "" {
		links = append(links, link{n.config.BaseURL, product})
	}
	return links
}
