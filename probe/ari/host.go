package ari

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-acme/lego/v4/acme/api"
)

const (
	maxPerHost    = 2        // requests under way
	maxBody       = 64 << 10 // bytes; directories and renewal information have a thousand
	maxRemembered = 1000     // hosts, and directories
	directoryFor  = 24 * time.Hour
)

// ErrLeftAlone means that a CA was not asked because it failed a short while ago, or said that
// it does not want to be asked before some time.
var ErrLeftAlone = errors.New("the CA is left alone for now")

// directory is a directory (RFC 8555, section 7.1.1) as the CA sent it.
type directory struct {
	body  []byte
	until time.Time
}

// directory returns what is remembered of a directory, nil for one that has to be fetched.
func (c *Client) directory(url string, now time.Time) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.directories[url]; now.Before(d.until) {
		return d.body
	}
	return nil
}

// keepDirectory remembers a directory that was fetched and read.
func (c *Client) keepDirectory(url string, body []byte, now time.Time) {
	if body == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.directories) >= maxRemembered {
		clear(c.directories)
	}
	c.directories[url] = directory{body, now.Add(directoryFor)}
}

// exchange is what one call says and hears. It gives lego, which knows no contexts, a transport
// that ends with that of its caller, and a directory that is remembered without asking for it.
type exchange struct {
	client *Client
	ctx    context.Context
	known  string // URL of the directory that may be a remembered one

	body  []byte    // of the last answer; nil where none came from the CA
	quiet time.Time // until when the CA is left alone
}

// open fetches a directory. The key that lego wants would be an account's.
func (x *exchange) open(directory string) (*api.Core, error) {
	return api.New(&http.Client{Transport: x, CheckRedirect: checkRedirect}, agent, directory, "", nil)
}

// RoundTrip sends a request, see [http.RoundTripper].
func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	if body := x.client.directory(x.known, time.Now()); body != nil && r.URL.String() == x.known {
		return &http.Response{
			StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
			Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r,
		}, nil
	}
	r = r.Clone(x.ctx)
	r.Header.Set("User-Agent", agent)
	h, err := x.client.enter(r)
	if err != nil {
		x.quiet = x.client.quietUntil(r.URL.Host)
		return nil, err
	}
	defer h.leave()
	response, body, err := x.client.send(r)
	x.body = body
	x.quiet = x.client.remember(h, response, err)
	if err != nil {
		return nil, err
	}
	return response, nil
}

// send sends a request and reads the whole answer, whose body can be read again.
func (c *Client) send(r *http.Request) (*http.Response, []byte, error) {
	sent := time.Now()
	response, err := c.transport.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	c.measure(response.Header, sent, time.Now())
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	if len(body) > maxBody {
		return nil, nil, fmt.Errorf("the answer has more than %d bytes", maxBody)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, body, nil
}

// host is one server of a CA. What it remembers belongs to the client's mutex.
type host struct {
	slots    chan struct{}
	failures int
	quiet    time.Time // until when it is left alone
}

// enter waits until a request may be sent to its host.
func (c *Client) enter(r *http.Request) (*host, error) {
	h := c.host(r.URL.Host)
	select {
	case h.slots <- struct{}{}:
	case <-r.Context().Done():
		return nil, fmt.Errorf("waiting for earlier requests: %w", context.Cause(r.Context()))
	}
	if until := c.quietUntil(r.URL.Host); time.Now().Before(until) {
		h.leave()
		return nil, fmt.Errorf("%w, until %s", ErrLeftAlone, until.UTC().Format(time.RFC3339))
	}
	return h, nil
}

func (h *host) leave() { <-h.slots }

func (c *Client) host(name string) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	if h == nil {
		if len(c.hosts) >= maxRemembered {
			clear(c.hosts)
		}
		h = &host{slots: make(chan struct{}, maxPerHost)}
		c.hosts[name] = h
	}
	return h
}

func (c *Client) quietUntil(name string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.hosts[name]; h != nil {
		return h.quiet
	}
	return time.Time{}
}

// remember notes how a host fares, and returns until when it is left alone. It is in trouble when
// it does not answer, or answers that it is or that it is asked too much. A caller that lost its
// patience says nothing about a host.
func (c *Client) remember(h *host, response *http.Response, err error) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	var asked time.Duration
	switch {
	case errors.Is(err, context.Canceled):
		return h.quiet
	case err != nil:
	case response.StatusCode != http.StatusTooManyRequests && response.StatusCode < http.StatusInternalServerError:
		h.failures, h.quiet = 0, time.Time{}
		return h.quiet
	case response.Header.Get("Retry-After") != "":
		asked = checkIn(response.Header, now)
	}
	h.failures++
	h.quiet = now.Add(max(asked, time.Minute<<min(h.failures-1, 5)))
	return h.quiet
}
