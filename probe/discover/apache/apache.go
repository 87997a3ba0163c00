// Package apache reads the configuration of Apache's httpd for the virtual hosts that speak
// TLS: on which addresses, under which names, with which certificates. It is called by
// package discover. It only reads files, and what `apachectl -S` printed: nothing is executed,
// nothing is resolved, and a mistake in one file does not hide the hosts of the others.
//
// Certificates that mod_md obtains are in its own store and belong to no file that the
// configuration names: their hosts have none here.
package apache

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

const (
	maxNesting = 100       // how deep sections may be nested
	maxListens = 1000      // how many addresses are listened on
	maxLines   = 1_000_000 // how many lines are read, those of macros each time they are used
)

// Parse reads a main configuration file and what it includes, with the variables of the
// file envvars beside it, as Debian has them. The servers are returned in the order in
// which they are written, the main server last; the error joins every mistake, each with
// file:line.
func Parse(path string) ([]conf.Server, error) {
	return parse(path, conf.OnDisk(), status{})
}

// Read is [Parse] with everything else that the files say, but for sections whose condition
// does not hold and for code (<Perl>).
func Read(path string) conf.Reading {
	files := conf.OnDisk()
	p := newParser(path, files)
	servers, err := p.read(path, status{})
	mistakes := p.problems.Mistakes()
	if err != nil {
		mistakes = []conf.Mistake{{File: path, Err: err}}
	}
	return conf.Reading{Servers: servers, Directives: p.directives, Files: files.Paths(), Mistakes: mistakes}
}

// ParseWith is [Parse] with what `apachectl -S` printed: the server's folder, the names that
// are defined on its command line, the virtual hosts that it has, and which of them are the
// default. The certificates are those of the files, for the output does not name them.
func ParseWith(path string, output []byte) ([]conf.Server, error) {
	known, err := parseStatus(string(output))
	if err != nil {
		return nil, err
	}
	return parse(path, conf.OnDisk(), known)
}

func parse(path string, files *conf.Files, known status) ([]conf.Server, error) {
	p := newParser(path, files)
	servers, err := p.read(path, known)
	if err != nil {
		return nil, err
	}
	return servers, p.problems.Err()
}

func newParser(path string, files *conf.Files) *parser {
	return &parser{
		files:   files,
		root:    filepath.Dir(path),
		vars:    map[string]string{},
		modules: map[string]bool{},
		macros:  map[string]macro{},
		main:    &host{file: path, line: 1},
	}
}

// read reads the main file; the error is that there is none.
func (p *parser) read(path string, known status) ([]conf.Server, error) {
	p.environment(p.root)
	if filepath.Base(p.root) == "conf" { // ServerRoot/conf/httpd.conf
		p.root = filepath.Dir(p.root)
	}
	if known.root != "" {
		p.root = known.root
	}
	maps.Copy(p.vars, known.defines)
	text, err := p.files.Read(path)
	if err != nil {
		return nil, fmt.Errorf("reading apache's configuration: %w", err)
	}
	p.readText(place{path: path}, text, p.main)
	return p.servers(known), nil
}

// parser gathers virtual hosts over all files.
type parser struct {
	files    *conf.Files
	root     string            // ServerRoot, from which relative names are meant
	vars     map[string]string // defined names, and the environment
	modules  map[string]bool   // loaded, by their identifiers
	macros   map[string]macro  // by their names in lower case
	main     *host
	hosts    []*host
	listens  []listen
	lines    int
	problems conf.Problems

	directives []conf.Directive
}

// host is a virtual host, or the main server, with the settings that count here.
type host struct {
	addresses []string // as written, host:port or host
	names     []string
	engine    string // SSLEngine, in lower case; empty where it is not set
	certs     []string
	keys      []string
	file      string
	line      int
	macro     bool // made by a macro
}

// listen is one Listen directive.
type listen struct {
	address  string // in the form of [conf.Listen]
	protocol string // https or another; empty where it is not set
}

