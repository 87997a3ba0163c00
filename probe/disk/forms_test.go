package disk_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// forms is a folder with one certificate in every form.
type forms struct {
	dir      string
	ca, leaf *certtest.Pair
}

func newForms(t *testing.T) forms {
	t.Helper()
	now := time.Now()
	f := forms{dir: t.TempDir()}
	f.ca = certtest.Issue(t, nil, certtest.CA("forms ca", now), nil)
	f.leaf = certtest.Issue(t, f.ca, certtest.Server(now, "shop.example.test"), nil)
	return f
}

func (f forms) path(name string) string { return filepath.Join(f.dir, name) }

func (f forms) write(t *testing.T, name string, mode os.FileMode, data []byte) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(f.path(name)), 0o755))
	must(t, os.WriteFile(f.path(name), data, mode))
	must(t, os.Chmod(f.path(name), mode))
	return f.path(name)
}

func certPEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func keyPEM(t *testing.T, p *certtest.Pair) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (f forms) pkcs12(t *testing.T, passphrase string) []byte {
	t.Helper()
	data, err := pkcs12.Modern2023.Encode(f.leaf.Key, f.leaf.Cert, []*x509.Certificate{f.ca.Cert}, passphrase)
	must(t, err)
	return data
}

// encryptedPEM is a key as OpenSSL encrypted it by default for a long time.
func encryptedPEM(t *testing.T, p *certtest.Pair, passphrase string) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	must(t, err)
	//lint:ignore SA1019 such keys are still about
	block, err := x509.EncryptPEMBlock(strings.NewReader(strings.Repeat("salt", 10)), "PRIVATE KEY", der, []byte(passphrase), x509.PEMCipherAES256)
	must(t, err)
	return pem.EncodeToMemory(block)
}

