package pdfake

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	attempts        = 5 // of one webhook
	answerWithin    = 5 * time.Second
	dropsToDisable  = 3 // in a row
	maxQueue        = 4000
	integrationType = "inbound_integration_reference"
)

// agent is who did something.
type agent struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Summary string `json:"summary"`
	Self    string `json:"self"`
	HTMLURL string `json:"html_url"`
}

var integration = agent{ID: "PINT001", Type: integrationType, Summary: "Events API V2"}

// person returns the agent of a person; of nobody's name, PagerDuty's own service.
func person(who string) agent {
	if who == "" {
		return agent{ID: "PSVC001", Type: "service_reference", Summary: "Service"}
	}
	id := "U" + strings.ToUpper(hex.EncodeToString([]byte(who)))
	return agent{ID: id[:min(len(id), 7)], Type: "user_reference", Summary: who, Self: "https://api.pagerduty.com/users/" + id, HTMLURL: "https://acme.pagerduty.com/users/" + id}
}

// subscription is a webhook subscription of version 3.
type subscription struct {
	url      string
	secrets  []string
	queue    []delivery
	drops    int // in a row
	disabled bool
}

// delivery is a webhook on its way.
type delivery struct {
	id        string
	body      []byte
	signature string // made when its turn comes
}

// Subscribe has every event about an incident sent to url from now on, signed with each of the
// secrets: several while they are rotated. [Service.Deliver] sends.
func (s *Service) Subscribe(url string, secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, &subscription{url: url, secrets: slices.Clone(secrets)})
}

// Rotate changes the secrets of all subscriptions.
func (s *Service) Rotate(secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hooks {
		h.secrets = slices.Clone(secrets)
	}
}

// publish queues a webhook for each subscription.
func (s *Service) publish(eventType string, i *Incident, by agent) {
	s.eventIDs++
	id := fmt.Sprintf("01PDFAKE%018d", s.eventIDs)
	body, err := json.Marshal(map[string]any{"event": map[string]any{
		"id": id, "event_type": eventType, "resource_type": "incident", "occurred_at": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"agent": by, "client": nil,
		"data": map[string]any{
			"id": i.ID, "type": "incident", "number": i.Number, "status": i.Status, "incident_key": i.Key, "title": i.Title, "urgency": "high",
			"self": "https://api.pagerduty.com/incidents/" + i.ID, "html_url": "https://acme.pagerduty.com/incidents/" + i.ID,
			"assignees": []agent{person(i.Assignee)}, "resolve_reason": nil,
		},
	}})
	if err != nil {
		return // maps of strings
	}
	for _, h := range s.hooks {
		if !h.disabled && len(h.queue) < maxQueue {
			h.queue = append(h.queue, delivery{id: id, body: body})
		}
	}
}

// Deliver sends the webhooks that wait, in their order, and returns what came of them: "202", or
// why one was dropped. A webhook is tried up to five times, where there was no answer within five
// seconds, or 429, or 5xx; other answers than 2xx drop it at once. After three dropped in a row a
// subscription is disabled, and all that waits for it is dropped.
func (s *Service) Deliver(ctx context.Context, client *http.Client) []string {
	s.mu.Lock()
	hooks := slices.Clone(s.hooks)
	s.mu.Unlock()
	var outcomes []string
	for _, h := range hooks {
		for {
			d, ok := s.next(h)
			if !ok || ctx.Err() != nil {
				break
			}
			outcome, delivered := s.deliver(ctx, client, h.url, d)
			outcomes = append(outcomes, outcome)
			s.note(h, delivered)
		}
	}
	return outcomes
}

func (s *Service) next(h *subscription) (d delivery, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(h.queue) == 0 {
		return delivery{}, false
	}
	d, h.queue = h.queue[0], h.queue[1:]
	d.signature = Sign(d.body, h.secrets...)
	return d, true
}

func (s *Service) note(h *subscription, delivered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.drops++; delivered {
		h.drops = 0
	}
	if h.drops >= dropsToDisable {
		h.disabled, h.queue = true, nil
	}
}

func (s *Service) deliver(ctx context.Context, client *http.Client, url string, d delivery) (outcome string, delivered bool) {
	wait := s.options.Retry
	for attempt := 1; ; attempt++ {
		status, err := post(ctx, client, url, d)
		switch {
		case err == nil && status >= 200 && status <= 299:
			return fmt.Sprint(status), true
		case err == nil && status != http.StatusTooManyRequests && status < 500:
			return fmt.Sprintf("dropped: %d", status), false
		case attempt == attempts:
			return fmt.Sprintf("dropped after %d attempts: %d %v", attempt, status, err), false
		}
		if !pause(ctx, wait) {
			return "dropped: " + ctx.Err().Error(), false
		}
		wait *= 4
	}
}

func post(ctx context.Context, client *http.Client, url string, d delivery) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(d.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Webhook-Id", d.id)
	req.Header.Set("X-PagerDuty-Signature", d.signature)
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)) // so that the connection is used again
	return resp.StatusCode, nil
}

// Sign returns the X-PagerDuty-Signature header of a webhook's body: an HMAC-SHA256 for each
// secret.
func Sign(body []byte, secrets ...string) string {
	var signatures []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		signatures = append(signatures, "v1="+hex.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, ",")
}
