package pagerduty

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic/internal/redact"
)

// The errors of [ParseWebhook]. To answer them with a 4xx status other than 429 keeps PagerDuty
// from sending the same again.
var (
	ErrSignature = errors.New("no signature of this webhook is by a secret that is known here")
	ErrMalformed = errors.New("this is not a webhook v3 of PagerDuty")
)

const (
	maxWebhook = 256 << 10 // bytes; PagerDuty drops what is larger
	maxName    = 100       // characters of a person's name
)

// CameKind is what happened to an incident in PagerDuty.
type CameKind string

// The kinds that matter here.
const (
	CameTriggered      CameKind = "triggered"
	CameAcknowledged   CameKind = "acknowledged"
	CameUnacknowledged CameKind = "unacknowledged" // by a person, or because the acknowledgement ran out
	CameResolved       CameKind = "resolved"
	CameReopened       CameKind = "reopened"
	CameEscalated      CameKind = "escalated"
	CameReassigned     CameKind = "reassigned"
	CameDelegated      CameKind = "delegated" // to another escalation policy
)

// Came is what came back from PagerDuty by its webhook v3. Strings of others are in one line and
// without control characters, and still have to be escaped where they are shown.
type Came struct {
	ID     string    // of the event; the same in every delivery of it, which may be more than one
	Kind   CameKind  // empty: of a kind that does not matter, or not about an incident
	Key    string    // the dedup key, see [Came.About]
	At     time.Time // when it happened, by PagerDuty's clock
	By     string    // name of who did it; empty: PagerDuty itself
	Person bool      // whether that is a person, not an integration: what certmedic sent comes back, too
	To     []string  // names of those who are assigned now
	URL    string    // of the incident, for people; empty: none
}

// Conversation returns the conversation that the key stands for. Of a conversation whose name is
// longer than a dedup key may be it is only the beginning; About knows those, too.
func (c Came) Conversation() string { return strings.TrimSuffix(c.Key, escalated) }

// About reports whether it is about one of the alerts of a conversation.
func (c Came) About(conversation string) bool {
	key := keyOf(conversation)
	return c.Key == key || c.Key == key+escalated
}

// webhook is the body of a webhook v3, as far as it is read.
type webhook struct {
	Event *struct {
		ID           string    `json:"id"`
		EventType    string    `json:"event_type"`
		ResourceType string    `json:"resource_type"`
		OccurredAt   time.Time `json:"occurred_at"`
		Agent        *struct {
			Type    string `json:"type"`
			Summary string `json:"summary"`
		} `json:"agent"`
		Data struct {
			IncidentKey string `json:"incident_key"`
			HTMLURL     string `json:"html_url"`
			Assignees   []struct {
				Summary string `json:"summary"`
			} `json:"assignees"`
		} `json:"data"`
	} `json:"event"`
}

// ParseWebhook reads a request of a webhook subscription (version 3). One of the secrets must have
// signed it; there are several while they are rotated. The error wraps [ErrSignature] or
// [ErrMalformed], or is that of reading the body.
func ParseWebhook(r *http.Request, secrets []string) (Came, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxWebhook+1))
	switch {
	case err != nil:
		return Came{}, fmt.Errorf("reading a webhook: %w", err)
	case len(body) > maxWebhook:
		return Came{}, fmt.Errorf("%w: it is larger than %d bytes", ErrMalformed, maxWebhook)
	case !signed(body, r.Header.Values("X-Pagerduty-Signature"), secrets):
		return Came{}, ErrSignature
	}
	var w webhook
	if err := json.Unmarshal(body, &w); err != nil || w.Event == nil || w.Event.EventType == "" {
		return Came{}, ErrMalformed // the cause would quote the body
	}
	return w.came(), nil
}

func (w webhook) came() Came {
	e := w.Event
	c := Came{ID: name(e.ID), At: e.OccurredAt}
	if e.Agent != nil {
		c.By, c.Person = name(e.Agent.Summary), strings.HasPrefix(e.Agent.Type, "user")
	}
	kind, ok := strings.CutPrefix(e.EventType, "incident.")
	if !ok || !slices.Contains(cameKinds(), CameKind(kind)) {
		return c
	}
	c.Kind, c.Key = CameKind(kind), e.Data.IncidentKey
	if isWebAddress(e.Data.HTMLURL) {
		c.URL = e.Data.HTMLURL
	}
	for _, a := range e.Data.Assignees[:min(len(e.Data.Assignees), maxName)] {
		c.To = append(c.To, name(a.Summary))
	}
	return c
}

func cameKinds() []CameKind {
	return []CameKind{
		CameTriggered, CameAcknowledged, CameUnacknowledged, CameResolved, CameReopened, CameEscalated, CameReassigned, CameDelegated,
	}
}

func name(s string) string { return redact.Truncate(line(s), maxName) }

// signed reports whether one of the signatures is by one of the secrets. Each is compared in
// constant time.
func signed(body []byte, headers, secrets []string) bool {
	ok := false
	for _, secret := range secrets {
		if secret == "" {
			continue // everybody could sign with it
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		want := []byte("v1=" + hex.EncodeToString(mac.Sum(nil)))
		for _, header := range headers {
			for _, one := range strings.Split(header, ",") {
				ok = hmac.Equal([]byte(strings.TrimSpace(one)), want) || ok
			}
		}
	}
	return ok
}
