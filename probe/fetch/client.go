package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	answerTimeout = 10 * time.Second // of connecting, and again of the first line of the answer
	wholeTimeout  = 45 * time.Second // of one fetch, redirects and body included
	maxRedirects  = 3
	maxHosts      = 1000 // that are remembered as dead
)

// ErrTooLarge means that a document is larger than its reader takes.
var ErrTooLarge = errors.New("it is too large")

// Client fetches documents over http and https. It reads no proxy settings from the
// environment, keeps no cookies, and asks for no compression, so that the bound on the
// size is one on what comes over the wire too. Any number of goroutines may share one.
type Client struct {
	http *http.Client

	mu   sync.Mutex
	dead map[string]failure // by host:port of the URL
}

// NewClient returns a client that is ready to use. End it with Close.
func NewClient() *Client {
	dialer := &net.Dialer{Timeout: answerTimeout, Control: controlAddress}
	return &Client{
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:            dialer.DialContext,
				TLSHandshakeTimeout:    answerTimeout,
				ResponseHeaderTimeout:  answerTimeout,
				IdleConnTimeout:        answerTimeout,
				MaxResponseHeaderBytes: 64 << 10,
				MaxIdleConnsPerHost:    2,
				DisableCompression:     true,
			},
			CheckRedirect: checkRedirect,
			Timeout:       wholeTimeout,
		},
		dead: map[string]failure{},
	}
}

// Close closes the connections that are kept for further fetches.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Get returns the body that a URL answers with, of at most limit bytes. An error does not
// repeat the URL; it is [ErrTooLarge] where the body has more. A host that could not be
// connected to is asked again after a minute, then after two, up to an hour; meanwhile
// its last error is returned.
func (c *Client) Get(ctx context.Context, rawURL string, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return nil, plainError(err)
	}
	if !fetchable(request.URL) {
		return nil, errors.New("it is neither an http nor an https URL")
	}
	request.Header.Set("User-Agent", "certmedic")
	if err := c.alive(request.URL.Host, time.Now()); err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	c.remember(request, err)
	if err != nil {
		return nil, plainError(err)
	}
	defer response.Body.Close()
	return readBody(response, limit)
}

func readBody(response *http.Response, limit int64) ([]byte, error) {
	if code := response.StatusCode; code != http.StatusOK {
		return nil, fmt.Errorf("the server answered with status %d %s", code, http.StatusText(code))
	}
	if response.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, tooLarge(limit)
	}
	return body, nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
}

func fetchable(u *url.URL) bool {
	return (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if !fetchable(request.URL) {
		return fmt.Errorf("a redirect to %q, which is neither an http nor an https URL", request.URL.Redacted())
	}
	return nil
}

// plainError leaves out the method and the URL that net/http puts before its errors.
func plainError(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// failure is what is remembered of something that failed.
type failure struct {
	times int
	last  time.Time
	err   error
}

func (c *Client) alive(host string, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, known := c.dead[host]
	if until := f.last.Add(pause(f.times)); known && now.Before(until) {
		return fmt.Errorf("%q is not asked before %s, after: %w", host, until.UTC().Format("15:04:05 UTC"), f.err)
	}
	return nil
}

// remember notes whether a host lives. A caller that lost its patience says nothing about
// the host, and neither does an answer that is of no use.
func (c *Client) remember(request *http.Request, err error) {
	host := request.URL.Host
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		delete(c.dead, host)
	case request.Context().Err() == nil && unanswered(err):
		if len(c.dead) >= maxHosts {
			clear(c.dead)
		}
		c.dead[host] = failure{times: c.dead[host].times + 1, last: time.Now(), err: plainError(err)}
	}
}

func unanswered(err error) bool {
	var op *net.OpError
	var timeout net.Error
	return errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, errRefused) ||
		errors.As(err, &timeout) && timeout.Timeout()
}

// The pauses after failures.
const (
	shortestPause = time.Minute
	longestPause  = time.Hour
)

// pause returns how long something is left alone that failed so many times in a row.
func pause(times int) time.Duration {
	return min(shortestPause<<min(max(times-1, 0), 10), longestPause)
}
