// Package postfix reads Postfix's configuration for the addresses on which it speaks TLS, and
// the certificates that it has there. It is called by package discover, and by
// probe/host/service. It only reads files: nothing is executed, nothing is resolved, and a
// mistake in one line does not hide the others.
package postfix

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// Reading is what main.cf and the master.cf beside it say.
type Reading struct {
	conf.Reading
	Tables []Table
}

// Parse reads main.cf and the master.cf beside it. Each service of master.cf that speaks TLS is
// a server without names, and so is each name of a table of tls_server_sni_maps, with it. The
// error joins every mistake, each with file:line.
func Parse(path string) ([]conf.Server, error) {
	p, err := parse(path, conf.OnDisk())
	if err != nil {
		return nil, err
	}
	return p.servers(), p.problems.Err()
}

// Read is [Parse] with everything else that the files say. A parameter of main.cf stands in no
// section, one of an -o in that of its service; its argument is the value with every
// parameter that is known in place of its name.
func Read(path string) Reading {
	files := conf.OnDisk()
	p, err := parse(path, files)
	if err != nil {
		return Reading{Reading: conf.Reading{Mistakes: []conf.Mistake{{File: path, Err: err}}}}
	}
	servers := p.servers()
	return Reading{
		Reading: conf.Reading{Servers: servers, Directives: p.directives(), Files: files.Paths(), Mistakes: p.problems.Mistakes()},
		Tables:  p.tables,
	}
}

func parse(path string, files *conf.Files) (*parser, error) {
	dir := filepath.Dir(path)
	p := &parser{files: files, dir: dir, main: parameters{}, read: map[string]bool{}}
	text, err := files.Read(path)
	if err != nil {
		return nil, fmt.Errorf("reading postfix's configuration: %w", err)
	}
	p.readMain(path, text)
	master := filepath.Join(dir, "master.cf")
	if text, err = files.Read(master); err != nil {
		p.problems.Add(fmt.Errorf("reading postfix's configuration: %w", err))
		return p, nil
	}
	p.readMaster(master, text)
	return p, nil
}

// parser gathers parameters and services over both files.
type parser struct {
	files    *conf.Files
	dir      string
	main     parameters
	written  []parameter // of main.cf, in order
	services []service
	tables   []Table
	entries  map[string][]entry // of tables, by their sources
	read     map[string]bool    // tables
	problems conf.Problems
}

// parameter is one setting, as written.
type parameter struct {
	name, value string
	file        string
	line        int
}

// parameters are those that hold, by their names.
type parameters map[string]parameter

// service is a line of master.cf.
type service struct {
	name, kind, command string // such as smtps, inet, smtpd
	options             []parameter
	section             *conf.Section
}

// line is a line with those that continue it, without the comments between them.
type line struct {
	text   string
	number int // of its first line
}

// splitLines returns the lines that are neither blank nor comments. A line that begins with a
// blank continues the one before.
func splitLines(text string) []line {
	var out []line
	number := 0
	for text := range strings.Lines(text) {
		number++
		text = strings.TrimRight(text, " \t\r\n")
		bare := strings.TrimLeft(text, " \t")
		switch {
		case bare == "" || bare[0] == '#':
		case bare == text || len(out) == 0:
			out = append(out, line{text: bare, number: number})
		default:
			out[len(out)-1].text += " " + bare
		}
	}
	return out
}

func (p *parser) readMain(path, text string) {
	for _, l := range splitLines(text) {
		name, value, ok := strings.Cut(l.text, "=")
		if !ok {
			p.problems.At(path, l.number, "missing '=' after attribute name: %q", l.text)
			continue
		}
		name = strings.TrimSpace(name)
		if name == "" {
			p.problems.At(path, l.number, "missing attribute name: %q", l.text)
			continue
		}
		param := parameter{name: name, value: strings.TrimSpace(value), file: path, line: l.number}
		p.main[name] = param
		p.written = append(p.written, param)
	}
}

// readMaster reads lines of the form `NAME TYPE PRIVATE UNPRIV CHROOT WAKEUP MAXPROC COMMAND`.
func (p *parser) readMaster(path, text string) {
	for _, l := range splitLines(text) {
		words := fields(l.text)
		if len(words) < 8 {
			p.problems.At(path, l.number, "bad field count: %q has %d of 8 fields", l.text, len(words))
			continue
		}
		if !isKind(words[1]) || !isFlag(words[2]) || !isFlag(words[3]) || !isFlag(words[4]) {
			p.problems.At(path, l.number, "%q is no line of a service: its type is %q, private, unprivileged and chroot are %q", words[0], words[1], words[2:5])
			continue
		}
		s := service{name: words[0], kind: words[1], command: words[7]}
		s.section = &conf.Section{Name: words[0], Args: words[1:8], File: path, Line: l.number}
		s.options = options(words[8:], path, l.number)
		p.services = append(p.services, s)
	}
}

func isKind(text string) bool {
	return slices.Contains([]string{"inet", "unix", "unix-dgram", "fifo", "pass"}, text)
}

func isFlag(text string) bool { return text == "y" || text == "n" || text == "-" }

// fields splits a line at its blanks, but for those within braces.
func fields(text string) []string {
	var out []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimLeft(text, " \t") {
		end := strings.IndexAny(text, " \t")
		if text[0] == '{' {
			end = closing(text) + 1
		}
		if end <= 0 {
			end = len(text)
		}
		out = append(out, text[:end])
		text = text[end:]
	}
	return out
}

// closing returns where the brace that begins a text ends; -1 where it does not.
func closing(text string) int {
	depth := 0
	for i, c := range []byte(text) {
		switch c {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// options reads `-o NAME=VALUE`, `-oNAME=VALUE` and `-o { NAME = VALUE }`.
func options(words []string, path string, number int) []parameter {
	var out []parameter
	for i := 0; i < len(words); i++ {
		text, ok := strings.CutPrefix(words[i], "-o")
		if !ok {
			continue
		}
		if text == "" && i+1 < len(words) {
			i++
			text = words[i]
		}
		text = strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}")
		if name, value, ok := strings.Cut(text, "="); ok {
			out = append(out, parameter{name: strings.TrimSpace(name), value: strings.TrimSpace(value), file: path, line: number})
		}
	}
	return out
}

// directives tells of all parameters, those of main.cf first.
func (p *parser) directives() []conf.Directive {
	var out []conf.Directive
	main := values{p.main}
	for _, param := range p.written {
		out = append(out, conf.Directive{Name: param.name, Args: []string{main.expand(param.value)}, File: param.file, Line: param.line})
	}
	for _, s := range p.services {
		out = append(out, conf.Directive{Name: s.name, Args: s.section.Args, Opens: s.section, File: s.section.File, Line: s.section.Line})
		own := p.valuesOf(s)
		for _, param := range s.options {
			out = append(out, conf.Directive{Name: param.name, Args: []string{own.expand(param.value)}, In: s.section, File: param.file, Line: param.line})
		}
	}
	return out
}
