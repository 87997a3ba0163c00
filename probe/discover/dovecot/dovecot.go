// Package dovecot reads Dovecot's configuration, that of 2.3 and before and that of 2.4, for the
// addresses on which it speaks TLS, and the certificates that it has there. It is called by
// package discover, and by probe/host/service. It only reads files: nothing is executed,
// nothing is resolved, and a mistake in one line does not hide the others.
package dovecot

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

const (
	maxNesting  = 100  // how deep sections may be nested
	maxIncludes = 5000 // how many lines that include files are followed
)

// Parse reads the main file and what it includes. The servers are, for each protocol, the one
// of all clients, and one for each section local_name and local that has a certificate of its
// own. The error joins every mistake, each with file:line.
func Parse(path string) ([]conf.Server, error) {
	p, err := parse(path, conf.OnDisk())
	if err != nil {
		return nil, err
	}
	return p.servers(), p.problems.Err()
}

// Read is [Parse] with everything else that the files say. A value is the one argument of its
// setting, as written but for quotes and $NAME: a file whose contents are the value has "<"
// before it. A section that stands for the beginning of its settings' names, as ssl_server
// does, is one like the others.
func Read(path string) conf.Reading {
	files := conf.OnDisk()
	p, err := parse(path, files)
	if err != nil {
		return conf.Reading{Mistakes: []conf.Mistake{{File: path, Err: err}}}
	}
	return conf.Reading{Servers: p.servers(), Directives: p.directives, Files: files.Paths(), Mistakes: p.problems.Mistakes()}
}

func parse(path string, files *conf.Files) (*parser, error) {
	p := &parser{files: files, values: map[string]string{"protocols": "imap pop3 lmtp"}}
	text, err := files.Read(path)
	if err != nil {
		return nil, fmt.Errorf("reading dovecot's configuration: %w", err)
	}
	p.readText(place{path: path}, text)
	return p, nil
}

// parser gathers settings over all files.
type parser struct {
	files      *conf.Files
	directives []conf.Directive
	values     map[string]string // those of no section, for $NAME
	includes   int
	problems   conf.Problems
}

// place is where a file is read.
type place struct {
	path  string
	depth int           // of includes
	in    *conf.Section // where the include stands
}

// readText reads the lines of one file. Sections never go on in another.
func (p *parser) readText(at place, text string) {
	in, nesting := at.in, 0
	for _, l := range splitLines(text) {
		switch {
		case strings.HasPrefix(l.text, "!"):
			p.include(place{path: at.path, depth: at.depth, in: in}, l)
		case l.text == "}":
			if nesting == 0 {
				p.problems.At(at.path, l.number, "unexpected %q", "}")
				continue
			}
			in, nesting = in.Outer, nesting-1
		case strings.HasSuffix(l.text, "{") && !strings.Contains(l.text, "="):
			if nesting++; nesting > maxNesting {
				p.problems.Limit(at.path, l.number, "sections are nested more than %d deep", maxNesting)
				return
			}
			in = p.open(at, l, in)
		default:
			p.setting(at, l, in)
		}
	}
	if nesting > 0 {
		p.problems.At(at.path, in.Line, "the section %q does not end", in.Name)
	}
}

// open reads `NAME [ARGUMENT] {`.
func (p *parser) open(at place, l line, outer *conf.Section) *conf.Section {
	words := strings.Fields(strings.TrimSuffix(l.text, "{"))
	if len(words) == 0 {
		words = []string{""}
		p.problems.At(at.path, l.number, "a section without a name")
	}
	for i := range words {
		words[i] = unquoted(words[i])
	}
	opened := &conf.Section{Name: words[0], Args: words[1:], File: at.path, Line: l.number, Outer: outer}
	p.directives = append(p.directives, conf.Directive{
		Name: words[0], Args: words[1:], In: outer, Opens: opened, File: at.path, Line: l.number,
	})
	return opened
}

