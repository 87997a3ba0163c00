package scenario

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/hint"
	"github.com/certmedic/certmedic/rules"
)

// place is where something stands in a scenario file; both count from 1.
type place struct{ line, column int }

func placeOf(n ast.Node) place {
	if m, ok := n.(ast.MapNode); ok && n.GetToken().Value != "{" {
		if first := m.MapRange(); first.Next() {
			n = first.Key()
		}
	}
	if n == nil || n.GetToken() == nil {
		return place{1, 1}
	}
	at := n.GetToken().Position
	return place{at.Line, at.Column}
}

// problem is what is wrong at a place; the file is named by whoever knows it.
func (p place) problem(format string, args ...any) error {
	return &rules.Problem{Line: p.line, Column: p.column, Message: fmt.Sprintf(format, args...)}
}

// decode reads a node strictly. Problems carry their places.
func decode(n ast.Node, into any) error {
	err := yaml.NodeToValue(n, into, yaml.Strict())
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		at := y.GetToken().Position
		return place{at.Line, at.Column}.problem("%s", wording(y, reflect.TypeOf(into).Elem()))
	}
	return err
}

// wording says to people what the decoder says to programmers.
func wording(err yaml.Error, into reflect.Type) string {
	switch e := err.(type) {
	case *yaml.UnknownFieldError:
		keys, key := keysOf(into), e.GetToken().Value
		if len(keys) == 0 {
			return fmt.Sprintf("there is no key %q here", key)
		}
		return fmt.Sprintf("there is no key %q here%s; the keys are %s", key, hint.For(key, keys), strings.Join(keys, ", "))
	case *yaml.TypeError:
		return kindOf(e.DstType) + " belongs here"
	case *yaml.UnexpectedNodeTypeError:
		if e.Expected == ast.SequenceType {
			return "a list belongs here"
		}
		return "a mapping of names to values belongs here"
	case *yaml.OverflowError:
		return e.SrcNum + " is too large"
	}
	return err.GetMessage()
}

// kindOf names what belongs where a value of a type is read.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kindOf(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	case reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	}
	return "a mapping of names to values"
}

func keysOf(t reflect.Type) (keys []string) {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		switch tag := t.Field(i).Tag.Get("yaml"); tag {
		case "":
		case ",inline":
			keys = append(keys, keysOf(t.Field(i).Type)...)
		default:
			keys = append(keys, tag)
		}
	}
	return keys
}

// text returns the words of a plain value.
func text(n ast.Node) (string, error) {
	if _, ok := n.(ast.ScalarNode); !ok {
		return "", placeOf(n).problem("a single value belongs here")
	}
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value, nil
	}
	return n.GetToken().Value, nil
}

// table is a mapping in the order in which it is written, with the place of each key.
type table[V any] []row[V]

type row[V any] struct {
	key   string
	at    place
	null  bool // the value is null
	value V
}

// UnmarshalYAML implements the decoder's interface.
func (t *table[V]) UnmarshalYAML(n ast.Node) error {
	m, ok := n.(ast.MapNode)
	if !ok {
		return placeOf(n).problem("a mapping of names to values belongs here")
	}
	for each := m.MapRange(); each.Next(); {
		r := row[V]{key: each.Key().GetToken().Value, at: placeOf(each.Key()), null: each.Value().Type() == ast.NullType}
		if !r.null {
			if err := decode(each.Value(), &r.value); err != nil {
				return err
			}
		}
		*t = append(*t, r)
	}
	return nil
}

// placed is a value with its place.
type placed[V any] struct {
	at    place
	value V
}

// UnmarshalYAML implements the decoder's interface.
func (p *placed[V]) UnmarshalYAML(n ast.Node) error {
	p.at = placeOf(n)
	return decode(n, &p.value)
}

// words is a list of words, or a single one.
type words []string

// UnmarshalYAML implements the decoder's interface.
func (w *words) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(*ast.SequenceNode); ok {
		var list []string
		err := decode(n, &list)
		*w = append(words{}, list...)
		return err
	}
	one, err := text(n)
	*w = words{one}
	return err
}

// placedWords are words, each with its place.
type placedWords []placed[string]

// UnmarshalYAML implements the decoder's interface.
func (w *placedWords) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(*ast.SequenceNode); ok {
		var list []placed[string]
		err := decode(n, &list)
		*w = append(placedWords{}, list...)
		return err
	}
	one, err := text(n)
	*w = placedWords{{placeOf(n), one}}
	return err
}

// plain returns the words alone.
func (w placedWords) plain() words {
	all := make(words, 0, len(w))
	for _, one := range w {
		all = append(all, one.value)
	}
	return all
}

// span is a duration such as 90s, 10m, 72h, 14d or +20d5m.
type span time.Duration

// UnmarshalYAML implements the decoder's interface.
func (s *span) UnmarshalYAML(n ast.Node) error {
	written, err := text(n)
	if err != nil {
		return err
	}
	d, err := parseSpan(written)
	if err != nil {
		return placeOf(n).problem("%v", err)
	}
	*s = span(d)
	return nil
}

var spanForm = regexp.MustCompile(`^([+-]?)((?:[0-9.]+w)?)((?:[0-9.]+d)?)(.*)$`)

// parseSpan reads weeks, days and a duration in Go's syntax, one behind the other.
func parseSpan(s string) (time.Duration, error) {
	m := spanForm.FindStringSubmatch(s)
	if m == nil || m[2]+m[3]+m[4] == "" {
		return 0, fmt.Errorf("%q is not a duration such as 90s, 72h, 14d or 20d5m", s)
	}
	var total time.Duration
	for _, part := range m[2:] {
		if part == "" {
			continue
		}
		d, err := certmedic.ParseDuration(part)
		if err != nil || d < 0 || d > longest {
			return 0, fmt.Errorf("%q is not a duration such as 90s, 72h, 14d or 20d5m, of at most 100 years", s)
		}
		total += d
	}
	if m[1] == "-" {
		return -total, nil
	}
	return total, nil
}

// longest bounds durations, so that sums of them stay times.
const longest = 100 * 366 * 24 * time.Hour

// moment is a time: absolute, or from the start of the test on.
type moment struct {
	absolute time.Time
	after    time.Duration
}

// UnmarshalYAML implements the decoder's interface.
func (m *moment) UnmarshalYAML(n ast.Node) error {
	written, err := text(n)
	if err != nil {
		return err
	}
	if m.absolute, err = time.Parse(time.RFC3339, written); err == nil {
		return nil
	}
	if m.after, err = parseSpan(written); err != nil {
		return placeOf(n).problem("%q is neither a time such as 2026-03-01T00:00:00Z nor a duration from the start on such as +2d", written)
	}
	return nil
}

func (m moment) from(start time.Time) time.Time {
	if !m.absolute.IsZero() {
		return m.absolute.UTC()
	}
	return start.Add(m.after)
}

// percent is a share such as 95%.
type percent float64

// UnmarshalYAML implements the decoder's interface.
func (p *percent) UnmarshalYAML(n ast.Node) error {
	written, err := text(n)
	if err != nil {
		return err
	}
	x, err := strconv.ParseFloat(strings.TrimSuffix(written, "%"), 64)
	if err != nil || !strings.HasSuffix(written, "%") || x < 0 || x > 100 {
		return placeOf(n).problem("%q is not a share such as 95%%", written)
	}
	*p = percent(x / 100)
	return nil
}

// raw is a value that is read later.
type raw struct{ node ast.Node }

// UnmarshalYAML implements the decoder's interface.
func (r *raw) UnmarshalYAML(n ast.Node) error {
	r.node = n
	return nil
}
