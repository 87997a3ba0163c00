package pagerduty

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	pd "github.com/PagerDuty/go-pagerduty"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/redact"
)

const (
	maxAnswer  = 16 << 10 // bytes of an answer that are read
	quoteRunes = 300      // of an answer that are quoted in errors
)

// call is the HTTP client of go-pagerduty for one call. It keeps what that loses: the answer's
// status, headers and body, and the cause of an error.
type call struct {
	client     *http.Client
	status     int // 0: no answer
	retryAfter time.Duration
	answer     []byte
	err        error
}

var _ pd.HTTPClient = (*call)(nil)

// Do sends the request once. Its body can be had again by GetBody, so that the transport may
// use another connection where the first was closed before anything was sent.
func (c *call) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.client.Do(req)
	if err != nil {
		c.err = withoutURL(err)
		return nil, c.err
	}
	defer resp.Body.Close()
	c.status = resp.StatusCode
	c.retryAfter = retryAfter(resp.Header, time.Now())
	c.answer, _ = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status has said it; a part will do to quote
	resp.Body = io.NopCloser(bytes.NewReader(c.answer))
	return resp, nil
}

// send makes one call within the limits, and judges its answer by the status alone: what
// go-pagerduty makes of the body is not of interest.
func (n *Notifier) send(ctx context.Context, what string, do func(context.Context, *pd.Client) error) (retry bool, err error) {
	key := n.config.RoutingKey
	if wait := n.limits.begin(key, time.Now()); wait > 0 {
		return true, alerting.Wait(wait)
	}
	c := &call{client: n.client}
	client := pd.NewClient("", pd.WithV2EventsAPIEndpoint(n.config.APIURL))
	client.HTTPClient = c
	err = do(ctx, client)
	n.limits.end(key, time.Now())
	if c.status == http.StatusTooManyRequests {
		n.limits.pause(key, time.Now(), c.retryAfter)
	}
	if c.status == 0 && c.err == nil {
		return false, fmt.Errorf("%s: building the request: %w", what, withoutURL(err))
	}
	if retry, err = c.judge(); err != nil {
		return retry, fmt.Errorf("%s at %q: %w", what, n.host, n.hide(err))
	}
	return false, nil
}

func (c *call) judge() (retry bool, err error) {
	switch {
	case c.err != nil:
		return true, c.err
	case c.status >= 200 && c.status <= 299:
		return false, nil
	}
	err = fmt.Errorf("status %d: %q", c.status, quote(c.answer))
	if c.status != http.StatusRequestTimeout && c.status != http.StatusTooManyRequests && c.status < 500 {
		return false, err
	}
	if c.retryAfter > 0 {
		err = &alerting.RetryAfterError{Delay: c.retryAfter, Err: err}
	}
	return true, err
}

// quote returns what PagerDuty says is wrong, or the beginning of what somebody else says.
func quote(answer []byte) string {
	var said struct {
		Status  string   `json:"status"`
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	text := string(answer)
	if err := json.Unmarshal(answer, &said); err == nil && said.Status != "" {
		text = strings.Join(append([]string{said.Status, said.Message}, said.Errors...), ": ")
	}
	return redact.Truncate(redact.Text(line(text)), quoteRunes)
}

// hide takes the routing key out of an error, where somebody repeats it.
func (n *Notifier) hide(err error) error {
	text := err.Error()
	if !strings.Contains(text, n.config.RoutingKey) {
		return err
	}
	hidden := errors.New(strings.ReplaceAll(text, n.config.RoutingKey, "***"))
	var asked *alerting.RetryAfterError
	if errors.As(err, &asked) {
		return &alerting.RetryAfterError{Delay: asked.Delay, Err: hidden}
	}
	return hidden
}

// retryAfter returns how long PagerDuty asks to wait: the Retry-After of RFC 9110, section
// 10.2.3, in both forms, or the seconds of its own ratelimit-reset. 0 means that it does not ask.
func retryAfter(h http.Header, now time.Time) time.Duration {
	const most = 24 * 60 * 60 // seconds; more cannot be meant, and must not overflow
	for _, header := range []string{h.Get("Retry-After"), h.Get("Ratelimit-Reset")} {
		if seconds, err := strconv.Atoi(header); err == nil && seconds > 0 {
			return time.Duration(min(seconds, most)) * time.Second
		}
		if date, err := http.ParseTime(header); err == nil && date.After(now) {
			return date.Sub(now)
		}
	}
	return 0
}

// withoutURL takes the URL out of an error of the client.
func withoutURL(err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		return urlErr.Err
	}
	return err
}

// line returns a text of others as one line without control characters.
func line(s string) string { return strings.Join(strings.Fields(redact.Plain(s)), " ") }
