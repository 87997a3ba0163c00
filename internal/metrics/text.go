package metrics

import (
	"errors"
	"fmt"
	"io"
	"maps"
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

// labels are rendered once for all the series that share them: `a="x",b="y"`.
type labels string

// newLabels renders labels.
func newLabels(list ...label) labels { return labels(appendLabels(make([]byte, 0, sampleSize), list)) }

// sampleSize is about how many bytes a sample of a certificate takes.
const sampleSize = 160

// expect makes room for so many samples, so that a large fleet does not grow it bit by bit.
func (f *family) expect(samples int) {
	if f.body == nil {
		f.body = make([]byte, 0, samples*sampleSize)
	}
}

// add appends one sample with its labels, and more behind them.
func (f *family) add(value float64, shared labels, more ...label) {
	f.body = append(f.body, f.name...)
	if len(shared) > 0 || len(more) > 0 {
		f.body = append(f.body, '{')
		f.body = append(f.body, shared...)
		if len(shared) > 0 && len(more) > 0 {
			f.body = append(f.body, ',')
		}
		f.body = appendLabels(f.body, more)
		f.body = append(f.body, '}')
	}
	f.body = append(f.body, ' ')
	f.body = appendValue(f.body, value)
	f.body = append(f.body, '\n')
}

func appendLabels(b []byte, list []label) []byte {
	for i, l := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, l.name...)
		b = append(b, '=', '"')
		b = appendEscaped(b, l.value)
		b = append(b, '"')
	}
	return b
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

// appendEscaped writes a label's value: valid UTF-8 without control characters, with
// backslash, quote and line feed escaped.
func appendEscaped(b []byte, s string) []byte {
	if isPlain(s) {
		return append(b, s...)
	}
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
			if s[i] < ' ' || s[i] == 0x7f { // nothing may steer the terminal of whoever looks
				b = append(b, "\uFFFD"...)
				continue
			}
			b = append(b, s[i])
		}
	}
	return b
}

// isPlain reports whether nothing in a label's value has to be escaped, as in nearly all.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
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

// write writes the families that have samples, sorted by name, and drops each once it is
// written: a large fleet has tens of megabytes of text.
func (fs families) write(w io.Writer) error {
	for _, name := range slices.Sorted(maps.Keys(fs)) {
		f := fs[name]
		delete(fs, name)
		if len(f.body) == 0 {
			continue
		}
		_, errHead := io.WriteString(w, "# HELP "+f.name+" "+f.help+"\n# TYPE "+f.name+" gauge\n")
		_, errBody := w.Write(f.body)
		if err := errors.Join(errHead, errBody); err != nil {
			return fmt.Errorf("writing %q: %w", f.name, err)
		}
	}
	return nil
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
