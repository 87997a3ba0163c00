package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/deploy/keystore"
)

// Destination is a place where copies are installed, and the service that loads them.
type Destination struct {
	Name     string          `yaml:"name,omitempty" doc:"The name of the destination, unique for its certificate. Absent: destination-1, -2, ..."`
	On       []string        `yaml:"on" doc:"Where it is: local, this host; the names of hosts; or hosts that are not listed, as [user@]host[:port], reached as root by default, with the usual keys and known_hosts. What is said below holds for each of them."`
	Rollout  *Rollout        `yaml:"rollout,omitempty" doc:"How a version gets to the other hosts: to the first of them, and then, where it is seen served there, to the others. Where destinations of a certificate differ, the most careful value counts for all of its hosts."`
	Files    []InstalledFile `yaml:"files,omitempty" doc:"The files to install, all or none."`
	Swap     string          `yaml:"swap,omitempty" form:"path" doc:"A symbolic link to the folder that all files lie below, or a path where there is nothing yet. Every version is written whole into a new folder beside it, and the link led there by one rename, so that nobody ever reads files of two versions. The folder holds nothing else; the one before is kept."`
	Service  string          `yaml:"service,omitempty" enum:"nginx apache haproxy postfix dovecot" doc:"The service that loads the files. It says what test, reload and alive are where they are absent, as is usual on Debian: nginx (nginx -t; systemctl reload nginx), apache (apachectl configtest; systemctl reload apache2), haproxy (haproxy -c -f /etc/haproxy/haproxy.cfg; systemctl reload haproxy), postfix (postfix check; postfix reload; postfix status) and dovecot (doveconf -n; doveadm reload). All but postfix are alive as systemctl is-active says."`
	Unit     string          `yaml:"unit,omitempty" doc:"A unit of systemd that loads the files, such as slapd.service: reload and alive ask systemctl where they are absent."`
	Restart  bool            `yaml:"restart,omitempty" doc:"Whether the unit may be restarted where it cannot reload. Without it no service is ever restarted."`
	Prepare  [][]string      `yaml:"prepare,omitempty" doc:"Commands that make of the files what the service reads. They run in order, before test, and again when the old files were put back."`
	Maps     []string        `yaml:"maps,omitempty" doc:"Maps of Postfix that hold the files' content, such as hash:/etc/postfix/sni: each is made anew by postmap -F, as the first of prepare."`
	Test     []string        `yaml:"test,omitempty" doc:"The command that checks the service's configuration before the reload, as a program and its arguments; no shell is involved."`
	Reload   []string        `yaml:"reload,omitempty" doc:"The command that makes the service load the files. With haproxy: what is done where its socket refuses."`
	Signal   *Signal         `yaml:"signal,omitempty" doc:"A signal that makes the service load the files, in place of reload."`
	HAProxy  *HAProxy        `yaml:"haproxy,omitempty" doc:"The runtime socket over which HAProxy loads the certificate without a reload."`
	ACM      *DeployACM      `yaml:"acm,omitempty" doc:"AWS Certificate Manager, from where load balancers and CDNs of AWS take certificates. It gets the version once all hosts have it; name what it serves among the endpoints, so that certmedic sees the version arrive."`
	API      *DeployAPI      `yaml:"api,omitempty" doc:"The interface of a load balancer or a CDN, which gets the version in one HTTP request, once all hosts have it."`
	Exec     *DeployExec     `yaml:"exec,omitempty" doc:"A command that brings the version to where nothing else gets it, once all hosts have it, such as rsync -e ssh {fullchain} {privkey} deploy@edge:/etc/ssl/shop/."`
	Alive    []string        `yaml:"alive,omitempty" doc:"The command that says, by exit code 0, that the service still runs after the reload."`
	AliveFor time.Duration   `yaml:"alive_for" doc:"How long alive is asked again after it first succeeded; at most 5m."`
}

