package apache

import (
	"cmp"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// listen records a Listen directive: [address:]port [protocol].
func (p *parser) listen(args []string) {
	l := listen{address: args[0]}
	if len(args) > 1 {
		l.protocol = strings.ToLower(args[1])
	}
	if strings.Trim(l.address, "0123456789") == "" {
		l.address = "*:" + l.address
	}
	if port, ok := strings.CutPrefix(l.address, "0.0.0.0:"); ok {
		l.address = "*:" + port
	}
	same := func(other listen) bool { return other.address == l.address }
	if _, port := splitAddress(l.address); port != "" && !slices.ContainsFunc(p.listens, same) && len(p.listens) < maxListens {
		p.listens = append(p.listens, l)
	}
}

// splitAddress splits host[:port], with an IPv6 address in brackets, which it keeps.
func splitAddress(address string) (host, port string) {
	colon := strings.LastIndexByte(address, ':')
	if colon < strings.LastIndexByte(address, ']') || colon < 0 {
		return address, ""
	}
	return address[:colon], address[colon+1:]
}

func isWildcard(host string) bool { return host == "*" || host == "_default_" || host == "" }

// servers makes the result once all is read.
func (p *parser) servers(known status) []conf.Server {
	p.hosts = slices.DeleteFunc(p.hosts, func(h *host) bool { return !known.has(h) })
	p.main.addresses = p.leftToMain()
	p.hosts = append(p.hosts, p.main)
	first := map[string]*host{}
	for _, h := range p.hosts {
		for _, address := range h.addresses {
			if key := defaultKey(address); first[key] == nil {
				first[key] = h
			}
		}
	}
	var out []conf.Server
	for _, h := range p.hosts {
		s := conf.Server{Names: h.names, Certificates: p.pairs(h), File: h.file, Line: h.line}
		for _, address := range h.addresses {
			s.Listen = append(s.Listen, p.answers(h, address, first[defaultKey(address)] == h)...)
		}
		if len(s.Listen) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// defaultKey is what virtual hosts have in common among which the first is the default.
func defaultKey(address string) string {
	host, port := splitAddress(address)
	if isWildcard(host) {
		host = "*"
	}
	return host + ":" + port
}

// leftToMain returns the addresses that no virtual host answers on.
func (p *parser) leftToMain() []string {
	var out []string
	for _, l := range p.listens {
		at, port := splitAddress(l.address)
		taken := slices.ContainsFunc(p.hosts, func(h *host) bool {
			return slices.ContainsFunc(h.addresses, func(address string) bool {
				host, hostPort := splitAddress(address)
				return (hostPort == port || hostPort == "" || hostPort == "*") && (isWildcard(host) || host == at)
			})
		})
		if !taken {
			out = append(out, l.address)
		}
	}
	return out
}

// answers returns where a host answers with TLS by one of its addresses: what the server
// listens on and the address takes in.
func (p *parser) answers(h *host, address string, first bool) []conf.Listen {
	host, port := splitAddress(address)
	var out []conf.Listen
	for _, l := range p.listens {
		at, listenPort := splitAddress(l.address)
		if port != "" && port != "*" && port != listenPort || !p.speaksTLS(h, l, listenPort) {
			continue
		}
		switch {
		case isWildcard(host):
			out = append(out, conf.Listen{Address: l.address, Protocol: "tls", Default: first})
		case host == at || isWildcard(at) || at == "[::]":
			out = append(out, conf.Listen{Address: host + ":" + listenPort, Protocol: "tls", Default: first})
		}
	}
	return out
}

// speaksTLS follows mod_ssl: without SSLEngine, TLS is on where the protocol is https and
// there is a certificate. https is the protocol of port 443 where Listen names none.
func (p *parser) speaksTLS(h *host, l listen, port string) bool {
	switch cmp.Or(h.engine, p.main.engine) {
	case "on":
		return true
	case "":
		https := l.protocol == "https" || l.protocol == "" && port == "443"
		return https && len(p.pairs(h)) > 0
	default: // off, and optional, which begins in plain text (RFC 2817)
		return false
	}
}

// pairs joins certificates with keys by their order; those of the main server hold where
// the host has none. What is no file (pkcs11:, or a name with an unknown variable) is left
// out.
func (p *parser) pairs(h *host) []conf.Pair {
	certs, keys := h.certs, h.keys
	if len(certs) == 0 {
		certs, keys = p.main.certs, p.main.keys
	}
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
	return value != "" && !strings.Contains(value, "${") && !strings.HasPrefix(value, "pkcs11:")
}
