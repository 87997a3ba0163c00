// Package logger tells the structured log: one line for each event. It is the receiver
// that needs nothing and never fails.
package logger

import (
	"context"
	"log/slog"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// Notifier writes events to a log.
type Notifier struct{ log *slog.Logger }

var _ alerting.Notifier = (*Notifier)(nil)

// New returns a notifier that writes to log. It needs no other configuration.
func New(log *slog.Logger) *Notifier { return &Notifier{log: log} }

// Notify writes a line for each event. What is critical or unknown and fires is an
// error, what else fires a warning, the rest information.
func (n *Notifier) Notify(ctx context.Context, notification alerting.Notification) (retry bool, err error) {
	for _, e := range notification.Events {
		n.log.LogAttrs(ctx, levelOf(e), e.Incident.Summary, attrsOf(notification, e)...)
	}
	return false, nil
}

func levelOf(e alerting.Event) slog.Level {
	switch {
	case e.Kind != alerting.KindFiring && e.Kind != alerting.KindUpdate:
		return slog.LevelInfo
	case e.Severity.Rank() >= certmedic.SeverityUnknown.Rank():
		return slog.LevelError
	case e.Severity == certmedic.SeverityWarning:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

func attrsOf(n alerting.Notification, e alerting.Event) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("event", string(e.Kind)),
		slog.String("certificate", e.Certificate.Name),
		slog.String("severity", string(e.Severity)),
		slog.String("status", string(n.Status)),
	}
	attrs = addString(attrs, "rule", e.Incident.Rule)
	attrs = addString(attrs, "reason", e.Incident.Reason)
	attrs = addString(attrs, "cause", e.Incident.CauseText())
	attrs = addString(attrs, "fix", e.Incident.Fix)
	attrs = addString(attrs, "incident", e.Incident.ID)
	attrs = addString(attrs, "dedup_key", n.Conversation)
	attrs = addString(attrs, "sha256", string(e.Certificate.SHA256))
	if days, ok := e.Certificate.DaysLeft(e.Time); ok {
		attrs = append(attrs, slog.Time("not_after", e.Certificate.NotAfter.UTC()), slog.Int("days_left", days))
	}
	if len(e.Incident.Members) > 0 {
		attrs = append(attrs, slog.Any("members", e.Incident.Members))
	}
	for _, ev := range e.Incident.Evidence {
		attrs = append(attrs, slog.String("evidence", ev.Source+": "+ev.Line))
	}
	return addString(attrs, "runbook", e.Incident.Runbook)
}

func addString(attrs []slog.Attr, key, value string) []slog.Attr {
	if value == "" {
		return attrs
	}
	return append(attrs, slog.String(key, value))
}
