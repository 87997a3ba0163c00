package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Config is what a webhook receiver needs.
type Config struct {
	URL     string        // http or https
	Method  string        // empty: POST
	Headers http.Header   // added to every request, such as Authorization
	Timeout time.Duration // of one request with its answer; 0: 10 s
}

const defaultTimeout = 10 * time.Second

func (c Config) validate() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil:
		return errors.New("webhook: the url cannot be parsed") // the cause would quote it
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("webhook: the url must begin with http:// or https://")
	case u.Host == "":
		return errors.New("webhook: the url has no host")
	}
	return nil
}

// ReadHeaders reads a file of "Name: value" lines. Empty lines and lines that begin with
// # are skipped. Errors name the line, never its value.
func ReadHeaders(path string) (http.Header, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading headers: %w", err)
	}
	headers := http.Header{}
	for i, line := range bytes.Split(data, []byte("\n")) {
		text := strings.TrimSpace(string(line))
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		name, value, ok := strings.Cut(text, ":")
		if !ok || !isToken(name) || strings.ContainsFunc(value, isControl) {
			return nil, fmt.Errorf("reading headers: %s:%d: want \"Name: value\"", path, i+1)
		}
		headers.Add(name, strings.TrimSpace(value))
	}
	return headers, nil
}

// isToken reports whether a header's name is one by RFC 9110, section 5.6.2.
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		alphanumeric := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !alphanumeric && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
