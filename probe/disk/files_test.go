package disk_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// plainFiles are copies of a lineage's first two versions, as a deployment makes them.
type plainFiles struct {
	dir           string
	first, second disktest.Version
}

func newPlainFiles(t *testing.T) plainFiles {
	t.Helper()
	tree := disktest.New(t)
	p := plainFiles{dir: t.TempDir()}
	p.first = tree.Issue("shop", names, disktest.Options{})
	p.second = tree.Renew("shop")
	for _, name := range []string{"cert1", "chain1", "fullchain1", "privkey1", "cert2", "privkey2"} {
		data, err := os.ReadFile(filepath.Join(tree.ConfigDir, "archive/shop", name+".pem"))
		must(t, err)
		must(t, os.WriteFile(p.path(name), data, 0o600))
	}
	return p
}

func (p plainFiles) path(name string) string {
	if name == "" {
		return ""
	}
	return filepath.Join(p.dir, name)
}

func (p plainFiles) write(t *testing.T, name string, parts ...string) {
	t.Helper()
	var all []byte
	for _, part := range parts {
		data, err := os.ReadFile(p.path(part))
		must(t, err)
		all = append(all, data...)
	}
	must(t, os.WriteFile(p.path(name), all, 0o600))
}

func TestPlainFiles(t *testing.T) {
	for _, row := range []struct {
		about, cert, key, chain string
		length                  int
		want                    string // of the findings, with the folder cut off
	}{
		{"a full chain with its key", "fullchain1", "privkey1", "", 2, ""},
		{"a leaf with its chain beside it", "cert1", "privkey1", "chain1", 2, ""},
		{"a certificate that is only watched", "fullchain1", "", "", 2, ""},
		{"a lone certificate in DER", "der", "privkey1", "", 1, ""},
		{"everything in one file, the key first", "combined", "combined", "", 2, ""},
		{"a key of another version", "fullchain1", "privkey2", "", 2, "key_mismatch: privkey2: the private key does not belong to the certificate in fullchain1"},
		{"a key of another kind", "fullchain1", "rsa", "", 2, "key_mismatch: rsa: the private key does not belong to the certificate in fullchain1"},
		{"a certificate in the key's place", "fullchain1", "cert1", "", 2, "key_mismatch: cert1: no private key in the file"},
		{"a key that is spoilt inside", "fullchain1", "spoilt", "", 2, "key_mismatch: spoilt: the private key cannot be parsed"},
		{"an encrypted key", "fullchain1", "encrypted", "", 2, "file_unreadable: encrypted: the private key is encrypted"},
		{"a key that is not there", "fullchain1", "gone", "", 2, "file_missing: gone: no such file or directory"},
		{"a chain that is not there", "cert1", "privkey1", "gone", 1, "file_missing: gone: no such file or directory"},
		{"a certificate that is not there", "gone", "privkey1", "chain1", 0, "file_missing: gone: no such file or directory"},
		{"a key in the certificate's place", "privkey1", "", "", 0, "not_a_certificate: privkey1: no certificate in the file, but a private key"},
		{"a folder in the certificate's place", ".", "", "", 0, "file_unreadable: .: not a regular file"},
		{"a key store that is broken", "p12", "", "", 0, "not_a_certificate: p12: the PKCS#12 file is broken: asn1: syntax error: sequence truncated"},
	} {
		t.Run(row.about, func(t *testing.T) {
			p := newPlainFiles(t)
			p.special(t)
			src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: p.path(row.cert), Key: p.path(row.key), Chain: p.path(row.chain)}
			content := disk.Reader{Keys: &disk.KeyCache{}}.Read(src, time.Now())
			got := strings.ReplaceAll(details(content.Stored.Findings), p.dir+"/", "")
			if strings.ReplaceAll(got, p.dir, ".") != row.want {
				t.Errorf("findings %q, want %q", got, row.want)
			}
			if len(content.Certs) != row.length || len(content.Stored.Chain) != row.length {
				t.Errorf("%d certificates, want %d", len(content.Certs), row.length)
			}
			if content.KeyMatches != (row.want == "" && row.key != "" || row.cert == "cert1" && row.key == "privkey1") {
				t.Errorf("key matches: %t", content.KeyMatches)
			}
			leaf, ok := content.Stored.Leaf()
			if ok && (leaf.SHA256 != p.first.Fingerprint || content.Stored.Version != leaf.SHA256.Short() || content.Stored.Since.IsZero()) {
				t.Errorf("stored %+v", content.Stored)
			}
		})
	}
}

