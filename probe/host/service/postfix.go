package service

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/postfix"
)

// postfix reads what `postfix check` would refuse, and what a service of it would once it runs:
// that opens certificates for each process anew, and goes on without TLS where it cannot.
func (b *builder) postfix() {
	r := postfix.Read(b.Conf)
	b.take(r.Reading)
	where := func(d conf.Directive) string {
		if d.In == nil {
			return ""
		}
		return "the service " + d.In.Name
	}
	b.settings(where, "smtpd_tls_", "smtpd_use_tls", "smtpd_enforce_tls", "tls_", "postscreen_tls_", "tlsproxy_tls_")
	queue := b.last("queue_directory", "")
	if queue == "" {
		queue = "/var/spool/postfix"
	}
	b.PIDFile = filepath.Join(queue, "pid/master.pid")
	for _, table := range r.Tables {
		b.table(table)
	}
	b.parameters()
	b.values()
	for _, s := range b.Servers {
		d := conf.Directive{File: s.File, Line: s.Line}
		for _, pair := range s.Certificates {
			b.pair(b.namedIn(d, pair), pair, b.late)
		}
	}
}

// namedIn returns the parameter that names a pair's certificate; else where the server is.
func (b *builder) namedIn(d conf.Directive, pair conf.Pair) conf.Directive {
	folder := filepath.Dir(b.Conf)
	for _, param := range b.directives {
		if param.Opens != nil || len(param.Args) == 0 || !strings.HasPrefix(param.Name, "smtpd_tls_") {
			continue
		}
		files := strings.FieldsFunc(param.Args[0], isComma)
		if slices.ContainsFunc(files, func(file string) bool { return absolute(folder, file) == pair.Cert }) {
			return param
		}
	}
	return d
}

// table takes a table of names. One that was not made, or is older than its source, is what the
// service goes by all the same.
func (b *builder) table(t postfix.Table) {
	m := Map{Source: t.Source, Made: t.Made, Holds: t.Holds(), Names: t.Files, File: t.File, Line: t.Line}
	if m.Holds {
		m.Make = []string{"postmap", "-F", t.Kind + ":" + t.Source}
	} else {
		m.Made = t.Source
	}
	d := conf.Directive{File: t.File, Line: t.Line}
	info, err := os.Stat(m.Made)
	switch {
	case err == nil:
		m.ModTime = info.ModTime()
	case missing(m.Made):
		b.late(d, "tls_server_sni_maps: %s does not exist; make it with postmap -F %s:%s", m.Made, t.Kind, t.Source)
	}
	b.Maps = append(b.Maps, m)
}

// values checks the values that are wrong by themselves.
func (b *builder) values() {
	for _, d := range b.directives {
		if d.In != nil || d.Opens != nil || len(d.Args) == 0 {
			continue
		}
		switch value := d.Args[0]; d.Name {
		case "inet_protocols":
			for protocol := range strings.FieldsFuncSeq(value, isComma) {
				if !slices.Contains([]string{"all", "ipv4", "ipv6"}, protocol) {
					b.sure(d, "%s: there is no protocol %q", d.Name, protocol)
				}
			}
		case "queue_directory", "daemon_directory", "command_directory", "data_directory":
			if missing(value) && filepath.IsAbs(value) {
				b.sure(d, "%s: the folder %s does not exist", d.Name, value)
			}
		}
	}
}

func isComma(r rune) bool { return r == ',' || r == ' ' || r == '\t' }

// parameters notes names that Postfix does not know, which it passes over.
func (b *builder) parameters() {
	words := wordsOf(postfixWords, 0)
	for _, d := range b.directives {
		about := strings.HasPrefix(d.Name, "smtpd_tls_") || strings.HasPrefix(d.Name, "tls_")
		if d.Opens != nil || !about || words[d.Name] != nil {
			continue
		}
		if near := words.resembles(d.Name); near != "" {
			b.maybe(d, "there is no parameter %q%s: postfix passes over it", d.Name, near)
		}
	}
}
