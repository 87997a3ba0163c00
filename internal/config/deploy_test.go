package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// deployed is a certificate with one destination.
func deployed(destination string) string {
	return "certificates: [{name: shop, source: {files: {cert: /stored}}, deploy: [{" + destination + "}]}]"
}

func TestDestinations(t *testing.T) {
	t.Parallel()
	words := strings.Fields
	for _, row := range []struct {
		about, text string
		want        certmedic.Destination
	}{
		{
			"a service says what is usual", "service: nginx",
			certmedic.Destination{Test: words("nginx -t"), Reload: words("systemctl reload nginx"), Alive: words("systemctl is-active --quiet nginx"), AliveFor: 2 * time.Second},
		},
		{
			"what is written wins", "service: apache, test: [t], alive: [a], alive_for: 0s",
			certmedic.Destination{Test: words("t"), Reload: words("systemctl reload apache2"), Alive: words("a")},
		},
		{
			"a service in a unit of another name", "service: nginx, unit: nginx@shop.service",
			certmedic.Destination{
				Test: words("nginx -t"), Reload: words("systemctl reload nginx@shop.service"),
				Alive: words("systemctl is-active --quiet nginx@shop.service"), AliveFor: 2 * time.Second,
			},
		},
		{
			"a unit that may be restarted", "unit: slapd, restart: true",
			certmedic.Destination{Reload: words("systemctl reload-or-restart slapd"), Alive: words("systemctl is-active --quiet slapd"), AliveFor: 2 * time.Second},
		},
		{
			"a service that may be restarted", "service: postfix, restart: true",
			certmedic.Destination{
				Test: words("postfix check"), Reload: words("systemctl reload-or-restart postfix"),
				Alive: words("systemctl is-active --quiet postfix"), AliveFor: 2 * time.Second,
			},
		},
		{
			"a signal", "signal: {pid_file: /run/x.pid}",
			certmedic.Destination{Signal: certmedic.Signal{PIDFile: "/run/x.pid", Name: "HUP"}},
		},
		{
			"a signal in place of a unit's reload", "unit: x, signal: {pid_file: /run/x.pid, signal: USR1}",
			certmedic.Destination{Signal: certmedic.Signal{PIDFile: "/run/x.pid", Name: "USR1"}, Alive: words("systemctl is-active --quiet x"), AliveFor: 2 * time.Second},
		},
		{
			"maps of Postfix before other preparations", "reload: [r], maps: [hash:/etc/postfix/sni], prepare: [[p, q]]",
			certmedic.Destination{Prepare: [][]string{words("postmap -F hash:/etc/postfix/sni"), words("p q")}, Reload: words("r")},
		},
		{
			"HAProxy's socket, with a reload where it refuses",
			"service: haproxy, haproxy: {socket: /s, certificate: /c.pem}, files: [{from: combined, to: /c.pem}]",
			certmedic.Destination{
				Test: words("haproxy -c -f /etc/haproxy/haproxy.cfg"), Reload: words("systemctl reload haproxy"),
				Alive: words("systemctl is-active --quiet haproxy"), AliveFor: 2 * time.Second,
				HAProxy: certmedic.HAProxy{Sockets: []string{"/s"}, Certificate: "/c.pem"},
				Files:   []certmedic.InstalledFile{{From: certmedic.PartCombined, To: "/c.pem"}},
			},
		},
		{
			"key stores, in a folder that is swapped",
			"swap: /d, files: [{from: pkcs12, to: /d/a.p12, passphrase_file: /p, legacy: true}, {from: jks, to: /d/a.jks, passphrase_file: /p, alias: tomcat}]",
			certmedic.Destination{Swap: "/d", Files: []certmedic.InstalledFile{
				{From: certmedic.PartPKCS12, To: "/d/a.p12", PassphraseFile: "/p", Alias: "shop", Legacy: true},
				{From: certmedic.PartJKS, To: "/d/a.jks", PassphraseFile: "/p", Alias: "tomcat"},
			}},
		},
	} {
		c, warnings, err := config.Parse("x", []byte(deployed(row.text)))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, %v", row.about, err, warnings)
			continue
		}
		row.want.Name = "destination-1"
		if got := config.Certificates(c)[0].Destinations[0]; !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s:\n%+v\nwant:\n%+v", row.about, got, row.want)
		}
	}
}

// TestServicesAreDocumented shows that the documentation of the key has every service with its
// commands, and no other.
func TestServicesAreDocumented(t *testing.T) {
	t.Parallel()
	field, _ := reflect.TypeFor[config.Destination]().FieldByName("Service")
	doc := field.Tag.Get("doc")
	for name := range strings.FieldsSeq(field.Tag.Get("enum")) {
		s, ok := deploy.ServiceNamed(name)
		commands := fmt.Sprintf("%s (%s; %s", name, strings.Join(s.Test, " "), strings.Join(s.Reload, " "))
		if !ok || !strings.Contains(doc, commands) {
			t.Errorf("%q is not in the documentation: %s", commands, doc)
		}
	}
}

func TestDestinationsAreRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ about, text, want string }{
		{"a service that nobody knows", "service: sendmail", `"sendmail" is none of`},
		{"a unit that is an option", "unit: --force", "is no unit"},
		{"a unit that is a path", "unit: /etc/x.service", "is no unit"},
		{"a restart of nothing", "reload: [r], restart: true", "is for a unit or a service"},
		{"a restart beside a reload", "unit: x, reload: [r], restart: true", "says nothing beside reload"},
		{"a signal beside a reload", "reload: [r], signal: {pid_file: /p}", "stands in place of reload"},
		{"a signal beside a socket", "signal: {pid_file: /p}, haproxy: {socket: /s, certificate: /c}, files: [{from: combined, to: /c}]", "stands in place of"},
		{"a signal that ends processes", "signal: {pid_file: /p, signal: KILL}", `"KILL" is none of`},
		{"a pid file somewhere", "signal: {pid_file: x.pid}", "not an absolute path"},
		{"a map that is an option", "reload: [r], maps: [-d]", "is no map"},
		{"a map somewhere", "reload: [r], maps: [\"hash:sni\"]", "is no map"},
		{"an empty preparation", "reload: [r], prepare: [[]]", "is an empty command"},
		{"a preparation that is a line", "reload: [r], prepare: [[postmap -F x]]", "element of its own"},
		{"waiting for too long", "reload: [r], alive: [a], alive_for: 1h", "between 0s and 5m"},
		{"a certificate of HAProxy that is no file", "reload: [r], haproxy: {socket: /s, certificate: /c.pem}", "is no file of this destination"},
		{"one that is not whole", "reload: [r], haproxy: {socket: /s, certificate: /c.pem}, files: [{from: fullchain, to: /c.pem}]", "from privkey"},
		{"one whose name holds a command", "reload: [r], haproxy: {socket: /s, certificate: /c; x}, files: [{from: combined, to: /c; x}]", "cannot be told"},
		{"a key store without a passphrase", "files: [{from: jks, to: /a}]", "needs a passphrase_file"},
		{"a passphrase for PEM", "files: [{from: cert, to: /a, passphrase_file: /p}]", "are for pkcs12 and jks"},
		{"an alias for PEM", "files: [{from: cert, to: /a, alias: b}]", "are for pkcs12 and jks"},
		{"an alias that programs write differently", "files: [{from: jks, to: /a, passphrase_file: /p, alias: ö}]", "printable"},
		{"an old way for JKS", "files: [{from: jks, to: /a, passphrase_file: /p, legacy: true}]", "is for pkcs12"},
		{"a key store that all may read", `files: [{from: pkcs12, to: /a, passphrase_file: /p, mode: "0644"}]`, "opens the private key"},
		{"a combined file that all may read", `files: [{from: combined, to: /a, mode: "0604"}]`, "opens the private key"},
		{"a link without files", "swap: /d, reload: [r]", "no files to lie below"},
		{"a file beside the link", "swap: /d, files: [{from: cert, to: /e/a}]", "does not lie below"},
		{"a file that climbs out", "swap: /d/e, files: [{from: cert, to: /d/e/../a}]", "does not lie below"},
		{"a file that is the link", "swap: /d, files: [{from: cert, to: /d}]", "does not lie below"},
		{"the root as a link", "swap: /, files: [{from: cert, to: /a}]", "no clean path"},
		{"a link with a slash behind", "swap: /d/, files: [{from: cert, to: /d/a}]", "no clean path"},
		{"a file of a later destination below the link", "swap: /d, files: [{from: cert, to: /d/a}]}, {files: [{from: chain, to: /d/b}]", "would be lost"},
		{"a file of another destination below the link", "files: [{from: chain, to: /d/b}]}, {swap: /d, files: [{from: cert, to: /d/a}]", "would be lost"},
	} {
		_, _, err := config.Parse("x", []byte(deployed(row.text)))
		if err == nil || !strings.Contains(fmt.Sprint(err), row.want) {
			t.Errorf("%s: %v, want an error with %q", row.about, err, row.want)
		}
	}
}

// TestFilesOfDestinations shows that passphrases and programs are looked at when a configuration
// is loaded.
func TestFilesOfDestinations(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, text string // $F is the file
		mode        os.FileMode
		want        string
	}{
		{"a passphrase for its owner alone", "files: [{from: jks, to: /a, passphrase_file: $F}]", 0o600, ""},
		{"a passphrase that others may read", "files: [{from: jks, to: /a, passphrase_file: $F}]", 0o644, "read by others"},
		{"a preparation that others may write", "reload: [r], prepare: [[$F, x]]", 0o757, "prepare[0]"},
	} {
		dir := home(t)
		chmod(t, write(t, dir+"/file", "x"), row.mode)
		path := write(t, filepath.Join(dir, "certmedic.yml"), deployed(strings.ReplaceAll(row.text, "$F", dir+"/file")))
		_, _, err := config.Load(path)
		if row.want == "" && err != nil || row.want != "" && !strings.Contains(fmt.Sprint(err), row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
	}
}
