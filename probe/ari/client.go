package ari

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"
	"github.com/go-acme/lego/v4/certificate"

	"github.com/certmedic/certmedic/internal/netguard"
	"github.com/certmedic/certmedic/internal/redact"
)

const (
	answerTimeout = 10 * time.Second // of connecting, and again of the first line of an answer
	wholeTimeout  = 30 * time.Second // of one Fetch, with all that it needs
	maxRedirects  = 3
	agent         = "certmedic"
)

// ErrUnsupported means that a CA's directory names no renewal information.
var ErrUnsupported = errors.New("the CA does not say when to renew")

// Options say how a client works. The zero value is usable.
type Options struct {
	Roots []*x509.CertPool // any of them vouches for the servers of CAs; none: those of the system
}

// Client asks CAs. Any number of goroutines may share one.
type Client struct {
	transport *http.Transport

	mu          sync.Mutex
	hosts       map[string]*host     // by host:port
	directories map[string]directory // by URL
	clock       measure
}

// NewClient returns a client that is ready to use. It reads no proxy settings from the
// environment. End it with Close.
func NewClient(o Options) *Client {
	dialer := &trusting{net.Dialer{Timeout: answerTimeout, Control: controlAddress}, o.Roots}
	return &Client{
		transport: &http.Transport{
			DialContext:            dialer.DialContext,
			DialTLSContext:         dialer.dial,
			TLSHandshakeTimeout:    answerTimeout,
			ResponseHeaderTimeout:  answerTimeout,
			IdleConnTimeout:        answerTimeout,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConnsPerHost:    maxPerHost,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
		},
		hosts:       map[string]*host{},
		directories: map[string]directory{},
	}
}

// Close closes the connections that are kept for further questions.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// controlAddress refuses addresses to which nobody means to lead. Those of the machine itself
// and of private networks may be a CA's.
func controlAddress(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || netguard.Sensitive(to.Addr()) {
		return fmt.Errorf("%s: addresses of this kind are not asked", address)
	}
	return nil
}

// Advice is what a CA says about one version.
type Advice struct {
	Window      Window    // in which it wants the version to be replaced
	Explanation string    // URL of a page that tells why; empty: there is none
	CheckAfter  time.Time // when it wants to be asked again, a minute to a day from now
}

// Fetch asks the CA behind a directory (its URL, of https) about a certificate that it issued.
// The error is [ErrUnsupported] where it says nothing about any, and [ErrLeftAlone] where it was
// not asked, because it is in trouble; nothing else that went wrong is told apart. With an error
// the advice holds at most the time before which there is no use in asking again.
func (c *Client) Fetch(ctx context.Context, directory string, leaf *x509.Certificate) (Advice, error) {
	advice, err := c.fetch(ctx, directory, leaf)
	if err != nil {
		return advice, fmt.Errorf("asking the CA at %q when to renew: %w", directory, told{err})
	}
	return advice, nil
}

func (c *Client) fetch(ctx context.Context, directory string, leaf *x509.Certificate) (Advice, error) {
	if len(leaf.AuthorityKeyId) == 0 {
		return Advice{}, errors.New("the certificate does not name its issuer's key")
	}
	id, err := certificate.MakeARICertID(leaf)
	if err != nil {
		return Advice{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	x := &exchange{client: c, ctx: ctx, known: directory}
	core, err := x.open(directory)
	if err != nil {
		return Advice{CheckAfter: x.quiet}, plain(err)
	}
	c.keepDirectory(directory, x.body, time.Now())
	// Its Certifier would take any answer for renewal information, whatever its status.
	response, err := core.Certificates.GetRenewalInfo(id)
	if errors.Is(err, api.ErrNoARI) {
		return Advice{CheckAfter: time.Now().Add(maxCheck)}, ErrUnsupported
	}
	if err != nil {
		return Advice{CheckAfter: x.quiet}, plain(err)
	}
	defer response.Body.Close()
	advice, err := read(response, time.Now())
	if err != nil {
		advice.CheckAfter = x.quiet
	}
	return advice, err
}

// Measure asks the CA behind a directory for nothing but the date of its answer, see [Client.Skew].
func (c *Client) Measure(ctx context.Context, directory string) error {
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	x := &exchange{client: c, ctx: ctx}
	if _, err := x.open(directory); err != nil {
		return fmt.Errorf("asking the CA at %q for the time: %w", directory, told{plain(err)})
	}
	return nil
}

func checkRedirect(_ *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	return nil
}

// read takes what a CA answered (RFC 9773, section 4.2).
func read(response *http.Response, now time.Time) (Advice, error) {
	if response.StatusCode != http.StatusOK {
		return Advice{}, refusal(response)
	}
	var info acme.RenewalInfoResponse
	if err := json.NewDecoder(response.Body).Decode(&info); err != nil {
		return Advice{}, fmt.Errorf("reading its answer: %w", err)
	}
	w := Window{Start: info.SuggestedWindow.Start, End: info.SuggestedWindow.End}
	if !w.End.After(w.Start) {
		return Advice{}, fmt.Errorf("its window ends at %s and begins at %s", w.End.Format(time.RFC3339), w.Start.Format(time.RFC3339))
	}
	return Advice{Window: w, Explanation: page(info.ExplanationURL), CheckAfter: now.Add(checkIn(response.Header, now))}, nil
}

// refusal returns the problem (RFC 7807) that a CA answered with, as far as there is one.
func refusal(response *http.Response) error {
	var problem acme.ProblemDetails
	if err := json.NewDecoder(response.Body).Decode(&problem); err != nil || problem.Detail == "" {
		return fmt.Errorf("it answered with status %d", response.StatusCode)
	}
	return fmt.Errorf("it answered with status %d: %s", response.StatusCode, problem.Detail)
}

// maxPage bounds the URL of an explanation, in bytes.
const maxPage = 2000

// page returns the URL of a web page, empty for anything else.
func page(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || len(raw) > maxPage || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.String()
}

// plain leaves out the method and the URL that net/http puts before its errors.
func plain(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// maxTold bounds the text of an error, in bytes: lego quotes whole answers in its own.
const maxTold = 300

// told is an error whose text is fit for a log, whoever wrote parts of it.
type told struct{ error }

// Error returns the text, shortened and without control characters.
func (t told) Error() string {
	text := t.error.Error()
	return redact.Label(text[:min(len(text), maxTold)])
}

// Unwrap returns the error itself.
func (t told) Unwrap() error { return t.error }
