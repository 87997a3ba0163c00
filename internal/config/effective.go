package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// URL is an address that may hold a password. Convert it to a string to use it; printed
// or rendered, the password is masked.
type URL string

// String returns the address with its user and password masked.
func (u URL) String() string {
	parsed, err := url.Parse(string(u))
	if err != nil {
		return "xxxxx" // cannot be told apart from its secrets
	}
	if parsed.User != nil {
		parsed.User = url.User("xxxxx")
	}
	return parsed.String()
}

// Effective returns the configuration as YAML, with defaults filled in. Secrets do not
// appear: files that hold them are shown by path, and users and passwords in addresses
// are masked.
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
