package keystore_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	java "github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/certmedic/certmedic/probe/disk/keystore"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

const secret = "sesame öffne"

// identity is a leaf with its key and the CA that issued it.
type identity struct{ ca, leaf, other *certtest.Pair }

func newIdentity(t testing.TB, key crypto.Signer) identity {
	t.Helper()
	now := time.Now()
	ca := certtest.Issue(t, nil, certtest.CA("store ca", now), nil)
	leaf := certtest.Issue(t, ca, certtest.Server(now, "shop.example.test"), key)
	other := certtest.Issue(t, nil, certtest.CA("other ca", now), nil)
	return identity{ca, leaf, other}
}

func (id identity) encode(t testing.TB, encoder *pkcs12.Encoder, passphrase string) []byte {
	t.Helper()
	data, err := encoder.Encode(id.leaf.Key, id.leaf.Cert, []*x509.Certificate{id.other.Cert, id.ca.Cert}, passphrase)
	must(t, err)
	return data
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tell lists entries as "alias: key matches, N certificates".
func tell(entries []keystore.Entry) string {
	var out []string
	for _, e := range entries {
		key := "no key"
		if e.HasKey {
			key = "key not opened"
		}
		if public, ok := e.Key.(interface{ Equal(crypto.PublicKey) bool }); ok && len(e.Certs) > 0 {
			key = fmt.Sprintf("key %t", public.Equal(e.Certs[0].PublicKey))
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %d %v", e.Alias, key, len(e.Certs), e.Problems)))
	}
	return strings.Join(out, ", ")
}

func TestPKCS12OfEveryEncryption(t *testing.T) {
	ec := newIdentity(t, nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	for _, row := range []struct {
		about   string
		id      identity
		encoder *pkcs12.Encoder
		secret  string
	}{
		{"RC2 with 40 bits, as until 2021", ec, pkcs12.LegacyRC2, secret},
		{"triple DES", ec, pkcs12.LegacyDES, secret},
		{"AES with PBKDF2", ec, pkcs12.Modern2023, secret},
		{"AES with PBKDF2 and PBMAC1", ec, pkcs12.Modern2026, secret},
		{"an RSA key", newIdentity(t, rsaKey), pkcs12.Modern2023, secret},
		{"an Ed25519 key", newIdentity(t, edKey), pkcs12.LegacyRC2, secret},
		{"an empty passphrase", ec, pkcs12.Modern2023, ""},
		{"the passphrase that Java suggests", ec, pkcs12.LegacyDES, "changeit"},
		{"no encryption at all", ec, pkcs12.Passwordless, ""},
	} {
		t.Run(row.about, func(t *testing.T) {
			data := row.id.encode(t, row.encoder, row.secret)
			passphrases := [][]byte{[]byte("not this one"), []byte(secret)}
			entries, err := keystore.Read(data, passphrases)
			if err != nil || tell(entries) != "key true 2 [], no key 1 []" {
				t.Errorf("%s, %v", tell(entries), err)
			}
			if keystore.Detect(data) != keystore.PKCS12 {
				t.Error("not detected")
			}
			_, err = keystore.Read(data, [][]byte{[]byte("wrong")})
			if row.secret == secret && !errors.Is(err, keystore.ErrPassphrase) {
				t.Errorf("with the wrong passphrase: %v", err)
			}
		})
	}
}

func TestTrustStore(t *testing.T) {
	id := newIdentity(t, nil)
	data, err := pkcs12.Modern2023.EncodeTrustStoreEntries([]pkcs12.TrustStoreEntry{
		{Cert: id.ca.Cert, FriendlyName: "first"}, {Cert: id.other.Cert, FriendlyName: "zweite ö"},
	}, "changeit")
	must(t, err)
	entries, err := keystore.Read(data, nil)
	if err != nil || tell(entries) != "first no key 1 [], zweite ö no key 1 []" {
		t.Errorf("%s, %v", tell(entries), err)
	}
}

// javaStore returns a JKS with a key, a key of another passphrase and a certificate.
func javaStore(t testing.TB, id identity) []byte {
	t.Helper()
	store := java.New(java.WithOrderedAliases())
	der, err := x509.MarshalPKCS8PrivateKey(id.leaf.Key)
	must(t, err)
	chain := []java.Certificate{{Type: "X509", Content: id.leaf.Cert.Raw}, {Type: "X509", Content: id.ca.Cert.Raw}}
	entry := java.PrivateKeyEntry{CreationTime: time.Now(), PrivateKey: der, CertificateChain: chain}
	must(t, store.SetPrivateKeyEntry("a", entry, []byte("store")))
	must(t, store.SetPrivateKeyEntry("b", entry, []byte("other")))
	must(t, store.SetTrustedCertificateEntry("c", java.TrustedCertificateEntry{CreationTime: time.Now(), Certificate: chain[1]}))
	var out bytes.Buffer
	must(t, store.Store(&out, []byte("store")))
	return out.Bytes()
}

func TestJKS(t *testing.T) {
	data := javaStore(t, newIdentity(t, nil))
	for _, row := range []struct {
		about       string
		passphrases []string
		want        string
		opens       bool
	}{
		{"the passphrases of the store and of both keys", []string{"store", "other"}, "a key true 2 [], b key true 2 [], c no key 1 []", true},
		{"the store's alone", []string{"store"}, "a key true 2 [], b key not opened 2 [the private key: the passphrase does not open it], c no key 1 []", true},
		{"a wrong one: the certificates are there all the same", []string{"wrong"}, "a key not opened 2 [], b key not opened 2 [], c no key 1 []", false},
	} {
		t.Run(row.about, func(t *testing.T) {
			var passphrases [][]byte
			for _, p := range row.passphrases {
				passphrases = append(passphrases, []byte(p))
			}
			entries, err := keystore.Read(data, passphrases)
			if tell(entries) != row.want || row.opens != (err == nil) || !row.opens && !errors.Is(err, keystore.ErrPassphrase) {
				t.Errorf("%s, %v", tell(entries), err)
			}
		})
	}
}

func TestJCEKSShowsItsCertificates(t *testing.T) {
	data := javaStore(t, newIdentity(t, nil))
	copy(data, []byte{0xce, 0xce, 0xce, 0xce})
	entries, err := keystore.Read(data, nil)
	if err != nil || len(entries) != 3 || len(entries[0].Problems) != 1 || len(entries[0].Certs) != 2 || len(entries[2].Problems) != 0 {
		t.Errorf("%s, %v", tell(entries), err)
	}
}

// TestHostileStores holds that work and memory are bounded whatever a file says.
func TestHostileStores(t *testing.T) {
	id := newIdentity(t, nil)
	jks := javaStore(t, id)
	patched := func(at int, value ...byte) []byte {
		data := bytes.Clone(jks)
		copy(data[at:], value)
		return data
	}
	for _, row := range []struct {
		about, want string
		data        []byte
	}{
		{"four thousand million entries", "entries", patched(8, 0xff, 0xff, 0xff, 0xff)},
		{"an alias that is longer than the file", "broken or cut off", patched(16, 0xff, 0xff)},
		{"a key of four gigabytes", "broken or cut off", patched(27, 0xff, 0xff, 0xff, 0xff)},
		{"an entry of no kind", "neither a private key nor", patched(12, 0, 0, 0, 9)},
		{"a version from the future", "no version 1 or 2", patched(4, 0, 0, 0, 3)},
		{"half of a file", "broken or cut off", jks[:len(jks)/2]},
		{"a file that is far too large", "larger than", append([]byte{0xfe, 0xed, 0xfe, 0xed}, make([]byte, 6<<20)...)},
		{"text", "no key store", []byte("hello")},
	} {
		t.Run(row.about, func(t *testing.T) {
			_, err := keystore.Read(row.data, [][]byte{[]byte("store"), []byte(secret)})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestOpenPKCS8(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	for _, args := range [][]string{{"-v2", "aes-256-cbc"}, {"-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"}, {"-v2", "des3"}, {"-v1", "PBE-SHA1-3DES"}} {
		out, err := exec.Command("openssl", append([]string{"pkcs8", "-topk8", "-in", filepath.Join(dir, "key"), "-outform", "DER", "-passout", "pass:" + secret}, args...)...).Output()
		must(t, err)
		public, err := keystore.OpenPKCS8(out, [][]byte{[]byte("no"), []byte(secret)})
		if err != nil || !key.PublicKey.Equal(public) {
			t.Errorf("%v: %v", args, err)
		}
		if _, err := keystore.OpenPKCS8(out, [][]byte{[]byte("no")}); !errors.Is(err, keystore.ErrPassphrase) {
			t.Errorf("%v, the wrong passphrase: %v", args, err)
		}
	}
}

// TestKeytool reads what Java's own tool writes: two keys and a certificate in one file.
func TestKeytool(t *testing.T) {
	if _, err := exec.LookPath("keytool"); err != nil {
		t.Skip("no keytool")
	}
	id := newIdentity(t, nil)
	for _, kind := range []string{"PKCS12", "JKS"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "store")
		ca := filepath.Join(dir, "ca")
		must(t, os.WriteFile(ca, id.ca.Cert.Raw, 0o600))
		keytool := func(args ...string) {
			args = append(args, "-keystore", file, "-storetype", kind, "-storepass", "sesame", "-noprompt")
			if out, err := exec.Command("keytool", args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		}
		for _, alias := range []string{"one", "two"} {
			keytool("-genkeypair", "-alias", alias, "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN="+alias, "-keypass", "sesame")
		}
		keytool("-importcert", "-alias", "root", "-file", ca)
		data, err := os.ReadFile(file)
		must(t, err)
		entries, err := keystore.Read(data, [][]byte{[]byte("sesame")})
		opened := 0
		for _, e := range entries {
			if e.Key != nil {
				opened++
			}
		}
		if err != nil || len(entries) != 3 || opened != 2 {
			t.Errorf("%s: %s, %v", kind, tell(entries), err)
		}
	}
}
