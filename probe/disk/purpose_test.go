package disk_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// purposes lists items as "name: purpose, common name of the first certificate", with which
// of several it is and with findings behind.
func purposes(dir string, items []disk.Item) string {
	var out []string
	for _, item := range items {
		line := fmt.Sprintf("%s: %s", strings.TrimPrefix(item.Target, dir+"/"), item.Purpose)
		if len(item.Certs) > 0 {
			line += " " + item.Certs[0].Subject.CommonName
		}
		if item.Which != "" {
			line += " as " + item.Which
		}
		if len(item.Stored.Findings) > 0 {
			line += " " + strings.ReplaceAll(details(item.Stored.Findings), dir+"/", "")
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

func (f forms) kubeconfig(t *testing.T) string {
	t.Helper()
	b64 := base64.StdEncoding.EncodeToString
	return f.write(t, "kubeconfig", 0o600, []byte(`apiVersion: v1
kind: Config
clusters: [{name: prod, cluster: {certificate-authority-data: `+b64(certPEM(f.ca.Cert))+`}}]
users:
- {name: admin, user: {client-certificate-data: `+b64(certPEM(f.leaf.Cert))+`, client-key-data: `+b64(keyPEM(t, f.leaf))+`}}
- {name: itself, user: {client-certificate: kubeconfig}}
`))
}

func TestWhatCertificatesAreFor(t *testing.T) {
	f := newForms(t)
	now := time.Now()
	endingCA := certtest.CA("ending ca", now)
	endingCA.NotAfter = now.AddDate(0, 0, 3)
	ending := certtest.Issue(t, nil, endingCA, nil)
	f.kubeconfig(t)
	f.write(t, "ca.pem", 0o644, certPEM(f.ca.Cert))
	f.write(t, "cas.pem", 0o644, certPEM(f.ca.Cert, ending.Cert))
	f.write(t, "fullchain.pem", 0o644, certPEM(f.leaf.Cert, f.ca.Cert))
	f.write(t, "upside-down.pem", 0o644, certPEM(f.ca.Cert, f.leaf.Cert))
	f.write(t, "upside-down-with-key.pem", 0o600, append(certPEM(f.ca.Cert, f.leaf.Cert), keyPEM(t, f.leaf)...))
	f.write(t, "secret/tls.crt", 0o644, certPEM(f.leaf.Cert, f.ca.Cert))
	f.write(t, "secret/tls.key", 0o600, keyPEM(t, f.leaf))
	f.write(t, "secret/ca.crt", 0o644, certPEM(f.ca.Cert))
	store, err := pkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{f.ca.Cert, ending.Cert}, "changeit")
	must(t, err)
	f.write(t, "trust.p12", 0o644, store)
	for _, row := range []struct{ about, path, want string }{
		{"a kubeconfig", "kubeconfig", "kubeconfig#clusters/prod: authority forms ca; kubeconfig#users/admin: client shop.example.test; " +
			"kubeconfig#users/itself: client not_a_certificate: kubeconfig: neither PEM nor a certificate in DER"},
		{"an authority", "ca.pem", "ca.pem: authority forms ca"},
		{"several authorities", "cas.pem", "cas.pem: authority ending ca as ending ca"},
		{"a chain", "fullchain.pem", "fullchain.pem:  shop.example.test"},
		{"a chain that is upside down", "upside-down.pem", `upside-down.pem:  shop.example.test chain_order: upside-down.pem: the leaf stands behind the authority "forms ca" ` +
			"that issued it; services take the first certificate, so put the leaf first"},
		{"one with its key, which services take", "upside-down-with-key.pem", "upside-down-with-key.pem:  forms ca key_mismatch: upside-down-with-key.pem: the private key " +
			"does not belong to the certificate in upside-down-with-key.pem, but to the one that stands there as number 2: put it first"},
		{"a mounted secret", "secret", "secret:  shop.example.test; secret/ca.crt: authority forms ca"},
		{"a store of what is trusted", "trust.p12", "trust.p12#CN=forms ca: authority forms ca; trust.p12#CN=ending ca: authority ending ca"},
	} {
		items, err := disk.ReadPath(f.path(row.path), now)
		if got := purposes(f.dir, items); err != nil || got != row.want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", row.about, got, err, row.want)
		}
	}
}

// TestOneStandsForAllInAFile reads as sources what holds several certificates.
func TestOneStandsForAllInAFile(t *testing.T) {
	f := newForms(t)
	now := time.Now()
	soon := certtest.Server(now, "soon.example.test")
	soon.NotAfter = now.AddDate(0, 0, 3)
	second := certtest.Issue(t, f.ca, soon, nil)
	store, err := pkcs12.Modern2023.EncodeTrustStore([]*x509.Certificate{f.ca.Cert, certtest.Issue(t, nil, soon, nil).Cert}, "changeit")
	must(t, err)
	f.write(t, "trust.p12", 0o644, store)
	f.kubeconfig(t)
	f.write(t, "two.jks", 0o600, f.jks(t, f.leaf, second))
	first := disk.Reader{EndsFirst: true}
	for _, row := range []struct {
		about, path string
		reader      disk.Reader
		want        string
	}{
		{"a kubeconfig", "kubeconfig", first, "kubeconfig: client shop.example.test as users/admin not_a_certificate: kubeconfig: neither PEM nor a certificate in DER"},
		{"a store of what is trusted", "trust.p12", disk.Reader{}, "trust.p12: authority soon.example.test as CN=soon.example.test"},
		{"a store with two keys", "two.jks", first, "two.jks:  soon.example.test as 1"},
		{"a store with two keys of which one is meant", "two.jks", disk.Reader{}, `two.jks:  file_unreadable: two.jks: it holds 2 private keys ("0", "1"): which one is meant cannot be told`},
	} {
		src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: f.path(row.path)}
		item := disk.Item{Target: f.path(row.path), Content: row.reader.Read(src, now)}
		if got := purposes(f.dir, []disk.Item{item}); got != row.want {
			t.Errorf("%s:\ngot  %s\nwant %s", row.about, got, row.want)
		}
	}
}

