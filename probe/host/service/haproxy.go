package service

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/haproxy"
)

func (b *builder) haproxy() {
	b.take(haproxy.Read(b.Conf))
	b.settings(func(conf.Directive) string { return "" }, "ssl-", "tune.ssl.", "ocsp-update.")
	h := haproxyCheck{builder: b, global: vocabulary{}, proxy: vocabulary{}, bind: vocabulary{}}
	for _, row := range rows(haproxyWords) {
		list := map[string]vocabulary{"global": h.global, "proxy": h.proxy, "bind": h.bind}[row[0]]
		list[row[1]] = append(list[row[1]], row[2:])
	}
	if b.PIDFile = b.last("pidfile", "global"); b.PIDFile == "" {
		b.PIDFile = firstThere("/run/haproxy.pid")
	}
	h.check()
	for i, p := range b.Problems { // whether the folder beside it is read depends on the command line
		b.Problems[i].Sure = p.Sure && (p.File == b.Conf || !slices.Contains(b.Files, b.Conf))
	}
}

// haproxyCheck finds what `haproxy -c` would refuse.
type haproxyCheck struct {
	*builder
	global, proxy, bind vocabulary
	backends            map[string]bool
	proxies             map[string]string // names of frontends and backends, with their places
}

func (h *haproxyCheck) check() {
	h.backends, h.proxies = map[string]bool{}, map[string]string{}
	for _, d := range h.directives {
		if d.Opens != nil {
			h.open(d)
		}
	}
	for _, d := range h.directives {
		if d.Opens == nil && !strings.HasPrefix(d.Name, ".") {
			h.line(d)
		}
	}
	h.certificates()
}

// isProxy reports whether a section is one of those that take the words of proxies.
func isProxy(name string) bool {
	return slices.Contains([]string{"defaults", "frontend", "backend", "listen"}, name)
}

// record returns how a mistake is recorded at a directive: one in a branch of a condition may
// never be read.
func (h *haproxyCheck) record(d conf.Directive) func(conf.Directive, string, ...any) {
	if d.In.Within(".if") != nil {
		return h.maybe
	}
	return h.sure
}

// open checks the line that opens a section.
func (h *haproxyCheck) open(d conf.Directive) {
	if !isProxy(d.Name) || d.Name == "defaults" {
		return
	}
	if len(d.Args) == 0 {
		h.record(d)(d, "%q needs a name", d.Name)
		return
	}
	name := d.Args[0]
	front, back := d.Name != "backend", d.Name != "frontend"
	for side, is := range map[string]bool{"frontend ": front, "backend ": back} {
		if !is {
			continue
		}
		if first := h.proxies[side+name]; first != "" {
			h.record(d)(d, "%s %q has the same name as the one at %s", d.Name, name, first)
		}
		h.proxies[side+name] = at(d)
	}
	if back {
		h.backends[name] = true
	}
}

// line checks a line within a section.
func (h *haproxyCheck) line(d conf.Directive) {
	section := d.In.Within("global", "defaults", "frontend", "backend", "listen")
	switch {
	case section == nil && d.In.Within(".if") == d.In:
		h.outside(d)
	case section == nil || strings.HasPrefix(d.Name, "tune."):
	case section.Name == "global":
		h.word(d, h.global, section)
	default:
		h.word(d, h.proxy, section)
		h.proxyLine(d)
	}
}

// outside checks a line before any section, where there may be none.
func (h *haproxyCheck) outside(d conf.Directive) {
	h.record(d)(d, "unknown keyword %q out of section", d.Name)
}

// word checks the first word of a line.
func (h *haproxyCheck) word(d conf.Directive, words vocabulary, section *conf.Section) {
	if words[d.Name] != nil {
		return
	}
	near := words.resembles(d.Name)
	if near == "" {
		near = sectionsOf().resembles(d.Name)
	}
	if near != "" {
		h.record(d)(d, "unknown keyword %q in section %q%s", d.Name, section.Name, near)
		return
	}
	h.maybe(d, "unknown keyword %q in section %q", d.Name, section.Name)
}

// sectionsOf returns the words that open a section.
func sectionsOf() vocabulary {
	v := vocabulary{}
	for _, name := range []string{"global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "mailers", "userlist"} {
		v[name] = [][]string{{}}
	}
	return v
}

// proxyLine checks the lines of proxies that matter here.
func (h *haproxyCheck) proxyLine(d conf.Directive) {
	switch d.Name {
	case "bind":
		h.bindLine(d)
	case "default_backend", "use_backend":
		if len(d.Args) > 0 && !strings.ContainsAny(d.Args[0], "%$") && !h.backends[d.Args[0]] {
			h.record(d)(d, "there is no backend %q", d.Args[0])
		}
	case "server":
		h.server(d)
	}
}

func (h *haproxyCheck) server(d conf.Directive) {
	if len(d.Args) < 2 {
		h.record(d)(d, "%q needs a name and an address", d.Name)
		return
	}
	host, _, err := net.SplitHostPort(d.Args[1])
	if err != nil {
		host = d.Args[1]
	}
	if !strings.ContainsAny(host, ".:/@$*") && !isLocalName(host) && !slices.Contains(d.Args, "init-addr") {
		h.maybe(d, "the host %q cannot be resolved by /etc/hosts", host)
	}
}

// bindLine checks the words of a bind line, and takes those of TLS as settings.
func (h *haproxyCheck) bindLine(d conf.Directive) {
	if len(d.Args) == 0 {
		h.record(d)(d, "%q needs an address", d.Name)
		return
	}
	where := "bind " + d.Args[0] + " in " + told(d.In)
	tls, certificates := false, false
	for i := 1; i < len(d.Args); i++ {
		word := d.Args[i]
		forms := h.bind[word]
		if forms == nil {
			h.bindWord(d, word)
			return
		}
		count, _ := strconv.Atoi(forms[0][0])
		if i+count >= len(d.Args) {
			h.record(d)(d, "%q of the bind line has no value", word)
			return
		}
		values := d.Args[i+1 : i+1+count]
		h.setting(Setting{Name: word, Values: values, Where: where, File: d.File, Line: d.Line})
		if (word == "ssl-min-ver" || word == "ssl-max-ver") && !slices.Contains([]string{"SSLv3", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"}, values[0]) {
			h.record(d)(d, "%s: there is no version %q", word, values[0])
		}
		tls = tls || word == "ssl"
		certificates = certificates || slices.Contains([]string{"crt", "crt-list", "default-crt", "generate-certificates"}, word)
		i += count
	}
	if tls && !certificates {
		h.record(d)(d, "no certificate is given for the bind line %q (use crt)", d.Args[0])
	}
}

func (h *haproxyCheck) bindWord(d conf.Directive, word string) {
	near := h.bind.resembles(word)
	if near != "" {
		h.record(d)(d, "unknown keyword %q of a bind line%s", word, near)
		return
	}
	h.maybe(d, "unknown keyword %q of a bind line", word)
}

// certificates checks the files of every bind line. What HAProxy takes for a certificate's key
// may be in a file of its own.
func (h *haproxyCheck) certificates() {
	for _, s := range h.Servers {
		d := conf.Directive{File: s.File, Line: s.Line}
		for _, other := range h.directives {
			if other.File == s.File && other.Line == s.Line {
				d = other
			}
		}
		for _, pair := range s.Certificates {
			h.pair(d, pair, h.record(d))
		}
	}
}
