// Package webhook tells any HTTP service: one request for each event, with a JSON object, see
// [Body], or with what a template makes of it. A 2xx answer is a delivery; 408, 429 and 5xx
// answers and network errors are tried again, after the Retry-After where the service names one
// (RFC 9110, section 10.2.3); every other answer, a redirect too, is final. Every attempt for the
// same event has the same Idempotency-Key. Errors name the service's host only, because paths of
// webhooks are often secrets.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/answer"
	"github.com/certmedic/certmedic/alerting/body"
)

const userAgent = "certmedic"

// Body is the JSON object of a request without a template.
type Body = body.Body

// Notifier posts events to one URL.
type Notifier struct {
	config Config
	host   string
	client *http.Client
}

var (
	_ alerting.Notifier  = (*Notifier)(nil)
	_ alerting.Single    = (*Notifier)(nil)
	_ alerting.Previewer = (*Notifier)(nil)
)

// New returns a notifier. Where client is nil it makes one of its own, which uses the
// proxy of the environment. Redirects are never followed: they would carry the headers
// to somebody else.
func New(c Config, client *http.Client) (*Notifier, error) {
	u, err := c.validate()
	if err != nil {
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
	n := &Notifier{config: c, host: u.Host, client: &own}
	return n, n.rehearse()
}

// rehearse fills the template with every kind of event, so that what it gives is known to be
// right before it is needed.
func (n *Notifier) rehearse() error {
	if n.config.Template == nil {
		return nil
	}
	sample := body.Sample()
	for _, e := range sample.Events {
		if _, err := n.render(body.Of(sample, e)); err != nil {
			return fmt.Errorf("webhook: the template, for an event %q: %w", e.Kind, err)
		}
	}
	return nil
}

// OneEvent says that every request holds one event.
func (n *Notifier) OneEvent() bool { return true }

// Notify posts the events one by one and stops at the first that fails.
func (n *Notifier) Notify(ctx context.Context, notification alerting.Notification) (retry bool, err error) {
	for _, e := range notification.Events {
		if e.Kind == alerting.KindResolved && n.config.SkipResolved {
			continue
		}
		data, err := n.render(n.bodyOf(notification, e))
		if err != nil {
			return false, fmt.Errorf("filling the body for %q: %w", n.host, err)
		}
		if retry, err := n.post(ctx, e, data); err != nil {
			return retry, fmt.Errorf("posting to %q: %w", n.host, err)
		}
	}
	return false, nil
}

// Preview returns the bodies of the requests, each on lines of its own.
func (n *Notifier) Preview(notification alerting.Notification) ([]byte, error) {
	var all bytes.Buffer
	for _, e := range notification.Events {
		data, err := n.render(n.bodyOf(notification, e))
		if err != nil {
			return nil, err
		}
		all.Write(data)
		all.WriteByte('\n')
	}
	return all.Bytes(), nil
}

func (n *Notifier) bodyOf(notification alerting.Notification, e alerting.Event) Body {
	b := body.Of(notification, e)
	b.Runbook = cmp.Or(body.Runbook(n.config.RunbookURL, b.Runbook), b.Runbook)
	return b
}

func (n *Notifier) render(b Body) ([]byte, error) {
	if n.config.Template == nil {
		return json.Marshal(b)
	}
	data, err := n.config.Template.Fill(b)
	if err != nil {
		return nil, err
	}
	if isJSON(n.config.contentType()) && !json.Valid(data) {
		return nil, errors.New("what the template gives is not valid JSON; fill in values by json, as in {{json .summary}}")
	}
	return data, nil
}

func isJSON(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return err == nil && (kind == "application/json" || strings.HasSuffix(kind, "+json"))
}

func (n *Notifier) post(ctx context.Context, e alerting.Event, data []byte) (retry bool, err error) {
	req, err := http.NewRequestWithContext(ctx, cmp.Or(n.config.Method, http.MethodPost), n.config.URL, bytes.NewReader(data))
	if err != nil {
		return false, errors.New("building the request: the method or the url is not valid")
	}
	req.Header.Set("Content-Type", n.config.contentType())
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Idempotency-Key", e.Identity())
	for name, values := range n.config.Headers {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return true, answer.WithoutURL(err)
	}
	return answer.Judge(resp)
}

// validate returns the parsed URL. No error quotes it.
func (c Config) validate() (*url.URL, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return nil, errors.New("webhook: the url cannot be parsed") // the cause would quote it
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("webhook: the url must begin with http:// or https://")
	case u.Host == "":
		return nil, errors.New("webhook: the url has no host")
	}
	if _, _, err := mime.ParseMediaType(c.contentType()); err != nil {
		return nil, fmt.Errorf("webhook: %q is no content type", c.ContentType)
	}
	return u, nil
}
