package watchdog

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/remediate/deploy/keystore"
)

// TestCopiesInEveryForm shows that the version of a copy is read whatever form it has.
func TestCopiesInEveryForm(t *testing.T) {
	const passphrase = "s3same"
	root := mint.Must(mint.NewCA("root"))
	pair := mint.Must(root.Leaf(mint.Leaf{Names: []string{"shop.test"}}))
	entry := keystore.Entry{Alias: "shop", Key: pair.Key, Chain: pair.Chain}
	dir := t.TempDir()
	secret := filepath.Join(dir, "pass")
	contents := map[certmedic.FilePart][]byte{
		certmedic.PartCert: pair.CertPEM(), certmedic.PartFullchain: pair.FullchainPEM(),
		certmedic.PartPrivkey:  mint.Must(pair.KeyPEM()),
		certmedic.PartCombined: slices.Concat(pair.FullchainPEM(), mint.Must(pair.KeyPEM())),
		certmedic.PartPKCS12:   mint.Must(keystore.PKCS12(entry, passphrase, false)),
		certmedic.PartJKS:      mint.Must(keystore.JKS(entry, passphrase, pair.Cert.NotBefore)),
	}
	if err := os.WriteFile(secret, []byte(passphrase+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var d certmedic.Destination
	for part, content := range contents {
		f := certmedic.InstalledFile{From: part, To: filepath.Join(dir, string(part))}
		if part.IsKeystore() {
			f.PassphraseFile = secret
		}
		if err := os.WriteFile(f.To, content, 0o600); err != nil {
			t.Fatal(err)
		}
		d.Files = append(d.Files, f)
	}
	copies := (&Watchdog{}).copies(certmedic.Certificate{Destinations: []certmedic.Destination{d}})
	for part := range contents {
		want := inspect.Facts(pair.Cert).SHA256
		got, read := copies[filepath.Join(dir, string(part))]
		if read != part.HasLeaf() || read && got != want {
			t.Errorf("%s: it holds the version %q, want %q", part, got.Short(), want.Short())
		}
	}
}
