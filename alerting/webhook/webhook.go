// Package webhook tells any HTTP service: one request with a JSON object for each event,
// see [Body]. A 2xx answer is a delivery; 408, 429 and 5xx answers and network errors are
// tried again, after the Retry-After where the service names one (RFC 9110, section
// 10.2.3); every other answer, a redirect too, is final. Errors name the service's host
// only, because paths of webhooks are often secrets.
package webhook

import (
	"bytes"
	"cmp"
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

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/redact"
)

const (
	userAgent  = "certmedic"
	maxAnswer  = 4 << 10 // bytes of an answer that are read
	quoteRunes = 200     // of an answer that are quoted in errors
)

// Notifier posts events to one URL.
type Notifier struct {
	config Config
	host   string
	client *http.Client
}

var (
	_ alerting.Notifier = (*Notifier)(nil)
	_ alerting.Single   = (*Notifier)(nil)
)

// New returns a notifier. Where client is nil it makes one of its own, which uses the
// proxy of the environment. Redirects are never followed: they would carry the headers
// to somebody else.
func New(c Config, client *http.Client) (*Notifier, error) {
	if err := c.validate(); err != nil {
		return nil, err
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
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("webhook: the url cannot be parsed")
	}
	return &Notifier{config: c, host: u.Host, client: &own}, nil
}

// OneEvent says that every request holds one event.
func (n *Notifier) OneEvent() bool { return true }

// Notify posts the events one by one and stops at the first that fails.
func (n *Notifier) Notify(ctx context.Context, notification alerting.Notification) (retry bool, err error) {
	for _, e := range notification.Events {
		if retry, err := n.post(ctx, bodyOf(notification, e)); err != nil {
			return retry, fmt.Errorf("posting to %q: %w", n.host, err)
		}
	}
	return false, nil
}

func (n *Notifier) post(ctx context.Context, b Body) (retry bool, err error) {
	data, err := json.Marshal(b)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(n.config.Method, http.MethodPost), n.config.URL, bytes.NewReader(data))
	if err != nil {
		return false, errors.New("building the request: the method or the url is not valid")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", userAgent)
	for name, values := range n.config.Headers {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return true, withoutURL(err)
	}
	defer resp.Body.Close()
	return judge(resp)
}

// judge reads an answer. What is left of its body is not read: the connection is then
// closed instead of used again, which a failing service may cost.
func judge(resp *http.Response) (retry bool, err error) {
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // only quoted, so a part will do
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return false, nil
	}
	text := strings.TrimSpace(redact.Truncate(redact.Text(redact.Plain(string(answer))), quoteRunes))
	err = fmt.Errorf("status %d: %q", resp.StatusCode, text)
	if !worthARetry(resp.StatusCode) {
		return false, err
	}
	if delay := retryAfter(resp.Header.Get("Retry-After"), time.Now()); delay > 0 {
		err = &alerting.RetryAfterError{Delay: delay, Err: err}
	}
	return true, err
}

func worthARetry(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
}

// retryAfter reads both forms of the header: seconds, or a date. 0 means none.
func retryAfter(header string, now time.Time) time.Duration {
	const most = 24 * 60 * 60 // seconds; more cannot be meant, and must not overflow
	if seconds, err := strconv.Atoi(header); err == nil {
		return time.Duration(min(max(0, seconds), most)) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(0, date.Sub(now))
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