// itemLines lists items as "name: N certificates, whether the key matches", with findings behind.
func itemLines(dir string, items []disk.Item) string {
	var out []string
	for _, item := range items {
		line := fmt.Sprintf("%s: %d %t", strings.TrimPrefix(item.Target, dir+"/"), len(item.Certs), item.KeyMatches)
		if len(item.Stored.Findings) > 0 {
			line += " " + strings.ReplaceAll(details(item.Stored.Findings), dir+"/", "")
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

func TestEveryFormIsReadByWhatItHolds(t *testing.T) {
	f := newForms(t)
	full, key := certPEM(f.leaf.Cert, f.ca.Cert), keyPEM(t, f.leaf)
	b64 := base64.StdEncoding.EncodeToString
	f.write(t, "bundle.anything", 0o600, append(append([]byte{}, key...), full...))
	f.write(t, "open.pem", 0o644, append(append([]byte{}, full...), key...))
	f.write(t, "store", 0o600, f.pkcs12(t, "sesame"))
	f.write(t, "java", 0o640, f.pkcs12(t, "changeit"))
	f.write(t, "shut", 0o600, f.pkcs12(t, "unknown"))
	f.write(t, "open.p12", 0o644, f.pkcs12(t, ""))
	f.write(t, "encrypted.pem", 0o600, append(encryptedPEM(t, f.leaf, "sesame"), full...))
	f.write(t, "secret/..data/tls.crt", 0o644, full)
	f.write(t, "secret/..data/tls.key", 0o600, key)
	f.write(t, "secret/..data/ca.crt", 0o644, certPEM(f.ca.Cert))
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		must(t, os.Symlink("..data/"+name, f.path("secret/"+name)))
	}
	f.write(t, "plain/a.crt", 0o644, full)
	f.write(t, "plain/b.key", 0o600, key)
	f.write(t, "plain/c.txt", 0o644, []byte("nothing"))
	f.write(t, "plain/deeper/d.crt", 0o644, full)
	must(t, os.Symlink("gone", f.path("plain/dangling.crt")))
	f.write(t, "kubeconfig", 0o600, []byte(`apiVersion: v1
kind: Config
clusters:
- {name: prod, cluster: {server: "https://10.0.0.1", certificate-authority: plain/a.crt}}
- {name: lab, cluster: {certificate-authority-data: `+b64(certPEM(f.ca.Cert))+`}}
- {name: bare, cluster: {insecure-skip-tls-verify: true}}
users:
- {name: admin, user: {client-certificate-data: `+b64(full)+`, client-key-data: `+b64(key)+`}}
- {name: file, user: {client-certificate: plain/a.crt, client-key: plain/b.key}}
- {name: broken, user: {client-certificate-data: "%%%"}}
`))
	f.write(t, "broken-kubeconfig", 0o600, []byte("apiVersion: v1\nkind: Config\nclusters: [\nusers: {token: secret-token\n"))
	reader := disk.Reader{Passphrases: [][]byte{[]byte("no"), []byte("sesame")}}
	for _, row := range []struct{ about, path, want string }{
		{"a bundle with its key, as haproxy has it", "bundle.anything", "bundle.anything: 2 true"},
		{"a bundle with a key that all may read", "open.pem", "open.pem: 2 true file_permissions: open.pem: mode 0644: the private key is open to others"},
		{"a bundle with an encrypted key", "encrypted.pem", "encrypted.pem: 2 true"},
		{"a key store that the second passphrase opens", "store", "store: 2 true"},
		{"a key store with the passphrase that Java suggests", "java", "java: 2 true"},
		{"a key store that nothing opens", "shut", "shut: 0 false file_unreadable: shut: the passphrase does not open it"},
		{"a key store that all may read", "open.p12", "open.p12: 2 true file_permissions: open.p12: mode 0644: the private key is open to others"},
		{"a mounted secret", "secret", "secret: 2 true; secret/ca.crt: 1 false"},
		{"a folder of whatever", "plain", "plain/a.crt: 2 false; plain/dangling.crt: 0 false file_missing: plain/dangling.crt (a link to gone): no such file or directory"},
		{"a pattern", "plain/*.crt", "plain/a.crt: 2 false; plain/dangling.crt: 0 false file_missing: plain/dangling.crt (a link to gone): no such file or directory"},
		{"a kubeconfig", "kubeconfig", "kubeconfig#clusters/prod: 2 false; kubeconfig#clusters/lab: 1 false; kubeconfig#users/admin: 2 true; kubeconfig#users/file: 2 true; " +
			"kubeconfig#users/broken: 0 false not_a_certificate: kubeconfig#users/broken: the data is not base64"},
		{"a kubeconfig that is no YAML, of which nothing is quoted", "broken-kubeconfig", "broken-kubeconfig: 0 false file_unreadable: broken-kubeconfig: line 4: the kubeconfig is not valid YAML"},
	} {
		t.Run(row.about, func(t *testing.T) {
			items, err := reader.ReadPath(f.path(row.path), time.Now())
			if err != nil || itemLines(f.dir, items) != row.want {
				t.Errorf("got  %s, %v\nwant %s", itemLines(f.dir, items), err, row.want)
			}
		})
	}
}

func TestPatternsThatMatchNothing(t *testing.T) {
	f := newForms(t)
	f.write(t, "key.pem", 0o600, keyPEM(t, f.leaf))
	for pattern, want := range map[string]string{
		"*.crt": "no file matches", "*.pem": "no file that matches holds a certificate", "[": "syntax error in pattern",
	} {
		if _, err := disk.ReadPath(f.path(pattern), time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pattern, err, want)
		}
	}
}

func TestPassphraseFile(t *testing.T) {
	f := newForms(t)
	store := f.write(t, "store", 0o600, f.pkcs12(t, "sesame"))
	cert := f.write(t, "cert", 0o644, certPEM(f.leaf.Cert))
	encrypted := f.write(t, "key", 0o600, encryptedPEM(t, f.leaf, "sesame"))
	right := f.write(t, "right", 0o600, []byte("sesame\r\nwhat follows does not count\n"))
	wrong := f.write(t, "wrong", 0o600, []byte("wrong"))
	open := f.write(t, "open", 0o644, []byte("sesame"))
	for _, row := range []struct {
		about           string
		cert, key, file string
		want            string
		matches         bool
	}{
		{"a key store", store, "", right, "", true},
		{"a key store that is named as the key, too", store, store, right, "", true},
		{"a key store as the key of a certificate", cert, store, right, "", true},
		{"an encrypted key", cert, encrypted, right, "", true},
		{"the wrong passphrase", store, "", wrong, "file_unreadable: store: the passphrase does not open it", false},
		{"the wrong passphrase for a key", cert, encrypted, wrong, "file_unreadable: key: the passphrase does not open it", false},
		{"no passphrase", store, "", "", "file_unreadable: store: it needs a passphrase", false},
		{"no passphrase for a key", cert, encrypted, "", "file_unreadable: key: the private key is encrypted", false},
		{"a passphrase file that is not there", cert, encrypted, f.path("gone"), "file_missing: gone: no such file or directory\nfile_unreadable: key: the private key is encrypted", false},
	} {
		t.Run(row.about, func(t *testing.T) {
			src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: row.cert, Key: row.key, PassphraseFile: row.file}
			content := disk.Reader{Keys: &disk.KeyCache{}}.Read(src, time.Now())
			got := strings.ReplaceAll(details(content.Stored.Findings), f.dir+"/", "")
			if got != row.want || content.KeyMatches != row.matches {
				t.Errorf("%q, key matches %t", got, content.KeyMatches)
			}
		})
	}
	src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: store, PassphraseFile: open}
	stored := disk.Read(src, time.Now())
	if got := details(stored.Findings); !strings.Contains(got, "file_permissions: "+open) || !strings.Contains(got, "needs a passphrase") || strings.Contains(got, "sesame") {
		t.Errorf("a passphrase that all may read: %s", got)
	}
}

