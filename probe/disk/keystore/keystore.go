// Package keystore reads key stores: PKCS#12 files, Java's JKS and JCEKS, and encrypted
// PKCS#8 keys.
//
// It is called by package disk with the bytes of a file. It promises bounded work
// whatever the bytes say: sizes, counts and the iterations of key derivation, also of
// those that show only once an outer layer is decrypted. It never loses an entry because
// of another, and it returns the public half of a private key, never the key: no error
// quotes any of it.
//
// PKCS#12 is decoded here and not by a library, because such libraries take one key a
// file, drop the aliases, and follow iteration counts without a bound.
package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
)

// Kind names a kind of key store.
type Kind string

// The kinds of key stores.
const (
	None   Kind = ""
	PKCS12 Kind = "PKCS#12"
	JKS    Kind = "JKS"
	JCEKS  Kind = "JCEKS"
)

// maxSize bounds what is read of a key store, in bytes.
const maxSize = 5 << 20

// ErrPassphrase says that no passphrase opens a key store, or a private key in it.
var ErrPassphrase = errors.New("the passphrase does not open it")

// Entry is one entry of a key store: a private key with its chain, or a certificate.
type Entry struct {
	Alias    string              // empty where the store gives it no name
	Certs    []*x509.Certificate // leaf first
	HasKey   bool                // the entry holds a private key
	Key      crypto.PublicKey    // its public half; nil where it could not be opened
	Problems []error             // what could not be read of the entry
}

// Detect says which kind of key store the bytes begin like. A PKCS#12 file is a sequence
// that begins with the version 3 (RFC 7292, section 4).
func Detect(data []byte) Kind {
	switch {
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return JKS
	case bytes.HasPrefix(data, []byte{0xce, 0xce, 0xce, 0xce}):
		return JCEKS
	}
	var outer asn1.RawValue
	var version int
	if _, err := asn1.Unmarshal(data, &outer); err != nil || outer.Tag != asn1.TagSequence {
		return None
	}
	if _, err := asn1.Unmarshal(outer.Bytes, &version); err != nil || version != 3 {
		return None
	}
	return PKCS12
}

// Read returns the entries of a key store. The passphrases are tried in order, then the
// empty one and "changeit", as Java's tools are set up with. The error is or wraps
// [ErrPassphrase] where none fits; a Java key store shows its certificates all the same,
// so there may be entries besides it.
func Read(data []byte, passphrases [][]byte) ([]Entry, error) {
	return read(data, passphrases, newBudget())
}

func read(data []byte, passphrases [][]byte, b *budget) ([]Entry, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("it is larger than %d bytes", maxSize)
	}
	passphrases = append(passphrases[:len(passphrases):len(passphrases)], []byte{}, []byte("changeit"))
	switch kind := Detect(data); kind {
	case PKCS12:
		return readPKCS12(data, passphrases, b)
	case JKS, JCEKS:
		return readJava(kind, data, passphrases)
	default:
		return nil, errors.New("it is no key store")
	}
}

// OpenPKCS8 decrypts an encrypted private key (RFC 5958, section 3, the PEM type
// ENCRYPTED PRIVATE KEY) with the first passphrase that fits, and returns its public half.
func OpenPKCS8(der []byte, passphrases [][]byte) (crypto.PublicKey, error) {
	b := newBudget()
	for _, text := range passphrases {
		public, err := openShrouded(der, newPassphrase(string(text)), b)
		if !errors.Is(err, ErrPassphrase) {
			return public, err
		}
	}
	return nil, ErrPassphrase
}

// publicHalf parses a private key in PKCS#8.
func publicHalf(der []byte) (crypto.PublicKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("the private key cannot be parsed")
	}
	return signer.Public(), nil
}

// sameKey reports whether two public keys of any kind are equal.
func sameKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
