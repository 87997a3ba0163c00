package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/approval"
)

// Actions is the list of actions, and of the plans that wait for a person.
type Actions struct {
	Actions []certmedic.Action // the newest first
	Plans   []approval.Approval
	Trusted bool // who reads may see what plans would run
}

// action is an action in words.
type action struct {
	certmedic.Action
	Href            string
	CertificateHref string
	Status          certmedic.Status
	Word            string
	Detail          string
	At              moment
	Duration        string
}

func newAction(a certmedic.Action, now time.Time) action {
	status, word := outcome(a.Outcome)
	m := action{
		Action: a, Href: actionHref(a.ID), CertificateHref: certificateHref(a.Certificate), Status: status, Word: word,
		Detail: a.Outcome.Detail, At: at(a.StartedAt, now),
	}
	if !a.EndedAt.IsZero() {
		m.Duration = span(a.EndedAt.Sub(a.StartedAt))
	}
	return m
}

func newActions(actions []certmedic.Action, now time.Time) []action {
	var all []action
	for _, a := range actions {
		all = append(all, newAction(a, now))
	}
	return all
}

func (a Actions) shown(now time.Time) shown {
	m := struct {
		Plans   []plan
		Actions []action
	}{Actions: newActions(a.Actions, now)}
	for _, p := range a.Plans {
		if p.State == approval.Pending || p.State == approval.Approved {
			m.Plans = append(m.Plans, newPlan(p, a.Trusted, now))
		}
	}
	return shown{Template: "actions", Title: "Actions", Section: "/actions", Live: true, Data: m}
}

// Action is one action with everything that is known of it.
type Action struct {
	Action  certmedic.Action
	Trusted bool // who reads may see what commands wrote, which the caller has left out otherwise
}

// actionModel is what the template shows.
type actionModel struct {
	action
	Ended  moment
	Facts  []fact
	Runs   []run
	Hidden bool // what commands wrote was left out
}

// run is one command.
type run struct {
	certmedic.Run
	Status certmedic.Status
	Argv   string
	Ended  string // how
	Took   string
}

func (a Action) shown(now time.Time) shown {
	m := actionModel{action: newAction(a.Action, now), Ended: at(a.Action.EndedAt, now), Facts: a.facts(), Hidden: !a.Trusted}
	for _, r := range a.Action.Runs {
		m.Runs = append(m.Runs, newRun(r))
	}
	title := fmt.Sprintf("%s %s: %s", a.Action.Kind, a.Action.Certificate, m.Word)
	return shown{Template: "action-page", Title: title, Section: "/actions", Live: a.Action.Outcome.Kind == certmedic.OutcomeRunning, Data: m}
}

func (a Action) facts() []fact {
	var all []fact
	add := func(name, said string) {
		if said != "" {
			all = append(all, fact{Name: name, Said: said})
		}
	}
	add("asked for by", a.Action.By)
	add("because", a.Action.Why)
	add("attempt", fmt.Sprint(a.Action.Attempt))
	add("version", string(a.Action.Version))
	add("reason", a.Action.Outcome.Reason)
	add("approved by", a.Action.ApprovedBy)
	add("approval", a.Action.Approval)
	add("carried out by member", a.Action.Member)
	return all
}

func newRun(r certmedic.Run) run {
	m := run{Run: r, Status: certmedic.StatusCritical, Argv: strings.Join(r.Argv, " ")}
	switch {
	case r.Succeeded():
		m.Status, m.Ended = certmedic.StatusOK, "exit code 0"
	case r.Result == certmedic.RunRunning:
		m.Status, m.Ended = busy, "running"
	case r.Result == certmedic.RunExited:
		m.Ended = fmt.Sprintf("exit code %d", r.ExitCode)
	case r.Result == certmedic.RunSignaled:
		m.Ended = "ended by signal " + r.Signal
	case r.Result == certmedic.RunTimedOut:
		m.Ended = "did not end in time"
	case r.Result == certmedic.RunNotStarted:
		m.Ended = "could not be started"
	default:
		m.Status, m.Ended = certmedic.StatusUnknown, string(r.Result)
	}
	if r.Result != certmedic.RunRunning {
		m.Took = span(r.Duration)
	}
	return m
}
