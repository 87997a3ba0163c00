// Package disktest makes certbot trees for tests: what certbot leaves on disk when it
// issues and renews, with certificates of a CA of its own. It is called by tests only
// and promises that names, links, modes and the order of writing are certbot's.
package disktest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

// Tree is a certbot tree and the CA that issues for it. It belongs to one goroutine.
type Tree struct {
	ConfigDir string
	WorkDir   string
	LogsDir   string
	Roots     *x509.CertPool // holds the CA's root

	t            testing.TB
	root         issuer
	intermediate issuer
	serial       int64
	lineages     map[string]*issued
}

// Options say how a lineage is issued. The zero value issues as certbot does by
// default: an ECDSA key of its own for each version, valid from an hour ago for 90
// days, no hook.
type Options struct {
	NotBefore, NotAfter time.Time
	RenewHook           string // written to the renewal configuration
	ReuseKey            bool   // later versions link to the first one's key
}

// Version is one version of a lineage.
type Version struct {
	Number      int
	Leaf        *x509.Certificate
	Fingerprint certmedic.Fingerprint
	KeyPair     tls.Certificate // leaf, intermediate and key, as a server loads them
}

type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

type issued struct {
	names   []string
	opts    Options
	version int
	key     *ecdsa.PrivateKey
}

// New makes an empty tree below the test's temporary folder.
func New(t testing.TB) *Tree {
	t.Helper()
	base := t.TempDir()
	tr := &Tree{
		ConfigDir: filepath.Join(base, "etc"),
		WorkDir:   filepath.Join(base, "lib"),
		LogsDir:   filepath.Join(base, "log"),
		Roots:     x509.NewCertPool(),
		t:         t,
		lineages:  map[string]*issued{},
	}
	tr.root = tr.authority("certmedic test root", issuer{})
	tr.intermediate = tr.authority("certmedic test intermediate", tr.root)
	tr.Roots.AddCert(tr.root.cert)
	for _, dir := range []string{tr.WorkDir, tr.LogsDir, tr.in("renewal"), tr.in("renewal-hooks/deploy")} {
		tr.must(os.MkdirAll(dir, 0o755))
	}
	for _, dir := range []string{tr.in("live"), tr.in("archive")} {
		tr.must(os.MkdirAll(dir, 0o700))
	}
	tr.write(tr.in("live/README"), "This directory contains your keys and certificates.\n", 0o644)
	return tr
}

// Source returns the source of one of the tree's lineages.
func (tr *Tree) Source(lineage string) certmedic.Source {
	return certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: tr.ConfigDir, Lineage: lineage}
}

// Live returns the path of a lineage's link, such as Live("shop", "cert").
func (tr *Tree) Live(lineage, kind string) string {
	return tr.in("live", lineage, kind+".pem")
}

// Archive returns the path of a version's file, such as Archive("shop", "cert", 1).
func (tr *Tree) Archive(lineage, kind string, number int) string {
	return tr.in("archive", lineage, fmt.Sprintf("%s%d.pem", kind, number))
}

// Conf returns the path of a lineage's renewal configuration.
func (tr *Tree) Conf(lineage string) string { return tr.in("renewal", lineage+".conf") }

// Issue makes a lineage with its first version. Names are DNS names or IP addresses.
func (tr *Tree) Issue(lineage string, names []string, opts Options) Version {
	tr.t.Helper()
	tr.lineages[lineage] = &issued{names: names, opts: opts}
	tr.must(os.Mkdir(tr.in("archive", lineage), 0o700))
	tr.must(os.Mkdir(tr.in("live", lineage), 0o755))
	v := tr.archiveNext(lineage)
	tr.link(lineage, v.Number)
	tr.write(tr.in("live", lineage, "README"), "This directory contains your keys and certificates.\n", 0o644)
	tr.writeConf(lineage)
	return v
}

// Renew adds a version and moves the lineage's links to it. It runs no hook.
func (tr *Tree) Renew(lineage string) Version {
	tr.t.Helper()
	v := tr.Archived(lineage)
	tr.link(lineage, v.Number)
	return v
}

// Archived adds a version to the archive and leaves the links, as a run of certbot
// does that is cut short.
func (tr *Tree) Archived(lineage string) Version {
	tr.t.Helper()
	v := tr.archiveNext(lineage)
	tr.writeConf(lineage)
	return v
}

// Link moves a lineage's links to a version of the archive.
func (tr *Tree) Link(lineage string, number int) {
	tr.t.Helper()
	tr.link(lineage, number)
}

// SetHook writes an executable deploy hook and returns its path.
func (tr *Tree) SetHook(name, script string) string {
	tr.t.Helper()
	path := tr.in("renewal-hooks/deploy", name)
	tr.write(path, script, 0o755)
	tr.must(os.Chmod(path, 0o755))
	return path
}

