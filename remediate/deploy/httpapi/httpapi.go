// Package httpapi gives a version to an interface that takes certificates in one HTTP request, as
// those of load balancers and CDNs do.
//
// certmedic runs it as a step of its own ([Run]). It promises that the key goes to nobody but the
// server that is named, over TLS or on this host; that no redirect leads the request elsewhere or
// makes another one of it; that every request ends and no answer is read without a bound; that where
// it is told how to look, success means that the version is seen there, and what is there already
// is not sent again; and that keys, tokens and headers are in no argument, output or error.
package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/headerfile"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

// Request says what is sent where.
type Request struct {
	version.Order
	To certmedic.API `json:"to"`
}

const (
	patience     = 3 * time.Minute // for all of it
	oneRequest   = 30 * time.Second
	tries        = 5
	firstPause   = 500 * time.Millisecond
	longestPause = 8 * time.Second
	shown        = 30 * time.Second // until what was sent has to be seen
	maxAnswer    = 1 << 20          // bytes
	maxTold      = 300              // characters of an answer
	maxToken     = 64 << 10         // bytes
	maxRedirects = 5
)

// Run carries out a [Request] in JSON, and says to out what was answered and seen.
func Run(ctx context.Context, request []byte, out io.Writer) error {
	var q Request
	if err := json.Unmarshal(request, &q); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := q.Read()
	if err != nil {
		return err
	}
	c, err := open(q.To, v.Document())
	if err != nil {
		return fmt.Errorf("asking %s: %w", redact.URL(q.To.URL), err)
	}
	defer c.http.CloseIdleConnections()
	told, err := c.bring(ctx)
	if err != nil {
		return c.hidden(err)
	}
	_, err = fmt.Fprintln(out, c.hide(told))
	return err
}

// client asks one interface about one version.
type client struct {
	to      certmedic.API
	version version.Document
	http    *http.Client
	headers http.Header
	secrets []string // that no text may hold
}

func open(to certmedic.API, v version.Document) (*client, error) {
	c := &client{to: to, version: v, headers: http.Header{}, secrets: strings.Split(strings.TrimSpace(v.Privkey), "\n")}
	for _, address := range []string{to.URL, to.VerifyURL} {
		if address == "" {
			continue
		}
		if err := CheckURL(address); err != nil {
			return nil, err
		}
	}
	if to.HeadersFile != "" {
		err := ownership.CheckSecret(to.HeadersFile)
		if err == nil {
			c.headers, err = headerfile.Read(to.HeadersFile)
		}
		if err != nil {
			return nil, err
		}
		for _, values := range c.headers {
			c.secrets = append(c.secrets, values...)
		}
	}
	if to.TokenFile != "" {
		token, err := readToken(to.TokenFile)
		if err != nil {
			return nil, err
		}
		c.headers.Set("Authorization", "Bearer "+token)
		c.secrets = append(c.secrets, token)
	}
	roots, err := readRoots(to.CAFile)
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{Timeout: oneRequest, CheckRedirect: stay, Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: oneRequest,
		ForceAttemptHTTP2:   true,
	}}
	return c, nil
}

// CheckURL says what is wrong with the address of an interface: keys are sent there.
func CheckURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "": // its text would show the whole address
		return errors.New("it is no URL with a host")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("it must begin with https://, or with http:// where it is on this host: the private key is sent there")
}

