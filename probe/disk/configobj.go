package disk

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Setting is one value of a renewal configuration. Values has one element for a plain
// value and any number for a list, which ConfigObj marks with a comma.
type Setting struct {
	Values []string
	List   bool
	Line   int // counted from 1
}

// String returns the value, or a list's values joined with commas.
func (s Setting) String() string { return strings.Join(s.Values, ",") }

// section is a parsed ConfigObj section; keys of nested sections are not kept apart
// further than one level, which is all that certbot writes.
type section map[string]Setting

// configObj parses the part of ConfigObj's syntax that renewal files use: keys at the
// top, [sections], [[nested sections]], comments, quotes, triple quotes and lists.
// Nested sections are keyed by "outer/inner", the top by "". All mistakes are
// returned, joined, and what could be read besides them as well.
func configObj(name string, data []byte) (map[string]section, error) {
	p := &configParser{name: name, sections: map[string]section{"": {}}}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	p.lines = strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	for p.at < len(p.lines) {
		line := strings.TrimSpace(p.lines[p.at])
		p.at++
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			p.openSection(line)
		default:
			p.keyValue(line)
		}
	}
	return p.sections, errors.Join(p.errs...)
}

type configParser struct {
	name     string
	lines    []string
	at       int // the number of lines consumed, so the current line's number
	path     []string
	sections map[string]section
	errs     []error
}

func (p *configParser) fail(line int, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %s", p.name, line, fmt.Sprintf(format, args...)))
}

func (p *configParser) openSection(line string) {
	inner := strings.TrimLeft(line, "[ \t")
	depth := strings.Count(line[:len(line)-len(inner)], "[")
	end := strings.IndexByte(inner, ']')
	if end < 0 {
		p.fail(p.at, "section heading without a closing bracket")
		return
	}
	closing := inner[end:]
	if i := strings.IndexByte(closing, '#'); i >= 0 {
		closing = closing[:i]
	}
	name := strings.Trim(strings.TrimSpace(inner[:end]), `"'`)
	if strings.Count(closing, "]") != depth || strings.Trim(closing, "] \t") != "" || name == "" {
		p.fail(p.at, "malformed section heading")
		return
	}
	if depth > len(p.path)+1 {
		p.fail(p.at, "section %q is nested too deeply", name)
		return
	}
	p.path = append(p.path[:depth-1:depth-1], name)
	key := strings.Join(p.path, "/")
	if p.sections[key] != nil {
		p.fail(p.at, "section %q is there twice", name)
		return
	}
	p.sections[key] = section{}
}

func (p *configParser) keyValue(line string) {
	number := p.at
	key, value, ok := strings.Cut(line, "=")
	key = strings.Trim(strings.TrimSpace(key), `"'`)
	if !ok || key == "" {
		p.fail(number, "neither a section, a comment nor key = value")
		return
	}
	setting, err := p.value(strings.TrimSpace(value))
	if err != nil {
		p.fail(number, "%q: %v", key, err)
		return
	}
	setting.Line = number
	here := p.sections[strings.Join(p.path, "/")]
	if here == nil {
		return // below a heading that was refused already
	}
	if _, twice := here[key]; twice {
		p.fail(number, "key %q is there twice", key)
		return
	}
	here[key] = setting
}

func (p *configParser) value(text string) (Setting, error) {
	for _, quote := range []string{`"""`, `'''`} {
		if rest, ok := strings.CutPrefix(text, quote); ok {
			return p.tripleQuoted(rest, quote)
		}
	}
	return splitValue(text)
}

// tripleQuoted reads on, over following lines if need be, to the closing quotes.
func (p *configParser) tripleQuoted(text, quote string) (Setting, error) {
	for {
		if value, ok := cutClosing(text, quote); ok {
			return Setting{Values: []string{value}}, nil
		}
		if strings.Contains(text, quote) {
			return Setting{}, errors.New("text after the closing quotes")
		}
		if p.at >= len(p.lines) {
			return Setting{}, errors.New("the triple quotes are never closed")
		}
		text += "\n" + p.lines[p.at]
		p.at++
	}
}

// cutClosing cuts the text at the first closing quotes that end the value. The value
// itself may end with one or two of them, which is why the first need not be the one.
func cutClosing(text, quote string) (value string, ok bool) {
	for end := 0; end+len(quote) <= len(text); end++ {
		if strings.HasPrefix(text[end:], quote) && isCommentOrEmpty(text[end+len(quote):]) {
			return text[:end], true
		}
	}
	return "", false
}

// splitValue parses a value of one line: a string or a list, quoted or not, with an
// optional comment behind it.
func splitValue(text string) (Setting, error) {
	if text != "" && !strings.ContainsAny(text, `,#"'`) {
		return Setting{Values: []string{text}}, nil
	}
	s := Setting{Values: []string{}}
	if after, ok := strings.CutPrefix(text, ","); ok && isCommentOrEmpty(after) {
		s.List = true
		return s, nil
	}
	for rest := text; !isCommentOrEmpty(rest); {
		value, after, err := listItem(strings.TrimLeft(rest, " \t"))
		if err != nil {
			return Setting{}, err
		}
		s.Values = append(s.Values, value)
		var comma bool
		rest, comma = strings.CutPrefix(after, ",")
		s.List = s.List || comma
	}
	if len(s.Values) == 0 {
		s.Values = []string{""}
	}
	return s, nil
}

// listItem takes one item off the text. What is left begins with a comma, with a
// comment, or is empty.
func listItem(text string) (item, rest string, err error) {
	if text[0] == ',' {
		return "", "", errors.New("empty item in a list")
	}
	if text[0] == '"' || text[0] == '\'' {
		return quotedItem(text)
	}
	end := strings.IndexAny(text, ",#")
	if end < 0 {
		end = len(text)
	}
	return strings.TrimSpace(text[:end]), text[end:], nil
}

// quotedItem ends at the first closing quote behind which an item may end, because
// ConfigObj allows the quote itself inside.
func quotedItem(text string) (item, rest string, err error) {
	for end := 1; end < len(text); end++ {
		if text[end] != text[0] {
			continue
		}
		after := strings.TrimLeft(text[end+1:], " \t")
		if after == "" || after[0] == ',' || after[0] == '#' {
			return text[1:end], after, nil
		}
	}
	return "", "", errors.New("a quoted value that does not end")
}

func isCommentOrEmpty(text string) bool {
	text = strings.TrimSpace(text)
	return text == "" || text[0] == '#'
}
