package metrics

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
)

// family is one metric family in the text format 0.0.4, which is rendered as it grows.
type family struct {
	name, help string
	body       []byte
}

// label is a name with its value, which is escaped when it is written.
type label struct{ name, value string }

// add appends one sample.
func (f *family) add(value float64, labels ...label) {
	f.body = append(f.body, f.name...)
	for i, l := range labels {
		f.body = append(f.body, "{,"[min(i, 1)])
		f.body = append(f.body, l.name...)
		f.body = append(f.body, '=', '"')
		f.body = appendEscaped(f.body, l.value)
		f.body = append(f.body, '"')
	}
	if len(labels) > 0 {
		f.body = append(f.body, '}')
	}
	f.body = append(f.body, ' ')
	f.body = appendValue(f.body, value)
	f.body = append(f.body, '\n')
}

// appendValue writes a value as expfmt does.
func appendValue(b []byte, v float64) []byte {
	switch {
	case v == 0 || v == 1 || v == -1:
		return strconv.AppendInt(b, int64(v), 10)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	case math.IsNaN(v):
		return append(b, "NaN"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// appendEscaped writes a label's value: valid UTF-8, with backslash, quote and line feed
// escaped.
func appendEscaped(b []byte, s string) []byte {
	s = strings.ToValidUTF8(s, "\uFFFD")
	for i := range len(s) {
		switch s[i] {
		case '\\':
			b = append(b, '\\', '\\')
		case '"':
			b = append(b, '\\', '"')
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, s[i])
		}
	}
	return b
}

// families is a set of gauge families.
type families map[string]*family

// gauge returns the family of a name, and creates it at the first call.
func (fs families) gauge(name, help string) *family {
	f, ok := fs[name]
	if !ok {
		f = &family{name: name, help: help}
		fs[name] = f
	}
	return f
}

// render writes the families that have samples, sorted by name.
func (fs families) render() []byte {
	names := make([]string, 0, len(fs))
	for name, f := range fs {
		if len(f.body) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var b bytes.Buffer
	for _, name := range names {
		f := fs[name]
		b.WriteString("# HELP " + f.name + " " + f.help + "\n# TYPE " + f.name + " gauge\n")
		b.Write(f.body)
	}
	return b.Bytes()
}

// labelName turns a configured label's name into one that Prometheus takes.
func labelName(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
	if clean == "" || clean[0] >= '0' && clean[0] <= '9' {
		clean = "_" + clean
	}
	return clean
}