// InstalledFile is one file of a destination.
type InstalledFile struct {
	From  certmedic.FilePart `yaml:"from" required:"true" enum:"cert chain fullchain privkey combined pkcs12 jks" doc:"What of the certificate the file holds: a part of it, or leaf, chain and key together in one PEM file (combined), a PKCS#12 or a Java key store."`
	To    string             `yaml:"to" required:"true" form:"path" doc:"The path of the file."`
	Mode  string             `yaml:"mode,omitempty" doc:"The permissions in octal, such as 0600. Absent: what is there, else 0644, and 0600 for what holds the key."`
	Owner string             `yaml:"owner,omitempty" doc:"user:group. Absent: what is there."`

	PassphraseFile string `yaml:"passphrase_file,omitempty" form:"path" doc:"For pkcs12 and jks: a file whose first line is the passphrase of the store and its key, at least 6 printable characters of ASCII. Others may not read it."`
	Alias          string `yaml:"alias,omitempty" doc:"For pkcs12 and jks: the name of the entry. Absent: the name of the certificate."`
	Legacy         bool   `yaml:"legacy,omitempty" doc:"For pkcs12: whether it is encrypted in the old way, which Java before 8u301 needs."`
}

// Signal is a signal to the process that a file names.
type Signal struct {
	PIDFile string `yaml:"pid_file" required:"true" form:"path" doc:"The file that holds the number of the process. A process that began after the file was written is never signalled."`
	Signal  string `yaml:"signal" enum:"HUP USR1 USR2" doc:"The signal."`
}

// HAProxy is a certificate in a running HAProxy.
type HAProxy struct {
	Socket      string   `yaml:"socket,omitempty" form:"path" doc:"The socket of its runtime API, with the level admin; * ? and [] match as in a shell, and then have to match at least one."`
	Sockets     []string `yaml:"sockets,omitempty" form:"path" doc:"The sockets of several processes, in place of socket. The certificate is loaded into all of them or, where one refuses it, aborted in those that have not committed it."`
	Certificate string   `yaml:"certificate" required:"true" form:"path" doc:"The certificate as HAProxy's configuration names it: the path of a file of this destination, from combined, or from fullchain with the key beside it in a file of the same name and .key."`
}

func (d *Destination) setDefaults() {
	d.On = []string{"local"}
	d.AliveFor = 2 * time.Second
}

func (s *Signal) setDefaults() { s.Signal = "HUP" }

func (d Destination) build(index int, certificate string) certmedic.Destination {
	usual := d.usual()
	built := certmedic.Destination{
		Name:   destinationName(d, index),
		Swap:   d.Swap,
		Test:   or(d.Test, usual.Test),
		Reload: or(d.Reload, usual.Reload),
		Alive:  or(d.Alive, usual.Alive),
	}
	if !slices.Equal(d.On, []string{certmedic.LocalHost}) {
		built.Hosts, built.Rollout = d.On, d.Rollout.build()
	}
	for _, m := range d.Maps {
		built.Prepare = append(built.Prepare, []string{"postmap", "-F", m})
	}
	built.Prepare = append(built.Prepare, d.Prepare...)
	if built.Alive != nil {
		built.AliveFor = d.AliveFor
	}
	if d.Signal != nil {
		built.Signal = certmedic.Signal{PIDFile: d.Signal.PIDFile, Name: d.Signal.Signal}
	}
	if d.HAProxy != nil {
		built.HAProxy = d.HAProxy.build()
	}
	built.Push = d.push(certificate)
	for _, f := range d.Files {
		if f.From.IsKeystore() && f.Alias == "" {
			f.Alias = certificate
		}
		built.Files = append(built.Files, certmedic.InstalledFile(f))
	}
	return built
}

// usual returns what is usual for the service and the unit of a destination.
func (d Destination) usual() deploy.Service {
	usual, _ := deploy.ServiceNamed(d.Service)
	if unit := d.Unit; unit != "" || d.Restart {
		if unit == "" {
			unit = usual.Unit
		}
		of := deploy.Unit(unit, d.Restart)
		usual.Reload, usual.Alive = of.Reload, of.Alive
	}
	if d.Signal != nil {
		usual.Reload = nil
	}
	return usual
}

func or(argv, usual []string) []string {
	if argv == nil {
		return usual
	}
	return argv
}

func destinationName(d Destination, index int) string {
	if d.Name != "" {
		return d.Name
	}
	return fmt.Sprintf("destination-%d", index+1)
}

