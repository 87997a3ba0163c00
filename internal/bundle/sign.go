package bundle

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/certmedic/certmedic/internal/ownership"
)

// signedAs stands before what is signed, so that a signature is good for nothing else.
const signedAs = "certmedic bundle manifest 1\n"

// signature is an Ed25519 signature (RFC 8032).
type signature struct {
	Key   []byte `json:"key"`   // the public key, which tells a consumer who signed
	Value []byte `json:"value"` // over signedAs and the manifest's bytes
}

func sign(key ed25519.PrivateKey, manifest []byte) *signature {
	if key == nil {
		return nil
	}
	public, _ := key.Public().(ed25519.PublicKey)
	return &signature{Key: public, Value: ed25519.Sign(key, append([]byte(signedAs), manifest...))}
}

// verify refuses a manifest that none of the keys signed. Without keys anything is accepted.
func (e envelope) verify(keys []ed25519.PublicKey) error {
	if len(keys) == 0 {
		return nil
	}
	if e.Signature == nil {
		return fmt.Errorf("%s is not signed, and a signature is asked for", manifestFile)
	}
	signer := slices.IndexFunc(keys, func(k ed25519.PublicKey) bool { return k.Equal(ed25519.PublicKey(e.Signature.Key)) })
	if signer < 0 {
		return fmt.Errorf("%s is signed by a key that is not among those accepted", manifestFile)
	}
	if !ed25519.Verify(keys[signer], append([]byte(signedAs), e.Manifest...), e.Signature.Value) {
		return fmt.Errorf("the signature of %s is wrong", manifestFile)
	}
	return nil
}

// ReadSigningKey reads the private Ed25519 key in PEM (PKCS #8) with which a publisher signs, as
// `openssl genpkey -algorithm ed25519` writes it. A file that others may read is refused.
func ReadSigningKey(path string) (ed25519.PrivateKey, error) {
	data, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("reading the signing key: %w", err)
	}
	defer clear(data)
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("reading the signing key: %q holds no private key in PEM (PKCS #8)", path)
	}
	defer clear(block.Bytes)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("reading the signing key: what %q holds is no Ed25519 key", path)
	}
	return key, nil
}

// ReadPublicKeys reads the public Ed25519 keys in PEM of all publishers whose signature a consumer
// accepts, one or several in a file, as `openssl pkey -pubout` writes them. A file that others may
// write is refused.
func ReadPublicKeys(path string) ([]ed25519.PublicKey, error) {
	if err := ownership.Check(path); err != nil {
		return nil, fmt.Errorf("reading the publishers' keys: %w", err)
	}
	data, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("reading the publishers' keys: %w", err)
	}
	var keys []ed25519.PublicKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		key, ok := parsed.(ed25519.PublicKey)
		if err != nil || !ok {
			return nil, fmt.Errorf("reading the publishers' keys: key %d of %q is no public Ed25519 key", len(keys)+1, path)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("reading the publishers' keys: %q holds no key in PEM", path)
	}
	return keys, nil
}

// readSecret reads a file that nobody but its owner, its group and root may read.
func readSecret(path string) ([]byte, error) {
	if err := ownership.CheckSecret(path); err != nil {
		return nil, err
	}
	return readBounded(path)
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxObject {
		return nil, fmt.Errorf("reading %q: %w", path, errors.New("it is no regular file, or a very large one"))
	}
	return os.ReadFile(path)
}
