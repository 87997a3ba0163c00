// Package nginx reads nginx's configuration files for the servers that speak TLS: on
// which addresses, under which names, with which certificates. It is called by package
// discover. It only reads files: nothing is executed, nothing is resolved, and a
// mistake in one file does not hide the servers of the others.
package nginx

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Server is one server block that listens with TLS.
type Server struct {
	Names        []string // of server_name, as written
	Listen       []string // host:port of its TLS listens; the host is "*" for every IPv4 address
	Certificates []Pair   // more than one where there is one for each kind of key
	File         string   // where the block begins
	Line         int
}

// Pair is a certificate's file with its key's. Paths are absolute where that of the
// main file was.
type Pair struct{ Cert, Key string }

// The bounds of a configuration: how deep files may include each other, how many there
// may be, how large one may be, in bytes, and how deep blocks may be nested.
const (
	maxDepth    = 16
	maxFiles    = 2000
	maxFileSize = 8 << 20
	maxNesting  = 100
)

// Parse reads a main configuration file and what it includes. Relative names are meant
// from the main file's folder, as nginx means them. The servers are returned in the
// order in which they are written; the error joins every mistake, each with file:line.
func Parse(path string) ([]Server, error) {
	p := &parser{prefix: filepath.Dir(path), tls: map[string]bool{}}
	p.readFile(path, &block{}, 0)
	return p.servers(), errors.Join(p.errs...)
}

// parser gathers server blocks over all files.
type parser struct {
	prefix string
	files  int
	found  []*block
	tls    map[string]bool // addresses that any server listens on with ssl
	errs   []error
}

// block is a block of the configuration with the settings that count here.
type block struct {
	kind      string // the directive that opened it, empty for the top
	outer     *block
	file      string
	line      int
	names     []string
	listens   []listen
	certs     []string
	keys      []string
	sslSwitch string // of the old directive `ssl on`
}

type listen struct {
	address string
	tls     bool
}

// input is a file that is being read.
type input struct {
	lexer
	path  string
	depth int // of includes
}

func (p *parser) fail(path string, line int, format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %w", path, line, fmt.Errorf(format, args...)))
}

func (p *parser) readFile(path string, in *block, depth int) {
	p.files++
	if p.files > maxFiles {
		if p.files == maxFiles+1 {
			p.errs = append(p.errs, fmt.Errorf("%s: more than %d files", path, maxFiles))
		}
		return
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s: not a regular file", path)
	case info.Size() > maxFileSize:
		err = fmt.Errorf("%s: larger than %d bytes", path, maxFileSize)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		p.errs = append(p.errs, fmt.Errorf("reading nginx's configuration: %w", err))
		return
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	p.readBlock(&input{lexer: lexer{text: text, line: 1}, path: path, depth: depth}, in, 0)
}

// readBlock reads directives up to the block's end, or the file's for nesting 0. It
// reports whether reading can go on behind it.
func (p *parser) readBlock(in *input, b *block, nesting int) bool {
	var words []token
	for {
		tok, ok, err := in.next()
		switch {
		case err != nil:
			p.errs = append(p.errs, fmt.Errorf("%s:%w", in.path, err))
			return false
		case !ok:
			return p.atEnd(in, b, words, nesting)
		case tok.is(";"):
			p.directive(in, b, words)
			words = nil
		case tok.is("}"):
			if nesting == 0 || len(words) > 0 {
				p.fail(in.path, tok.line, "unexpected %q", "}")
			}
			return nesting > 0
		case tok.is("{"):
			if !p.openBlock(in, b, words, nesting+1) {
				return false
			}
			words = nil
		default:
			words = append(words, tok)
		}
	}
}

func (p *parser) atEnd(in *input, b *block, words []token, nesting int) bool {
	switch {
	case len(words) > 0:
		p.fail(in.path, words[0].line, "the directive %q does not end", words[0].text)
	case nesting > 0:
		p.fail(in.path, b.line, "the block %q does not end", b.kind)
	}
	return false
}

func (p *parser) openBlock(in *input, outer *block, words []token, nesting int) bool {
	b := &block{outer: outer, file: in.path, line: in.line}
	if len(words) > 0 {
		b.kind, b.line = words[0].text, words[0].line
	}
	if nesting > maxNesting {
		p.fail(in.path, b.line, "blocks are nested more than %d deep", maxNesting)
		return false
	}
	if strings.HasSuffix(b.kind, "_by_lua_block") {
		if err := in.skipCode(); err != nil {
			p.errs = append(p.errs, fmt.Errorf("%s:%w", in.path, err))
			return false
		}
		return true
	}
	if b.kind == "server" && isProtocol(outer.kind) {
		p.found = append(p.found, b)
	}
	return p.readBlock(in, b, nesting)
}

// isProtocol reports whether a block holds server blocks of the kind meant here, and
// not those of an upstream.
func isProtocol(kind string) bool {
	return slices.Contains([]string{"http", "stream", "mail"}, kind)
}

func (p *parser) directive(in *input, b *block, words []token) {
	if len(words) < 2 {
		return
	}
	arg := words[1].text
	switch words[0].text {
	case "include":
		p.include(in, b, words[1])
	case "ssl_certificate":
		b.certs = append(b.certs, arg)
	case "ssl_certificate_key":
		b.keys = append(b.keys, arg)
	case "ssl":
		b.sslSwitch = arg
	case "server_name":
		for _, name := range words[1:] {
			b.names = append(b.names, name.text)
		}
	case "listen":
		p.listen(b, words[1:])
	}
}

func (p *parser) include(in *input, b *block, arg token) {
	pattern := p.absolute(arg.text)
	if in.depth >= maxDepth {
		p.fail(in.path, arg.line, "files include each other more than %d deep", maxDepth)
		return
	}
	if !strings.ContainsAny(pattern, "*?[") {
		if _, err := os.Stat(pattern); err != nil {
			p.fail(in.path, arg.line, "include: %w", err)
			return
		}
		p.readFile(pattern, b, in.depth+1)
		return
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		p.fail(in.path, arg.line, "include %q: %w", pattern, err)
	}
	for _, file := range files {
		p.readFile(file, b, in.depth+1)
	}
}

func (p *parser) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.prefix, path)
}

