package fetch

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// userAgent is sent where the settings name no other.
const userAgent = "certmedic"

// Settings are the keys of blackbox_exporter's http prober, with its meanings.
type Settings struct {
	Method string      // empty: GET
	Header http.Header // Host is the host that is asked for, and the name for TLS
	Body   string

	ValidStatusCodes []int    // empty: 200 to 299
	ValidVersions    []string // such as "HTTP/1.1"; empty: any
	NoRedirects      bool     // whether a redirect is the answer instead of being followed
	NoHTTP2          bool     // whether HTTP/2 is not offered
	FailIfSSL        bool     // whether an answer over TLS is a failure
	FailIfNotSSL     bool     // whether an answer without TLS is a failure

	FailIfBodyMatches      []*regexp.Regexp // none may match
	FailIfBodyNotMatches   []*regexp.Regexp // each has to match
	FailIfHeaderMatches    []HeaderMatch    // none may match
	FailIfHeaderNotMatches []HeaderMatch    // each has to match one of the header's values
}

// HeaderMatch is a condition on a header of the answer.
type HeaderMatch struct {
	Header       string
	Regexp       *regexp.Regexp
	AllowMissing bool // whether the header may be absent; otherwise its absence is a failure
}

// WithHost returns the settings with the host that is asked for, or an error, in
// blackbox_exporter's words, where they ask for another one.
func (s Settings) WithHost(host string) (Settings, error) {
	if own := s.Header.Get("Host"); own != "" && own != host {
		return Settings{}, fmt.Errorf("host header defined both in module configuration (%s) and with URL-parameter 'hostname' (%s)", own, host)
	}
	s.Header = s.Header.Clone()
	if s.Header == nil {
		s.Header = http.Header{}
	}
	s.Header.Set("Host", host)
	return s, nil
}

// request returns the first request.
func (s Settings) request(ctx context.Context, target *url.URL) (*http.Request, error) {
	method := s.Method
	if method == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(ctx, method, target.String(), strings.NewReader(s.Body))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if s.Header != nil {
		r.Header = s.Header.Clone()
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", userAgent)
	}
	return r, nil
}