// place is where a piece of the configuration is read.
type place struct {
	path  string
	depth int  // of includes and macros
	macro bool // in a macro that is used
	in    *conf.Section
}

// origin is the place of a directive that includes files.
type origin struct {
	path string
	line int
}

// section is an open section. Directives of a section that is off are passed over.
type section struct {
	name string // in lower case
	line int
	host *host
	in   *conf.Section // itself
	off  bool
}

func (p *parser) readText(at place, text string, h *host) { p.readLines(at, splitLines(text), h) }

// readLines reads directives and sections. Sections never go on in another file.
func (p *parser) readLines(at place, lines []line, h *host) {
	open := []section{{host: h, in: at.in}}
	for i := 0; i < len(lines); i++ {
		l := lines[i]
		if p.lines++; p.lines > maxLines {
			p.tooManyLines(at, l)
			return
		}
		inner := open[len(open)-1]
		switch {
		case strings.HasPrefix(l.text, "</"):
			open = p.closeSection(at, l, open)
		case isMacro(l.text):
			i += p.defineMacro(at, lines[i:], inner.off)
		case strings.HasPrefix(l.text, "<"):
			if len(open) > maxNesting {
				p.problems.Limit(at.path, l.number, "sections are nested more than %d deep", maxNesting)
				return
			}
			open = p.openSection(at, l, open)
		case !inner.off:
			at.in = inner.in
			p.directive(at, l, inner.host)
		}
	}
	if last := open[len(open)-1]; last.name != "" {
		p.problems.At(at.path, last.line, "the section %q does not end", last.name)
	}
}

func (p *parser) tooManyLines(at place, l line) {
	if p.lines == maxLines+1 {
		p.problems.Limit(at.path, l.number, "not read on: the configuration has more than %d lines", maxLines)
	}
}

func (p *parser) closeSection(at place, l line, open []section) []section {
	name := strings.ToLower(strings.Trim(l.text, "</> \t"))
	if innermost := open[len(open)-1]; name == "" || innermost.name != name {
		p.problems.At(at.path, l.number, "unexpected %q", l.text)
		return open
	}
	return open[:len(open)-1]
}

// openSection appends the section that a line opens. Those that are not named here (such
// as Directory and Location) hold no virtual hosts and no certificates: what they say is
// that of no host.
func (p *parser) openSection(at place, l line, open []section) []section {
	words := p.words(strings.TrimSuffix(l.text[1:], ">"))
	if len(words) == 0 {
		p.problems.At(at.path, l.number, "a section without a name")
		return open
	}
	outer := open[len(open)-1]
	s := section{name: strings.ToLower(words[0]), line: l.number, host: outer.host, off: outer.off}
	if s.off {
		return append(open, s)
	}
	s.in = &conf.Section{Name: words[0], Args: words[1:], File: at.path, Line: l.number, Outer: outer.in}
	p.directives = append(p.directives, conf.Directive{
		Name: words[0], Args: words[1:], In: outer.in, Opens: s.in, File: at.path, Line: l.number,
	})
	switch args := words[1:]; s.name {
	case "ifmodule", "ifdefine", "ifversion", "iffile":
		s.off = len(args) == 0 || !p.holds(s.name, args)
	case "virtualhost":
		s.host = &host{addresses: args, file: at.path, line: l.number, macro: at.macro}
		p.hosts = append(p.hosts, s.host)
	case "perl":
		s.off = true
	default:
		s.host = &host{}
	}
	return append(open, s)
}

// holds says whether the condition of a section holds.
func (p *parser) holds(section string, args []string) bool {
	arg, negated := strings.CutPrefix(args[0], "!")
	held := false
	switch section {
	case "ifmodule":
		held = p.loaded(arg)
	case "ifdefine":
		_, held = p.vars[arg]
	case "iffile":
		held = p.files.Exists(p.absolute(arg))
	case "ifversion": // what is in use today is newer than what anybody asks for
		held = !strings.HasPrefix(arg, "<")
	}
	return held != negated
}

