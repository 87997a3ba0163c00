package app

import (
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/rules"
)

// period is in which time every endpoint is observed, also one that takes as long as it may
// to answer: the scheduler probes it again only then.
func period(c *config.Config) time.Duration { return max(c.Probe.Interval, 2*c.Probe.Timeout) }

// self says how certmedic itself is, for the rules about the fleet.
func (a *App) self(g *generation) func() watchdog.Self {
	since := time.Now()
	return func() watchdog.Self {
		self := watchdog.Self{Since: since, LastRound: a.metrics.LastRound(), QueueOldest: g.QueueOldest(), Degraded: g.degraded(), Failing: g.alerter.Failing()}
		if since, err := a.store.Trouble(); err != nil {
			self.Unwritten, self.UnwrittenWhy = since, err.Error()
		}
		if since, err := a.cluster.Lost(); err != nil {
			self.Lost, self.LostWhy = since, err.Error()
		}
		self.Gone = a.cluster.Gone(time.Now())
		if skew, ok := g.advisor.Skew(); ok {
			self.ClockSkew = &skew
		}
		return self
	}
}

// trustedSkew is how far the clocks of this machine and of the CA may be apart, as in the rule
// clock-skew.
const trustedSkew = 5 * time.Minute

// clockDoubt says why this machine's clock cannot be trusted, where a CA told the time of the
// day and it is another one.
func (g *generation) clockDoubt() string {
	skew, ok := g.advisor.Skew()
	if !ok || skew.Abs() <= trustedSkew {
		return ""
	}
	return fmt.Sprintf("the clock of this machine and the CA's differ by %s", skew.Abs())
}

// ruleList returns the rules in force with what they say now.
func (g *generation) ruleList() []api.Rule {
	all := make([]api.Rule, 0, len(g.rules))
	for i, t := range g.watchdog.Survey(time.Now()) {
		r := g.rules[i]
		all = append(all, api.Rule{
			Name: r.Name, About: r.About, When: r.When, For: r.For, Severity: r.Severity, Runbook: r.Runbook, Ladder: r.Ladder, Now: t,
		})
	}
	return all
}

// Rules returns the rules in force with what they say now.
func (a *App) Rules() []api.Rule { return a.generation().ruleList() }

// Inventory lists what a configuration watches by itself, without what discovery finds.
func Inventory(c *config.Config) []certmedic.Certificate { return inventory(c, nil) }

// Rules loads the rules of a configuration: the shipped ones and its own, adjusted.
func Rules(c *config.Config) ([]rules.Rule, error) { return loadRules(c) }

// Fleet returns the open incidents of certmedic itself.
func (g *generation) Fleet() []certmedic.Incident { return g.watchdog.Fleet() }
