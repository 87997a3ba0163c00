package slack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/redact"
)

const (
	userAgent  = "certmedic"
	maxAnswer  = 4 << 10 // bytes of a refusal that are read
	quoteRunes = 200     // of a refusal that are quoted
)

// doer makes requests for slack-go. It takes every answer without success for an error, so
// that its Retry-After and its text are not lost, and never retries.
type doer struct{ client *http.Client }

// Do makes one request.
func (d doer) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("User-Agent", userAgent)
	resp, err := d.client.Do(r)
	if err != nil {
		return nil, withoutURL(err)
	}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return resp, nil
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // only quoted, so a part will do
	return nil, &statusError{
		code:  resp.StatusCode,
		text:  strings.TrimSpace(redact.Truncate(redact.Text(redact.Plain(string(answer))), quoteRunes)),
		after: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// withoutURL drops the URL, which may hold a secret, from an error of an HTTP client.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// statusError is an answer of Slack other than success.
type statusError struct {
	code  int
	text  string
	after time.Duration // it asked to wait so long; 0: it did not
}

// Error returns the status with what Slack wrote.
func (e *statusError) Error() string { return fmt.Sprintf("status %d: %q", e.code, e.text) }

// retryAfter reads the header's seconds, or its date (RFC 9110, section 10.2.3); 0 where it has neither.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(strings.TrimSpace(header)); err == nil {
		return time.Duration(min(max(seconds, 0), int(24*time.Hour/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// judge says whether a failed call is worth a retry, as [alerting.Notifier] reports it.
func judge(err error) (retry bool, _ error) {
	var status *statusError
	var refused goslack.SlackErrorResponse
	var never permanent
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &never):
		return false, err
	case errors.As(err, &status):
		if status.after > 0 {
			err = &alerting.RetryAfterError{Delay: status.after, Err: err}
		}
		return status.code == http.StatusRequestTimeout || status.code == http.StatusTooManyRequests || status.code >= 500, err
	case errors.As(err, &refused):
		return temporary(refused.Err), err
	}
	return true, err // no answer, or one that cannot be read
}

// temporary reports whether what Slack said may be otherwise the next time. All other words
// are about the token, the channel or the message, and stay true.
func temporary(code string) bool {
	return slices.Contains([]string{
		"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout",
		"team_added_to_org", "external_channel_migrating", "org_migration_in_progress",
	}, code)
}

// says reports whether Slack refused a call with one of these words.
func says(err error, codes ...string) bool {
	var refused goslack.SlackErrorResponse
	return errors.As(err, &refused) && slices.Contains(codes, refused.Err)
}

// denied reports whether Slack refused a call for good.
func denied(err error) bool {
	retry, err := judge(err)
	return err != nil && !retry
}

// call makes one call when its turn has come.
func (n *Notifier) call(ctx context.Context, method, channel string, do func(context.Context) error) error {
	if wait := n.limits.take(method, channel, time.Now()); wait > 0 {
		return alerting.Wait(wait)
	}
	err := do(ctx)
	if posts(method) {
		n.limits.posted(method, channel, time.Now())
	}
	var status *statusError
	if errors.As(err, &status) && status.after > 0 {
		n.limits.obey(method, channel, time.Now().Add(min(status.after, longestPause)))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// newHTTPClient returns a client of our own. Redirects are never followed: they would carry
// the token to somebody else.
func newHTTPClient(client *http.Client, timeout time.Duration) *http.Client {
	if client == nil {
		client = &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
			TLSHandshakeTimeout: timeout,
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		}}
	}
	own := *client
	own.Timeout = timeout
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}
