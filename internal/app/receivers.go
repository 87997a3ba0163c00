package app

import (
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// alerter makes the one who tells people.
func (a *App) alerter(g *generation) (*alerting.Alerter, error) {
	c := g.config
	open := a.drills.open()
	for _, v := range g.Views() {
		open = append(open, firing(v.Incidents, about(v))...)
	}
	for i := range open {
		open[i].Approval = a.asked(open[i])
	}
	open = append(open, firing(g.Fleet(), alerting.Facts{})...)
	for _, in := range g.watchdog.Gone() {
		open = append(open, firing([]certmedic.Incident{in}, alerting.Facts{Name: in.Subject.Certificate})...)
	}
	for name := range g.receivers {
		a.metrics.Receiver(name)
	}
	return alerting.New(alerting.Options{
		Receivers: g.receivers, Routes: g.routes, Fallback: c.Alerting.Fallback, Texts: g.texts, Heartbeats: heartbeats(c), Blind: a.blind(g),
		Outbox: a.store.Outbox(), GroupWait: c.Alerting.GroupWait, Open: open, Silenced: a.silenced, Acknowledged: a.acks.kept, Settled: a.drills.settled,
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
func (g *generation) tell(n watchdog.News, asked func(alerting.Event) *alerting.Approval) {
	e := alerting.Event{Time: n.Time, Certificate: facts(n)}
	switch n.Kind {
	case watchdog.NewsRenewed:
		e.Kind, e.Severity = alerting.KindRenewed, certmedic.SeverityInfo
		e.Incident.Summary = "a new version of " + n.Certificate.Name + " is stored"
	case watchdog.NewsDeployed:
		e.Kind, e.Severity = alerting.KindDeployed, certmedic.SeverityInfo
		e.Incident.Summary = "the newest version of " + n.Certificate.Name + " is served everywhere"
	case watchdog.NewsRolledBack:
		e.Kind, e.Severity = alerting.KindRolledBack, certmedic.SeverityInfo
		e.Incident.Summary = "an earlier version of " + n.Certificate.Name + " is served again"
	default:
		kind, told := alerting.KindOf(n.Transition)
		if !told {
			return
		}
		in := n.Transition.Incident
		e.Kind, e.Severity, e.Incident, e.Step = kind, in.Severity, in, n.Transition.Step
		if n.Transition.Kind == certmedic.TransitionChanged {
			e.Step = in.Told
		}
	}
	e.Approval = asked(e)
	g.alerter.Tell(e)
}

func facts(n watchdog.News) alerting.Facts {
	f := factsOf(n.Certificate.Name, n.Certificate.Labels, n.Leaf)
	f.Stage = n.Stage
	if len(n.Names) > 0 {
		f.Domains = n.Names
	}
	return f
}

// about returns what people are told about a certificate as it is now.
func about(v watchdog.View) alerting.Facts {
	f := factsOf(v.Name, v.Labels, v.Leaf)
	f.Stage = v.Stage
	return f
}

func factsOf(name string, labels map[string]string, leaf certmedic.CertFacts) alerting.Facts {
	return alerting.Facts{
		Name: name, Labels: labels, Domains: slices.Concat(leaf.DNSNames, leaf.IPAddresses),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Issuer: leaf.Issuer, Serial: leaf.Serial, SHA256: leaf.SHA256,
	}
}
