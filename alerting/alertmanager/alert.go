package alertmanager

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/internal/redact"
)

const (
	heartbeatName = "certmedic-heartbeat"

	maxMembers  = 100 // that are named in an annotation
	maxEvidence = 10  // lines in an annotation
	lineRunes   = 500 // of a line of evidence
)

// alert is one as the API takes it. Alertmanager tells alerts apart by their labels alone.
type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// memory is what was posted and has not ended: by incident the labels of its alert. An incident
// that gets worse, or whose certificate gets other labels, is another alert to Alertmanager; the
// old one has to be ended.
type memory map[string]map[string]string

func remembered(data json.RawMessage) memory {
	m := memory{}
	if json.Unmarshal(data, &m) != nil || m == nil { // nothing, or another version's: old alerts end by themselves
		return memory{}
	}
	return m
}

// differs returns the memory as it is kept, and whether it is another one than before.
func (m memory) differs(before memory) (kept json.RawMessage, changed bool) {
	kept, err := json.Marshal(m)
	old, errOld := json.Marshal(before)
	return kept, err == nil && errOld == nil && !bytes.Equal(kept, old)
}

// alertsOf returns the alerts of a conversation: those that fire and those that have ended since
// the last time, with what is to be remembered once they are posted.
func (n *Notifier) alertsOf(notification alerting.Notification, before memory, now time.Time) ([]alert, memory) {
	open := map[string]alerting.Event{}
	for _, e := range notification.Open {
		open[e.Incident.ID] = e
	}
	var alerts []alert
	after := maps.Clone(before)
	for _, e := range notification.Events {
		switch e.Kind {
		case alerting.KindFiring, alerting.KindUpdate:
			open[e.Incident.ID] = e
		case alerting.KindResolved:
			delete(open, e.Incident.ID)
			delete(after, e.Incident.ID)
			alerts = append(alerts, n.ended(e, before[e.Incident.ID], e.Time))
		case alerting.KindHeartbeat:
			alerts = append(alerts, n.heartbeat(now))
		}
	}
	if onlyNews(notification) {
		return alerts, after
	}
	for _, id := range slices.Sorted(maps.Keys(open)) {
		e := open[id]
		a := n.alertOf(e, notification.Ack)
		a.EndsAt = n.until(now)
		if old := before[id]; old != nil && !maps.Equal(old, a.Labels) {
			alerts = append(alerts, n.ended(e, old, now))
		}
		alerts = append(alerts, a)
		after[id] = a.Labels
	}
	return alerts, after
}

// onlyNews reports whether a notification says nothing about incidents.
func onlyNews(n alerting.Notification) bool {
	return len(n.Events) > 0 && !slices.ContainsFunc(n.Events, func(e alerting.Event) bool {
		return !e.Kind.News() && e.Kind != alerting.KindHeartbeat
	})
}

// ended is the end of an alert with the labels that it was posted with, where that is known.
func (n *Notifier) ended(e alerting.Event, labels map[string]string, at time.Time) alert {
	a := n.alertOf(e, nil)
	if labels != nil {
		a.Labels = labels
	}
	a.EndsAt = milliseconds(at)
	if a.StartsAt.After(a.EndsAt) { // as after a clock was set back; the API refuses it
		a.StartsAt = a.EndsAt
	}
	return a
}

func (n *Notifier) alertOf(e alerting.Event, ack *alerting.Ack) alert {
	starts := e.Incident.FiringAt
	if starts.IsZero() {
		starts = e.Time
	}
	return alert{
		Labels: labelsOf(e), Annotations: n.annotationsOf(e, ack), StartsAt: milliseconds(starts), GeneratorURL: n.config.BaseURL,
	}
}

// labelsOf returns what tells the alert from others, as long as its episode lasts: the labels of
// its certificate, and over them certmedic's own.
func labelsOf(e alerting.Event) map[string]string {
	labels := map[string]string{}
	for name, value := range e.Certificate.Labels {
		if isLabel(name) {
			labels[name] = value
		}
	}
	own := map[string]string{
		"alertname": e.Incident.Rule, "certificate": e.Certificate.Name, "severity": string(e.Severity),
		"endpoint": e.Incident.Subject.Endpoint, "address": e.Incident.Subject.Address, "drill": "",
	}
	if e.Drill {
		own["drill"] = "true"
	}
	maps.Copy(labels, own)
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" }) // the API takes it for an absent one
	return labels
}

// isLabel reports whether Alertmanager takes s as a label's name.
func isLabel(s string) bool {
	return s != "" && (s[0] < '0' || s[0] > '9') && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

func (n *Notifier) annotationsOf(e alerting.Event, ack *alerting.Ack) map[string]string {
	in := e.Incident
	annotations := map[string]string{
		"summary":     summary(e),
		"reason":      in.Reason,
		"cause":       in.CauseText(),
		"fix":         in.Fix,
		"next_step":   in.NextStep,
		"runbook_url": body.Runbook(n.config.RunbookURL, in.Runbook),
		"members":     bounded(in.Members, maxMembers, ", "),
		"evidence":    evidence(in.Evidence),
		"dedup_key":   in.DedupKey,
		"undelivered": e.Undelivered,
	}
	if !e.Certificate.NotAfter.IsZero() {
		annotations["not_after"] = e.Certificate.NotAfter.UTC().Format(time.RFC3339)
	}
	if ack != nil {
		annotations["acknowledged_by"] = ack.By
	}
	maps.DeleteFunc(annotations, func(_, value string) bool { return value == "" })
	return annotations
}

func summary(e alerting.Event) string {
	if e.Drill {
		return "[DRILL] " + e.Incident.Summary
	}
	return e.Incident.Summary
}

func evidence(lines []certmedic.Evidence) string {
	var all []string
	for _, ev := range lines {
		all = append(all, ev.Source+": "+redact.Truncate(ev.Line, lineRunes))
	}
	return bounded(all, maxEvidence, "\n")
}

// bounded joins at most so many items and says how many more there are.
func bounded(items []string, most int, separator string) string {
	shown := slices.Clone(items[:min(len(items), most)])
	if more := len(items) - most; more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, separator)
}

func (n *Notifier) heartbeat(now time.Time) alert {
	return alert{
		Labels:       map[string]string{"alertname": heartbeatName, "severity": string(certmedic.SeverityInfo)},
		Annotations:  map[string]string{"summary": "certmedic works; where this alert ends, it does not any more"},
		StartsAt:     milliseconds(now),
		EndsAt:       n.until(now),
		GeneratorURL: n.config.BaseURL,
	}
}

// until returns when an alert that is posted now ends unless it is posted again.
func (n *Notifier) until(now time.Time) time.Time {
	return milliseconds(now.Add(posts * n.config.Every))
}

// milliseconds is as exact as the API is.
func milliseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