func readToken(path string) (string, error) {
	if err := ownership.CheckSecret(path); err != nil {
		return "", fmt.Errorf("checking the token: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxToken))
	token, _, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	if token = strings.TrimSpace(token); err == nil && token == "" {
		err = fmt.Errorf("%q is empty", path)
	}
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	return token, nil
}

// readRoots returns nil, which means the system's, where there is no file.
func readRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	if err := ownership.Check(path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%q holds no certificate in PEM", path)
	}
	return roots, nil
}

// stay follows redirects on the same server alone, and only where the request stays what it is.
func stay(next *http.Request, before []*http.Request) error {
	first := before[0]
	switch {
	case next.URL.Host != first.URL.Host || next.URL.Scheme != first.URL.Scheme:
		return fmt.Errorf("it leads to another server, %s", redact.Path(next.URL.String()))
	case next.Method != first.Method:
		return fmt.Errorf("it leads to %s, and would make %s of %s", redact.Path(next.URL.String()), next.Method, first.Method)
	case len(before) > maxRedirects:
		return errors.New("it leads on and on")
	}
	return nil
}

// bring has the interface hold the version, and says how that is known.
func (c *client) bring(ctx context.Context) (string, error) {
	if c.to.VerifyURL != "" {
		if told, err := c.look(ctx); err == nil {
			return "already there: " + told, nil
		}
	}
	told, err := c.send(ctx)
	if err != nil || c.to.VerifyURL == "" {
		return told + "; nothing there is asked which version it has", err
	}
	seen, err := c.verify(ctx)
	if err != nil {
		return "", fmt.Errorf("%s, but %w", told, err)
	}
	return told + "; " + seen, nil
}

// send sends the version. Where the interface wants to be left alone for a while, it is asked again.
func (c *client) send(ctx context.Context) (string, error) {
	body, contentType, err := c.body()
	if err != nil {
		return "", err
	}
	for try := 1; ; try++ {
		a, err := c.ask(ctx, c.to.Method, c.to.URL, body, contentType)
		if err != nil {
			return "", err
		}
		did := fmt.Sprintf("%s %s answered with status %d", c.to.Method, redact.URL(c.to.URL), a.status)
		if slices.Contains(c.to.Expect, a.status) {
			return did, nil
		}
		busy := a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable
		wait := max(a.wait, min(longestPause, firstPause<<try))
		deadline, _ := ctx.Deadline()
		switch {
		case !busy || try == tries:
			return "", fmt.Errorf("%s: %s", did, a.told())
		case time.Now().Add(wait).After(deadline):
			return "", fmt.Errorf("%s, and wants to be left alone for %s, which is too long", did, wait)
		}
		if err := pause(ctx, wait); err != nil {
			return "", err
		}
	}
}

// verify looks until the version is seen.
func (c *client) verify(ctx context.Context) (string, error) {
	deadline := time.Now().Add(shown)
	var last error
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		told, err := c.look(ctx)
		if err == nil {
			return told, nil
		}
		if last == nil || ctx.Err() == nil { // else it is the end of the patience, which says less
			last = err
		}
		if time.Now().After(deadline) || pause(ctx, wait) != nil {
			return "", last
		}
	}
}

// look asks what is there; an error: it is not the version.
func (c *client) look(ctx context.Context) (string, error) {
	pattern, err := matches(c.to.VerifyMatches, c.version)
	if err != nil {
		return "", err
	}
	at := redact.URL(c.to.VerifyURL)
	a, err := c.ask(ctx, http.MethodGet, c.to.VerifyURL, nil, "")
	switch {
	case err != nil:
		return "", err
	case a.status != http.StatusOK:
		return "", fmt.Errorf("GET %s answers with status %d: %s", at, a.status, a.told())
	case !pattern.Match(a.body):
		return "", fmt.Errorf("GET %s does not show the version: nothing there matches %q", at, pattern)
	}
	return fmt.Sprintf("GET %s shows %s", at, c.version.Fingerprint[:12]), nil
}

// answer is what a server answered.
type answer struct {
	status int
	body   []byte
	wait   time.Duration // that it wants to be left alone for
}

// told is the beginning of the answer, for people.
func (a answer) told() string {
	return redact.Truncate(redact.Text(strings.Join(strings.Fields(string(a.body)), " ")), maxTold)
}

func (c *client) ask(ctx context.Context, method, address string, body []byte, contentType string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(string(body)))
	if err != nil {
		return answer{}, fmt.Errorf("asking %s: it is no request", redact.URL(address))
	}
	if body == nil {
		request.Body, request.GetBody, request.ContentLength = nil, nil, 0
	} else {
		request.Header.Set("Content-Type", contentType)
	}
	for name, values := range c.headers {
		request.Header[name] = values
	}
	if host := c.headers.Get("Host"); host != "" {
		request.Host = host
	}
	response, err := c.http.Do(request)
	if err != nil {
		var with *url.Error
		if errors.As(err, &with) { // which has the whole address
			err = with.Err
		}
		return answer{}, fmt.Errorf("%s %s: %w", method, redact.URL(address), err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: reading the answer: %w", method, redact.URL(address), err)
	}
	return answer{status: response.StatusCode, body: data, wait: retryAfter(response.Header.Get("Retry-After"))}, nil
}

// retryAfter returns how long a server wants to be left alone (RFC 9110, section 10.2.3).
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, 1<<30)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// hide takes secrets out of a text.
func (c *client) hide(text string) string {
	for _, s := range c.secrets {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, s, redact.Secret)
		}
	}
	return text
}

// hidden is an error without secrets.
func (c *client) hidden(err error) error { return errors.New(c.hide(err.Error())) }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