// Lock locks the tree as a running certbot does, until the returned function is
// called. The lock belongs to an open file, not to the process, so that the test's own
// process sees it as held; the kernel names no holder for it.
func (tr *Tree) Lock() (release func()) {
	tr.t.Helper()
	path := tr.in(".certbot.lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	tr.must(err)
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	tr.must(unix.FcntlFlock(file.Fd(), unix.F_OFD_SETLK, &lock))
	released := false
	release = func() {
		if !released {
			released = true
			_ = os.Remove(path)
			_ = file.Close()
		}
	}
	tr.t.Cleanup(release)
	return release
}

func (tr *Tree) in(parts ...string) string {
	return filepath.Join(append([]string{tr.ConfigDir}, parts...)...)
}

func (tr *Tree) must(err error) {
	if err != nil {
		tr.t.Helper()
		tr.t.Fatalf("making a certbot tree: %v", err)
	}
}

func (tr *Tree) write(path, text string, mode os.FileMode) {
	tr.t.Helper()
	tr.must(os.WriteFile(path, []byte(text), mode))
}

// archiveNext writes the four files of the next version, the key first as certbot does.
func (tr *Tree) archiveNext(lineage string) Version {
	tr.t.Helper()
	l := tr.lineages[lineage]
	if l == nil {
		tr.t.Fatalf("lineage %q was never issued", lineage)
	}
	l.version++
	keyFile := tr.Archive(lineage, "privkey", l.version)
	if l.key != nil && l.opts.ReuseKey {
		tr.must(os.Symlink("privkey1.pem", keyFile))
	} else {
		l.key = tr.newKey()
		tr.write(keyFile, tr.keyPEM(l.key), 0o600)
	}
	leaf := tr.issueLeaf(l)
	cert, chain := certPEM(leaf), certPEM(tr.intermediate.cert)
	tr.write(tr.Archive(lineage, "cert", l.version), cert, 0o644)
	tr.write(tr.Archive(lineage, "chain", l.version), chain, 0o644)
	tr.write(tr.Archive(lineage, "fullchain", l.version), cert+chain, 0o644)
	pair, err := tls.X509KeyPair([]byte(cert+chain), []byte(tr.keyPEM(l.key)))
	tr.must(err)
	return Version{Number: l.version, Leaf: leaf, Fingerprint: Fingerprint(leaf), KeyPair: pair}
}

// link moves the four links as certbot does: it keeps the previous ones under another
// name until all have been moved.
func (tr *Tree) link(lineage string, number int) {
	tr.t.Helper()
	kinds := []string{"cert", "privkey", "chain", "fullchain"}
	previous := func(kind string) string { return tr.in("live", lineage, "previous_"+kind+".pem") }
	for _, kind := range kinds {
		if old, err := os.Readlink(tr.Live(lineage, kind)); err == nil {
			tr.must(os.Symlink(old, previous(kind)))
		}
	}
	for _, kind := range kinds {
		_ = os.Remove(tr.Live(lineage, kind))
		target := fmt.Sprintf("../../archive/%s/%s%d.pem", lineage, kind, number)
		tr.must(os.Symlink(target, tr.Live(lineage, kind)))
	}
	for _, kind := range kinds {
		_ = os.Remove(previous(kind))
	}
}

// writeConf replaces the renewal configuration by a rename, as certbot does.
func (tr *Tree) writeConf(lineage string) {
	tr.t.Helper()
	text := "# renew_before_expiry = 30 days\nversion = 5.6.0\n"
	text += "archive_dir = " + tr.in("archive", lineage) + "\n"
	for _, kind := range []string{"cert", "privkey", "chain", "fullchain"} {
		text += kind + " = " + tr.Live(lineage, kind) + "\n"
	}
	text += "\n# Options used in the renewal process\n[renewalparams]\n" +
		"account = 0123456789abcdef0123456789abcdef\n" +
		"server = https://acme.example.test/directory\n" +
		"authenticator = webroot\nwebroot_path = /var/www/html,\nkey_type = ecdsa\n" +
		"work_dir = " + tr.WorkDir + "\nlogs_dir = " + tr.LogsDir + "\n"
	if hook := tr.lineages[lineage].opts.RenewHook; hook != "" {
		text += "renew_hook = " + quoted(hook) + "\n"
	}
	text += "[[webroot_map]]\n" + tr.lineages[lineage].names[0] + " = /var/www/html\n"
	tr.write(tr.Conf(lineage)+".new", text, 0o644)
	tr.must(os.Rename(tr.Conf(lineage)+".new", tr.Conf(lineage)))
}

func (tr *Tree) newKey() *ecdsa.PrivateKey {
	tr.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tr.must(err)
	return key
}

// authority makes a CA certificate; a zero parent makes it a root.
func (tr *Tree) authority(name string, parent issuer) issuer {
	tr.t.Helper()
	key := tr.newKey()
	tr.serial++
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(tr.serial),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().AddDate(-1, 0, 0),
		NotAfter:              time.Now().AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent.cert == nil {
		parent = issuer{cert: template, key: key}
	}
	return issuer{cert: tr.sign(template, parent, key), key: key}
}

func (tr *Tree) issueLeaf(l *issued) *x509.Certificate {
	tr.t.Helper()
	tr.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(tr.serial),
		Subject:      pkix.Name{CommonName: l.names[0]},
		NotBefore:    l.opts.NotBefore,
		NotAfter:     l.opts.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = template.NotBefore.AddDate(0, 0, 90)
	}
	for _, name := range l.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return tr.sign(template, tr.intermediate, l.key)
}

func (tr *Tree) sign(template *x509.Certificate, by issuer, key crypto.Signer) *x509.Certificate {
	tr.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	tr.must(err)
	cert, err := x509.ParseCertificate(der)
	tr.must(err)
	return cert
}

func certPEM(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func (tr *Tree) keyPEM(key *ecdsa.PrivateKey) string {
	tr.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	tr.must(err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Fingerprint returns the SHA-256 of a certificate.
func Fingerprint(cert *x509.Certificate) certmedic.Fingerprint {
	return certmedic.Fingerprint(fmt.Sprintf("%x", sha256.Sum256(cert.Raw)))
}

// quoted writes a value as ConfigObj does: bare where that is unambiguous.
func quoted(value string) string {
	switch {
	case strings.Contains(value, `"`) && strings.Contains(value, `'`):
		return `'''` + value + `'''`
	case !strings.ContainsAny(value, ",#"):
		return value
	case strings.Contains(value, `"`):
		return `'` + value + `'`
	default:
		return `"` + value + `"`
	}
}