// listen records a listening address. Sockets in the file system and QUIC are of no
// use to a client that speaks TLS over TCP.
func (p *parser) listen(b *block, words []token) {
	address := hostPort(words[0].text)
	tls, quic := false, false
	for _, word := range words[1:] {
		tls = tls || word.text == "ssl"
		quic = quic || word.text == "quic" || word.text == "http3"
	}
	if address == "" || quic {
		return
	}
	b.listens = append(b.listens, listen{address, tls})
	if tls {
		p.tls[address] = true
	}
}

// hostPort completes the address of a listen directive; empty for a Unix socket.
func hostPort(text string) string {
	switch {
	case strings.HasPrefix(text, "unix:"):
		return ""
	case strings.HasPrefix(text, "["):
		if strings.HasSuffix(text, "]") {
			return text + ":80"
		}
		return firstPort(text)
	case strings.Contains(text, ":"):
		return firstPort(text)
	case strings.Trim(text, "0123456789-") == "":
		return firstPort("*:" + text)
	default:
		return text + ":80"
	}
}

// firstPort cuts a range of ports down to its first.
func firstPort(address string) string {
	colon := strings.LastIndexByte(address, ':')
	port, _, _ := strings.Cut(address[colon+1:], "-")
	address = address[:colon+1] + port
	if rest, ok := strings.CutPrefix(address, "0.0.0.0:"); ok {
		return "*:" + rest
	}
	return address
}

// servers makes the result once all is read: a listen of one server with ssl makes
// that address TLS for every server on it.
func (p *parser) servers() []Server {
	var out []Server
	for _, b := range p.found {
		s := Server{Names: b.names, File: b.file, Line: b.line, Certificates: p.pairs(b)}
		on := b.inherited(func(b *block) []string { return nonEmpty(b.sslSwitch) })
		for _, l := range b.listens {
			switchedOn := len(on) > 0 && on[0] == "on"
			if (p.tls[l.address] || switchedOn) && !slices.Contains(s.Listen, l.address) {
				s.Listen = append(s.Listen, l.address)
			}
		}
		if len(s.Listen) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// inherited returns the nearest setting: an inner block's replaces an outer one's.
func (b *block) inherited(setting func(*block) []string) []string {
	for ; b != nil; b = b.outer {
		if values := setting(b); len(values) > 0 {
			return values
		}
	}
	return nil
}

// pairs joins certificates with keys by their order. Values that are no files (data:,
// engine: and names with variables) are left out.
func (p *parser) pairs(b *block) []Pair {
	certs := b.inherited(func(b *block) []string { return b.certs })
	keys := b.inherited(func(b *block) []string { return b.keys })
	var out []Pair
	for i, cert := range certs {
		if !isFile(cert) {
			continue
		}
		pair := Pair{Cert: p.absolute(cert)}
		if i < len(keys) && isFile(keys[i]) {
			pair.Key = p.absolute(keys[i])
		}
		out = append(out, pair)
	}
	return out
}

func isFile(value string) bool {
	return value != "" && !strings.Contains(value, "$") &&
		!strings.HasPrefix(value, "data:") && !strings.HasPrefix(value, "engine:") && !strings.HasPrefix(value, "store:")
}

func nonEmpty(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}
