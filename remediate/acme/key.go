package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/internal/ownership"
)

// keyTypes returns the kinds of keys that certificates can have.
func keyTypes() []string { return []string{"ec256", "ec384", "rsa2048", "rsa3072", "rsa4096"} }

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "ec256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ec384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "rsa2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, fmt.Errorf("making a key: unknown type %q", kind)
}

// typeOf returns the kind of a public key, in the words of [Request.KeyType].
func typeOf(public crypto.PublicKey) string {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return fmt.Sprintf("ec%d", k.Curve.Params().BitSize)
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa%d", k.N.BitLen())
	}
	return fmt.Sprintf("%T", public)
}

// writeKey writes a key in PEM, PKCS #8 (RFC 5208), 0600.
func writeKey(path string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	return atomicfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600, -1, -1)
}

// readKey reads a key from the first block of a PEM file that is one: PKCS #8, PKCS #1 or SEC 1.
func readKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, fmt.Errorf("reading the key %q: it holds none in PEM", path)
		}
		if key, err := parseKey(block); key != nil || err != nil {
			return key, err
		}
	}
}

// parseKey returns nil without an error for a block that is something else.
func parseKey(block *pem.Block) (crypto.Signer, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, errors.New("reading a key: its encoding is broken or encrypted") // the parser's words could quote it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("reading a key: a %T cannot sign", key)
	}
	return signer, nil
}

// spki returns the hash of a public key, as deny lists have it.
func spki(public crypto.PublicKey) (certmedic.Fingerprint, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encoding a public key: %w", err)
	}
	return fingerprint(der), nil
}

func fingerprint(der []byte) certmedic.Fingerprint {
	sum := sha256.Sum256(der)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

// denied returns an error where the key must not be used.
func (r Request) denied(key crypto.Signer) error {
	print, err := spki(key.Public())
	if err != nil {
		return err
	}
	if slices.Contains(r.Denied, print) {
		return &Error{Kind: KindKey, Doing: "choosing the key", Detail: fmt.Sprintf("the key %s is denied", print.Short())}
	}
	return nil
}

// samePublic reports whether a key belongs to a public key.
func samePublic(key crypto.Signer, public crypto.PublicKey) bool {
	own, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(public)
}

// reused reads the key that is to be used again; nil where it is to be a new one.
func (r Request) reused() (crypto.Signer, error) {
	if r.ReuseKey == "" {
		return nil, nil
	}
	if err := ownership.CheckSecret(r.ReuseKey); err != nil {
		return nil, &Error{Kind: KindKey, Doing: "choosing the key", Detail: err.Error(), err: err}
	}
	key, err := readKey(r.ReuseKey)
	if err != nil {
		return nil, &Error{Kind: KindKey, Doing: "choosing the key", Detail: err.Error(), err: err}
	}
	if kind := typeOf(key.Public()); r.KeyType != "" && kind != r.KeyType || !slices.Contains(keyTypes(), kind) {
		detail := fmt.Sprintf("the key to use again is %s, wanted is %q: have a new key made once", kind, r.KeyType)
		return nil, &Error{Kind: KindKey, Doing: "choosing the key", Detail: detail}
	}
	return key, r.denied(key)
}

// csr returns a certificate signing request (RFC 2986) for the names. It has no subject: which
// name becomes the common name, if any, is the CA's choice.
func (r Request) csr(key crypto.Signer) ([]byte, error) {
	template := &x509.CertificateRequest{}
	for _, name := range r.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if r.MustStaple {
		template.ExtraExtensions = []pkix.Extension{mustStaple()}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, fmt.Errorf("making the signing request: %w", err)
	}
	return der, nil
}

// mustStaple is the TLS feature extension with status_request (RFC 7633).
func mustStaple() pkix.Extension {
	return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05}}
}
