package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/alerting/slack"
	"github.com/certmedic/certmedic/alerting/slack/click"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/redact"
)

const (
	silenceFor    = time.Hour       // what the button says
	answerTimeout = 5 * time.Second // for the answer to the person
)

// takeClick reports whether what Slack said was taken. What is no click, or came before, is taken and
// not done.
func (a *App) takeClick(app slackApp, payload []byte) bool {
	c, err := click.Parse(payload)
	switch {
	case errors.Is(err, click.ErrOther):
		return true
	case err != nil:
		a.o.Log.Warn("from Slack", "err", err)
		return true
	}
	return a.inbox.put(func(ctx context.Context) { a.pressed(ctx, app, c) })
}

// pressed does what a person pressed a button for, and says to that person what came of it.
func (a *App) pressed(ctx context.Context, app slackApp, c click.Click) {
	now := time.Now()
	if !a.inbox.seen.first("slack/"+c.ID, now) {
		return
	}
	said, err := a.obey(app, c, now)
	a.o.Log.Info("somebody pressed a button in Slack", "by", c.Person(), "button", c.Action, "channel", c.Channel, "err", err)
	if err != nil {
		said = "Not done: " + err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	client := answering()
	defer client.CloseIdleConnections()
	if err := c.Answer(ctx, client, said); err != nil {
		a.o.Log.Warn("from Slack", "err", err)
	}
}

// answering returns a client that follows no redirect: the address is a secret.
func answering() *http.Client {
	return &http.Client{
		Timeout: answerTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: answerTimeout}).DialContext,
			TLSHandshakeTimeout: answerTimeout, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// obey does what a button is for, and returns what to say to the one who pressed it.
func (a *App) obey(app slackApp, c click.Click, now time.Time) (string, error) {
	if now.Sub(c.At) > fresh {
		return "", errors.New("this came too late, press the button again")
	}
	v, err := slack.ParseValue(c.Value)
	if err != nil {
		return "", err
	}
	g, in := a.generation(), app.where(c)
	v.Conversation = a.named(g, v.Conversation, v.Certificate)
	switch c.Action {
	case slack.ActionAck:
		return a.takesOver(g, v.Conversation, alerting.Ack{By: c.Person(), Via: in[0].Name, At: now.UTC()})
	case slack.ActionSilence:
		return a.hush(v.Certificate, c)
	case slack.ActionApprove, slack.ActionReject:
		if !mayApprove(in, c.User) {
			return "", fmt.Errorf("user %s is not among the approvers that certmedic's configuration names", c.User)
		}
		return a.decide(g, v, c)
	}
	return "", fmt.Errorf("certmedic has no button %q", c.Action)
}

// where returns the receivers to whose channel a click belongs. Slack does not tell the names of
// private channels: then it may be any of the app's.
func (app slackApp) where(c click.Click) []config.Receiver {
	var in []config.Receiver
	for _, r := range app.receivers {
		if r.Slack.Channel == c.Channel || c.Named != "" && strings.TrimPrefix(r.Slack.Channel, "#") == c.Named {
			in = append(in, r)
		}
	}
	if len(in) == 0 {
		return app.receivers
	}
	return in
}

// mayApprove reports whether every receiver that it may be about has the user as an approver.
func mayApprove(in []config.Receiver, user string) bool {
	return !slices.ContainsFunc(in, func(r config.Receiver) bool { return !slices.Contains(r.Slack.Approvers, user) })
}

// takesOver says that a person looks after a conversation.
func (a *App) takesOver(g *generation, conversation string, ack alerting.Ack) (string, error) {
	if len(a.conversations(g)[conversation]) == 0 && !g.alerter.Tells(conversation) {
		return "", errors.New("nothing of this fires here any more")
	}
	if by := a.acks.kept()[conversation].By; by == ack.By {
		return "You look after this already.", nil
	}
	if err := a.acknowledge(g, conversation, ack); err != nil {
		return "", err
	}
	return "You look after this now, and everybody who was told of it hears so.", nil
}

// hush silences a certificate for an hour from the click on.
func (a *App) hush(certificate string, c click.Click) (string, error) {
	if certificate == "" {
		return "", errors.New("this is not about a certificate")
	}
	s, err := a.silences.Add(silence.Silence{
		Matchers: []silence.Matcher{{Label: "certificate", Op: silence.Equal, Value: certificate}},
		By:       c.Person(), Why: "from Slack", Until: c.At.Add(silenceFor),
	}, time.Now())
	if err != nil {
		return "", err
	}
	a.o.Log.Info("a silence was added", "id", s.ID, "by", s.By, "why", s.Why, "until", s.Until)
	return fmt.Sprintf("%s is silenced until %s (silence %s). Its end is told, and what still fires then.",
		certificate, s.Until.Format("15:04 UTC"), s.ID), nil
}

// decide takes an approver's word about the very plan that the button was made for.
func (a *App) decide(g *generation, v slack.Value, c click.Click) (string, error) {
	plan, ok := a.approvals.Find(time.Now(), v.Approval)
	switch {
	case !ok:
		return "", a.elsewhere(v.Certificate, errors.New("this plan is not there any more"))
	case v.Hash == "" || plan.Hash != v.Hash:
		return "", errors.New("the plan is another one by now than the one that this button was made for")
	}
	said, err := a.say(g, api.WordRequest{ID: plan.ID, Approve: c.Action == slack.ActionApprove, By: c.Person(), Reason: "from Slack"})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Plan %s (%s %s) is %s.", said.ID, said.Kind, said.Certificate, said.State), nil
}

// ruleAsks is the rule of the incident that says that certmedic waits for a person's word.
const ruleAsks = "approval-needed"

// asked returns the plan that people are asked about with an event; nil: none is.
func (a *App) asked(e alerting.Event) *alerting.Approval {
	if e.Approval != nil {
		return e.Approval
	}
	if e.Incident.Rule != ruleAsks || e.Kind == alerting.KindResolved {
		return nil
	}
	plan, ok := a.approvals.Waits(time.Now(), e.Certificate.Name)
	if !ok {
		return nil
	}
	summary := fmt.Sprintf("%s %s: %s", plan.Kind, plan.Certificate, plan.Why)
	return &alerting.Approval{ID: plan.ID, Hash: plan.Hash, Summary: redact.Text(redact.Plain(summary)), Expires: plan.Expires}
}