// TestCertificatesThatOnlyGoRefuses holds that a person is told who refuses it.
func TestCertificatesThatOnlyGoRefuses(t *testing.T) {
	f := newForms(t)
	der := append([]byte{}, f.leaf.Cert.Raw...)
	serial := f.leaf.Cert.SerialNumber.Bytes()
	at := strings.Index(string(der), string(serial))
	der[at] |= 0x80 // negative
	if f.leaf.Cert.SerialNumber.Cmp(new(big.Int).SetBytes(serial)) != 0 || at < 0 {
		t.Fatal("the serial number was not found")
	}
	for name, data := range map[string][]byte{"pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "der": der} {
		path := f.write(t, name, 0o644, data)
		items, err := disk.ReadPath(path, time.Now())
		if err != nil || len(items) != 1 || !strings.Contains(details(items[0].Stored.Findings), "Go refuses it, as do clients written in Go: x509: negative serial number") {
			t.Errorf("%s: %s, %v", name, itemLines(f.dir, items), err)
		}
	}
}

func TestTreesOfOtherClients(t *testing.T) {
	f := newForms(t)
	full, leaf, ca, key := certPEM(f.leaf.Cert, f.ca.Cert), certPEM(f.leaf.Cert), certPEM(f.ca.Cert), keyPEM(t, f.leaf)
	put := func(data []byte, names ...string) {
		for _, name := range names {
			f.write(t, name, 0o600, data)
		}
	}
	conf := []byte("Le_Domain='shop.example.test'\nLe_API='https://acme.example.test/directory'\n")
	put(conf, "acme/shop.example.test/shop.example.test.conf", "acme/*.example.test_ecc/*.example.test.conf")
	put(full, "acme/shop.example.test/fullchain.cer", "acme/*.example.test_ecc/fullchain.cer", "lego/certificates/a.crt", "data/certificates/acme-ca/w/w.crt", "hyd/certs/h/fullchain-1700000000.pem")
	put(leaf, "acme/shop.example.test/shop.example.test.cer", "lego/certificates/b.crt", "hyd/certs/h/cert-1700000000.pem")
	put(ca, "acme/shop.example.test/ca.cer", "lego/certificates/b.issuer.crt", "lego/certificates/a.issuer.crt", "acme/ca/acme.example.test/directory/ca.conf")
	put(key, "acme/shop.example.test/shop.example.test.key", "acme/*.example.test_ecc/*.example.test.key", "lego/certificates/b.key", "data/certificates/acme-ca/w/w.key", "hyd/certs/h/privkey-1700000000.pem")
	put([]byte(`{"domain": "a", "certUrl": "https://acme.example.test/cert/1"}`), "lego/certificates/a.json", "lego/certificates/b.json")
	put([]byte(`{"sans": ["w"], "issuer_data": {}}`), "data/certificates/acme-ca/w/w.json")
	put(nil, "empty/certificates/x.txt")
	for _, kind := range []string{"cert", "fullchain", "privkey"} {
		must(t, os.Symlink(kind+"-1700000000.pem", f.path("hyd/certs/h/"+kind+".pem")))
	}
	for _, row := range []struct{ about, dir, client, names, read string }{
		{"acme.sh, RSA and elliptic", "acme", "acme.sh", "*.example.test_ecc shop.example.test", "acme/*.example.test_ecc/fullchain.cer: 2 true; acme/shop.example.test/fullchain.cer: 2 true"},
		{"one certificate of acme.sh", "acme/shop.example.test", "acme.sh", "shop.example.test", "acme/shop.example.test/fullchain.cer: 2 true"},
		{"lego, bundled without a key and not bundled", "lego", "lego", "a b", "lego/certificates/a.crt: 2 false; lego/certificates/b.crt: 2 true"},
		{"lego's inner folder", "lego/certificates", "lego", "a b", "lego/certificates/a.crt: 2 false; lego/certificates/b.crt: 2 true"},
		{"Caddy", "data", "caddy", "acme-ca/w", "data/certificates/acme-ca/w/w.crt: 2 true"},
		{"dehydrated", "hyd", "dehydrated", "h", "hyd/certs/h/fullchain.pem: 2 true"},
		{"none of them", "empty", "", "", ""},
	} {
		t.Run(row.about, func(t *testing.T) {
			client, found, findings := disk.Tree(f.path(row.dir))
			var names []string
			for _, item := range found {
				names = append(names, item.Name)
			}
			if client != row.client || strings.Join(names, " ") != row.names || len(findings) > 0 {
				t.Errorf("%s: %q, %s", client, names, details(findings))
			}
			items, err := disk.ReadPath(f.path(row.dir), time.Now())
			if itemLines(f.dir, items) != row.read || (err == nil) != (row.read != "") {
				t.Errorf("read %s, %v", itemLines(f.dir, items), err)
			}
		})
	}
	must(t, os.Remove(f.path("hyd/certs/h/privkey.pem")))
	if _, _, findings := disk.Tree(f.path("hyd")); !certmedic.HasFinding(findings, certmedic.FileMissing) {
		t.Error("a key that is missing was not told")
	}
}
