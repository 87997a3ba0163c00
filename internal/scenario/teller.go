package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/pagerduty"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/alerting/slack"
	"github.com/certmedic/certmedic/alerting/slack/click"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/internal/watchdog"
)

const (
	groupWait  = time.Second // the default of the configuration
	silenceFor = time.Hour   // what the button says
	routingKey = "0123456789abcdef0123456789abcdef"
	clicker    = "U0STORY01"
)

// teller is who tells people in a test that speaks of messages: the pipeline and the receivers of
// the daemon, in front of a Slack and a PagerDuty that are played.
type teller struct {
	sim      *alerting.Simulation
	slack    *slackfake.Server
	pager    *pdfake.Service
	silences *silence.Book
	now      time.Time   // of certmedic's clock: up to when all was sent
	ends     []time.Time // of silences, the next first
	sent     []message   // oldest first
	refused  []string    // what a service did not take, and why
}

func newTeller(now time.Time) (*teller, error) {
	t := &teller{
		slack: slackfake.Unstarted(slackfake.Options{Every: time.Nanosecond, Burst: math.MaxInt32}),
		pager: pdfake.New(pdfake.Options{Calls: math.MaxInt}), now: now,
	}
	var err error
	if t.silences, err = silence.Open(noSilences{}); err != nil {
		return nil, err
	}
	toSlack, err := slack.New(slack.Config{
		Token: t.slack.Token, Channel: t.slack.Channel, APIURL: t.slack.APIURL(), Buttons: true, Limits: slack.Unlimited(),
	}, &http.Client{Transport: tap{next: t.slack.Client().Transport, took: t.tookSlack}})
	if err != nil {
		return nil, fmt.Errorf("playing Slack: %w", err)
	}
	toPager, err := pagerduty.New(pagerduty.Config{RoutingKey: routingKey, APIURL: "http://pagerduty.invalid", Limits: pagerduty.Unlimited()},
		&http.Client{Transport: tap{next: t.pager.Client().Transport, took: t.tookPager}})
	if err != nil {
		return nil, fmt.Errorf("playing PagerDuty: %w", err)
	}
	t.sim, err = alerting.Simulate(alerting.Options{
		Receivers: map[string]alerting.Notifier{receiverSlack: toSlack, receiverPager: toPager},
		Routes: []alerting.Route{
			{Match: map[string]string{"severity": string(certmedic.SeverityCritical)}, To: []string{receiverPager, receiverSlack}},
			{To: []string{receiverSlack}},
			{Match: map[string]string{"rule": ""}, To: []string{receiverPager}, Events: true},
		},
		GroupWait: groupWait,
		Silenced:  func(e alerting.Event, now time.Time) bool { return t.silences.Silenced(now, e.Label) },
		Settled:   t.settled,
	})
	return t, err
}

// settled notes what a service did not take.
func (t *teller) settled(receiver string, e alerting.Event, err error) {
	if err != nil {
		t.refused = append(t.refused, fmt.Sprintf("%s did not take %s of %s: %v", receiver, e.Kind, e.Conversation(), err))
	}
}

// hear takes news, after everything was sent that waited for its turn before them.
func (t *teller) hear(ctx context.Context, n watchdog.News) error {
	if err := t.advance(ctx, n.Time); err != nil {
		return err
	}
	if e, told := n.Event(); told {
		t.sim.Tell(e)
	}
	return nil
}

// advance sends what is due up to a time, and what silences kept back that end until then. Time does
// not go back where the clock does.
func (t *teller) advance(ctx context.Context, to time.Time) error {
	for len(t.ends) > 0 && !t.ends[0].After(to) {
		t.now = t.ends[0]
		if err := t.sim.Deliver(ctx, t.now); err != nil {
			return err
		}
		t.sim.Unmute(t.now)
		t.ends = t.ends[1:]
	}
	t.now = to
	return t.sim.Deliver(ctx, to)
}

// click presses a button of the newest message that has it, and returns why that is not possible.
func (t *teller) click(at time.Time, f clickForm) (err error) {
	action := buttons()[f.Action.value]
	for _, m := range slices.Backward(t.slack.Messages()) {
		if m.Buttons()[action] == "" {
			continue
		}
		c, err := click.Parse(t.slack.Payload(slackfake.Click{User: clicker, Name: orElse(f.User, "somebody"), Message: m, Action: action}))
		if err != nil {
			return err
		}
		v, err := slack.ParseValue(c.Value)
		if err != nil {
			return err
		}
		if f.Certificate == "" || f.Certificate == v.Certificate {
			return t.pressed(at, c, v)
		}
	}
	return errors.New("no message in Slack has that button")
}

func (t *teller) pressed(at time.Time, c click.Click, v slack.Value) error {
	if c.Action == slack.ActionAck {
		if !t.sim.Acknowledge(v.Conversation, alerting.Ack{By: c.Person(), Via: receiverSlack, At: at}) {
			return errors.New("nothing of this fires any more")
		}
		return nil
	}
	s, err := t.silences.Add(silence.Silence{
		Matchers: []silence.Matcher{{Label: "certificate", Op: silence.Equal, Value: v.Certificate}},
		By:       c.Person(), Why: "from Slack", Until: at.Add(silenceFor),
	}, at)
	t.ends = append(t.ends, s.Until)
	return err
}

// noSilences keeps nothing: a story has no disk.
type noSilences struct{}

func (noSilences) Silences() ([]silence.Silence, error) { return nil, nil }
func (noSilences) SaveSilence(silence.Silence) error    { return nil }
func (noSilences) ForgetSilence(string) error           { return nil }

// maxShown bounds how much of a message is shown where it is not as expected, in characters.
const maxShown = 500

// message is what one of the receivers was sent and took.
type message struct {
	receiver string
	op       string
	key      string // of PagerDuty the dedup key, of Slack where the message is that it is about
	severity string // of PagerDuty
	text     string // all that it shows
}

// String renders a message for people.
func (m message) String() string {
	head := m.op
	if m.receiver == receiverPager {
		head = strings.TrimSpace(m.op+" "+m.severity) + " " + m.key
	}
	return head + ": " + redact.Truncate(strings.ReplaceAll(m.text, "\n", " | "), maxShown)
}
