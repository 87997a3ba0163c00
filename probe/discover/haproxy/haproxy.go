// Package haproxy reads HAProxy's configuration for the addresses on which it speaks TLS,
// and the certificates that it has there. It is called by package discover. It only reads
// files: nothing is executed, nothing is resolved, and a mistake in one line does not hide
// the others.
package haproxy

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// maxCertificates bounds the certificates of all bind lines together.
const maxCertificates = 100_000

// Parse reads a configuration file, and the folder conf.d beside it where there is one.
// Each certificate of a bind line is a server of its own, with the names that a crt-list
// gives it; HAProxy presents a certificate also to those who ask for one of its own names.
// Relative names are meant from crt-base, else from the file's folder. The servers are
// returned in the order in which they are written; the error joins every mistake, each with
// file:line.
//
// Both branches of conditions (.if) are read. Variables are those that the configuration
// sets; a certificate whose name has another one is left out, as is one that is named
// through a crt-store (@STORE/NAME).
func Parse(path string) ([]conf.Server, error) {
	return parse(path, conf.OnDisk())
}

// Read is [Parse] with everything else that the files say. What stands in a branch of a
// condition has that as its section. Where path is a folder, its files are read in the order
// of their names, as with HAProxy's -f.
func Read(path string) conf.Reading {
	files := conf.OnDisk()
	p := &parser{files: files, folder: filepath.Dir(path), env: map[string]string{}}
	mistakes := []conf.Mistake{}
	if err := p.read(path); err != nil {
		mistakes = []conf.Mistake{{File: path, Err: err}}
	}
	servers := p.servers()
	return conf.Reading{Servers: servers, Directives: p.directives, Files: files.Paths(), Mistakes: append(mistakes, p.problems.Mistakes()...)}
}

func parse(path string, files *conf.Files) ([]conf.Server, error) {
	p := &parser{files: files, folder: filepath.Dir(path), env: map[string]string{}}
	if err := p.read(path); err != nil {
		return nil, err
	}
	return p.servers(), p.problems.Err()
}

// read reads the main file and the folder beside it; the error is that there is no main file.
func (p *parser) read(path string) error {
	if p.files.IsDir(path) {
		p.folder = path
		p.readFolder(path)
		return nil
	}
	text, err := p.files.Read(path)
	if err != nil {
		return fmt.Errorf("reading haproxy's configuration: %w", err)
	}
	p.readText(path, text)
	if more := filepath.Join(p.folder, "conf.d"); p.files.IsDir(more) {
		p.readFolder(more)
	}
	return nil
}

// sections are the words that begin one. Those that are not named here hold neither bind lines
// nor crt-base.
var sections = []string{
	"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "mailers", "userlist", "program",
	"http-errors", "ring", "log-forward", "cache", "fcgi-app", "crt-store", "traces", "log-profile", "acme",
}

// parser gathers bind lines over all files.
type parser struct {
	files    *conf.Files
	folder   string            // of the main file
	env      map[string]string // of setenv and presetenv
	crtBase  string
	binds    []bind
	count    int // of certificates
	problems conf.Problems

	directives []conf.Directive
}

// bind is a bind line with ssl.
type bind struct {
	listens  []conf.Listen
	crts     []string
	crtLists []string
	file     string
	line     int
}

func (p *parser) readFolder(dir string) {
	paths, err := p.files.List(dir)
	if err != nil {
		p.problems.Add(fmt.Errorf("reading haproxy's configuration: %w", err))
	}
	for _, path := range paths {
		if filepath.Ext(path) != ".cfg" {
			continue
		}
		text, err := p.files.Read(path)
		if err != nil {
			p.problems.Add(fmt.Errorf("reading haproxy's configuration: %w", err))
			continue
		}
		p.readText(path, text)
	}
}

// readText reads the sections of one file; none goes on in another.
func (p *parser) readText(path, text string) {
	var in *conf.Section
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		words, err := splitWords(strings.TrimRight(line, "\r\n"), p.env)
		if err != nil {
			p.problems.At(path, number, "%v", err)
		}
		if len(words) == 0 {
			continue
		}
		d := conf.Directive{Name: words[0], Args: words[1:], In: in, File: path, Line: number}
		in = p.section(&d)
		p.directives = append(p.directives, d)
		section := in.Within(sections...)
		switch {
		case section == nil || d.Opens != nil || len(words) == 1:
		case section.Name == "global":
			p.global(words)
		case words[0] == "bind" && (section.Name == "frontend" || section.Name == "listen"):
			p.bind(words[1:], path, number)
		}
	}
}