// jks is a key store in Java's old form with a key for each pair.
func (f forms) jks(t *testing.T, pairs ...*certtest.Pair) []byte {
	t.Helper()
	store := keystore.New(keystore.WithOrderedAliases())
	for i, p := range pairs {
		der, err := x509.MarshalPKCS8PrivateKey(p.Key)
		must(t, err)
		chain := []keystore.Certificate{{Type: "X509", Content: p.Cert.Raw}}
		must(t, store.SetPrivateKeyEntry(fmt.Sprint(i), keystore.PrivateKeyEntry{PrivateKey: der, CertificateChain: chain}, []byte("changeit")))
	}
	var out bytes.Buffer
	must(t, store.Store(&out, []byte("changeit")))
	return out.Bytes()
}

func TestFilesThatMayLackAChain(t *testing.T) {
	f := newForms(t)
	leaf, both := certPEM(f.leaf.Cert), certPEM(f.leaf.Cert, f.ca.Cert)
	for _, row := range []struct {
		about, name string
		data        []byte
		want        bool
	}{
		{"certbot's cert.pem", "cert.pem", leaf, true},
		{"a lone certificate in DER", "shop.cer", f.leaf.Cert.Raw, true},
		{"what is called a full chain", "fullchain.pem", leaf, false},
		{"a bundle with a key", "haproxy.pem", append(keyPEM(t, f.leaf), leaf...), false},
		{"a chain", "chained.pem", both, false},
	} {
		items, err := disk.ReadPath(f.write(t, row.name, 0o600, row.data), time.Now())
		if err != nil || len(items) != 1 || items[0].MayLackChain() != row.want {
			t.Errorf("%s: %v, %v", row.about, items, err)
		}
	}
}

// TestTheLiveFolderIsItsTree holds that a person may name live/ for the tree.
func TestTheLiveFolderIsItsTree(t *testing.T) {
	f := newForms(t)
	tree := disktest.New(t)
	tree.Issue("a.example.test", []string{"a.example.test"}, disktest.Options{})
	tree.Issue("b.example.test", []string{"b.example.test"}, disktest.Options{})
	want, err := disk.ReadPath(tree.ConfigDir, time.Now())
	must(t, err)
	got, err := disk.ReadPath(tree.ConfigDir+"/live", time.Now())
	must(t, err)
	if len(got) != 2 || purposes(tree.ConfigDir, got) != purposes(tree.ConfigDir, want) {
		t.Errorf("got  %s\nwant %s", purposes(tree.ConfigDir, got), purposes(tree.ConfigDir, want))
	}
	must(t, os.Mkdir(f.path("live"), 0o755))
	if _, err := disk.ReadPath(f.path("live"), time.Now()); err == nil {
		t.Error("an empty folder that is called live is read as a tree")
	}
}
