package app

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/alerting/template"
	"github.com/certmedic/certmedic/internal/config"
)

// routes makes the routes of a configuration.
func routes(c *config.Config) ([]alerting.Route, error) {
	var all []alerting.Route
	for i, r := range c.Alerting.Routes {
		route := alerting.Route{Match: r.Match, MatchRE: map[string]*regexp.Regexp{}, To: r.To, Events: r.Events, Continue: r.Continue}
		var err error
		for label, text := range r.MatchRE {
			if route.MatchRE[label], err = alerting.Pattern(text); err != nil {
				return nil, fmt.Errorf("alerting.routes[%d].match_re.%s: %w", i, label, err)
			}
		}
		if route.Windows, err = windows(r.Windows); err != nil {
			return nil, fmt.Errorf("alerting.routes[%d].windows: %w", i, err)
		}
		if route.Mute, err = windows(r.MuteWindows); err != nil {
			return nil, fmt.Errorf("alerting.routes[%d].mute_windows: %w", i, err)
		}
		all = append(all, route)
	}
	return all, nil
}

// heartbeats names the receivers of signs of life.
func heartbeats(c *config.Config) []string {
	var names []string
	for _, r := range c.Alerting.Receivers {
		if r.Beats() {
			names = append(names, r.Name)
		}
	}
	return names
}

// texts reads the files with receivers' own words, by the receiver's name.
func texts(c *config.Config, log *slog.Logger) (map[string]func(alerting.Event) alerting.Event, error) {
	all := map[string]func(alerting.Event) alerting.Event{}
	for i, r := range c.Alerting.Receivers {
		if r.TextsFile == "" {
			continue
		}
		t, err := template.ReadFile(r.TextsFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Position(fmt.Sprintf("alerting.receivers[%d].texts_file", i)), err)
		}
		w := words{template: t, receiver: r.Name, log: log}
		if err := w.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Position(fmt.Sprintf("alerting.receivers[%d].texts_file", i)), err)
		}
		all[r.Name] = w.put
	}
	return all, nil
}

// words are what one receiver is told in place of the texts of an incident.
type words struct {
	template *template.Template
	receiver string
	log      *slog.Logger
}

// The templates that a file of texts may define.
const (
	textSummary = "summary"
	textReason  = "reason"
)

// check tries the templates with every kind of event.
func (w words) check() error {
	if !w.template.Defines(textSummary) && !w.template.Defines(textReason) {
		return fmt.Errorf("it defines neither %s nor %s: {{define %q}}...{{end}}", textSummary, textReason, textSummary)
	}
	sample := body.Sample()
	for _, e := range sample.Events {
		for _, name := range []string{textSummary, textReason} {
			if _, err := w.fill(name, e, ""); err != nil {
				return fmt.Errorf("%s of an event %q: %w", name, e.Kind, err)
			}
		}
	}
	return nil
}

// put puts an event into the receiver's words. What cannot be said so is said as it was.
func (w words) put(e alerting.Event) alerting.Event {
	summary, errSummary := w.fill(textSummary, e, e.Incident.Summary)
	reason, errReason := w.fill(textReason, e, e.Incident.Reason)
	for _, err := range []error{errSummary, errReason} {
		if err != nil && w.log != nil {
			w.log.Warn("the receiver's own text cannot be used", "receiver", w.receiver, "err", err)
		}
	}
	e.Incident.Summary, e.Incident.Reason = summary, reason
	return e
}

// fill returns what a template makes of an event, otherwise where the file does not define it, it
// fails, or says nothing.
func (w words) fill(name string, e alerting.Event, otherwise string) (string, error) {
	if !w.template.Defines(name) {
		return otherwise, nil
	}
	n := alerting.Notification{Receiver: w.receiver, Conversation: e.Conversation(), Status: alerting.StatusFiring, Events: []alerting.Event{e}}
	if e.Kind == alerting.KindResolved {
		n.Status = alerting.StatusResolved
	}
	text, err := w.template.FillNamed(name, body.Of(n, e))
	if said := strings.TrimSpace(string(text)); err == nil && said != "" {
		return said, nil
	}
	return otherwise, err
}
