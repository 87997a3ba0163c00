// Package deploytest is for the tests of certmedic's own steps: it stores a version as a source
// does, orders it, and looks whether a step told anybody its key.
package deploytest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

// Order stores a version in a folder of its own, and orders it. Its chain begins with the leaf, its key
// is in PEM.
func Order(t *testing.T, certificate string, chain []*x509.Certificate, key []byte) version.Order {
	t.Helper()
	dir := t.TempDir()
	order := version.Order{
		Certificate: certificate,
		Files:       certmedic.StoredFiles{Cert: dir + "/cert.pem", Chain: dir + "/chain.pem", Fullchain: dir + "/fullchain.pem", Privkey: dir + "/privkey.pem"},
		Work:        filepath.Join(t.TempDir(), "work"),
	}
	var certs [][]byte
	for _, cert := range chain {
		sum := sha256.Sum256(cert.Raw)
		order.Chain = append(order.Chain, certmedic.Fingerprint(hex.EncodeToString(sum[:])))
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	for path, data := range map[string][]byte{
		order.Files.Cert: certs[0], order.Files.Chain: slices.Concat(certs[1:]...), order.Files.Fullchain: slices.Concat(certs...), order.Files.Privkey: key,
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return order
}

// NoKey reports texts that hold the key, or a part of it.
func NoKey(t *testing.T, key []byte, texts ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(key)), "\n")
	for _, text := range texts {
		for _, line := range append(lines[1:len(lines)-1], "PRIVATE KEY") {
			if strings.Contains(text, line) {
				t.Errorf("a key is shown: %s", text)
				break
			}
		}
	}
}
