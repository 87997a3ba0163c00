package bundle

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
)

// Version is what is published: a certificate with its chain and its private key.
type Version struct {
	Name      string // of the certificate
	Fullchain []byte // PEM, the leaf first, then each issuer
	Privkey   []byte // PEM, not encrypted
}

// ReadVersion reads a version from where a source keeps its parts. A private key that others may
// read is refused.
func ReadVersion(name string, files certmedic.StoredFiles) (Version, error) {
	key, err := readSecret(files.Privkey)
	if err != nil {
		return Version{}, fmt.Errorf("reading %q to publish it: %w", name, err)
	}
	parts := []string{files.Fullchain}
	if files.Fullchain == "" {
		parts = slices.DeleteFunc([]string{files.Cert, files.Chain}, func(p string) bool { return p == "" })
	}
	v := Version{Name: name, Privkey: key}
	for _, path := range parts {
		if err := ownership.Check(path); err != nil {
			return Version{}, fmt.Errorf("reading %q to publish it: %w", name, err)
		}
		data, err := readBounded(path)
		if err != nil {
			return Version{}, fmt.Errorf("reading %q to publish it: %w", name, err)
		}
		v.Fullchain = append(append(v.Fullchain, data...), '\n')
	}
	return v, nil
}

// content is a version that was looked at: its leaf pairs with its key, and each certificate of
// its chain is signed by the next.
type content struct {
	leaf  *x509.Certificate
	parts map[string][]byte // by file name; the private key as privkey.pem
}

// look parses a version and refuses one whose parts do not belong together.
func (v Version) look() (content, error) {
	chain, err := parseChain(v.Fullchain)
	if err != nil {
		return content{}, err
	}
	if err := pairs(chain[0], v.Privkey); err != nil {
		return content{}, err
	}
	for i, cert := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(cert); err != nil {
			return content{}, fmt.Errorf("certificate %d of the chain is not signed by the next one: %w", i+1, err)
		}
	}
	c := content{leaf: chain[0], parts: map[string][]byte{
		certFile:      encodeCerts(chain[:1]),
		fullchainFile: encodeCerts(chain),
		privkeyFile:   v.Privkey,
	}}
	if len(chain) > 1 {
		c.parts[chainFile] = encodeCerts(chain[1:])
	}
	return c, nil
}

// fill writes what is known of the leaf into a manifest.
func (c content) fill(m *Manifest) {
	m.Version = fingerprint(c.leaf.Raw)
	m.SPKI = fingerprint(c.leaf.RawSubjectPublicKeyInfo)
	m.Serial = serial(c.leaf)
	m.NotBefore, m.NotAfter = c.leaf.NotBefore.UTC(), c.leaf.NotAfter.UTC()
	m.Names = slices.Clone(c.leaf.DNSNames)
	for _, ip := range c.leaf.IPAddresses {
		m.Names = append(m.Names, ip.String())
	}
}

func serial(cert *x509.Certificate) string {
	text := cert.SerialNumber.Text(16)
	if len(text)%2 == 1 {
		text = "0" + text
	}
	return text
}

func fingerprint(der []byte) certmedic.Fingerprint {
	sum := sha256.Sum256(der)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

func parseChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("there is a %q among the certificates", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate in PEM")
	}
	return chain, nil
}

func encodeCerts(certs []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range certs {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}) // a buffer takes everything
	}
	return out.Bytes()
}

// pairs refuses a private key that is not the leaf's. Its errors hold nothing of the key.
func pairs(leaf *x509.Certificate, data []byte) error {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue // such as EC PARAMETERS
		}
		public, err := publicHalf(block)
		clear(block.Bytes)
		if err != nil {
			return err
		}
		key, ok := leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !key.Equal(public) {
			return errors.New("the private key is not the leaf's")
		}
		return nil
	}
	return errors.New("there is no private key in PEM")
}

func publicHalf(block *pem.Block) (crypto.PublicKey, error) {
	var key any
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return nil, errors.New("the private key has a passphrase of its own; one without is needed")
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, errors.New("the private key cannot be parsed")
	}
	return signer.Public(), nil
}
