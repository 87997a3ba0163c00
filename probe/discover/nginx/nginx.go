// Package nginx reads nginx's configuration for the servers that speak TLS: on which
// addresses, under which names, with which certificates. It is called by package discover.
// It only reads files, or what `nginx -T` printed: nothing is executed, nothing is resolved,
// and a mistake in one file does not hide the servers of the others.
package nginx

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// maxNesting is how deep blocks may be nested.
const maxNesting = 100

// Parse reads a main configuration file and what it includes. Relative names are meant
// from the main file's folder, as nginx means them. The servers are returned in the
// order in which they are written; the error joins every mistake, each with file:line.
func Parse(path string) ([]conf.Server, error) {
	p, err := parse(path, conf.OnDisk())
	if err != nil {
		return nil, err
	}
	return p.servers(), p.problems.Err()
}

// Read is [Parse] with everything else that the files say. Directives within Lua's code are
// none.
func Read(path string) conf.Reading {
	files := conf.OnDisk()
	p, err := parse(path, files)
	if err != nil {
		return conf.Reading{Mistakes: []conf.Mistake{{File: path, Err: err}}}
	}
	return conf.Reading{Servers: p.servers(), Directives: p.directives, Files: files.Paths(), Mistakes: p.problems.Mistakes()}
}

// ParseDump reads what `nginx -T` printed, which is every file of the configuration behind
// a line with its path, the main file first. No file is opened. The result is that of
// [Parse].
func ParseDump(output []byte) ([]conf.Server, error) {
	texts, main := sections(string(output))
	if main == "" {
		return nil, errors.New("reading nginx's configuration: the output of nginx -T holds none")
	}
	p, err := parse(main, conf.InDump(texts))
	if err != nil {
		return nil, err
	}
	return p.servers(), p.problems.Err()
}

// sections splits the output of nginx -T into files, and returns the main file's path.
func sections(output string) (texts map[string]string, main string) {
	const mark = "# configuration file "
	texts = map[string]string{}
	path, start, at := "", 0, 0
	for line := range strings.Lines(output) {
		name, ok := strings.CutSuffix(strings.TrimRight(line, "\r\n"), ":")
		if name, marked := strings.CutPrefix(name, mark); ok && marked {
			if path != "" {
				texts[path] = output[start:at]
			}
			path, start = filepath.Clean(name), at+len(line)
			if main == "" {
				main = path
			}
		}
		at += len(line)
	}
	if path != "" {
		texts[path] = output[start:]
	}
	return texts, main
}

func parse(path string, files *conf.Files) (*parser, error) {
	p := &parser{prefix: filepath.Dir(path), files: files, tls: map[string]bool{}, defaults: map[string]*block{}}
	text, err := files.Read(path)
	if err != nil {
		return nil, fmt.Errorf("reading nginx's configuration: %w", err)
	}
	p.readText(path, text, &block{}, 0)
	return p, nil
}

// parser gathers server blocks over all files.
type parser struct {
	prefix   string
	files    *conf.Files
	found    []*block
	tls      map[string]bool   // addresses that any server listens on with ssl
	defaults map[string]*block // the default server of each address
	problems conf.Problems

	directives []conf.Directive
}

// block is a block of the configuration with the settings that count here.
type block struct {
	kind     string // the directive that opened it, empty for the top
	outer    *block
	file     string
	line     int
	names    []string
	listens  []listen
	certs    []string
	keys     []string
	settings map[string]string // of the directives in [isSetting]
	section  *conf.Section     // nil for the top
}

type listen struct {
	address string
	tls     bool
	quic    bool
	first   bool // marked as the address's default server
}

// key tells addresses apart: those of QUIC have default servers of their own.
func (l listen) key() string {
	if l.quic {
		return "quic " + l.address
	}
	return l.address
}

// input is a file that is being read.
type input struct {
	lexer
	path  string
	depth int // of includes
}

func (p *parser) readText(path, text string, b *block, depth int) {
	text = strings.TrimPrefix(text, "\ufeff")
	p.readBlock(&input{lexer: lexer{text: text, line: 1}, path: path, depth: depth}, b, 0)
}

