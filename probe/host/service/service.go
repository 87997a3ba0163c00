// Package service reads the configurations of services that serve certificates: nginx, apache,
// haproxy, postfix and dovecot. It says which files each place of them names, what they leave
// wrong by themselves (a file that is missing, a directive without its end), and which
// settings matter for certificates.
//
// internal/diagnose asks it which path really serves a name, internal/audit what will fail. It
// stands on the parsers of probe/discover, executes nothing, and says for each fact the file
// and the line.
package service

import (
	"os"
	"time"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// Kind names a service.
type Kind string

// The kinds, as their programs are called.
const (
	Nginx   Kind = "nginx"
	Apache  Kind = "apache"
	HAProxy Kind = "haproxy"
	Postfix Kind = "postfix"
	Dovecot Kind = "dovecot"
)

// Service is one configured service.
type Service struct {
	Kind     Kind
	Conf     string   // its main file
	Units    []string // the systemd units that run it on common systems, such as apache2.service, httpd.service
	Programs []string // the names that its processes have, such as nginx
	PIDFile  string   // as configured, or as built in on this system; empty: not known
	ErrorLog string   // where it writes why it refuses its configuration, for nginx; empty: not known
	Users    []string // as whom it reads certificates after its start; root where it reads them before it gives that up
	Files    []string // every file that its configuration was read from
	Servers  []conf.Server
	Maps     []Map
	Settings []Setting
	Problems []Problem // what its own test of the configuration would refuse, those that are sure first
}

// Map is a table that is made of certificates' files and has to be made again when they change,
// such as postfix's tls_server_sni_maps.
type Map struct {
	Source  string    // the file that a person wrote
	Made    string    // what the service reads, such as SOURCE.db
	ModTime time.Time // of Made; zero where it is not there
	Holds   bool      // the contents of the files are inside: a new certificate needs a new map
	Names   []string  // files that it names
	Make    []string  // the command that makes it, as argv; empty where it is read as it is
	File    string
	Line    int
}

// Setting is a directive that matters for TLS, as written.
type Setting struct {
	Name   string // as the service calls it, such as ssl_protocols
	Values []string
	Where  string // the server, the bind line or the section that it is of; empty: all
	File   string
	Line   int
}

// Problem is a mistake in a configuration.
type Problem struct {
	File string
	Line int // 0 where it is of the whole file
	Text string
	Sure bool // the service would refuse it; else it is only not understood here

	// Late says that the service's test of its configuration passes: it refuses to start, or
	// the handshake, because it opens the file only then.
	Late bool
}

// Kinds returns every kind.
func Kinds() []Kind { return []Kind{Nginx, Apache, HAProxy, Postfix, Dovecot} }

// Mains returns where a kind's main file is on common systems; those that exist are configured.
func Mains(kind Kind) []string {
	switch kind {
	case Nginx:
		return []string{"/etc/nginx/nginx.conf", "/usr/local/nginx/conf/nginx.conf", "/usr/local/openresty/nginx/conf/nginx.conf", "/usr/local/etc/nginx/nginx.conf"}
	case Apache:
		return []string{"/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf", "/etc/apache2/httpd.conf", "/usr/local/apache2/conf/httpd.conf"}
	case HAProxy:
		return []string{"/etc/haproxy/haproxy.cfg"}
	case Postfix:
		return []string{"/etc/postfix/main.cf"}
	case Dovecot:
		return []string{"/etc/dovecot/dovecot.conf"}
	}
	return nil
}

// Read reads the configuration of one service. main is its main file; for postfix main.cf, whose
// master.cf stands beside it; for haproxy a file or a folder, as its option -f takes them. A
// file that cannot be read is among the problems.
func Read(kind Kind, main string) Service {
	b := &builder{Service: known(kind), pairs: map[conf.Pair]bool{}}
	b.Conf = main
	switch kind {
	case Nginx:
		b.nginx()
	case Apache:
		b.apache()
	case HAProxy:
		b.haproxy()
	case Postfix:
		b.postfix()
	case Dovecot:
		b.dovecot()
	}
	return b.service()
}

// Found reads the configurations of every service that this host has, one for each main file.
func Found() []Service {
	var out []Service
	for _, kind := range Kinds() {
		for _, main := range Mains(kind) {
			if _, err := os.Stat(main); err == nil {
				out = append(out, Read(kind, main))
			}
		}
	}
	return out
}

// known returns what is so wherever a service runs. Each of them opens certificates while it is
// root still, nginx but for names with variables: those it opens for each client.
func known(kind Kind) Service {
	s := Service{Kind: kind, Users: []string{"root"}}
	switch kind {
	case Nginx:
		s.Units, s.Programs = []string{"nginx.service", "openresty.service"}, []string{"nginx"}
	case Apache:
		s.Units, s.Programs = []string{"apache2.service", "httpd.service"}, []string{"apache2", "httpd"}
	case HAProxy:
		s.Units, s.Programs = []string{"haproxy.service"}, []string{"haproxy"}
	case Postfix:
		s.Units, s.Programs = []string{"postfix.service", "postfix@-.service"}, []string{"master", "smtpd", "tlsproxy"}
	case Dovecot:
		s.Units = []string{"dovecot.service"}
		s.Programs = []string{"dovecot", "config", "imap-login", "pop3-login", "submission-login", "managesieve-login", "lmtp"}
	}
	return s
}
