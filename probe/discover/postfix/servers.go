package postfix

import (
	"cmp"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// servers makes the result once all is read.
func (p *parser) servers() []conf.Server {
	var out []conf.Server
	for _, s := range p.services {
		if s.kind != "inet" || s.command != "smtpd" && s.command != "postscreen" {
			continue
		}
		own := p.valuesOf(s)
		protocol := own.protocol()
		listens := own.listens(s.name, protocol)
		if protocol == "" || len(listens) == 0 {
			continue
		}
		pairs := p.pairs(own)
		if len(pairs) > 0 {
			out = append(out, conf.Server{Listen: listens, Certificates: pairs, File: s.section.File, Line: s.section.Line})
		}
		out = append(out, p.named(own, listens)...)
	}
	return out
}

// protocol returns what a service speaks; empty without TLS.
func (v values) protocol() string {
	level := v.get("smtpd_tls_security_level")
	switch {
	case v.isOn("smtpd_tls_wrappermode"):
		return "smtps"
	case level == "" && (v.isOn("smtpd_use_tls") || v.isOn("smtpd_enforce_tls")), level != "" && level != "none":
		return "smtp"
	}
	return ""
}

// listens returns the addresses of a service, whose name is [HOST:]PORT.
func (v values) listens(name, protocol string) []conf.Listen {
	host, port := "", name
	if colon := strings.LastIndexByte(name, ':'); colon >= 0 {
		host, port = strings.Trim(name[:colon], "[]"), name[colon+1:]
	}
	if port = portOf(port); port == "" {
		return nil
	}
	hosts := []string{host}
	if host == "" {
		hosts = v.interfaces()
	}
	var out []conf.Listen
	for _, host := range hosts {
		l := conf.Listen{Address: "*:" + port, Protocol: protocol, Default: true}
		if host != "*" {
			l.Address = net.JoinHostPort(host, port)
		}
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}

// portOf returns the number of a port; empty for a name that is none of a mail service.
func portOf(name string) string {
	switch name {
	case "smtp":
		return "25"
	case "smtps", "submissions", "ssmtp", "urd":
		return "465"
	case "submission":
		return "587"
	}
	if strings.Trim(name, "0123456789") != "" {
		return ""
	}
	return name
}

// interfaces returns the hosts of inet_interfaces, "*" for every one of IPv4.
func (v values) interfaces() []string {
	protocols := list(v.get("inet_protocols"))
	all := slices.Contains(protocols, "all")
	ipv4, ipv6 := all || slices.Contains(protocols, "ipv4"), all || slices.Contains(protocols, "ipv6")
	var out []string
	for _, host := range list(v.get("inet_interfaces")) {
		both := []string{"127.0.0.1", "::1"}
		switch host {
		case "all":
			both = []string{"*", "::"}
		case "loopback-only", "localhost":
		default:
			out = append(out, strings.Trim(host, "[]"))
			continue
		}
		if ipv4 {
			out = append(out, both[0])
		}
		if ipv6 {
			out = append(out, both[1])
		}
	}
	return out
}

// list splits a value at commas and blanks.
func list(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}

// pairs returns the certificates of a service: those of smtpd_tls_chain_files, or else one for
// each kind of key.
func (p *parser) pairs(v values) []conf.Pair {
	if files := list(v.get("smtpd_tls_chain_files")); len(files) > 0 {
		return p.chains(files)
	}
	var out []conf.Pair
	for _, kind := range []string{"", "ec", "d"} {
		cert, key := v.get("smtpd_tls_"+kind+"cert_file"), v.get("smtpd_tls_"+kind+"key_file")
		if cert == "" || cert == "none" {
			continue
		}
		out = append(out, conf.Pair{Cert: p.absolute(cert), Key: p.absolute(cmp.Or(key, cert))})
	}
	return out
}

// chains joins the files of a list: each chain begins with its key, and may go on in the next
// file. A file that has no certificate is the key of the one behind it.
func (p *parser) chains(files []string) []conf.Pair {
	var out []conf.Pair
	beside := conf.OnDisk() // a key is no part of the configuration
	for i := 0; i < len(files); i++ {
		pair := conf.Pair{Cert: p.absolute(files[i]), Key: p.absolute(files[i])}
		if text, err := beside.Read(pair.Key); err == nil && !strings.Contains(text, "-BEGIN CERTIFICATE-") && i+1 < len(files) {
			i++
			pair.Cert = p.absolute(files[i])
		}
		out = append(out, pair)
	}
	return out
}

func (p *parser) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.dir, path)
}