// special writes the files of odd kinds.
func (p plainFiles) special(t *testing.T) {
	t.Helper()
	write := func(name string, data []byte) { must(t, os.WriteFile(p.path(name), data, 0o600)) }
	p.write(t, "combined", "privkey1", "fullchain1")
	write("der", p.first.Leaf.Raw)
	write("p12", []byte{0x30, 0x05, 0x02, 0x01, 0x03, 0x30, 0x00})
	write("spoilt", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("nothing")}))
	write("encrypted", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	must(t, err)
	write("rsa", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func TestTornPairSettles(t *testing.T) {
	p := newPlainFiles(t)
	p.write(t, "tls.crt", "cert2")
	p.write(t, "tls.key", "privkey1")
	src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: p.path("tls.crt"), Key: p.path("tls.key")}
	if stored := disk.Read(src, time.Now()); !certmedic.HasFinding(stored.Findings, certmedic.KeyMismatch) {
		t.Fatalf("a torn pair was not seen: %s", details(stored.Findings))
	}
	reads := 0
	content := disk.Reader{Keys: &disk.KeyCache{}}.Settle(t.Context(), src, func() time.Time {
		if reads++; reads == 2 {
			p.write(t, "tls.key", "privkey2")
		}
		return time.Now()
	})
	if len(content.Stored.Findings) > 0 || !content.KeyMatches {
		t.Errorf("after it settled: %s", details(content.Stored.Findings))
	}
}

func TestKeyCacheSeesAChangedKey(t *testing.T) {
	p := newPlainFiles(t)
	src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: p.path("cert1"), Key: p.path("privkey1")}
	reader := disk.Reader{Keys: &disk.KeyCache{}}
	later := time.Now().Add(time.Hour) // the file's times can be relied on by then
	for range 2 {
		if content := reader.Read(src, later); !content.KeyMatches {
			t.Fatalf("the key does not match: %s", details(content.Stored.Findings))
		}
	}
	p.write(t, "new", "privkey2")
	must(t, os.Rename(p.path("new"), p.path("privkey1")))
	if content := reader.Read(src, later); content.KeyMatches {
		t.Error("a replaced key still matches")
	}
	p.write(t, "cert1", "cert2")
	if content := reader.Read(src, later); !content.KeyMatches {
		t.Error("the new pair does not match")
	}
}

func TestReadPath(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("blog", []string{"blog.example.test"}, disktest.Options{})
	tree.Issue("shop", names, disktest.Options{})
	tree.Issue("lost", []string{"lost.example.test"}, disktest.Options{})
	must(t, os.Remove(tree.Conf("lost")))
	p := newPlainFiles(t)
	p.special(t)
	copied := t.TempDir()
	for from, to := range map[string]string{"cert1": "cert.pem", "chain1": "chain.pem", "privkey1": "privkey.pem"} {
		must(t, os.Rename(p.path(from), filepath.Join(copied, to)))
	}
	live := filepath.Dir(tree.Live("shop", "cert"))
	for _, row := range []struct{ about, path, want string }{
		{"a file", p.path("fullchain1"), "fullchain1 2 false 0"},
		{"a file with its key", p.path("combined"), "combined 2 true 0"},
		{"a lineage's link", tree.Live("shop", "fullchain"), "fullchain.pem 2 false 0"},
		{"a lineage's folder", live, "shop 2 true 0"},
		{"a folder with copies", copied, filepath.Base(copied) + " 2 true 0"},
		{"a tree, with what certbot forgot", tree.ConfigDir, "blog 2 true 0, lost 2 true 1, shop 2 true 0"},
		{"nothing", p.path("gone"), "no such file or directory"},
		{"a key store that is broken", p.path("p12"), "p12 0 false 1"},
		{"an empty folder", t.TempDir(), "neither a certbot tree nor a folder with"},
		{"a file without a certificate", p.path("rsa"), "rsa 0 false 1"},
	} {
		t.Run(row.about, func(t *testing.T) {
			items, err := disk.ReadPath(row.path, time.Now())
			var got []string
			for _, item := range items {
				got = append(got, fmt.Sprintf("%s %d %t %d",
					filepath.Base(item.Target), len(item.Certs), item.KeyMatches, len(item.Stored.Findings)))
			}
			if err != nil && strings.Contains(err.Error(), row.want) && strings.Contains(err.Error(), row.path) {
				return
			}
			if err != nil || strings.Join(got, ", ") != row.want {
				t.Errorf("got %q, %v, want %q", got, err, row.want)
			}
		})
	}
}
