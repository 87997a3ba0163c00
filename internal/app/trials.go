package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/hint"
	"github.com/certmedic/certmedic/rules"
)

// Trials try the receivers of a configuration: those of a daemon, or, where none runs, others of
// the same configuration, for which no state is needed.
type Trials struct {
	config  *config.Config
	alerter *alerting.Alerter
	rules   []rules.Rule
	facts   func(certificate string) (alerting.Facts, bool)
}

// NewTrials makes the receivers of a configuration. Of the options Environ and Log count.
func NewTrials(c *config.Config, o Options) (*Trials, error) {
	p, err := prepare(c, outfit{log: o.Log, environ: commandEnviron(o.Environ), limits: &limits{}})
	if err != nil {
		return nil, err
	}
	a, err := alerting.New(alerting.Options{Receivers: p.receivers, Routes: p.routes, Texts: p.texts, Log: o.Log})
	if err != nil {
		return nil, err
	}
	return &Trials{config: c, alerter: a, rules: p.rules, facts: func(name string) (alerting.Facts, bool) {
		for _, one := range config.Certificates(c) {
			if one.Name == name {
				return alerting.Facts{Name: name, Labels: one.Labels}, true
			}
		}
		return alerting.Facts{}, false
	}}, nil
}

// trials are those of a generation.
func (g *generation) trials() *Trials {
	return &Trials{config: g.config, alerter: g.alerter, rules: g.rules, facts: g.factsOf}
}

// factsOf returns what people are told about a certificate that is watched.
func (g *generation) factsOf(certificate string) (alerting.Facts, bool) {
	for _, v := range g.Views() {
		if v.Name == certificate {
			return v.Facts(), true
		}
	}
	return alerting.Facts{}, false
}

// named returns the receivers of a name, all where it is empty.
func (t *Trials) named(name string) ([]config.Receiver, error) {
	var some []config.Receiver
	var names []string
	for _, r := range t.config.Alerting.Receivers {
		if names = append(names, r.Name); name == "" || r.Name == name {
			some = append(some, r)
		}
	}
	if len(some) == 0 {
		return nil, fmt.Errorf("there is no receiver %q%s", name, hint.For(name, names))
	}
	return some, nil
}

// States returns how the receivers do.
func (t *Trials) States() []api.Receiver {
	var all []api.Receiver
	for _, s := range t.alerter.States() {
		r := api.Receiver{
			Name: s.Receiver, Failing: s.Failing, Why: s.Why, Waits: s.Oldest, Took: s.Took,
			Heartbeat: slices.Contains(heartbeats(t.config), s.Receiver), Fallback: slices.Contains(t.config.Alerting.Fallback, s.Receiver),
		}
		for _, c := range t.config.Alerting.Receivers {
			if c.Name == s.Receiver {
				r.Kind = kindOf(c)
			}
		}
		all = append(all, r)
	}
	return all
}

// kindOf returns the key of a receiver's kind.
func kindOf(r config.Receiver) string {
	switch {
	case r.Slack != nil:
		return "slack"
	case r.PagerDuty != nil:
		return "pagerduty"
	case r.Webhook != nil:
		return "webhook"
	case r.Alertmanager != nil:
		return "alertmanager"
	case r.Email != nil:
		return "email"
	case r.Syslog != nil:
		return "syslog"
	case r.Exec != nil:
		return "exec"
	}
	return "log"
}

// Test sends a real message through each receiver, at the same time: the beginning of an incident
// that is marked as a test, and its end.
func (t *Trials) Test(ctx context.Context, r api.TestRequest) ([]api.TestResult, error) {
	some, err := t.named(r.Receiver)
	if err != nil {
		return nil, err
	}
	results := make([]api.TestResult, len(some))
	var wg sync.WaitGroup
	for i, one := range some {
		wg.Go(func() { results[i] = t.test(ctx, one, r.By) })
	}
	wg.Wait()
	return results, nil
}

func (t *Trials) test(ctx context.Context, r config.Receiver, by string) api.TestResult {
	begin := time.Now()
	firing := alerting.Event{Kind: alerting.KindFiring, Time: begin, Drill: true, Incident: exercise("test", "", certmedic.SeverityInfo, begin)}
	firing.Incident.Summary = "this is a test of the receiver " + r.Name + ": nothing is wrong"
	firing.Incident.Reason = "asked for by " + by
	resolved := firing
	resolved.Kind, resolved.Incident.State, resolved.Incident.EndedAt = alerting.KindResolved, certmedic.StateResolved, begin
	result := api.TestResult{Receiver: r.Name, Kind: kindOf(r), Delivered: true}
	if err := t.alerter.Try(ctx, r.Name, firing, resolved); err != nil {
		result.Delivered, result.Error = false, err.Error()
	}
	result.Took = time.Since(begin)
	return result
}

