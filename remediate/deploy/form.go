package deploy

import (
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/remediate/deploy/keystore"
)

// defaultAlias names the entry of a key store where nobody has named it.
const defaultAlias = "certificate"

// file makes a file of a plan: a part of the version, or all of it in the form that the file
// has.
func (p *parts) file(f certmedic.InstalledFile) (File, error) {
	file := File{InstalledFile: f, Source: p.paths[f.From]}
	switch {
	case f.From.IsKeystore():
		var err error
		if file.data, err = p.store(f); err != nil {
			return File{}, fmt.Errorf("making the key store %q: %w", f.To, err)
		}
		file.Source = p.paths[certmedic.PartFullchain]
	case f.From == certmedic.PartCombined:
		file.data = p.whole()
		file.Source = p.paths[certmedic.PartFullchain]
	default:
		file.data = p.bytes[f.From]
	}
	if len(file.data) == 0 && f.From != certmedic.PartChain { // a root's own certificate has no chain
		return File{}, fmt.Errorf("there is no part %q for %q", f.From, f.To)
	}
	file.Size, file.SHA256 = len(file.data), sum(file.data)
	if f.From.IsKeystore() { // its salts are new each time
		file.SHA256 = sum([]byte(strings.Join([]string{string(f.From), alias(f), fmt.Sprint(f.Legacy), string(p.whole())}, "\x00")))
	}
	file.owned = f.Owner != ""
	file.Mode, file.Owner = becomes(f)
	return file, nil
}

// whole is leaf, chain and key, in this order.
func (p *parts) whole() []byte {
	return slices.Concat(p.bytes[certmedic.PartFullchain], p.bytes[certmedic.PartPrivkey])
}

// store makes a key store of the version.
func (p *parts) store(f certmedic.InstalledFile) ([]byte, error) {
	passphrase, err := readPassphrase(f.PassphraseFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(p.bytes[certmedic.PartFullchain], p.bytes[certmedic.PartPrivkey])
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("its key cannot sign")
	}
	entry := keystore.Entry{Alias: alias(f), Key: key}
	for _, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		entry.Chain = append(entry.Chain, cert)
	}
	if f.From == certmedic.PartJKS {
		return keystore.JKS(entry, passphrase, entry.Chain[0].NotBefore)
	}
	return keystore.PKCS12(entry, passphrase, f.Legacy)
}

func alias(f certmedic.InstalledFile) string {
	if f.Alias == "" {
		return defaultAlias
	}
	return f.Alias
}

// readPassphrase reads the first line of a file, which others may neither read nor change.
func readPassphrase(path string) (string, error) {
	if path == "" {
		return "", errors.New("it has no passphrase_file")
	}
	if err := ownership.CheckSecret(path); err != nil {
		return "", fmt.Errorf("checking the passphrase file: %w", err)
	}
	data, err := readFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the passphrase file: %w", err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
