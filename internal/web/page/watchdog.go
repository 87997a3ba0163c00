package page

import (
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
)

// Watchdog shows how certmedic itself does.
type Watchdog struct {
	Status api.Status
	Rules  []api.Rule
}

// watchdogModel is what the template shows.
type watchdogModel struct {
	Degraded []string
	Own      []incident
	Facts    []fact
	Rules    []rule
}

// rule is one rule in force.
type rule struct {
	api.Rule
	Status certmedic.Status
	Word   string
	Grace  string
	Ladder []string
	Link   link
}

func (w Watchdog) shown(now time.Time) shown {
	s := w.Status
	m := watchdogModel{Degraded: s.Degraded}
	endpoints, addresses := 0, 0
	var newest, oldest time.Time
	for _, v := range s.Certificates {
		for _, e := range v.Endpoints {
			endpoints++
			addresses += len(e.Addresses)
			if e.Time.After(newest) {
				newest = e.Time
			}
			if oldest.IsZero() || e.Time.Before(oldest) {
				oldest = e.Time
			}
		}
	}
	m.Facts = []fact{
		{Name: "version", Said: s.Version},
		{Name: "mode, at most", Said: string(s.Mode)},
		{Name: "certificates", Said: strconv.Itoa(len(s.Certificates))},
		{Name: "endpoints", Said: strconv.Itoa(endpoints)},
		{Name: "addresses", Said: strconv.Itoa(addresses)},
	}
	if endpoints > 0 {
		m.Facts = append(m.Facts, fact{Name: "last look", At: at(newest, now), Said: never(newest)}, fact{Name: "oldest look", At: at(oldest, now), Said: never(oldest)})
	}
	m.Facts = append(m.Facts, clusterFacts(s.Cluster, now)...)
	for _, in := range s.Fleet {
		m.Own = append(m.Own, newIncident(in, now))
	}
	for _, r := range w.Rules {
		m.Rules = append(m.Rules, newRule(r))
	}
	return shown{Template: "watchdog", Title: "Watchdog", Section: "/watchdog", Live: true, Data: m}
}

// clusterFacts says who else looks after the same certificates.
func clusterFacts(c *api.Cluster, now time.Time) []fact {
	if c == nil {
		return nil
	}
	var names []string
	for _, m := range c.Members {
		names = append(names, m.Name)
	}
	speaks := "another member tells people"
	if c.Speaks {
		speaks = "this member tells people"
	}
	all := []fact{
		{Name: "member", Said: c.Member + ", " + speaks},
		{Name: "members", Said: strings.Join(names, ", ") + " by " + c.Coordinator},
	}
	if !c.Lost.IsZero() {
		all = append(all, fact{Name: "coordinator lost", At: at(c.Lost, now), Said: c.Trouble})
	}
	return all
}

func never(t time.Time) string {
	if t.IsZero() {
		return "some endpoint was not looked at yet"
	}
	return ""
}

func newRule(r api.Rule) rule {
	m := rule{Rule: r, Status: certmedic.StatusOK, Word: "quiet", Grace: span(r.For), Link: runbookLink(r.Runbook)}
	if r.For == 0 {
		m.Grace = "at once"
	}
	switch {
	case r.Now.Errors > 0:
		m.Status, m.Word = certmedic.StatusCritical, "error"
	case r.Now.Holds > 0:
		m.Status, m.Word = severityStatus(r.Severity), "holds"
	case r.Now.Undecided > 0:
		m.Status, m.Word = certmedic.StatusUnknown, "undecided"
	}
	for _, step := range r.Ladder {
		said := string(step.Do)
		if step.After > 0 {
			said += " after " + span(step.After)
		}
		m.Ladder = append(m.Ladder, said)
	}
	return m
}
