package webhook

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/certmedic/certmedic/alerting/template"
)

// Config is what a webhook receiver needs.
type Config struct {
	URL     string        // http or https
	Method  string        // empty: POST
	Headers http.Header   // added to every request, such as Authorization
	Timeout time.Duration // of one request with its answer; 0: 10 s

	Template    *template.Template // makes the request's body; nil: [Body] as JSON
	ContentType string             // of the request's body; empty: application/json
	RunbookURL  string             // stands in front of the name of a rule's runbook; empty: the name alone is told

	SkipResolved bool // the end of an incident is not sent
}

const defaultTimeout = 10 * time.Second

func (c Config) contentType() string { return cmp.Or(c.ContentType, "application/json") }

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
