package blackbox

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/certmedic/certmedic/internal/blackbox/fetch"
	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/probe/live"
)

// write writes the module as YAML in blackbox_exporter's keys. What may be a secret is
// masked, as where the configuration is shown: the values of headers that are not known to
// be harmless, what is sent by scripts and as body, and the address of a proxy.
func (m Module) write(b *bytes.Buffer) {
	text := yaml.MapSlice{{Key: "prober", Value: m.prober()}}
	if m.Timeout > 0 {
		text = append(text, yaml.MapItem{Key: "timeout", Value: m.Timeout.String()})
	}
	settings := yaml.MapSlice{}
	add := func(key string, value any, shown bool) {
		if shown {
			settings = append(settings, yaml.MapItem{Key: key, Value: value})
		}
	}
	add("preferred_ip_protocol", m.preferred(), true)
	add("ip_protocol_fallback", m.Fallback, true)
	if m.Prober == ProberHTTP {
		addHTTP(add, m.HTTP)
	} else {
		add("protocol", orTLS(m.Protocol), true)
	}
	if m.Live != nil && m.Live.Proxy != nil {
		add("proxy_url", redact.URL(m.Live.Proxy.String()), true)
	}
	if m.Live != nil {
		add("query_response", script(m.Live.Script), len(m.Live.Script) > 0)
	}
	add("tls_config", m.tlsConfig(), true)
	text = append(text, yaml.MapItem{Key: m.prober(), Value: settings})
	encoded, err := yaml.Marshal(text)
	if err != nil {
		fmt.Fprintf(b, "Error marshalling config: %v\n", err)
		return
	}
	b.Write(encoded)
}

func (m Module) tlsConfig() yaml.MapSlice {
	var names []string
	for _, roots := range m.Roots {
		names = append(names, roots.Name)
	}
	config := yaml.MapSlice{{Key: "roots", Value: names}, {Key: "insecure_skip_verify", Value: m.InsecureSkipVerify}}
	if m.ServerName != "" {
		config = append(config, yaml.MapItem{Key: "server_name", Value: m.ServerName})
	}
	if m.MinVersion != 0 {
		config = append(config, yaml.MapItem{Key: "min_version", Value: tls.VersionName(m.MinVersion)})
	}
	if m.Live == nil {
		return config
	}
	if m.Live.MaxVersion != 0 {
		config = append(config, yaml.MapItem{Key: "max_version", Value: tls.VersionName(m.Live.MaxVersion)})
	}
	if len(m.Live.Certificates) > 0 {
		config = append(config, yaml.MapItem{Key: "client_certificates", Value: len(m.Live.Certificates)})
	}
	return config
}

func addHTTP(add func(string, any, bool), s fetch.Settings) {
	add("method", s.Method, s.Method != "")
	add("headers", masked(s.Header), len(s.Header) > 0)
	add("body", redact.Setting(s.Body), s.Body != "")
	add("follow_redirects", !s.NoRedirects, true)
	add("enable_http2", !s.NoHTTP2, true)
	add("valid_status_codes", s.ValidStatusCodes, len(s.ValidStatusCodes) > 0)
	add("valid_http_versions", s.ValidVersions, len(s.ValidVersions) > 0)
	add("fail_if_ssl", true, s.FailIfSSL)
	add("fail_if_not_ssl", true, s.FailIfNotSSL)
	add("fail_if_body_matches_regexp", texts(s.FailIfBodyMatches), len(s.FailIfBodyMatches) > 0)
	add("fail_if_body_not_matches_regexp", texts(s.FailIfBodyNotMatches), len(s.FailIfBodyNotMatches) > 0)
	add("fail_if_header_matches", headerMatches(s.FailIfHeaderMatches), len(s.FailIfHeaderMatches) > 0)
	add("fail_if_header_not_matches", headerMatches(s.FailIfHeaderNotMatches), len(s.FailIfHeaderNotMatches) > 0)
}

// masked returns the headers in the order of their names.
func masked(header http.Header) yaml.MapSlice {
	var all yaml.MapSlice
	for _, name := range slices.Sorted(maps.Keys(header)) {
		all = append(all, yaml.MapItem{Key: name, Value: redact.Header(name, header.Get(name))})
	}
	return all
}

func texts(expressions []*regexp.Regexp) []string {
	all := make([]string, 0, len(expressions))
	for _, re := range expressions {
		all = append(all, re.String())
	}
	return all
}

func headerMatches(matches []fetch.HeaderMatch) []yaml.MapSlice {
	all := make([]yaml.MapSlice, 0, len(matches))
	for _, m := range matches {
		all = append(all, yaml.MapSlice{
			{Key: "header", Value: m.Header}, {Key: "regexp", Value: m.Regexp.String()}, {Key: "allow_missing", Value: m.AllowMissing},
		})
	}
	return all
}

func script(steps []live.Step) []yaml.MapSlice {
	all := make([]yaml.MapSlice, 0, len(steps))
	for _, step := range steps {
		text := yaml.MapSlice{}
		if step.Expect != nil {
			text = append(text, yaml.MapItem{Key: "expect", Value: step.Expect.String()})
		}
		if step.Send != "" {
			text = append(text, yaml.MapItem{Key: "send", Value: redact.Setting(step.Send)})
		}
		if step.StartTLS {
			text = append(text, yaml.MapItem{Key: "starttls", Value: true})
		}
		all = append(all, text)
	}
	return all
}

func orTLS(protocol string) string {
	if protocol == "" {
		return defaultModule
	}
	return protocol
}