// readBlock reads directives up to the block's end, or the file's for nesting 0. It
// reports whether reading can go on behind it.
func (p *parser) readBlock(in *input, b *block, nesting int) bool {
	var words []token
	for {
		tok, ok, unended := in.next()
		switch {
		case unended != nil:
			p.unended(in, unended)
			return false
		case !ok:
			return p.atEnd(in, b, words, nesting)
		case tok.is(";"):
			p.directive(in, b, words)
			words = nil
		case tok.is("}"):
			if nesting == 0 || len(words) > 0 {
				p.problems.At(in.path, tok.line, "unexpected %q", "}")
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

func (p *parser) unended(in *input, what *unended) {
	p.problems.At(in.path, what.line, "the %s that begins here does not end", what.what)
}

func (p *parser) atEnd(in *input, b *block, words []token, nesting int) bool {
	switch {
	case len(words) > 0:
		p.problems.At(in.path, words[0].line, "the directive %q does not end", words[0].text)
	case nesting > 0:
		p.problems.At(in.path, b.line, "the block %q does not end", b.kind)
	}
	return false
}

func (p *parser) openBlock(in *input, outer *block, words []token, nesting int) bool {
	b := &block{outer: outer, file: in.path, line: in.line}
	if len(words) > 0 {
		b.kind, b.line = words[0].text, words[0].line
	}
	if nesting > maxNesting {
		p.problems.Limit(in.path, b.line, "blocks are nested more than %d deep", maxNesting)
		return false
	}
	b.section = p.open(b, outer, words)
	if strings.HasSuffix(b.kind, "_by_lua_block") {
		if unended := in.skipCode(); unended != nil {
			p.unended(in, unended)
			return false
		}
		return true
	}
	if b.kind == "server" && isProtocol(outer.kind) {
		p.found = append(p.found, b)
	}
	return p.readBlock(in, b, nesting)
}

// open records the directive that opens a block.
func (p *parser) open(b, outer *block, words []token) *conf.Section {
	if len(words) == 0 {
		p.problems.At(b.file, b.line, "unexpected %q", "{")
		return outer.section
	}
	args := texts(words[1:])
	section := &conf.Section{Name: b.kind, Args: args, File: b.file, Line: b.line, Outer: outer.section}
	p.directives = append(p.directives, conf.Directive{Name: b.kind, Args: args, In: outer.section, Opens: section, File: b.file, Line: b.line})
	return section
}

func texts(words []token) []string {
	out := make([]string, len(words))
	for i, word := range words {
		out[i] = word.text
	}
	return out
}

// isProtocol reports whether a block holds server blocks of the kind meant here, and
// not those of an upstream.
func isProtocol(kind string) bool {
	return slices.Contains([]string{"http", "stream", "mail"}, kind)
}

func (p *parser) directive(in *input, b *block, words []token) {
	if len(words) == 0 {
		p.problems.At(in.path, in.line, "unexpected %q", ";")
		return
	}
	p.directives = append(p.directives, conf.Directive{
		Name: words[0].text, Args: texts(words[1:]), In: b.section, File: in.path, Line: words[0].line,
	})
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
	case "server_name":
		for _, name := range words[1:] {
			b.names = append(b.names, name.text)
		}
	case "listen":
		p.listen(b, words[1:])
	default:
		b.set(words[0].text, arg)
	}
}

// isSetting names the other directives that count, whose last value counts: the old switch
// of TLS, the refusal of every handshake, and what a mail server speaks.
func isSetting(directive string) bool {
	return slices.Contains([]string{"ssl", "ssl_reject_handshake", "protocol", "starttls"}, directive)
}

func (b *block) set(directive, value string) {
	if !isSetting(directive) {
		return
	}
	if b.settings == nil {
		b.settings = map[string]string{}
	}
	b.settings[directive] = value
}

// setting returns the value of a setting, of the block or of one around it.
func (b *block) setting(directive string) string {
	for ; b != nil; b = b.outer {
		if value := b.settings[directive]; value != "" {
			return value
		}
	}
	return ""
}

func (p *parser) include(in *input, b *block, arg token) {
	pattern := p.absolute(arg.text)
	if in.depth >= conf.MaxDepth {
		p.problems.Limit(in.path, arg.line, "files include each other more than %d deep", conf.MaxDepth)
		return
	}
	files := []string{pattern}
	if strings.ContainsAny(pattern, "*?[") {
		var err error
		if files, err = p.files.Glob(pattern); err != nil {
			p.problems.At(in.path, arg.line, "include %q: %w", pattern, err)
		}
	}
	for _, file := range files {
		text, err := p.files.Read(file)
		if err != nil {
			p.problems.At(in.path, arg.line, "include: %w", err)
			continue
		}
		p.readText(file, text, b, in.depth+1)
	}
}

func (p *parser) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.prefix, path)
}

// listen records a listening address; a socket in the file system is none. The default
// server of an address is the one that is marked so, else the first.
func (p *parser) listen(b *block, words []token) {
	l := listen{address: hostPort(words[0].text)}
	for _, word := range words[1:] {
		switch word.text {
		case "ssl":
			l.tls = true
		case "quic", "http3":
			l.quic = true
		case "default_server", "default":
			l.first = true
		}
	}
	if l.address == "" {
		return
	}
	b.listens = append(b.listens, l)
	if l.tls {
		p.tls[l.address] = true
	}
	if l.first || p.defaults[l.key()] == nil {
		p.defaults[l.key()] = b
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

// servers makes the result once all is read. A server that refuses every handshake is
// none, though it may be the default of its addresses.
func (p *parser) servers() []conf.Server {
	var out []conf.Server
	for _, b := range p.found {
		if b.setting("ssl_reject_handshake") == "on" {
			continue
		}
		s := conf.Server{Names: b.names, File: b.file, Line: b.line, Certificates: p.pairs(b)}
		for _, l := range b.listens {
			at := conf.Listen{Address: l.address, Protocol: p.protocol(b, l), Default: p.defaults[l.key()] == b}
			if at.Protocol != "" && !slices.Contains(s.Listen, at) {
				s.Listen = append(s.Listen, at)
			}
		}
		if len(s.Listen) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// protocol returns what a server speaks on an address; empty without TLS. A listen of one
// server with ssl makes that address TLS for every server on it.
func (p *parser) protocol(b *block, l listen) string {
	tls := l.tls || p.tls[l.address] || b.setting("ssl") == "on"
	switch {
	case l.quic:
		return "quic"
	case b.outer.kind == "mail":
		return mailProtocol(b, l.address, tls)
	case tls:
		return "tls"
	default:
		return ""
	}
}

// mailProtocol returns the protocol of a mail server, which is told by its port where the
// configuration does not say.
func mailProtocol(b *block, address string, tls bool) string {
	name := b.setting("protocol")
	if name == "" {
		name = mailPort(address[strings.LastIndexByte(address, ':')+1:])
	}
	starttls := b.setting("starttls")
	switch {
	case name == "":
		return ""
	case tls:
		return name + "s"
	case starttls == "on" || starttls == "only":
		return name
	default:
		return ""
	}
}

func mailPort(port string) string {
	switch port {
	case "25", "465", "587":
		return "smtp"
	case "110", "995":
		return "pop3"
	case "143", "993":
		return "imap"
	default:
		return ""
	}
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

// pairs joins certificates with keys by their order. Values that are no files are left
// out: data:, engine:, and names with variables, which mean another file for each client.
func (p *parser) pairs(b *block) []conf.Pair {
	certs := b.inherited(func(b *block) []string { return b.certs })
	keys := b.inherited(func(b *block) []string { return b.keys })
	var out []conf.Pair
	for i, cert := range certs {
		if !isFile(cert) {
			continue
		}
		pair := conf.Pair{Cert: p.absolute(cert)}
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

// Address completes the address of a listen directive, in the form of [conf.Listen]; empty
// for a Unix socket.
func Address(listen string) string { return hostPort(listen) }
