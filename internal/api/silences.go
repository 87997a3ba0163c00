package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/certmedic/certmedic/alerting/silence"
)

// SilenceRequest is the body of POST /api/v1/silences, which adds a silence.
type SilenceRequest struct {
	Matchers     []string  `json:"matchers"` // as [silence.ParseMatcher] reads them
	Until        time.Time `json:"until"`
	UntilRenewed bool      `json:"until_renewed,omitempty"`
	Why          string    `json:"why"`
	By           string    `json:"by,omitempty"` // the person, where no daemon runs; a daemon asks the kernel
}

// Silence makes a silence of the request.
func (r SilenceRequest) Silence() (silence.Silence, error) {
	s := silence.Silence{By: r.By, Why: r.Why, Until: r.Until, UntilRenewed: r.UntilRenewed}
	for _, text := range r.Matchers {
		m, err := silence.ParseMatcher(text)
		if err != nil {
			return silence.Silence{}, err
		}
		s.Matchers = append(s.Matchers, m)
	}
	return s, nil
}

// EndRequest is the body of POST /api/v1/silences/end.
type EndRequest struct {
	ID string `json:"id"`
	By string `json:"by,omitempty"` // the person, where no daemon runs; a daemon asks the kernel
}

// Silences asks for the silences, the newest first; with ended also those that have ended.
func (c *Client) Silences(ctx context.Context, ended bool) ([]silence.Silence, error) {
	var all []silence.Silence
	q := url.Values{}
	if ended {
		q.Set("ended", "true")
	}
	err := c.get(ctx, "/api/v1/silences", q, &all)
	return all, err
}

// AddSilence adds a silence, which holds when this returns.
func (c *Client) AddSilence(ctx context.Context, r SilenceRequest) (silence.Silence, error) {
	var s silence.Silence
	err := c.post(ctx, "/api/v1/silences", r, &s)
	return s, err
}

// EndSilence ends a silence.
func (c *Client) EndSilence(ctx context.Context, r EndRequest) (silence.Silence, error) {
	var s silence.Silence
	err := c.post(ctx, "/api/v1/silences/end", r, &s)
	return s, err
}

func (c *Client) post(ctx context.Context, path string, request, into any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	return c.do(ctx, http.MethodPost, path, bytes.NewReader(body), into)
}