// loaded reports whether a module is there, by its identifier or the name of its source.
// A configuration that loads none is that of a server that has them built in, as the ones
// of Debian and Red Hat have those that are named here.
func (p *parser) loaded(module string) bool {
	if source, ok := strings.CutSuffix(module, ".c"); ok {
		module = strings.TrimPrefix(source, "mod_") + "_module"
	}
	builtIn := []string{"so_module", "http_module", "log_config_module", "logio_module", "unixd_module", "version_module", "watchdog_module"}
	return len(p.modules) == 0 || p.modules[module] || slices.Contains(builtIn, module)
}

func (p *parser) directive(at place, l line, h *host) {
	words := p.words(l.text)
	if len(words) == 0 { // of a macro, whose parameter is empty
		return
	}
	p.directives = append(p.directives, conf.Directive{Name: words[0], Args: words[1:], In: at.in, File: at.path, Line: l.number})
	if len(words) < 2 {
		return
	}
	arg := words[1]
	switch strings.ToLower(words[0]) {
	case "include":
		p.include(at, l, arg, h)
	case "includeoptional":
		p.includeOptional(at, l, arg, h)
	case "use":
		p.useMacro(at, l, words[1:], h)
	case "serverroot":
		p.root = p.absolute(arg)
	case "define":
		p.vars[arg] = strings.Join(words[2:], " ")
	case "undefine":
		delete(p.vars, arg)
	case "loadmodule":
		p.modules[arg] = true
	case "listen":
		p.listen(words[1:])
	default:
		h.set(strings.ToLower(words[0]), words[1:])
	}
}

// set records a directive of a host.
func (h *host) set(directive string, args []string) {
	switch directive {
	case "servername":
		h.names = append([]string{bareName(args[0])}, h.names...)
	case "serveralias":
		h.names = append(h.names, args...)
	case "sslengine":
		h.engine = strings.ToLower(args[0])
	case "sslcertificatefile":
		h.certs = append(h.certs, args[0])
	case "sslcertificatekeyfile":
		h.keys = append(h.keys, args[0])
	}
}

// bareName removes the scheme and the port that ServerName may have.
func bareName(name string) string {
	if _, rest, ok := strings.Cut(name, "://"); ok {
		name = rest
	}
	name, _, _ = strings.Cut(name, ":")
	return name
}

func (p *parser) include(at place, l line, pattern string, h *host) {
	if !p.includeOptional(at, l, pattern, h) {
		p.problems.At(at.path, l.number, "include %q: there is no such file", pattern)
	}
}

// includeOptional reads the files that a pattern names, folders in full. It reports
// whether there is any.
func (p *parser) includeOptional(at place, l line, pattern string, h *host) bool {
	paths, err := p.files.Glob(p.absolute(pattern))
	if err != nil {
		p.problems.At(at.path, l.number, "include %q: %w", pattern, err)
		return true
	}
	from := origin{path: at.path, line: l.number}
	for _, path := range paths {
		p.includePath(place{path: path, depth: at.depth + 1, in: at.in}, h, from)
	}
	return len(paths) > 0
}

// includePath reads a file, or the files of a folder and of those in it. From is the
// directive's place.
func (p *parser) includePath(at place, h *host, from origin) {
	if at.depth > conf.MaxDepth {
		p.problems.Limit(from.path, from.line, "files include each other more than %d deep", conf.MaxDepth)
		return
	}
	if !p.files.IsDir(at.path) {
		text, err := p.files.Read(at.path)
		if err != nil {
			p.problems.At(from.path, from.line, "include: %w", err)
			return
		}
		p.readText(place{path: at.path, depth: at.depth, in: at.in}, text, h)
		return
	}
	paths, err := p.files.List(at.path)
	if err != nil {
		p.problems.At(from.path, from.line, "include: %w", err)
	}
	for _, path := range paths {
		p.includePath(place{path: path, depth: at.depth + 1, in: at.in}, h, from)
	}
}

func (p *parser) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.root, path)
}
