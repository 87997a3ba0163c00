// Package headerfile reads headers of HTTP requests from a file, so that those that are secret stay
// out of the configuration. Webhooks and destinations behind an interface call it. It promises that
// no error holds a value.
package headerfile

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// Read reads a file of "Name: value" lines. Empty lines and lines that begin with # are skipped.
// Errors name the line, never its value.
func Read(path string) (http.Header, error) {
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