// setting reads `NAME = VALUE`.
func (p *parser) setting(at place, l line, in *conf.Section) {
	name, value, ok := strings.Cut(l.text, "=")
	name = strings.TrimSpace(name)
	switch {
	case ok && strings.Contains(name, "{"):
		p.problems.At(at.path, l.number, "garbage after %q: %q", "{", l.text)
		return
	case !ok || name == "" || strings.ContainsAny(name, " \t"):
		p.problems.At(at.path, l.number, "expecting %q: %q", "=", l.text)
		return
	}
	value = p.expand(unquoted(strings.TrimSpace(value)))
	if in == nil {
		p.values[name] = value
	}
	p.directives = append(p.directives, conf.Directive{Name: name, Args: []string{value}, In: in, File: at.path, Line: l.number})
}

// expand replaces words of the form $NAME, as in `protocols = $protocols sieve`.
func (p *parser) expand(value string) string {
	if !strings.Contains(value, "$") {
		return value
	}
	words := strings.Fields(value)
	for i, word := range words {
		if name, ok := strings.CutPrefix(word, "$"); ok {
			words[i] = p.values[strings.TrimPrefix(name, "SET:")]
		}
	}
	out := strings.Join(words, " ")
	if len(out) > conf.MaxValue {
		return value
	}
	return out
}

// include reads `!include PATTERN` and `!include_try PATTERN`, which may match nothing.
func (p *parser) include(at place, l line) {
	words := strings.Fields(l.text)
	if words[0] != "!include" && words[0] != "!include_try" || len(words) < 2 {
		p.problems.At(at.path, l.number, "unknown directive %q", l.text)
		return
	}
	if p.includes++; p.includes > maxIncludes || at.depth >= conf.MaxDepth {
		p.problems.Limit(at.path, l.number, "not included: files include each other more than %d deep, or %d times", conf.MaxDepth, maxIncludes)
		return
	}
	pattern := words[1]
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(filepath.Dir(at.path), pattern)
	}
	paths, err := p.files.Glob(pattern)
	if err != nil {
		p.problems.At(at.path, l.number, "include %q: %w", pattern, err)
	}
	if len(paths) == 0 && words[0] == "!include" {
		p.problems.At(at.path, l.number, "include: nothing matches %q", pattern)
	}
	for _, path := range paths {
		text, err := p.files.Read(path)
		if err == nil {
			p.readText(place{path: path, depth: at.depth + 1, in: at.in}, text)
		} else if words[0] == "!include" {
			p.problems.At(at.path, l.number, "include: %w", err)
		}
	}
}

// line is a line with those that it continues on, without a comment and blanks around it.
type line struct {
	text   string
	number int // of its first line
}

// splitLines returns the lines that are neither blank nor comments.
func splitLines(text string) []line {
	var out []line
	var whole strings.Builder
	number, start := 0, 1
	for text := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		text = strings.TrimSpace(withoutComment(text))
		rest, more := strings.CutSuffix(text, `\`)
		whole.WriteString(rest)
		if more {
			whole.WriteByte(' ')
			continue
		}
		if text := strings.TrimSpace(whole.String()); text != "" {
			out = append(out, line{text: text, number: start})
		}
		whole.Reset()
		start = number + 1
	}
	if text := strings.TrimSpace(whole.String()); text != "" {
		out = append(out, line{text: text, number: start})
	}
	return out
}

// withoutComment cuts a line at a # that begins it or has a blank before it, outside quotes.
func withoutComment(text string) string {
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0 && c == '\\':
			i++
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '#' && (i == 0 || text[i-1] == ' ' || text[i-1] == '\t'):
			return text[:i]
		}
	}
	return text
}

func unquoted(text string) string {
	if len(text) >= 2 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0] {
		return strings.ReplaceAll(text[1:len(text)-1], `\`+text[:1], text[:1])
	}
	return text
}