// deploy checks the destinations of a certificate. Targets are the files that are written, of all
// certificates.
func (v *validator) deploy(key string, c Certificate, targets map[string]string) {
	names := map[string]string{}
	v.many(key, c.Deploy)
	for i, d := range c.Deploy {
		at := fmt.Sprintf("%s[%d]", key, i)
		v.name(at+".name", destinationName(d, i), names)
		v.on(at+".on", d.On)
		v.elsewhere(at, d)
		for j, f := range d.Files {
			file := fmt.Sprintf("%s.files[%d]", at, j)
			v.installed(file, f)
			for _, target := range v.targetsOf(d, f.To) {
				v.destinationPath(file+".to", target, targets)
			}
			if d.isLocal() && c.Source.holds(f.To) {
				v.errorf(file+".to", "%q belongs to the source of the certificate itself", f.To)
			}
		}
		v.service(at, d)
		v.push(at, d)
		v.destinationCommands(at, d)
		if len(d.Files) == 0 && d.Reload == nil && d.Service == "" && d.Unit == "" && d.Signal == nil && !d.pushes() {
			v.errorf(at, "does nothing: it has neither files nor reload")
		}
	}
}

// holds reports whether a path is a file of the source, or lies among those of certbot.
func (s Source) holds(path string) bool {
	if path == "" {
		return false
	}
	if c := s.Certbot; c != nil {
		return below(filepath.Join(c.ConfigDir, "live"), path) || below(filepath.Join(c.ConfigDir, "archive"), path)
	}
	f := s.Files
	return f != nil && slices.ContainsFunc([]string{f.Cert, f.Key, f.Chain}, func(own string) bool { return filepath.Clean(own) == filepath.Clean(path) })
}

func (v *validator) destinationCommands(key string, d Destination) {
	for i, argv := range d.Prepare {
		v.argv(fmt.Sprintf("%s.prepare[%d]", key, i), argv)
	}
	for i, m := range d.Maps {
		if kind, path, ok := strings.Cut(m, ":"); !ok || !isName(kind) || !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			v.errorf(fmt.Sprintf("%s.maps[%d]", key, i), "%q is no map of Postfix, such as hash:/etc/postfix/sni", m)
		}
	}
	v.argv(key+".test", d.Test)
	v.argv(key+".reload", d.Reload)
	v.argv(key+".alive", d.Alive)
	if d.AliveFor < 0 || d.AliveFor > 5*time.Minute {
		v.errorf(key+".alive_for", "must be between 0s and 5m, not %s", d.AliveFor)
	}
}

// service checks what stands for commands.
func (v *validator) service(key string, d Destination) {
	if d.Unit != "" && (!isUnit(d.Unit) || strings.HasPrefix(d.Unit, "-")) {
		v.errorf(key+".unit", "%q is no unit of systemd", d.Unit)
	}
	if d.Restart && d.Unit == "" && d.Service == "" {
		v.errorf(key+".restart", "is for a unit or a service")
	}
	if d.Restart && d.Reload != nil {
		v.errorf(key+".restart", "says nothing beside reload, which is run as it is")
	}
	if d.Signal != nil {
		v.absolute(key+".signal.pid_file", d.Signal.PIDFile)
		if d.Reload != nil || d.HAProxy != nil || d.Restart {
			v.errorf(key+".signal", "stands in place of reload, restart and haproxy")
		}
	}
	if d.HAProxy != nil {
		v.haproxy(key+".haproxy", d)
	}
}

func (v *validator) haproxy(key string, d Destination) {
	h := d.HAProxy
	v.sockets(key, h)
	v.absolute(key+".certificate", h.Certificate)
	if strings.ContainsAny(h.Certificate, " \t\r\n;\\<") {
		v.errorf(key+".certificate", "HAProxy cannot be told the name %q", h.Certificate)
	}
	part := func(path string) certmedic.FilePart {
		for _, f := range d.Files {
			if f.To == path {
				return f.From
			}
		}
		return ""
	}
	apart := part(h.Certificate) == certmedic.PartFullchain && part(h.Certificate+".key") == certmedic.PartPrivkey
	if part(h.Certificate) != certmedic.PartCombined && !apart {
		v.errorf(key+".certificate", "%q is no file of this destination from combined, nor one from fullchain with %q from privkey", h.Certificate, h.Certificate+".key")
	}
}

