package mint

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// KeyType names a kind of private key, in the words that certmedic reports.
type KeyType string

// The kinds of keys. RSA1024 is too weak for today, and that is its use here.
const (
	EC256   KeyType = "ec256"
	EC384   KeyType = "ec384"
	Ed25519 KeyType = "ed25519"
	RSA1024 KeyType = "rsa1024"
	RSA2048 KeyType = "rsa2048"
)

// NewKey makes a private key. An empty type means [EC256].
func NewKey(kind KeyType) (crypto.Signer, error) {
	switch kind {
	case "", EC256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EC384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case RSA1024:
		return rsa.GenerateKey(rand.Reader, 1024)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	default:
		return nil, fmt.Errorf("making a key: unknown type %q", kind)
	}
}

// KeyPEM returns a private key in PEM, PKCS #8 (RFC 5208).
func KeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
