package dovecot

import (
	"cmp"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// The bounds of what is taken from a configuration.
const (
	maxListeners = 100
	maxSections  = 10_000 // with certificates of their own
)

// listener is a socket of a service.
type listener struct {
	service string // such as imap-login
	name    string
	port    string
	hosts   []string
	tls     bool // from the first byte
	proxied bool // behind a load balancer that speaks before the client
}

// builtIn returns the listeners that Dovecot has without being told.
func builtIn() []listener {
	return []listener{
		{service: "imap-login", name: "imap", port: "143"},
		{service: "imap-login", name: "imaps", port: "993", tls: true},
		{service: "pop3-login", name: "pop3", port: "110"},
		{service: "pop3-login", name: "pop3s", port: "995", tls: true},
		{service: "submission-login", name: "submission", port: "587"},
		{service: "submission-login", name: "submissions", port: "465", tls: true},
		{service: "managesieve-login", name: "sieve", port: "4190"},
	}
}

// protocolOf returns the protocol of a service as `protocols` and the sections `protocol` name
// it, and as a client speaks it.
func protocolOf(service string) (name, spoken string) {
	switch service {
	case "imap-login":
		return "imap", "imap"
	case "pop3-login":
		return "pop3", "pop3"
	case "submission-login":
		return "submission", "smtp"
	case "managesieve-login":
		return "sieve", "sieve"
	case "lmtp":
		return "lmtp", "lmtp"
	}
	return "", ""
}

// speaks returns what a client speaks to a listener.
func (l listener) speaks() string {
	_, spoken := protocolOf(l.service)
	switch {
	case !l.tls:
		return spoken
	case spoken == "sieve" || spoken == "lmtp":
		return "tls"
	default:
		return spoken + "s"
	}
}

// listeners returns the listeners of the protocols that are on.
func (p *parser) listeners() []listener {
	all := builtIn()
	for _, d := range p.directives {
		at := d.In.Within("inet_listener")
		if at == nil || at.Outer.Within("service") == nil || len(d.Args) == 0 || len(at.Outer.Args) == 0 {
			continue
		}
		name := ""
		if len(at.Args) > 0 {
			name = at.Args[0]
		}
		l := at.Outer.Args[0]
		i := slices.IndexFunc(all, func(o listener) bool { return o.service == l && o.name == name })
		if i < 0 && len(all) == maxListeners {
			continue
		}
		if i < 0 {
			all, i = append(all, listener{service: l, name: name}), len(all)
		}
		all[i].set(d.Name, d.Args[0])
	}
	on := p.protocols()
	return slices.DeleteFunc(all, func(l listener) bool {
		name, _ := protocolOf(l.service)
		return name == "" || !on[name] || l.port == "" || l.port == "0" || l.proxied
	})
}

func (l *listener) set(name, value string) {
	switch name {
	case "port":
		l.port = value
	case "ssl":
		l.tls = value == "yes"
	case "address", "listen":
		l.hosts = list(value)
	case "haproxy":
		l.proxied = value == "yes"
	}
}

// protocols returns those that are on: `protocols = imap pop3`, or in 2.4 a section with
// `imap = yes`.
func (p *parser) protocols() map[string]bool {
	on := map[string]bool{}
	for _, name := range list(p.values["protocols"]) {
		on[name] = true
	}
	for _, d := range p.directives {
		if d.In != nil && d.In.Name == "protocols" && len(d.Args) > 0 {
			on[d.Name] = d.Args[0] == "yes"
		}
	}
	on["sieve"] = on["sieve"] || on["managesieve"]
	return on
}

func list(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// servers makes the result once all is read.
func (p *parser) servers() []conf.Server {
	if p.values["ssl"] == "no" {
		return nil
	}
	byProtocol := map[string][]listener{}
	var order []string
	for _, l := range p.listeners() {
		name, _ := protocolOf(l.service)
		if byProtocol[name] == nil {
			order = append(order, name)
		}
		byProtocol[name] = append(byProtocol[name], l)
	}
	var out []conf.Server
	for _, name := range order {
		for _, scope := range p.scopes(name) {
			out = p.add(out, scope, byProtocol[name])
		}
	}
	return out
}

// scope is what a certificate is for: all clients of a protocol, or those of a section
// local_name or local.
type scope struct {
	section *conf.Section     // of local_name or local; nil: all clients
	values  map[string]string // of cert, key, alt_cert and alt_key
	pairs   []conf.Pair
	file    string
	line    int
}

// scopes returns the certificates of a protocol, that of all clients first. A key that a
// section does not name is that of all clients.
func (p *parser) scopes(protocol string) []scope {
	all := &scope{values: map[string]string{}}
	bySection := map[*conf.Section]*scope{nil: all}
	order := []*scope{all}
	for _, d := range p.directives {
		name, ok := certificateSetting(d)
		if of := d.In.Within("protocol"); !ok || of != nil && !slices.Contains(of.Args, protocol) {
			continue
		}
		section := d.In.Within("local_name", "local")
		s := bySection[section]
		if s == nil {
			if len(order) > maxSections {
				p.problems.Limit(d.File, d.Line, "not read on: there are more than %d sections with certificates", maxSections)
				break
			}
			s = &scope{section: section, values: map[string]string{}}
			bySection[section], order = s, append(order, s)
		}
		s.values[name] = d.Args[0]
		if name == "cert" {
			s.file, s.line = d.File, d.Line
		}
	}
	var out []scope
	for _, s := range order {
		s.pair(all.values)
		if len(s.pairs) > 0 && s.line > 0 {
			out = append(out, *s)
		}
	}
	return out
}

// pair joins the certificates of a scope with their keys.
func (s *scope) pair(outer map[string]string) {
	for _, kind := range []string{"", "alt_"} {
		if cert := path(s.values[kind+"cert"]); cert != "" {
			s.pairs = append(s.pairs, conf.Pair{Cert: cert, Key: path(cmp.Or(s.values[kind+"key"], outer[kind+"key"]))})
		}
	}
}

// certificateSetting returns which of cert, key, alt_cert and alt_key a setting is, and whether
// it names a file: with a < before it until 2.3, without since 2.4.
func certificateSetting(d conf.Directive) (string, bool) {
	if len(d.Args) == 0 || d.Opens != nil {
		return "", false
	}
	full := d.Name
	if d.In != nil && d.In.Name == "ssl_server" {
		full = "ssl_server_" + full
	}
	switch full {
	case "ssl_cert", "ssl_key", "ssl_alt_cert", "ssl_alt_key":
		return strings.TrimPrefix(full, "ssl_"), strings.HasPrefix(d.Args[0], "<")
	case "ssl_server_cert_file", "ssl_server_key_file", "ssl_server_alt_cert_file", "ssl_server_alt_key_file":
		return strings.TrimSuffix(strings.TrimPrefix(full, "ssl_server_"), "_file"), !strings.HasPrefix(d.Args[0], "inline:")
	}
	return "", false
}

// path returns the file of a value; empty where it is none that could be told.
func path(value string) string {
	value = strings.TrimSpace(strings.TrimPrefix(value, "<"))
	if !filepath.IsAbs(value) {
		return ""
	}
	return filepath.Clean(value)
}

// add appends the server of a scope.
func (p *parser) add(out []conf.Server, s scope, listeners []listener) []conf.Server {
	server := conf.Server{Certificates: s.pairs, File: s.file, Line: s.line}
	byName := s.section.Within("local_name")
	if byName != nil {
		server.Names = byName.Args
	}
	for _, l := range listeners {
		hosts := l.hosts
		if len(hosts) == 0 {
			hosts = p.hosts()
		}
		if local := s.section.Within("local"); local != nil {
			hosts = local.Args
		}
		for _, host := range hosts {
			server.Listen = append(server.Listen, conf.Listen{Address: address(host, l.port), Protocol: l.speaks(), Default: byName == nil})
		}
	}
	return append(out, server)
}

// hosts returns those of the setting listen.
func (p *parser) hosts() []string {
	if hosts := list(p.values["listen"]); len(hosts) > 0 {
		return hosts
	}
	return []string{"*", "::"}
}

// address joins a host, or a network of one, with a port.
func address(host, port string) string {
	host, _, _ = strings.Cut(strings.Trim(host, "[]"), "/")
	if host == "*" || host == "0.0.0.0" {
		return "*:" + port
	}
	return net.JoinHostPort(host, port)
}
