package config

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/certmedic/certmedic/internal/redact"
)

// URL is an address that may hold secrets. Convert it to a string to use it; printed or
// rendered, they are masked.
type URL string

// String returns the address with its user, its password and the values of its query
// masked.
func (u URL) String() string { return redact.URL(string(u)) }

// MarshalYAML renders the step without what it sends, which may be a password.
func (e Exchange) MarshalYAML() (any, error) {
	type shown Exchange
	e.Send = redact.Setting(e.Send)
	return shown(e), nil
}

// MarshalYAML renders the way to renew without the values of variables, which may be secrets.
func (r RenewCertbot) MarshalYAML() (any, error) {
	type shown RenewCertbot
	r.Env = maps.Clone(r.Env)
	for name, value := range r.Env {
		r.Env[name] = redact.Setting(value)
	}
	return shown(r), nil
}

// MarshalYAML renders the settings without the body and without the values of headers that
// may hold secrets.
func (h HTTPModule) MarshalYAML() (any, error) {
	type shown HTTPModule
	h.Body = redact.Setting(h.Body)
	h.Headers = maps.Clone(h.Headers)
	for name, value := range h.Headers {
		h.Headers[name] = redact.Header(name, value)
	}
	return shown(h), nil
}

// Effective returns the configuration as YAML, with defaults filled in. Secrets do not
// appear: files that hold them are shown by path; users, passwords and queries in
// addresses, paths of webhooks, and what modules send, are masked.
func (c *Config) Effective() ([]byte, error) {
	text, err := yaml.MarshalWithOptions(c,
		yaml.IndentSequence(true),
		yaml.CustomMarshaler(func(u URL) ([]byte, error) { return yaml.Marshal(u.String()) }),
		yaml.CustomMarshaler(func(d time.Duration) ([]byte, error) { return []byte(formatDuration(d)), nil }),
	)
	if err != nil {
		return nil, fmt.Errorf("rendering the configuration: %w", err)
	}
	return text, nil
}

// formatDuration leaves out the units that are zero: 1h, not 1h0m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// ToJSON turns YAML, such as that of [Config.Effective], into JSON.
func ToJSON(text []byte) ([]byte, error) {
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("rendering the configuration as JSON: %w", err)
	}
	return data, nil
}