// swap checks that a link that is swapped is the parent of all files, and of those alone.
func (v *validator) swap(key string, d Destination, targets map[string]string) {
	if d.Swap == "" {
		return
	}
	v.absolute(key+".swap", d.Swap)
	if filepath.Clean(d.Swap) != d.Swap || d.Swap == "/" {
		v.errorf(key+".swap", "%q is no clean path of a link", d.Swap)
		return
	}
	if len(d.Files) == 0 {
		v.errorf(key+".swap", "there are no files to lie below it")
	}
	for i, f := range d.Files {
		if !below(d.Swap, f.To) {
			v.errorf(fmt.Sprintf("%s.files[%d].to", key, i), "%q does not lie below %q, which is swapped", f.To, d.Swap)
		}
	}
	for _, link := range v.targetsOf(d, d.Swap) {
		v.swapped(key, link, targets)
	}
}

// swapped reports files of others below a link that is swapped.
func (v *validator) swapped(key, link string, targets map[string]string) {
	for target, first := range targets {
		if below(link, target) && !strings.HasPrefix(first, key+".") {
			v.errorf(key+".swap", "%q would be lost: it is written by %s in line %d", target, first, v.positions.of(first).Line)
		}
	}
}

func below(folder, path string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}

// isUnit reports whether a word can be a unit of systemd (systemd.unit(5)).
func isUnit(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune(`:-_.\@`, r)
	}) < 0
}

// destinationPath reports a path that two files are written to, of one certificate or of two,
// which would heal against each other.
func (v *validator) destinationPath(key, path string, seen map[string]string) {
	if first, twice := seen[filepath.Clean(path)]; twice && path != "" {
		v.errorf(key, "%q is written by %s in line %d already", path, first, v.positions.of(first).Line)
	}
	seen[filepath.Clean(path)] = key
}

func (v *validator) installed(key string, f InstalledFile) {
	v.absolute(key+".to", f.To)
	if user, group, ok := strings.Cut(f.Owner, ":"); f.Owner != "" && (!ok || !isName(user) || !isName(group)) {
		v.errorf(key+".owner", "%q is not user:group", f.Owner)
	}
	v.store(key, f)
	if f.Mode == "" {
		return
	}
	mode, err := strconv.ParseUint(f.Mode, 8, 16)
	if err != nil || mode > 0o777 {
		v.errorf(key+".mode", "%q is no file mode in octal, such as 0600", f.Mode)
		return
	}
	if f.From.HasKey() && mode&0o007 != 0 {
		v.errorf(key+".mode", "%q opens the private key to others; use 0600, or 0640 and a group", f.Mode)
	}
}

// store checks the keys that are for key stores.
func (v *validator) store(key string, f InstalledFile) {
	v.path(key+".passphrase_file", f.PassphraseFile)
	switch {
	case f.From.IsKeystore() && f.PassphraseFile == "":
		v.errorf(key, "from %s needs a passphrase_file", f.From)
	case !f.From.IsKeystore() && (f.PassphraseFile != "" || f.Alias != ""):
		v.errorf(key, "passphrase_file and alias are for pkcs12 and jks")
	}
	if f.Legacy && f.From != certmedic.PartPKCS12 {
		v.errorf(key+".legacy", "is for pkcs12")
	}
	if f.Alias != "" && !keystore.IsAlias(f.Alias) {
		v.errorf(key+".alias", "%q holds other characters than the printable ones of ASCII", f.Alias)
	}
}

// destination reports programs and passphrases of a destination that others may change or read.
func (f *fileChecker) destination(key string, d Destination) {
	if d.isLocal() {
		for i, argv := range d.Prepare {
			f.program(fmt.Sprintf("%s.prepare[%d]", key, i), argv)
		}
		f.program(key+".test", d.Test)
		f.program(key+".reload", d.Reload)
		f.program(key+".alive", d.Alive)
	}
	f.push(key, d)
	for i, file := range d.Files {
		f.secret(fmt.Sprintf("%s.files[%d].passphrase_file", key, i), file.PassphraseFile)
	}
}
