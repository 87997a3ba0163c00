package app

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/pagerduty"
)

// PagerDutyWebhook takes what PagerDuty says of an incident, and returns the HTTP status to answer
// with. It is done afterwards, because PagerDuty waits for five seconds only.
func (a *App) PagerDutyWebhook(r *http.Request, body []byte) (int, error) {
	pagers := a.generation().channels.pagers
	if len(pagers) == 0 {
		return http.StatusNotFound, errors.New("no receiver has a webhook_secret_file")
	}
	for _, p := range pagers {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		came, err := pagerduty.ParseWebhook(again, p.secrets)
		switch {
		case errors.Is(err, pagerduty.ErrSignature):
			continue
		case err != nil:
			return http.StatusBadRequest, err
		case !a.inbox.put(func(context.Context) { a.came(p.receiver, came) }):
			return http.StatusServiceUnavailable, errors.New("too much comes at once")
		}
		return http.StatusAccepted, nil
	}
	return http.StatusUnauthorized, pagerduty.ErrSignature
}

// came does what PagerDuty says. Its signature carries no time, so what is old is a repetition.
func (a *App) came(receiver string, c pagerduty.Came) {
	now := time.Now()
	log := a.o.Log.With("receiver", receiver, "kind", c.Kind, "by", c.By, "to", c.To)
	switch {
	case c.Kind == "":
		return
	case now.Sub(c.At) > fresh:
		log.Warn("from PagerDuty: it is too old", "at", c.At)
		return
	case !a.inbox.seen.first("pagerduty/"+c.ID, now):
		return
	}
	g := a.generation()
	for conversation := range a.conversations(g) {
		if !c.About(conversation) {
			continue
		}
		if err := a.heed(g, conversation, receiver, c, now); err != nil {
			log.Error("from PagerDuty", "err", err)
		}
		return
	}
	log.Debug("from PagerDuty: nothing fires that it is about")
}

// heed takes over who looks after a conversation. Who resolves an incident by hand looks after it:
// here it ends when it holds no longer.
func (a *App) heed(g *generation, conversation, receiver string, c pagerduty.Came, now time.Time) error {
	word := alerting.Ack{By: c.By + " (PagerDuty)", Via: receiver, At: c.At.UTC()}
	if !c.Person {
		word.By = ""
	}
	if word.At.After(now) { // their clock
		word.At = now.UTC()
	}
	before, acknowledged := a.acks.kept()[conversation]
	if acknowledged && before.Via == receiver && word.At.Before(before.At) {
		return nil // it was overtaken on its way
	}
	switch c.Kind {
	case pagerduty.CameAcknowledged, pagerduty.CameResolved:
		if !c.Person {
			return nil // what we said ourselves
		}
		if c.Kind == pagerduty.CameResolved {
			word.Why = "resolved it by hand in PagerDuty"
		}
		return a.acknowledge(g, conversation, word)
	case pagerduty.CameUnacknowledged, pagerduty.CameReassigned, pagerduty.CameEscalated, pagerduty.CameDelegated, pagerduty.CameReopened:
		return a.unacknowledge(g, conversation, word)
	case pagerduty.CameTriggered:
	}
	return nil
}