// exercise is an incident that is none, about a certificate or, where that is empty, about
// certmedic itself. No other has its conversation.
func exercise(what, certificate string, severity certmedic.Severity, now time.Time) certmedic.Incident {
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails, says its documentation
	id := what + "-" + hex.EncodeToString(random[:])
	in := certmedic.Incident{
		ID: id, Rule: what, Severity: severity, State: certmedic.StateFiring, Episode: id,
		Subject:  certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: certificate},
		DedupKey: "certmedic/" + certificate + "/" + id, PendingAt: now, FiringAt: now,
	}
	if certificate == "" {
		in.Subject, in.DedupKey = certmedic.Subject{Kind: certmedic.AboutFleet}, "certmedic/fleet/"+id
	}
	return in
}

// Preview returns what receivers would be sent if a rule fired for a certificate.
func (t *Trials) Preview(r api.PreviewRequest) ([]api.Preview, error) {
	some, err := t.named(r.Receiver)
	if err != nil {
		return nil, err
	}
	e, err := t.sample(r, time.Now())
	if err != nil {
		return nil, err
	}
	var all []api.Preview
	for _, one := range some {
		p := api.Preview{Receiver: one.Name, Kind: kindOf(one)}
		shown, own, err := t.alerter.Preview(one.Name, e)
		if p.Shown, p.Own = string(shown), own; err != nil {
			p.Error = err.Error()
		}
		all = append(all, p)
	}
	return all, nil
}

// sample makes up the event of a preview.
func (t *Trials) sample(r api.PreviewRequest, now time.Time) (alerting.Event, error) {
	e := alerting.Event{Kind: alerting.KindFiring, Time: now, Certificate: alerting.Facts{
		Name: "shop", Labels: map[string]string{"team": "payments"}, Domains: []string{"shop.example.com"},
		NotBefore: now.Add(-80 * 24 * time.Hour), NotAfter: now.Add(10 * 24 * time.Hour), Issuer: "CN=R11,O=Let's Encrypt,C=US", Serial: "03a1", Stage: certmedic.StageStored,
	}}
	if r.Certificate != "" {
		known := false
		if e.Certificate, known = t.facts(r.Certificate); !known {
			return e, fmt.Errorf("there is no certificate %q", r.Certificate)
		}
	}
	e.Incident = exercise("preview", e.Certificate.Name, certmedic.SeverityWarning, now)
	e.Incident.Members = []string{"192.0.2.1:443"}
	e.Incident.Reason, e.Incident.Evidence = "drift = true", []certmedic.Evidence{{Source: "an example", Line: "served is another version than stored"}}
	e.Incident.Summary = e.Certificate.Name + ": an example of a summary"
	if r.Rule == "" {
		return e, nil
	}
	i := slices.IndexFunc(t.rules, func(rule rules.Rule) bool { return rule.Name == r.Rule })
	if i < 0 {
		return e, errors.New("there is no rule " + r.Rule)
	}
	rule := t.rules[i]
	e.Incident.Rule, e.Incident.Severity, e.Incident.Runbook = rule.Name, rule.Severity, rule.Runbook
	e.Incident.Reason = rule.When
	e.Incident.Summary = rule.Summarize(rules.SummaryData{
		Subject: e.Certificate.Name, Certificate: e.Certificate.Name, Labels: e.Certificate.Labels,
		Members: e.Incident.Members, Reason: rule.When, ExpiresIn: "10 d", Stage: e.Certificate.Stage,
	})
	return e, nil
}

// Receivers returns how the receivers do.
func (a *App) Receivers() []api.Receiver {
	all, err := withExercises(a.store, a.generation().trials().States())
	if err != nil {
		a.o.Log.Warn("the exercises cannot be read", "err", err)
	}
	return all
}

// TestReceivers sends a real message through receivers.
func (a *App) TestReceivers(ctx context.Context, r api.TestRequest) ([]api.TestResult, error) {
	results, err := a.generation().trials().Test(ctx, r)
	a.exercised(tests(results))
	return results, err
}

// PreviewReceivers returns what receivers would be sent.
func (a *App) PreviewReceivers(r api.PreviewRequest) ([]api.Preview, error) {
	return a.generation().trials().Preview(r)
}

// Receivers returns the receivers with what was left for them.
func (o *Offline) Receivers() ([]api.Receiver, error) {
	all, err := withExercises(o.app.store, o.g.trials().States())
	if err != nil {
		return nil, err
	}
	left, err := o.app.store.Outbox().Pending()
	if err != nil {
		return nil, err
	}
	for i, r := range all {
		for _, entry := range left {
			if at := entry.Event.Time; entry.Receiver == r.Name && (all[i].Waits.IsZero() || at.Before(all[i].Waits)) {
				all[i].Waits = at
			}
		}
	}
	return all, nil
}
