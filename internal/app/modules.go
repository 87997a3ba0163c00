package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"

	"github.com/certmedic/certmedic/internal/blackbox"
	"github.com/certmedic/certmedic/internal/blackbox/fetch"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/roots"
)

// module is a module of the configuration in the two forms that it is used in: for
// endpoints, and for /probe.
type module struct {
	endpoint probe.Module
	probe    blackbox.Module
}

// modules builds the modules of a configuration. All errors are joined.
func modules(c *config.Config) (map[string]module, error) {
	all := map[string]module{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Modules)) {
		m, err := newModule(c.Modules[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("modules.%s: %w", name, err))
		}
		all[name] = m
	}
	return all, errors.Join(errs...)
}

// maxRedirects is how many redirects of an endpoint are followed, as many as
// blackbox_exporter follows.
const maxRedirects = 10

func newModule(m config.Module) (module, error) {
	out := blackbox.Module{Prober: m.Prober, Protocol: m.Protocol, Timeout: m.Timeout, Series: m.Series, Fallback: true}
	settings := &live.Settings{}
	t, proxy := m.TLSConfig, m.ProxyURL
	switch {
	case m.TCP != nil:
		t, out.PreferIP, out.Fallback = m.TCP.TLSConfig, m.TCP.PreferredIPProtocol, m.TCP.IPProtocolFallback
		settings.Script = script(m.TCP.QueryResponse)
	case m.HTTP != nil:
		t, out.PreferIP, out.Fallback = m.HTTP.TLSConfig, m.HTTP.PreferredIPProtocol, m.HTTP.IPProtocolFallback
		proxy = m.HTTP.ProxyURL
		out.HTTP = httpSettings(m.HTTP)
		settings.HTTP = httpRequest(out.HTTP)
	}
	if proxy != "" {
		u, err := live.ParseProxy(string(proxy))
		if err != nil {
			return module{}, fmt.Errorf("proxy_url: %w", err)
		}
		settings.Proxy = u
	}
	out.Live = settings
	err := setTLS(&out, settings, t)
	return module{
		endpoint: probe.Module{Timeout: m.Timeout, ServerName: out.ServerName, Roots: out.Roots, SkipVerify: out.InsecureSkipVerify, Live: settings},
		probe:    out,
	}, err
}

// setTLS sets what tls_config says.
func setTLS(m *blackbox.Module, settings *live.Settings, t *config.TLSConfig) error {
	if t == nil {
		return nil
	}
	m.ServerName, m.InsecureSkipVerify = t.ServerName, t.InsecureSkipVerify
	m.MinVersion = versionOf(t.MinVersion)
	settings.MinVersion, settings.MaxVersion = m.MinVersion, versionOf(t.MaxVersion)
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return fmt.Errorf("cert_file: %w", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	if t.CAFile == "" {
		return nil
	}
	var err error
	m.Roots, err = roots.Load([]string{t.CAFile})
	return err
}

func versionOf(name string) uint16 {
	return map[string]uint16{
		"TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13,
	}[name]
}

func script(exchanges []config.Exchange) []live.Step {
	var steps []live.Step
	for _, e := range exchanges {
		step := live.Step{Send: e.Send, StartTLS: e.StartTLS}
		if e.Expect != "" {
			step.Expect = regexp.MustCompile(e.Expect) // it was compiled with the configuration
		}
		steps = append(steps, step)
	}
	return steps
}

func httpSettings(h *config.HTTPModule) fetch.Settings {
	s := fetch.Settings{
		Method: h.Method, Header: http.Header{}, Body: h.Body,
		ValidStatusCodes: h.ValidStatusCodes, ValidVersions: h.ValidHTTPVersions, NoRedirects: !h.FollowRedirects,
		FailIfSSL: h.FailIfSSL, FailIfNotSSL: h.FailIfNotSSL,
		FailIfBodyMatches: patterns(h.FailIfMatches), FailIfBodyNotMatches: patterns(h.FailIfNotMatches),
		FailIfHeaderMatches: headers(h.FailIfHeader), FailIfHeaderNotMatches: headers(h.FailIfNotHeader),
	}
	for name, value := range h.Headers {
		s.Header.Set(name, value)
	}
	return s
}

// httpRequest is what an endpoint is asked that names a module with the http prober.
func httpRequest(s fetch.Settings) *live.HTTP {
	h := &live.HTTP{
		Method: s.Method, Header: s.Header, Body: s.Body, Statuses: s.ValidStatusCodes, Redirects: maxRedirects,
		Match: s.FailIfBodyNotMatches, NotMatch: s.FailIfBodyMatches,
		HeaderMatch: patternsOf(s.FailIfHeaderNotMatches), HeaderNotMatch: patternsOf(s.FailIfHeaderMatches),
	}
	if s.NoRedirects {
		h.Redirects = 0
	}
	if len(h.Statuses) == 0 {
		for code := 200; code < 300; code++ {
			h.Statuses = append(h.Statuses, code)
		}
	}
	return h
}

func patterns(texts []string) []*regexp.Regexp {
	var all []*regexp.Regexp
	for _, text := range texts {
		all = append(all, regexp.MustCompile(text)) // it was compiled with the configuration
	}
	return all
}

func headers(matches []config.HeaderMatch) []fetch.HeaderMatch {
	var all []fetch.HeaderMatch
	for _, m := range matches {
		all = append(all, fetch.HeaderMatch{Header: m.Header, Regexp: regexp.MustCompile(m.Regexp), AllowMissing: m.AllowMissing})
	}
	return all
}

func patternsOf(matches []fetch.HeaderMatch) []live.HeaderPattern {
	var all []live.HeaderPattern
	for _, m := range matches {
		all = append(all, live.HeaderPattern{Header: m.Header, Pattern: m.Regexp, Optional: m.AllowMissing})
	}
	return all
}
