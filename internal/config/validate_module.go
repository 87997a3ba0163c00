package config

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/live"
)

func (v *validator) module(key string, m Module) {
	if !isName(lastKey(key)) {
		v.errorf(key, "a name is made of letters, digits and . _ * -")
	}
	v.notNegative(key+".timeout", m.Timeout)
	switch {
	case m.TCP != nil && m.Prober != "tcp":
		v.errorf(key+".tcp", "is for prober: tcp")
	case m.HTTP != nil && m.Prober != "http":
		v.errorf(key+".http", "is for prober: http")
	case m.TLSConfig != nil && m.Prober != "":
		v.errorf(key+".tls_config", "is for modules without a prober; write it under %s", m.Prober)
	case m.ProxyURL != "" && m.Prober != "":
		v.errorf(key+".proxy_url", "is for modules without a prober; write it under http")
	case m.Prober == "tcp" && (m.TCP == nil || !m.TCP.TLS && !slices.ContainsFunc(m.TCP.QueryResponse, func(e Exchange) bool { return e.StartTLS })):
		v.errorf(key+".tcp.tls", "must be true, or a step of query_response must have starttls: TCP without TLS is not probed")
	}
	v.tlsConfig(key+".tls_config", m.TLSConfig)
	v.proxy(key+".proxy_url", m.ProxyURL)
	if m.TCP != nil {
		v.tlsConfig(key+".tcp.tls_config", m.TCP.TLSConfig)
		for i, e := range m.TCP.QueryResponse {
			v.regexp(fmt.Sprintf("%s.tcp.query_response[%d].expect", key, i), e.Expect)
		}
	}
	if m.HTTP != nil {
		v.http(key+".http", m.HTTP)
	}
}

func (v *validator) http(key string, h *HTTPModule) {
	v.tlsConfig(key+".tls_config", h.TLSConfig)
	v.proxy(key+".proxy_url", h.ProxyURL)
	if _, err := http.NewRequest(h.Method, "https://localhost/", nil); err != nil {
		v.errorf(key+".method", "%q is no HTTP method", h.Method)
	}
	for i, code := range h.ValidStatusCodes {
		v.between(fmt.Sprintf("%s.valid_status_codes[%d]", key, i), code, 100, 599)
	}
	for list, patterns := range map[string][]string{
		"fail_if_body_matches_regexp": h.FailIfMatches, "fail_if_body_not_matches_regexp": h.FailIfNotMatches,
	} {
		for i, pattern := range patterns {
			v.regexp(fmt.Sprintf("%s.%s[%d]", key, list, i), pattern)
		}
	}
	for list, matches := range map[string][]HeaderMatch{
		"fail_if_header_matches": h.FailIfHeader, "fail_if_header_not_matches": h.FailIfNotHeader,
	} {
		for i, m := range matches {
			v.regexp(fmt.Sprintf("%s.%s[%d].regexp", key, list, i), m.Regexp)
		}
	}
	for name, value := range h.Headers {
		if name == "" || strings.ContainsAny(name+value, "\r\n\x00") || strings.ContainsAny(name, " :") {
			v.errorf(key+".headers."+name, "is no header")
		}
	}
}

func (v *validator) regexp(key, pattern string) {
	if _, err := regexp.Compile(pattern); err != nil {
		v.errorf(key, "%q is no regular expression: %s", pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

func (v *validator) proxy(key string, proxy URL) {
	if proxy == "" {
		return
	}
	if _, err := live.ParseProxy(string(proxy)); err != nil {
		v.errorf(key, "%s", err)
	}
}

func (v *validator) tlsConfig(key string, t *TLSConfig) {
	if t == nil {
		return
	}
	v.path(key+".ca_file", t.CAFile)
	v.path(key+".cert_file", t.CertFile)
	v.path(key+".key_file", t.KeyFile)
	if (t.CertFile == "") != (t.KeyFile == "") {
		v.errorf(key, "cert_file and key_file belong together")
	}
	if t.MinVersion != "" && t.MaxVersion != "" && t.MinVersion > t.MaxVersion {
		v.errorf(key+".min_version", "%s is newer than max_version %s", t.MinVersion, t.MaxVersion)
	}
}
