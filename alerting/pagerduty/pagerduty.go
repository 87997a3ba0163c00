// Package pagerduty tells PagerDuty by its Events API v2: an alert for each conversation, which
// is triggered, updated, acknowledged and resolved by a dedup key that never changes, and a
// change event for each renewal, deployment and rollback. The app makes a [Notifier] for each
// receiver, and reads by [ParseWebhook] what people did in PagerDuty.
//
// A conversation is one page. What happens in it later updates the alert, and that is silent. It
// pages once more only where it got worse, or the certificate expired, after somebody had
// acknowledged: PagerDuty is silent about the acknowledged alert, so a second one with the key
// "<key>/escalated" is triggered. The end of the conversation resolves both.
//
// A 2xx answer is a delivery; 408, 429 and 5xx answers and network errors are tried again, after
// the Retry-After where there is one; every other answer, a redirect too, is final. Sending the
// same again does no harm: the key is the same. Only a change event can be entered twice, where
// its answer was lost.
package pagerduty

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	pd "github.com/PagerDuty/go-pagerduty"

	"github.com/certmedic/certmedic/alerting"
)

// Notifier tells one service of PagerDuty.
type Notifier struct {
	config Config
	host   string
	client *http.Client
	limits *Limits
}

var _ alerting.Notifier = (*Notifier)(nil)

// New returns a notifier. Where client is nil it makes one of its own, which uses the proxy of
// the environment. Redirects are never followed: they would carry the routing key to somebody
// else.
func New(c Config, client *http.Client) (*Notifier, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c.APIURL = strings.TrimSuffix(cmp.Or(c.APIURL, defaultAPIURL), "/")
	u, err := url.Parse(c.APIURL)
	if err != nil {
		return nil, errors.New("pagerduty: the api url cannot be parsed")
	}
	if client == nil {
		client = &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSHandshakeTimeout: defaultTimeout,
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		}}
	}
	own := *client
	own.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	limits := c.Limits
	if limits == nil {
		limits = NewLimits()
	}
	return &Notifier{config: c, host: u.Host, client: &own, limits: limits}, nil
}

// Notify brings the conversation's alert to the state of the notification, and enters the news
// as change events. What was sent is remembered after each answer, so that a later attempt goes
// on from there.
func (n *Notifier) Notify(ctx context.Context, note alerting.Notification) (retry bool, err error) {
	t := n.talk(note)
	alerted := slices.ContainsFunc(note.Events, isAlert)
	if alerted {
		if retry, err = t.alert(ctx); err != nil {
			return retry, err
		}
	}
	if retry, err = t.changes(ctx); err != nil && !retry && alerted {
		return false, nil // people know; that the news beside it is not wanted does not change that
	}
	return retry, err
}

// isAlert reports whether an event is about the conversation's alert.
func isAlert(e alerting.Event) bool {
	return isState(e) || e.Kind == alerting.KindAcknowledged || e.Kind == alerting.KindUnacknowledged
}

// isState reports whether an event is about an incident.
func isState(e alerting.Event) bool {
	return e.Kind == alerting.KindFiring || e.Kind == alerting.KindUpdate || e.Kind == alerting.KindResolved
}

// Preview returns what would be sent about a conversation of which nothing was sent before, as
// indented JSON without the routing key: one event, or a change event for each of the news.
func (n *Notifier) Preview(note alerting.Notification) ([]byte, error) {
	t := n.talk(note)
	all := []any{}
	switch {
	case len(t.note.Open) > 0:
		all = append(all, n.trigger(t.note, t.key, ""))
	case slices.ContainsFunc(note.Events, isState):
		all = append(all, n.alert("resolve", t.key))
	}
	for _, e := range note.Events {
		if !isAlert(e) {
			all = append(all, n.change(e))
		}
	}
	data, err := json.MarshalIndent(all, "", "  ")
	return bytes.ReplaceAll(data, []byte(n.config.RoutingKey), []byte("***")), err
}

// enqueue sends an event about an alert.
func (n *Notifier) enqueue(ctx context.Context, ev pd.V2Event) (retry bool, err error) {
	return n.send(ctx, fmt.Sprintf("sending %q", ev.Action), func(ctx context.Context, client *pd.Client) error {
		_, err := client.ManageEventWithContext(ctx, &ev)
		return err
	})
}

// enter sends a change event.
func (n *Notifier) enter(ctx context.Context, ev pd.ChangeEvent) (retry bool, err error) {
	return n.send(ctx, "sending a change event", func(ctx context.Context, client *pd.Client) error {
		_, err := client.CreateChangeEventWithContext(ctx, ev)
		return err
	})
}