// section returns the section behind a directive, and notes the one that it opens. Sections
// end where another begins, and branches of conditions where their line says so.
func (p *parser) section(d *conf.Directive) *conf.Section {
	opened := &conf.Section{Name: d.Name, Args: d.Args, File: d.File, Line: d.Line}
	branch := d.In.Within(".if")
	switch {
	case slices.Contains(sections, d.Name):
		opened.Outer = branch
		d.In = branch
	case d.Name == ".if":
		opened.Outer = d.In
	case d.Name == ".endif" && branch != nil:
		return behind(branch, d.In)
	default:
		return d.In
	}
	d.Opens = opened
	return opened
}

func (p *parser) global(words []string) {
	switch words[0] {
	case "crt-base":
		p.crtBase = words[1]
	case "setenv":
		p.env[words[1]] = strings.Join(words[2:], " ")
	case "presetenv":
		if _, ok := p.env[words[1]]; !ok {
			p.env[words[1]] = strings.Join(words[2:], " ")
		}
	}
}

// behind returns the section that goes on behind a condition: the one that stood before it, or
// the one that began in it.
func behind(branch, in *conf.Section) *conf.Section {
	if in == branch {
		return branch.Outer
	}
	began := *in
	began.Outer = branch.Outer
	return &began
}

// bind records a line `bind ADDRESS[,ADDRESS...] [PARAMETER...]` that has ssl.
func (p *parser) bind(words []string, path string, line int) {
	b := bind{file: path, line: line}
	tls := false
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "ssl":
			tls = true
		case "crt", "crt-list":
			if i+1 == len(words) {
				p.problems.At(path, line, "%q without a path", words[i])
				continue
			}
			i++
			if words[i-1] == "crt" {
				b.crts = append(b.crts, words[i])
			} else {
				b.crtLists = append(b.crtLists, words[i])
			}
		}
	}
	for address := range strings.SplitSeq(words[0], ",") {
		if l, ok := listenOf(address); ok && tls && !slices.Contains(b.listens, l) {
			b.listens = append(b.listens, l)
		}
	}
	if len(b.listens) > 0 {
		p.binds = append(p.binds, b)
	}
}

// listenOf reads an address of a bind line. Sockets of other kinds (unix@, abns@, fd@ and
// their like) are none that a client connects to.
func listenOf(address string) (conf.Listen, bool) {
	l := conf.Listen{Protocol: "tls"}
	family, rest, ok := strings.Cut(address, "@")
	if ok {
		address = rest
	}
	switch {
	case !ok && strings.HasPrefix(address, "/"):
		return l, false
	case !ok || family == "ipv4" || family == "ipv6" || family == "tcp" || family == "tcp4" || family == "tcp6":
	case family == "quic4" || family == "quic6":
		l.Protocol = "quic"
	default:
		return l, false
	}
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return l, false
	}
	host := strings.Trim(address[:colon], "[]")
	port, _, _ := strings.Cut(address[colon+1:], "-")
	if port == "" || strings.Trim(port, "0123456789") != "" {
		return l, false
	}
	switch {
	case host == "" && strings.HasSuffix(family, "6") && ok, host == "::":
		l.Address = "[::]:" + port
	case host == "" || host == "*" || host == "0.0.0.0":
		l.Address = "*:" + port
	case strings.Contains(host, ":"):
		l.Address = "[" + host + "]:" + port
	default:
		l.Address = host + ":" + port
	}
	return l, true
}

// servers makes the result once all is read. The first certificate of a bind line is the
// default; a line without one has none.
func (p *parser) servers() []conf.Server {
	var out []conf.Server
	for _, b := range p.binds {
		first := len(out)
		for _, crt := range b.crts {
			out = p.addCertificates(out, b, p.absolute(crt), nil)
		}
		for _, list := range b.crtLists {
			out = p.addList(out, b, p.listPath(list))
		}
		for i := first; i < len(out); i++ {
			out[i].Listen = slices.Clone(b.listens)
			for j := range out[i].Listen {
				out[i].Listen[j].Default = i == first
			}
		}
	}
	return out
}

// listPath returns where a crt-list is: crt-base does not count for it.
func (p *parser) listPath(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.folder, path)
}

// absolute returns the path of a certificate; a variable that is not known or a name of a
// store makes none.
func (p *parser) absolute(crt string) string {
	if crt == "" || strings.HasPrefix(crt, "@") || strings.Contains(crt, "${") {
		return ""
	}
	if filepath.IsAbs(crt) {
		return filepath.Clean(crt)
	}
	return filepath.Join(cmp.Or(p.crtBase, p.folder), crt)
}
