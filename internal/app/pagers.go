package app

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/pagerduty"
)

// PagerDutyWebhook takes what PagerDuty says of an incident, and returns the HTTP status to answer
// with. What is taken is kept: PagerDuty says nothing again that was answered with success.
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
		}
		if err := a.came(p.receiver, came); err != nil {
			return http.StatusServiceUnavailable, err
		}
		return http.StatusAccepted, nil
	}
	return http.StatusUnauthorized, pagerduty.ErrSignature
}

// came does what PagerDuty says. Its signature carries no time, so what is old is a repetition. With
// an error nothing was done, and PagerDuty has to say it again.
func (a *App) came(receiver string, c pagerduty.Came) error {
	a.paging.Lock()
	defer a.paging.Unlock()
	now := time.Now()
	log := a.o.Log.With("receiver", receiver, "kind", c.Kind, "by", c.By, "to", c.To)
	switch {
	case c.Kind == "":
		return nil
	case now.Sub(c.At) > fresh:
		log.Warn("from PagerDuty: it is too old", "at", c.At)
		return nil
	case !a.inbox.seen.first("pagerduty/"+c.ID, now):
		return nil
	}
	g := a.generation()
	for conversation := range a.conversations(g) {
		if !c.About(g.alerter.Key(conversation)) {
			continue
		}
		err := a.heed(g, conversation, receiver, c, now)
		if err != nil {
			a.inbox.seen.forget("pagerduty/" + c.ID)
		}
		return err
	}
	log.Debug("from PagerDuty: nothing fires that it is about")
	return nil
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
