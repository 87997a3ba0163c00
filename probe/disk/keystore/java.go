package keystore

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	keystore "github.com/pavlo-v-chernykh/keystore-go/v4"
	"golang.org/x/crypto/cryptobyte"
)

// What an entry of a Java key store is (sun.security.provider.JavaKeyStore).
const (
	javaKey     = 1
	javaTrusted = 2
)

// maxChain bounds the certificates of one entry.
const maxChain = 100

// javaStore is a Java key store of which the structure is known to be sound.
type javaStore struct {
	kind        Kind
	data        []byte
	passphrases [][]byte
	entries     []Entry
	sealed      map[string][]byte // the encrypted key of each alias
}

// readJava reads a JKS or JCEKS file. Its certificates are not encrypted, so they are
// returned whatever the passphrases are. The lengths in it are checked here before the
// library sees them, which would allocate whatever they say.
func readJava(kind Kind, data []byte, passphrases [][]byte) ([]Entry, error) {
	s := &javaStore{kind: kind, data: data, passphrases: passphrases, sealed: map[string][]byte{}}
	if err := s.walk(); err != nil {
		return s.entries, err
	}
	if kind == JCEKS {
		s.refuseKeys(errors.New("the private key: those of JCEKS are not supported"))
		return s.entries, nil
	}
	return s.entries, s.open()
}

func (s *javaStore) walk() error {
	in := cryptobyte.String(s.data)
	var version, count uint32
	if !in.Skip(4) || !in.ReadUint32(&version) || !in.ReadUint32(&count) || version < 1 || version > 2 {
		return fmt.Errorf("the %s file is broken: it has no version 1 or 2", s.kind)
	}
	if count > maxEntries {
		return fmt.Errorf("it has more than %d entries", maxEntries)
	}
	for number := range count {
		if err := s.addEntry(&in, version); err != nil {
			return fmt.Errorf("entry %d of %d: %w", number+1, count, err)
		}
	}
	return nil
}

var errJavaBroken = errors.New("it is broken or cut off")

func (s *javaStore) addEntry(in *cryptobyte.String, version uint32) error {
	var tag, chain uint32
	var alias, sealed cryptobyte.String
	if !in.ReadUint32(&tag) || !in.ReadUint16LengthPrefixed(&alias) || !in.Skip(8) { // the date of creation
		return errJavaBroken
	}
	entry := Entry{Alias: string(alias), HasKey: tag == javaKey}
	switch tag {
	case javaKey:
		if !readLong(in, &sealed) || !in.ReadUint32(&chain) {
			return errJavaBroken
		}
		s.sealed[entry.Alias] = sealed
	case javaTrusted:
		chain = 1
	default:
		return fmt.Errorf("%q is neither a private key nor a certificate; what follows it cannot be read", entry.Alias)
	}
	if chain > maxChain {
		return fmt.Errorf("%q has a chain of more than %d certificates", entry.Alias, maxChain)
	}
	for range chain {
		var kind, der cryptobyte.String
		if version == 2 && !in.ReadUint16LengthPrefixed(&kind) || !readLong(in, &der) {
			return errJavaBroken
		}
		entry.add(der)
	}
	s.entries = append(s.entries, entry)
	return nil
}

// readLong reads bytes behind their length in 32 bits.
func readLong(in, out *cryptobyte.String) bool {
	var length uint32
	return in.ReadUint32(&length) && length <= maxSize && in.ReadBytes((*[]byte)(out), int(length))
}

func (e *Entry) add(der []byte) {
	cert, err := x509.ParseCertificate(bytes.Clone(der)) // whoever read the file wipes it, and the certificate keeps its bytes
	if err != nil {
		e.Problems = append(e.Problems, err)
		return
	}
	e.Certs = append(e.Certs, cert)
}

func (s *javaStore) refuseKeys(why error) {
	for i := range s.entries {
		if s.entries[i].HasKey {
			s.entries[i].Problems = append(s.entries[i].Problems, why)
		}
	}
}

// open checks the file's digest and the private keys, each with the first passphrase that
// fits.
func (s *javaStore) open() error {
	for _, text := range s.passphrases {
		store := keystore.New(keystore.WithCaseExactAliases())
		if store.Load(bytes.NewReader(s.data), text) != nil {
			continue
		}
		for i := range s.entries {
			if entry := &s.entries[i]; entry.HasKey {
				s.openKey(entry, store)
			}
		}
		return nil
	}
	return ErrPassphrase
}

func (s *javaStore) openKey(entry *Entry, store keystore.KeyStore) {
	if !sound(s.sealed[entry.Alias]) {
		entry.Problems = append(entry.Problems, errors.New("the private key: it is broken"))
		return
	}
	for _, text := range s.passphrases {
		held, err := store.GetPrivateKeyEntry(entry.Alias, text)
		if err != nil {
			continue
		}
		entry.Key, err = opened(held.PrivateKey)
		if err != nil {
			entry.Problems = append(entry.Problems, err)
		}
		return
	}
	entry.Problems = append(entry.Problems, fmt.Errorf("the private key: %w", ErrPassphrase))
}

func opened(der []byte) (crypto.PublicKey, error) {
	defer clear(der)
	return publicHalf(der)
}

// sound reports whether an encrypted key has room for its salt and its digest, of 20 bytes
// each; the library takes that for granted.
func sound(sealed []byte) bool {
	var key encryptedKey
	return unmarshal(sealed, &key) == nil && len(key.Data) > 40
}
