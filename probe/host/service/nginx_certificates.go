package service

import (
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// at names a directive's place.
func at(d conf.Directive) string { return fmt.Sprintf("%s:%d", d.File, d.Line) }

// tls is what one block says of its certificates.
type tls struct {
	certs, keys []conf.Directive
	listens     []conf.Directive // with ssl
	rejects     bool
	password    bool // keys may be encrypted
}

// certificates checks the certificates of every server, those of the blocks around it where it
// has none. nginx opens them also where the server does not listen with TLS.
func (n *nginxCheck) certificates() {
	blocks := map[*conf.Section]*tls{}
	var servers []conf.Directive
	for _, d := range n.directives {
		if d.Opens != nil && strings.HasSuffix(place(d.Opens), "/server") {
			servers = append(servers, d)
		}
		if blocks[d.In] == nil {
			blocks[d.In] = &tls{}
		}
		blocks[d.In].take(d)
	}
	for _, server := range servers {
		own := blocks[server.Opens]
		if own == nil {
			own = &tls{}
		}
		if outer := blocks[server.In]; outer != nil {
			own = own.inherit(*outer)
		}
		n.serverCertificates(server, *own)
	}
}

func (t *tls) take(d conf.Directive) {
	if len(d.Args) == 0 {
		return
	}
	switch d.Name {
	case "ssl_certificate":
		t.certs = append(t.certs, d)
	case "ssl_certificate_key":
		t.keys = append(t.keys, d)
	case "ssl_reject_handshake":
		t.rejects = d.Args[0] == "on"
	case "ssl_password_file":
		t.password = true
	case "listen":
		if slices.Contains(d.Args, "ssl") && !strings.HasPrefix(d.Args[0], "unix:") {
			t.listens = append(t.listens, d)
		}
	}
}

// inherit returns what holds in a block within another.
func (t tls) inherit(outer tls) *tls {
	if len(t.certs) == 0 {
		t.certs = outer.certs
	}
	if len(t.keys) == 0 {
		t.keys = outer.keys
	}
	t.rejects, t.password = t.rejects || outer.rejects, t.password || outer.password
	return &t
}

func (n *nginxCheck) serverCertificates(server conf.Directive, t tls) {
	for i, cert := range t.certs {
		if !isFile(cert.Args[0]) {
			continue
		}
		if i >= len(t.keys) {
			n.sure(cert, "no \"ssl_certificate_key\" is defined for the certificate %q", cert.Args[0])
			continue
		}
		pair := conf.Pair{Cert: absolute(n.folder, cert.Args[0])}
		if key := t.keys[i].Args[0]; isFile(key) {
			pair.Key = absolute(n.folder, key)
		}
		n.pair(cert, pair, n.sure)
	}
	if len(t.certs) == 0 && len(t.listens) > 0 && !t.rejects {
		n.noCertificate(server, t.listens)
	}
}

// noCertificate records a server that listens with TLS and has no certificate: nginx refuses
// it where it is the default of its address.
func (n *nginxCheck) noCertificate(server conf.Directive, listens []conf.Directive) {
	isDefault := slices.Contains(listens[0].Args, "default_server")
	for _, s := range n.Servers {
		if s.File == server.File && s.Line == server.Line {
			isDefault = slices.ContainsFunc(s.Listen, func(l conf.Listen) bool { return l.Default && l.Protocol == "tls" })
		}
	}
	if isDefault {
		n.sure(listens[0], "no \"ssl_certificate\" is defined for this \"listen ... ssl\"")
		return
	}
	n.maybe(listens[0], "no \"ssl_certificate\" is defined for this \"listen ... ssl\": clients that ask for this server get no handshake")
}

// isFile reports whether a value names a file, and not data, an engine's key or another file
// for each client.
func isFile(value string) bool {
	return value != "" && !strings.Contains(value, "$") &&
		!strings.HasPrefix(value, "data:") && !strings.HasPrefix(value, "engine:") && !strings.HasPrefix(value, "store:")
}
