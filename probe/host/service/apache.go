package service

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/apache"
	"github.com/certmedic/certmedic/probe/discover/conf"
)

func (b *builder) apache() {
	b.take(apache.Read(b.Conf))
	b.settings(func(d conf.Directive) string { return told(sectionNamed(d.In, "virtualhost")) }, "ssl", "md")
	a := apacheCheck{builder: b, words: wordsOf(apacheWords, 0), folder: filepath.Dir(b.Conf)}
	if filepath.Base(a.folder) == "conf" {
		a.folder = filepath.Dir(a.folder)
	}
	if root := b.last("ServerRoot", ""); filepath.IsAbs(root) {
		a.folder = root
	}
	b.PIDFile = b.last("PidFile", "")
	if b.PIDFile == "" || strings.Contains(b.PIDFile, "${") {
		b.PIDFile = firstThere("/run/apache2/apache2.pid", "/run/httpd/httpd.pid", filepath.Join(a.folder, "logs/httpd.pid"))
	} else {
		b.PIDFile = absolute(a.folder, b.PIDFile)
	}
	if len(b.Files) > 0 {
		a.check()
	}
}

// sectionNamed returns the innermost section with a name in any case.
func sectionNamed(s *conf.Section, name string) *conf.Section {
	for ; s != nil; s = s.Outer {
		if strings.EqualFold(s.Name, name) {
			return s
		}
	}
	return nil
}

// apacheCheck finds what `apachectl configtest` would refuse, and what a start would.
type apacheCheck struct {
	*builder
	words   vocabulary
	folder  string            // from which relative names are meant
	modules map[string]bool   // loaded, by their identifiers
	shared  bool              // every module is loaded by the configuration, even the one of processes
	foreign bool              // modules are loaded that are none of Apache's own
	listens map[string]string // addresses, with their places
}

func (a *apacheCheck) check() {
	a.modules, a.listens = map[string]bool{}, map[string]string{}
	own := wordsOf(apacheModules, 0)
	for _, d := range a.directives {
		if !strings.EqualFold(d.Name, "LoadModule") || len(d.Args) == 0 {
			continue
		}
		a.modules[d.Args[0]] = true
		a.shared = a.shared || strings.HasPrefix(d.Args[0], "mpm_")
		a.foreign = a.foreign || own[d.Args[0]] == nil
	}
	for _, d := range a.directives {
		if a.known(d) {
			a.value(d)
		}
	}
	a.servers()
}

// moduleOf returns a module's identifier by the name of its source.
func moduleOf(source string) string {
	switch source {
	case "event", "worker", "prefork":
		return "mpm_" + source + "_module"
	case "util_ldap":
		return "ldap_module"
	}
	return strings.TrimPrefix(source, "mod_") + "_module"
}

// known checks that there is a directive or a section of a name, and that its module is loaded.
func (a *apacheCheck) known(d conf.Directive) bool {
	name := strings.ToLower(d.Name)
	forms, ok := a.words[name]
	if !ok {
		a.unknown(d, name)
		return false
	}
	var needs []string
	for _, form := range forms {
		if a.builtIn(form[0]) || a.modules[moduleOf(form[0])] {
			return true
		}
		needs = append(needs, moduleOf(form[0]))
	}
	if a.shared {
		a.sure(d, "invalid command %q: its module %s is not loaded", d.Name, strings.Join(needs, " or "))
	}
	return false
}

// builtIn reports whether a module is in Apache itself on any system; which of those that some
// systems build in are there cannot be told.
func (a *apacheCheck) builtIn(source string) bool {
	return slices.Contains([]string{
		"core", "http_core", "mod_so", "mod_log_config", "mod_logio", "mod_unixd", "mod_version", "mod_watchdog", "mod_systemd", "event", "worker", "prefork",
	}, source)
}

func (a *apacheCheck) unknown(d conf.Directive, name string) {
	near := a.words.resembles(name)
	if near != "" && a.shared && !a.foreign {
		a.sure(d, "invalid command %q%s", d.Name, near)
		return
	}
	a.maybe(d, "invalid command %q%s: it may be one of a module", d.Name, near)
}

// value checks the values that are wrong by themselves.
func (a *apacheCheck) value(d conf.Directive) {
	if len(d.Args) == 0 {
		return
	}
	switch strings.ToLower(d.Name) {
	case "sslcertificatefile", "sslcertificatekeyfile", "sslcertificatechainfile", "sslcacertificatefile", "sslcarevocationfile":
		a.file(d)
	case "sslprotocol":
		a.protocols(d)
	case "sslengine":
		if !slices.Contains([]string{"on", "off", "optional"}, strings.ToLower(d.Args[0])) {
			a.sure(d, "SSLEngine must be on or off, not %q", d.Args[0])
		}
	case "errorlog", "customlog", "transferlog":
		a.log(d)
	case "listen":
		if first := a.listens[d.Args[0]]; first != "" {
			a.sure(d, "cannot listen on %s twice: it stands at %s too", d.Args[0], first)
		}
		a.listens[d.Args[0]] = at(d)
	}
}

// file checks that a file is there and not empty, which Apache does wherever it is named.
func (a *apacheCheck) file(d conf.Directive) {
	path := d.Args[0]
	if strings.Contains(path, "${") || strings.HasPrefix(path, "pkcs11:") {
		return
	}
	if path = absolute(a.folder, path); missing(path) {
		a.sure(d, "%s: the file %s does not exist", d.Name, path)
	} else if f := look(path); f.read && len(f.data) == 0 {
		a.sure(d, "%s: the file %s is empty", d.Name, path)
	}
}

func (a *apacheCheck) protocols(d conf.Directive) {
	for _, arg := range d.Args {
		version := strings.ToLower(strings.TrimLeft(arg, "+-"))
		if !slices.Contains([]string{"all", "sslv2", "sslv3", "tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"}, version) {
			a.sure(d, "SSLProtocol: illegal protocol %q", arg)
		}
	}
}

// log checks that the folder of a log is there.
func (a *apacheCheck) log(d conf.Directive) {
	path := d.Args[0]
	if strings.ContainsAny(path, "|$") || strings.HasPrefix(path, "syslog") {
		return
	}
	if folder := filepath.Dir(absolute(a.folder, path)); missing(folder) {
		a.sure(d, "%s: the folder %s does not exist", d.Name, folder)
	}
}

// servers checks the certificates of every host that speaks TLS. Those that mod_md obtains are
// in its own store.
func (a *apacheCheck) servers() {
	for _, s := range a.Servers {
		d := conf.Directive{File: s.File, Line: s.Line}
		if len(s.Certificates) == 0 && !a.modules["md_module"] {
			a.maybe(d, "there is no certificate for this host, which speaks TLS")
		}
		for _, pair := range s.Certificates {
			if missing(pair.Cert) {
				continue // told where it is named
			}
			if pair.Key == "" {
				pair.Key = pair.Cert
			}
			a.pair(a.named(s, pair.Cert), pair, a.late)
		}
	}
}

// named returns the directive that names a certificate of a server.
func (a *apacheCheck) named(s conf.Server, cert string) conf.Directive {
	found := conf.Directive{File: s.File, Line: s.Line}
	for _, d := range a.directives {
		if !strings.EqualFold(d.Name, "SSLCertificateFile") || len(d.Args) == 0 || absolute(a.folder, d.Args[0]) != cert {
			continue
		}
		found = d
		if host := sectionNamed(d.In, "virtualhost"); host != nil && host.File == s.File && host.Line == s.Line {
			break
		}
	}
	return found
}
