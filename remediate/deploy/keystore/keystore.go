// Package keystore writes key stores: PKCS#12 (RFC 7292) and Java's JKS, with one entry, a
// private key with its chain.
//
// A deployment calls it for files that hold a version in one of these forms. It promises that
// what it returns was opened again with the passphrase and holds this key and this chain, and
// that no error quotes the key or the passphrase.
package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	java "github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"
)

// Entry is what a key store holds.
type Entry struct {
	Alias string              // the name of the entry, in ASCII
	Key   crypto.Signer       // its private key
	Chain []*x509.Certificate // leaf first
}

// minPassphrase is the length below which Java's keytool takes no passphrase.
const minPassphrase = 6

// CheckPassphrase says why a passphrase cannot be used for every kind of key store: programs
// do not agree about how other characters than those of ASCII are encoded.
func CheckPassphrase(passphrase string) error {
	switch {
	case len(passphrase) < minPassphrase:
		return fmt.Errorf("it has fewer than %d characters", minPassphrase)
	case !isPrintable(passphrase):
		return errors.New("it holds other characters than the printable ones of ASCII")
	}
	return nil
}

func isPrintable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// IsAlias reports whether a name can be that of an entry.
func IsAlias(name string) bool { return name != "" && isPrintable(name) }

// check says why an entry cannot be written.
func check(e Entry, passphrase string) error {
	if err := CheckPassphrase(passphrase); err != nil {
		return fmt.Errorf("the passphrase cannot be used: %w", err)
	}
	if !IsAlias(e.Alias) {
		return fmt.Errorf("the alias %q is empty, or holds other characters than the printable ones of ASCII", e.Alias)
	}
	if len(e.Chain) == 0 || e.Key == nil {
		return errors.New("an entry needs a key and a certificate")
	}
	return nil
}

// PKCS12 returns a PKCS#12 file: with AES-256 and SHA-256, as OpenSSL 3 and Java since 8u301
// write it; legacy, with 3DES and SHA-1, for what is older.
func PKCS12(e Entry, passphrase string, legacy bool) ([]byte, error) {
	if err := check(e, passphrase); err != nil {
		return nil, err
	}
	encoder := pkcs12.Modern2023
	if legacy {
		encoder = pkcs12.LegacyDES
	}
	plain, err := encoder.Encode(e.Key, e.Chain[0], e.Chain[1:], passphrase)
	if err != nil {
		return nil, fmt.Errorf("writing PKCS#12: %w", err)
	}
	data, err := named(plain, e.Alias, passphrase)
	if err != nil {
		return nil, fmt.Errorf("naming the entry of a PKCS#12 file: %w", err)
	}
	key, leaf, others, err := pkcs12.DecodeChain(data, passphrase)
	if err != nil {
		return nil, fmt.Errorf("reading the PKCS#12 file again: %w", err)
	}
	if !e.is(key, append([]*x509.Certificate{leaf}, others...)) {
		return nil, errors.New("the PKCS#12 file does not hold what was written")
	}
	return data, nil
}

// JKS returns a Java key store. The passphrase is that of the store and of the key. Java
// compares aliases without regard to case, so the alias is written in lower case.
func JKS(e Entry, passphrase string, now time.Time) ([]byte, error) {
	if err := check(e, passphrase); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(e.Key)
	if err != nil {
		return nil, fmt.Errorf("writing a Java key store: %w", err)
	}
	defer clear(der)
	entry := java.PrivateKeyEntry{CreationTime: now, PrivateKey: der}
	for _, cert := range e.Chain {
		entry.CertificateChain = append(entry.CertificateChain, java.Certificate{Type: "X.509", Content: cert.Raw})
	}
	store := java.New()
	if err := store.SetPrivateKeyEntry(e.Alias, entry, []byte(passphrase)); err != nil {
		return nil, fmt.Errorf("writing a Java key store: %w", err)
	}
	var data bytes.Buffer
	if err := store.Store(&data, []byte(passphrase)); err != nil {
		return nil, fmt.Errorf("writing a Java key store: %w", err)
	}
	return data.Bytes(), e.checkJKS(data.Bytes(), passphrase)
}

// checkJKS reads a Java key store again.
func (e Entry) checkJKS(data []byte, passphrase string) error {
	store := java.New()
	if err := store.Load(bytes.NewReader(data), []byte(passphrase)); err != nil {
		return fmt.Errorf("reading the Java key store again: %w", err)
	}
	entry, err := store.GetPrivateKeyEntry(e.Alias, []byte(passphrase))
	if err != nil {
		return fmt.Errorf("reading the Java key store again: %w", err)
	}
	defer clear(entry.PrivateKey)
	key, err := x509.ParsePKCS8PrivateKey(entry.PrivateKey)
	if err != nil {
		return errors.New("the key of the Java key store cannot be read again")
	}
	var chain []*x509.Certificate
	for _, held := range entry.CertificateChain {
		cert, err := x509.ParseCertificate(held.Content)
		if err != nil {
			return fmt.Errorf("reading the Java key store again: %w", err)
		}
		chain = append(chain, cert)
	}
	if !e.is(key, chain) {
		return errors.New("the Java key store does not hold what was written")
	}
	return nil
}

// is reports whether a key and a chain are those of the entry.
func (e Entry) is(key any, chain []*x509.Certificate) bool {
	own, ok := e.Key.(interface{ Equal(crypto.PrivateKey) bool })
	if !ok || !own.Equal(key) || len(chain) != len(e.Chain) {
		return false
	}
	for i, cert := range chain {
		if !cert.Equal(e.Chain[i]) {
			return false
		}
	}
	return true
}
