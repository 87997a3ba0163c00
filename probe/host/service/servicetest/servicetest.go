// Package servicetest holds configurations of services, broken ones and healthy ones, with
// what the services themselves say of them. Tests of probe/host/service read them, and
// test/configs holds them against the real programs; nothing else calls it.
package servicetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"embed"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// Verdict is what a service says of a configuration.
type Verdict string

// The verdicts.
const (
	Accepted Verdict = "accepted"
	Refused  Verdict = "refused" // by the service's own test of its configuration
	Late     Verdict = "late"    // not by that test, but by the service when it starts or when a client comes
	Unseen   Verdict = "unseen"  // refused, for a reason that reading does not find
)

// Case is one configuration.
type Case struct {
	About   string
	Verdict Verdict
	Says    string // part of the problem that is found; empty: there is none
	Files   map[string]string
}

//go:embed cases
var cases embed.FS

// Cases returns the configurations of a service, by the name of its kind. In the files of
// them, @/ stands for the folder that they are written to and @key for the key in good.key.
func Cases(t testing.TB, kind string) []Case {
	t.Helper()
	text, err := cases.ReadFile("cases/" + kind + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []Case
	file := ""
	for line := range strings.Lines(string(text)) {
		if head, ok := strings.CutPrefix(line, "=== "); ok {
			verdict, about, _ := strings.Cut(strings.TrimSpace(head), ": ")
			about, says, _ := strings.Cut(about, " | ")
			out = append(out, Case{About: about, Verdict: Verdict(verdict), Says: says, Files: map[string]string{}})
			file = Main(kind)
			continue
		}
		if name, ok := strings.CutPrefix(line, "--- "); ok {
			file = strings.TrimSpace(name)
			out[len(out)-1].Files[file] = ""
			continue
		}
		if len(out) > 0 {
			out[len(out)-1].Files[file] += line
		}
	}
	return out
}

// Main returns the name of a kind's main file.
func Main(kind string) string {
	return map[string]string{
		"nginx": "nginx.conf", "apache": "apache2.conf", "haproxy": "haproxy.cfg", "postfix": "main.cf", "dovecot": "dovecot.conf",
	}[kind]
}

// Write writes a case to a folder, with the certificates that it may name: good.pem with
// good.key and both in good.both, other.pem with other.key, reversed.pem (the authority first),
// garbage.pem, empty.pem. It returns the main file.
func Write(t testing.TB, c Case, kind, dir string) string {
	t.Helper()
	authority := certtest.Issue(t, nil, certtest.CA("Test CA", time.Now()), newKey(t))
	good, goodKey := issue(t, authority, "shop.example.test")
	other, otherKey := issue(t, authority, "other.example.test")
	ca := block("CERTIFICATE", authority.Cert.Raw)
	files := map[string]string{
		"good.pem": good + ca, "good.key": goodKey, "good.both": good + ca + goodKey,
		"other.pem": other + ca, "other.key": otherKey, "other.both": other + ca + otherKey,
		"reversed.pem": ca + good, "mixed.both": good + otherKey, "garbage.pem": "this is no certificate\n", "empty.pem": "",
	}
	switch kind {
	case "apache":
		files["modules.conf"] = strings.ReplaceAll(modulesConf, "@/", dir+"/")
	case "postfix":
		files["master.cf"] = masterCF
	}
	replacer := strings.NewReplacer("@key\n", goodKey, "@/", dir+"/")
	for name, text := range c.Files {
		files[name] = replacer.Replace(text)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, Main(kind))
}

// masterCF is what is needed for a client on a port.
const masterCF = `smtp      inet  n       -       n       -       -       smtpd
cleanup   unix  n       -       n       -       0       cleanup
rewrite   unix  -       -       n       -       -       trivial-rewrite
tlsmgr    unix  -       -       n       1000?   1       tlsmgr
anvil     unix  -       -       n       -       1       anvil
postlog   unix-dgram n  -       n       -       1       postlogd
`

// modulesConf is what any of apache's configurations needs.
const modulesConf = `ServerRoot @/.
DefaultRuntimeDir @/.
PidFile @/apache.pid
ErrorLog @/error.log
ServerName localhost
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule authz_host_module /usr/lib/apache2/modules/mod_authz_host.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so
LoadModule setenvif_module /usr/lib/apache2/modules/mod_setenvif.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
TypesConfig /etc/mime.types
`

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func issue(t testing.TB, authority *certtest.Pair, name string) (cert, key string) {
	t.Helper()
	signer := newKey(t)
	pair := certtest.Issue(t, authority, certtest.Server(time.Now(), name), signer)
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", pair.Cert.Raw), block("PRIVATE KEY", der)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
