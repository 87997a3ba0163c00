package service

import (
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/nginx"
)

func (b *builder) nginx() {
	b.take(nginx.Read(b.Conf))
	b.settings(nginxWhere, "ssl_")
	b.PIDFile = b.last("pid", "")
	if !filepath.IsAbs(b.PIDFile) {
		b.PIDFile = firstThere("/run/nginx.pid", filepath.Join(filepath.Dir(filepath.Dir(b.Conf)), "logs/nginx.pid"))
	}
	if b.ErrorLog = b.last("error_log", ""); !filepath.IsAbs(b.ErrorLog) {
		b.ErrorLog = firstThere("/var/log/nginx/error.log", filepath.Join(filepath.Dir(filepath.Dir(b.Conf)), "logs/error.log"))
	}
	if len(b.Files) == 0 {
		return
	}
	n := nginxCheck{builder: b, words: wordsOf(nginxWords, 0), folder: filepath.Dir(b.Conf)}
	n.check()
}

// nginxWhere names the server that a directive is of.
func nginxWhere(d conf.Directive) string { return told(d.In.Within("server")) }

// nginxCheck finds what `nginx -t` would refuse.
type nginxCheck struct {
	*builder
	words     vocabulary
	folder    string            // from which relative names are meant
	modules   bool              // some are loaded, which may know other directives
	upstreams map[string]bool   // names of upstream blocks
	seen      map[within]string // directives that may stand once, and addresses, with their places
	events    bool
}

func (n *nginxCheck) check() {
	n.upstreams, n.seen = map[string]bool{}, map[within]string{}
	for _, d := range n.directives {
		n.modules = n.modules || d.Name == "load_module"
		n.events = n.events || d.Name == "events" && d.In == nil
		if d.Name == "upstream" && len(d.Args) > 0 {
			n.upstreams[d.Args[0]] = true
		}
		if d.Name == "ssl_certificate" && len(d.Args) > 0 && strings.Contains(d.Args[0], "$") {
			n.Users = []string{n.user()}
		}
	}
	for _, d := range n.directives {
		if n.allowed(d) {
			n.value(d)
			n.once(d)
		}
	}
	n.certificates()
	if !n.events {
		n.problem(Problem{File: n.Conf, Text: `there is no "events" section in the configuration`, Sure: true})
	}
}

// user returns as whom workers run.
func (n *nginxCheck) user() string {
	if user := n.last("user", ""); user != "" {
		return user
	}
	return "nobody"
}

// place names where a directive stands, as the list of words does; empty where entries of a
// block are no directives, as those of a map.
func place(s *conf.Section) string {
	if s == nil {
		return "main"
	}
	outer := place(s.Outer)
	top, _, _ := strings.Cut(outer, "/")
	switch {
	case outer == "main" && slices.Contains([]string{"http", "stream", "mail", "events"}, s.Name):
		return s.Name
	case top == "http" && s.Name == "location":
		return "http/location"
	case top == "http" && s.Name == "limit_except":
		return "http/limit_except"
	case s.Name == "server" && outer == top, s.Name == "upstream" && outer == top, s.Name == "if" && top == "http":
		return outer + "/" + s.Name
	}
	return ""
}

// allowed checks a directive's name, place and arguments, and reports whether it is one whose
// value can be looked at.
func (n *nginxCheck) allowed(d conf.Directive) bool {
	at := place(d.In)
	if at == "" {
		return false
	}
	forms, ok := n.words[d.Name]
	if !ok {
		n.unknown(d)
		return false
	}
	here := slices.DeleteFunc(slices.Clone(forms), func(form []string) bool {
		places := strings.Split(form[0], ",")
		return !slices.Contains(places, at) && !slices.Contains(places, "any")
	})
	switch {
	case len(here) == 0:
		n.sure(d, "%q is not allowed here (in %s)", d.Name, at)
	case !slices.ContainsFunc(here, func(form []string) bool { return (len(form) > 2) == (d.Opens != nil) }):
		if d.Opens == nil {
			n.sure(d, "%q has no opening \"{\"", d.Name)
		} else {
			n.sure(d, "%q opens no block: is the \";\" missing?", d.Name)
		}
	case !slices.ContainsFunc(here, func(form []string) bool { return takes(form[1], d.Args) }):
		n.sure(d, "invalid number or value of arguments in %q: %s", d.Name, n.guess(d))
	default:
		return true
	}
	return false
}

// guess says what is likely wrong with the arguments of a directive: where one of them is the
// name of another directive, a semicolon is missing before it.
func (n *nginxCheck) guess(d conf.Directive) string {
	for _, arg := range d.Args {
		if _, ok := n.words[arg]; ok && strings.Contains(arg, "_") {
			return "the \";\" is missing before \"" + arg + "\""
		}
	}
	return strings.Join(d.Args, " ")
}

