package app

import (
	"fmt"
	"log/slog"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/logger"
	"github.com/certmedic/certmedic/alerting/webhook"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// receivers makes the notifiers of a configuration, by name.
func receivers(c *config.Config, log *slog.Logger) (map[string]alerting.Notifier, error) {
	all := map[string]alerting.Notifier{}
	for _, r := range c.Alerting.Receivers {
		n, err := receiver(r, log)
		if err != nil {
			return nil, fmt.Errorf("receiver %q: %w", r.Name, err)
		}
		all[r.Name] = n
	}
	return all, nil
}

func receiver(r config.Receiver, log *slog.Logger) (alerting.Notifier, error) {
	switch {
	case r.Webhook != nil:
		w := webhook.Config{URL: string(r.Webhook.URL), Method: r.Webhook.Method, Timeout: r.Webhook.Timeout}
		if r.Webhook.HeadersFile != "" {
			headers, err := webhook.ReadHeaders(r.Webhook.HeadersFile)
			if err != nil {
				return nil, err
			}
			w.Headers = headers
		}
		return webhook.New(w, nil)
	default:
		return logger.New(log), nil
	}
}

// alerter makes the one who tells people.
func (a *App) alerter(g *generation) (*alerting.Alerter, error) {
	c := g.config
	var routes []alerting.Route
	for _, r := range c.Alerting.Routes {
		routes = append(routes, alerting.Route{Match: r.Match, To: r.To, Events: r.Events})
	}
	var open []alerting.Event
	for _, v := range g.Views() {
		open = append(open, firing(v.Incidents, alerting.Facts{Name: v.Name, Labels: v.Labels})...)
	}
	open = append(open, firing(g.Fleet(), alerting.Facts{})...)
	for _, in := range g.watchdog.Gone() {
		open = append(open, firing([]certmedic.Incident{in}, alerting.Facts{Name: in.Subject.Certificate})...)
	}
	for name := range g.receivers {
		a.metrics.Receiver(name)
	}
	return alerting.New(alerting.Options{
		Receivers: g.receivers, Routes: routes, Outbox: a.store.Outbox(), GroupWait: c.Alerting.GroupWait, Open: open, Silenced: a.silenced,
		Log: a.o.Log, Count: a.metrics.Told,
	})
}

// firing returns the events of the incidents that fire.
func firing(open []certmedic.Incident, about alerting.Facts) []alerting.Event {
	var events []alerting.Event
	for _, in := range open {
		if in.State == certmedic.StateFiring {
			events = append(events, alerting.Event{
				Kind: alerting.KindFiring, Time: in.ToldAt, Severity: in.Severity, Incident: in, Step: in.Told, Certificate: about,
			})
		}
	}
	return events
}

// tell hands news to those who tell people: incidents when a rung of their ladder says so
// and when they end, and good news.
func (g *generation) tell(n watchdog.News) {
	e := alerting.Event{Time: n.Time, Certificate: facts(n)}
	switch n.Kind {
	case watchdog.NewsRenewed:
		e.Kind, e.Severity = alerting.KindRenewed, certmedic.SeverityInfo
		e.Incident.Summary = "a new version of " + n.Certificate.Name + " is stored"
	case watchdog.NewsDeployed:
		e.Kind, e.Severity = alerting.KindDeployed, certmedic.SeverityInfo
		e.Incident.Summary = "the newest version of " + n.Certificate.Name + " is served everywhere"
	default:
		kind, told := alerting.KindOf(n.Transition)
		if !told {
			return
		}
		in := n.Transition.Incident
		e.Kind, e.Severity, e.Incident, e.Step = kind, in.Severity, in, n.Transition.Step
	}
	g.alerter.Tell(e)
}

func facts(n watchdog.News) alerting.Facts {
	return alerting.Facts{
		Name: n.Certificate.Name, Labels: n.Certificate.Labels, Domains: n.Names,
		NotAfter: n.Leaf.NotAfter, Issuer: n.Leaf.Issuer, Serial: n.Leaf.Serial, SHA256: n.Leaf.SHA256,
	}
}
