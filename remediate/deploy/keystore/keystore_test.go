package keystore_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
	reader "github.com/certmedic/certmedic/probe/disk/keystore"
	"github.com/certmedic/certmedic/remediate/deploy/keystore"
)

const passphrase = `s3same "open" \ ~`

func entry(t *testing.T, kind mint.KeyType) keystore.Entry {
	t.Helper()
	root := mint.Must(mint.NewCA("root"))
	issuing := mint.Must(root.Intermediate("issuing"))
	pair := mint.Must(issuing.Leaf(mint.Leaf{Names: []string{"shop.test"}, Key: mint.Must(mint.NewKey(kind))}))
	return keystore.Entry{Alias: "Shop.test", Key: pair.Key, Chain: pair.Chain}
}

// stores are the forms of key stores.
func stores() map[string]func(keystore.Entry, string) ([]byte, error) {
	return map[string]func(keystore.Entry, string) ([]byte, error){
		"PKCS#12":               func(e keystore.Entry, p string) ([]byte, error) { return keystore.PKCS12(e, p, false) },
		"PKCS#12 for old Javas": func(e keystore.Entry, p string) ([]byte, error) { return keystore.PKCS12(e, p, true) },
		"JKS":                   func(e keystore.Entry, p string) ([]byte, error) { return keystore.JKS(e, p, time.Now()) },
	}
}

// TestOurReaderReadsThem has the part of the house that watches key stores read what was
// written, which shares no code with it.
func TestOurReaderReadsThem(t *testing.T) {
	for _, kind := range []mint.KeyType{mint.EC256, mint.RSA2048} {
		e := entry(t, kind)
		for about, write := range stores() {
			data, err := write(e, passphrase)
			if err != nil {
				t.Fatal(about, err)
			}
			entries, err := reader.Read(data, [][]byte{[]byte(passphrase)})
			if err != nil || len(entries) != 1 {
				t.Fatalf("%s: %d entries, %v", about, len(entries), err)
			}
			got := entries[0]
			if !got.HasKey || got.Key == nil || len(got.Problems) > 0 || len(got.Certs) != len(e.Chain) {
				t.Errorf("%s: %+v", about, got)
			}
			for i, cert := range got.Certs {
				if !cert.Equal(e.Chain[i]) {
					t.Errorf("%s: certificate %d is another one", about, i)
				}
			}
			if !strings.EqualFold(got.Alias, e.Alias) {
				t.Errorf("%s: the alias is %q, want %q", about, got.Alias, e.Alias)
			}
			if _, err := reader.Read(data, [][]byte{[]byte("wrong one")}); err == nil {
				t.Errorf("%s: opened by another passphrase", about)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	good := entry(t, mint.EC256)
	for _, row := range []struct {
		about, passphrase, want string
		change                  func(*keystore.Entry)
	}{
		{"a passphrase that keytool refuses", "short", "fewer than 6", func(*keystore.Entry) {}},
		{"a passphrase of which programs make different bytes", "öffne dich", "printable", func(*keystore.Entry) {}},
		{"no alias", passphrase, "alias", func(e *keystore.Entry) { e.Alias = "" }},
		{"an alias with a line break", passphrase, "alias", func(e *keystore.Entry) { e.Alias = "a\nb" }},
		{"no certificate", passphrase, "needs a key", func(e *keystore.Entry) { e.Chain = nil }},
		{"no key", passphrase, "needs a key", func(e *keystore.Entry) { e.Key = nil }},
	} {
		for about, write := range stores() {
			e := good
			row.change(&e)
			if data, err := write(e, row.passphrase); err == nil || !strings.Contains(err.Error(), row.want) || data != nil {
				t.Errorf("%s, %s: error %v, want one with %q", about, row.about, err, row.want)
			} else if strings.Contains(err.Error(), row.passphrase) {
				t.Errorf("%s: the error shows the passphrase: %v", row.about, err)
			}
		}
	}
}

// TestOtherProgramsReadThem asks the programs that will read them, where they are installed.
func TestOtherProgramsReadThem(t *testing.T) {
	for _, row := range []struct {
		about, store string
		argv         []string
		want         string
	}{
		{"openssl opens PKCS#12", "PKCS#12", []string{"openssl", "pkcs12", "-in", "FILE", "-passin", "file:PASS", "-nokeys"}, "CN"},
		{"keytool opens the key of JKS", "JKS", []string{"keytool", "-certreq", "-alias", "shop.test", "-keystore", "FILE", "-storepass:file", "PASS"}, "NEW CERTIFICATE REQUEST"},
		{"keytool opens the key of PKCS#12", "PKCS#12", []string{"keytool", "-certreq", "-alias", "shop.test", "-keystore", "FILE", "-storepass:file", "PASS"}, "NEW CERTIFICATE REQUEST"},
		{"keytool opens the old PKCS#12", "PKCS#12 for old Javas", []string{"keytool", "-list", "-keystore", "FILE", "-storepass:file", "PASS"}, "shop.test, "},
	} {
		t.Run(row.about, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(row.argv[0]); err != nil {
				t.Skip(err)
			}
			data, err := stores()[row.store](entry(t, mint.EC256), passphrase)
			if err != nil {
				t.Fatal(err)
			}
			out, err := run(t, row.argv, data)
			if err != nil || !strings.Contains(out, row.want) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// run calls a program with a store in the place of FILE, and a file with its passphrase in that
// of PASS.
func run(t *testing.T, argv []string, data []byte) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file, pass := filepath.Join(dir, "store"), filepath.Join(dir, "pass")
	for path, content := range map[string][]byte{file: data, pass: []byte(passphrase)} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replaced := strings.NewReplacer("FILE", file, "PASS", pass)
	var args []string
	for _, arg := range argv[1:] {
		args = append(args, replaced.Replace(arg))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, argv[0], args...).CombinedOutput()
	return string(out), err
}