// takes reports whether arguments are as many as a form of the list says.
func takes(form string, args []string) bool {
	for want := range strings.SplitSeq(form, ",") {
		switch {
		case want == "any",
			want == "1+" && len(args) >= 1,
			want == "2+" && len(args) >= 2,
			want == "flag" && len(args) == 1 && (strings.EqualFold(args[0], "on") || strings.EqualFold(args[0], "off")),
			len(want) == 1 && len(args) == int(want[0]-'0'):
			return true
		}
	}
	return false
}

func (n *nginxCheck) unknown(d conf.Directive) {
	near := n.words.resembles(d.Name)
	if near != "" && !n.modules {
		n.sure(d, "unknown directive %q%s", d.Name, near)
		return
	}
	n.maybe(d, "unknown directive %q%s: it may be one of a module", d.Name, near)
}

// value checks the values that are wrong by themselves.
func (n *nginxCheck) value(d conf.Directive) {
	switch d.Name {
	case "ssl_protocols":
		for _, version := range d.Args {
			if !slices.Contains([]string{"SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}, version) {
				n.sure(d, "invalid value %q in \"ssl_protocols\"", version)
			}
		}
	case "ssl_dhparam", "ssl_password_file":
		n.file(d, d.Args[0])
	case "access_log", "error_log":
		n.log(d, d.Args[0])
	case "listen":
		n.listen(d)
	case "proxy_pass", "fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass":
		n.upstream(d, d.Args[0])
	}
}

// file checks that a file is there. nginx opens it where the server has a certificate.
func (n *nginxCheck) file(d conf.Directive, path string) {
	if path = absolute(n.folder, path); missing(path) {
		n.maybe(d, "%s: %s does not exist", d.Name, path)
	}
}

// log checks that the folder of a log is there: nginx makes the file, not the folder.
func (n *nginxCheck) log(d conf.Directive, path string) {
	if !filepath.IsAbs(path) || strings.Contains(path, "$") {
		return
	}
	if folder := filepath.Dir(path); missing(folder) {
		n.sure(d, "%s: the folder %s does not exist", d.Name, folder)
	}
}

// upstream notes a host that no name service will know. That of a name with dots is for DNS
// to say.
func (n *nginxCheck) upstream(d conf.Directive, target string) {
	if strings.Contains(target, "$") || strings.Contains(target, "unix:") {
		return
	}
	host := target
	if u, err := url.Parse(target); err == nil && u.Host != "" {
		host = u.Host
	}
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	if !n.upstreams[host] && net.ParseIP(strings.Trim(host, "[]")) == nil && !strings.Contains(host, ".") && !isLocalName(host) {
		n.maybe(d, "the host %q in %q is no upstream, and /etc/hosts does not have it", host, d.Name)
	}
}

// listen checks that an address has one default server, and stands in a server once.
func (n *nginxCheck) listen(d conf.Directive) {
	server := d.In.Within("server")
	if server == nil || server.Outer.Within("http") == nil {
		return
	}
	address, quic := nginx.Address(d.Args[0]), slices.Contains(d.Args, "quic")
	if quic {
		address = "quic " + address
	}
	if first := n.first(within{server, address}, d); first != "" {
		n.sure(d, "a duplicate listen %s: it stands at %s too", address, first)
	}
	if !slices.Contains(d.Args, "default_server") && !slices.Contains(d.Args, "default") {
		return
	}
	if first := n.first(within{nil, address}, d); first != "" {
		n.sure(d, "a duplicate default server for %s: the other is at %s", address, first)
	}
}

// within is something in a section.
type within struct {
	section *conf.Section
	what    string
}

// first returns where something stood before; empty where it is new.
func (n *nginxCheck) first(what within, d conf.Directive) string {
	if place, ok := n.seen[what]; ok {
		return place
	}
	n.seen[what] = at(d)
	return ""
}

// once checks directives that may stand in a section once.
func (n *nginxCheck) once(d conf.Directive) {
	if !slices.Contains([]string{
		"client_max_body_size", "keepalive_timeout", "pid", "root", "ssl_certificate_cache", "ssl_ciphers", "ssl_client_certificate", "ssl_crl",
		"ssl_dhparam", "ssl_ecdh_curve", "ssl_prefer_server_ciphers", "ssl_session_cache", "ssl_session_tickets", "ssl_session_timeout",
		"ssl_stapling", "ssl_stapling_verify", "ssl_trusted_certificate", "ssl_verify_client", "user", "worker_connections", "worker_processes",
	}, d.Name) || strings.HasSuffix(place(d.In), "/if") {
		return
	}
	if first := n.first(within{d.In, d.Name}, d); first != "" {
		n.sure(d, "%q is duplicate: it stands at %s too", d.Name, first)
	}
}
