// Package template fills the templates by which people change what receivers are sent: Go's
// text/template over the keys of the documented body, see docs/webhooks.md.
//
// A template is a file of the owner of this host, and code: it is read with the configuration and
// refused where others may write it. What it is filled with comes from servers and
// certificates, and is text to it, never template. It promises that filling ends: in bounded
// memory, and with an error that names the template. Escaping is the business of the template
// and of the receiver; json is there for it.
package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/internal/ownership"
)

const (
	maxFile   = 256 << 10 // bytes of a template
	maxOutput = 1 << 20   // bytes of what it gives
)

// Template is a template that was tried with every kind of event.
type Template struct {
	text *template.Template
	file string // its source
}

// ReadFile reads a template. It refuses a file that others may change, and one that cannot be
// filled with the body of any kind of event.
func ReadFile(path string) (*Template, error) {
	if err := ownership.Check(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading a template: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("reading a template: %q is larger than %d bytes", path, maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a template: %w", err)
	}
	return Parse(path, string(text))
}

// Parse reads a template from text; errors begin with its name and the line. A key that no body
// has is an error.
func Parse(name, text string) (*Template, error) {
	parsed, err := template.New(name).Option("missingkey=error").Funcs(Functions()).Parse(text)
	if err != nil {
		return nil, withoutPrefix(err)
	}
	t := &Template{text: parsed, file: text}
	sample := body.Sample()
	for _, e := range sample.Events {
		if _, err := t.Fill(body.Of(sample, e)); err != nil {
			return nil, fmt.Errorf("for an event %q: %w", e.Kind, err)
		}
	}
	return t, nil
}

// Source returns the text of the template.
func (t *Template) Source() string { return t.file }

// Defines reports whether the template defines another one of this name.
func (t *Template) Defines(name string) bool { return t.text.Lookup(name) != nil }

// Fill returns what the template makes of a body.
func (t *Template) Fill(b body.Body) ([]byte, error) { return t.FillNamed(t.text.Name(), b) }

// FillNamed returns what one of the templates that the template defines makes of a body.
func (t *Template) FillNamed(name string, b body.Body) ([]byte, error) {
	data, err := b.Map()
	if err != nil {
		return nil, err
	}
	var out Bounded
	if err := t.text.ExecuteTemplate(&out, name, data); err != nil {
		return nil, withoutPrefix(err)
	}
	return out.Bytes(), nil
}

// withoutPrefix leaves the name and the line of the template as the beginning of an error.
func withoutPrefix(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "template: "))
}

// Bounded gathers what a template gives, up to a bound.
type Bounded struct{ bytes.Buffer }

// Write refuses what is too much.
func (b *Bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("it gives more than %d bytes", maxOutput)
	}
	return b.Buffer.Write(p)
}

// Functions returns what templates can call beside the functions of text/template.
func Functions() map[string]any {
	return map[string]any{
		"json": func(v any) (string, error) {
			text, err := json.Marshal(v)
			return string(text), err
		},
		"upper": strings.ToUpper,
		"lower": strings.ToLower,
		"join":  join,
		"line":  body.Line,
		"cut":   cut,
		"date":  date,
		"days":  days,
		"default": func(otherwise, v any) any {
			if v == nil || v == "" {
				return otherwise
			}
			return v
		},
		"keys": func(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) },
	}
}

// join returns the elements of a list with a separator between them.
func join(separator string, list []any) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, separator)
}

// cut returns at most so many characters of a text, the last one an ellipsis where some are left out.
func cut(most int, text string) string {
	runes := []rune(text)
	if most < 1 || len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}

// date returns a time in another form, as Go's package time writes them; null gives nothing.
func date(layout string, v any) (string, error) {
	text, ok := v.(string)
	if !ok {
		return "", nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return "", fmt.Errorf("date: %q is no time", text)
	}
	return t.Format(layout), nil
}

// days returns a number of days in words: "12 days", "1 day", "expired 3 days ago".
func days(v any) string {
	number, ok := v.(float64)
	if !ok {
		return ""
	}
	unit := " days"
	if math.Abs(number) == 1 {
		unit = " day"
	}
	if number < 0 {
		return fmt.Sprintf("expired %.0f%s ago", -number, unit)
	}
	return fmt.Sprintf("%.0f%s", number, unit)
}
