package app

import (
	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// alerter makes the one who tells people.
func (a *App) alerter(g *generation) (*alerting.Alerter, error) {
	c := g.config
	open := a.drills.open()
	for _, v := range g.Views() {
		open = append(open, firing(v.Incidents, v.Facts())...)
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
		Receivers: g.receivers, Routes: g.routes, Fallback: c.Alerting.Fallback, Texts: g.texts, Heartbeats: heartbeats(c), Blind: a.noBeat(g),
		Outbox: a.store.Outbox(), GroupWait: c.Alerting.GroupWait, Open: open, Silenced: a.silenced, Acknowledged: a.acks.kept, Settled: a.drills.settled, Voice: a.voice(g),
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

// tell hands news to those who tell people.
func (g *generation) tell(n watchdog.News, asked func(alerting.Event) *alerting.Approval) {
	e, told := n.Event()
	if !told {
		return
	}
	e.Approval = asked(e)
	g.alerter.Tell(e)
}
