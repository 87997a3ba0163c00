package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"time"

	"github.com/certmedic/certmedic/probe/live"
)

const (
	maxRedirects = 10       // that are followed
	maxHeader    = 64 << 10 // bytes of an answer's header
	maxMatched   = 1 << 20  // bytes of a body that expressions are tried on
)

// Fetcher makes requests. Any number of goroutines may share one.
type Fetcher struct {
	// Lookup returns the addresses of a host. Required.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// Choose picks the address to ask, and says whether there is one. Required.
	Choose func([]netip.Addr) (netip.Addr, bool)

	// Allow refuses an address that a host resolved to, just before it is dialled. Required.
	Allow func(host string, address netip.Addr) error

	// Verify refuses a connection after the handshake and before anything is sent. Required.
	Verify func(state tls.ConnectionState, serverName string) error

	// Live gives the newest version of TLS, the client certificates and the proxy; nil: the
	// usual ones. A proxy for http or SOCKS5 is told the address that was checked in place of
	// the host, except for requests without TLS, whose host it needs. One that is spoken to
	// over TLS is verified against the roots of the system.
	Live *live.Settings

	ServerName string // for TLS with the first host; empty: the request's Host
}

// Result is what came of a fetch.
type Result struct {
	Success  bool
	Failures []string // why it is no success, in sentences
	Hops     []Hop    // in order, at least one unless there was nothing to ask

	SSL           bool    // whether the last answer came over TLS
	Status        int     // of the last answer; 0 where none came
	Version       float64 // of HTTP, such as 1.1
	Redirects     int
	ContentLength int64 // as the header says; -1 where it does not
	BodyLength    int64 // bytes
	LastModified  time.Time
	FailedByRegex bool // whether an expression decided
}

// Do asks for the target and follows its redirects. Whatever fails is told by the result.
func (f *Fetcher) Do(ctx context.Context, target *url.URL, s Settings) Result {
	var result Result
	request, err := s.request(ctx, target)
	if err != nil {
		result.fail("%v", err)
		return result
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		result.fail("%v", err)
		return result
	}
	t := &transport{fetcher: f, settings: s, first: target.Host}
	defer t.close()
	client := &http.Client{Transport: t, Jar: jar, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		result.Redirects = len(via)
		if s.NoRedirects || len(via) > maxRedirects {
			return errNotFollowed
		}
		return nil
	}}
	response, err := client.Do(request)
	if response == nil {
		result.fail("%v", err)
	} else {
		result.read(response, s, err == nil)
		t.ended()
	}
	result.Hops = t.hops()
	return result
}

var errNotFollowed = errors.New("the redirect is not followed")

// read judges an answer in blackbox_exporter's order. The body of a redirect that is not
// followed is closed already.
func (r *Result) read(response *http.Response, s Settings, open bool) {
	defer func() { _ = response.Body.Close() }() // all that matters was read
	r.Status, r.ContentLength = response.StatusCode, response.ContentLength
	r.Version = float64(response.ProtoMajor) + float64(response.ProtoMinor)/10
	r.SSL = response.TLS != nil
	if at, err := http.ParseTime(response.Header.Get("Last-Modified")); err == nil {
		r.LastModified = at
	}
	var body []byte
	if open {
		body = r.readBody(response.Body)
	}
	r.judge(response, body, s)
}

// readBody reads a body to its end and returns its beginning.
func (r *Result) readBody(body io.Reader) []byte {
	beginning, err := io.ReadAll(io.LimitReader(body, maxMatched))
	r.BodyLength = int64(len(beginning))
	if err == nil {
		var rest int64
		rest, err = io.Copy(io.Discard, body)
		r.BodyLength += rest
	}
	if err != nil {
		r.fail("reading the body: %v", err)
	}
	return beginning
}

func (r *Result) fail(format string, args ...any) {
	r.Success = false
	r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
}
