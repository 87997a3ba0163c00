package bundle_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

const shop = "shop"

// noon is when everything is published.
func noon() time.Time { return time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC) }

// world has a CA, publishers' and consumers' keys, and issues versions.
type world struct {
	root, issuing *mint.CA
	signing       ed25519.PrivateKey
	public        ed25519.PublicKey
	seal          bundle.Seal
	opener        bundle.Opener
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{root: mint.Must(mint.NewCA("Root"))}
	w.issuing = mint.Must(w.root.Intermediate("Issuing"))
	public, signing, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	w.public, w.signing = public, signing
	identity, err := age.GenerateX25519Identity()
	must(t, err)
	w.seal = bundle.Seal{Recipients: []string{identity.Recipient().String()}}
	w.opener = bundle.Opener{IdentityFile: secret(t, identity.String()+"\n")}
	return w
}

// version issues a version of a certificate.
func (w *world) version(t testing.TB, name string) bundle.Version {
	t.Helper()
	return versionOf(t, name, mint.Must(w.issuing.Leaf(mint.Leaf{Names: []string{"shop.example.com", "10.0.0.1"}})))
}

func versionOf(t testing.TB, name string, pair mint.Pair) bundle.Version {
	t.Helper()
	key, err := pair.KeyPEM()
	must(t, err)
	return bundle.Version{Name: name, Fullchain: pair.FullchainPEM(), Privkey: key}
}

func (w *world) options(token uint64, previous certmedic.Fingerprint) bundle.Options {
	return bundle.Options{Token: token, Previous: previous, Member: "m1", Time: noon(), Seal: w.seal, Key: w.signing}
}

func (w *world) trust() bundle.Trust {
	return bundle.Trust{Keys: []ed25519.PublicKey{w.public}, Opener: w.opener}
}

// publish publishes a version that has to be taken.
func (w *world) publish(t testing.TB, store bundle.Store, v bundle.Version, token uint64, previous certmedic.Fingerprint) bundle.Manifest {
	t.Helper()
	m, err := bundle.Publish(context.Background(), store, v, w.options(token, previous))
	must(t, err)
	return m
}

func secret(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func signingFiles(t testing.TB, key ed25519.PrivateKey) (private, public string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	private = secret(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	der, err = x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	return private, secret(t, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
