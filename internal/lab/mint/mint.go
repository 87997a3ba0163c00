// Package mint makes certificates for tests and for the laboratory: a private PKI
// with any dates, names, key types and defects, made in a millisecond because keys are
// elliptic unless asked otherwise.
//
//	root := mint.Must(mint.NewCA("Lab Root"))
//	issuing := mint.Must(root.Intermediate("Lab Issuing"))
//	shop := mint.Must(issuing.Leaf(mint.Leaf{Names: []string{"shop.test"}}))
//
// It writes nothing and keeps no state: what it returns is all there is. Nothing that
// it makes is fit to protect anything.
package mint

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Lifetimes of what is made when no dates are given.
const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	leafLifetime = 90 * 24 * time.Hour
)

// Must returns v, and panics when err is not nil. It is meant for tests, where a key
// that cannot be made ends the test.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// CA is a certificate authority that signs intermediates and leaves.
type CA struct {
	Cert *x509.Certificate
	Key  crypto.Signer

	path []*x509.Certificate // what its leaves present after themselves; without the root
}

// Leaf says what an end-entity certificate shall be. The zero value of a field means
// what an ordinary web server's certificate has.
type Leaf struct {
	CommonName string    // empty: no subject, as many authorities issue today
	Names      []string  // DNS names and IP addresses of the SAN extension
	NotBefore  time.Time // zero: an hour ago
	NotAfter   time.Time // zero: 90 days after NotBefore

	KeyType   KeyType                 // empty: EC256
	Key       crypto.Signer           // nil: a new key of KeyType
	Usage     []x509.ExtKeyUsage      // nil: server authentication
	Signature x509.SignatureAlgorithm // 0: what suits the issuer's key

	// Change, when not nil, has the last word about the template, for everything that
	// has no field here.
	Change func(*x509.Certificate)
}

// Pair is a certificate with its private key and the chain that a server presents.
type Pair struct {
	Cert  *x509.Certificate
	Key   crypto.Signer
	Chain []*x509.Certificate // the leaf first, then the intermediates, no root
}

// NewCA makes a self-signed root, valid from a day ago for ten years. Each change is
// applied to the template before it is signed, for name constraints, dates or usages.
func NewCA(name string, changes ...func(*x509.Certificate)) (*CA, error) {
	key, err := NewKey(EC256)
	if err != nil {
		return nil, err
	}
	template := authority(name, changes)
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making root %q: %w", name, err)
	}
	return &CA{Cert: cert, Key: key}, nil
}

// Intermediate makes an authority that is signed by this one, with the same dates and
// the same kind of changes as [NewCA].
func (c *CA) Intermediate(name string, changes ...func(*x509.Certificate)) (*CA, error) {
	key, err := NewKey(EC256)
	if err != nil {
		return nil, err
	}
	cert, err := sign(authority(name, changes), c.Cert, key.Public(), c.Key)
	if err != nil {
		return nil, fmt.Errorf("making intermediate %q: %w", name, err)
	}
	path := append([]*x509.Certificate{cert}, c.path...)
	return &CA{Cert: cert, Key: key, path: path}, nil
}

// CrossSign makes a certificate for the other authority's name and key that is signed
// by this one, so that its leaves have a second path.
func (c *CA) CrossSign(other *CA) (*x509.Certificate, error) {
	template := authority(other.Cert.Subject.CommonName, nil)
	template.SubjectKeyId = other.Cert.SubjectKeyId
	cert, err := sign(template, c.Cert, other.Key.Public(), c.Key)
	if err != nil {
		return nil, fmt.Errorf("cross-signing %q: %w", template.Subject.CommonName, err)
	}
	return cert, nil
}

// Leaf makes an end-entity certificate that is signed by this authority.
func (c *CA) Leaf(leaf Leaf) (Pair, error) {
	pair, err := c.issue(leaf)
	if err != nil {
		return Pair{}, fmt.Errorf("making leaf %q: %w", leaf.Names, err)
	}
	return pair, nil
}

// Pool returns a pool that trusts this authority only.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.Cert)
	return pool
}

// PEM returns the authority's certificate in PEM.
func (c *CA) PEM() []byte { return PEM(c.Cert) }

// SelfSigned makes an end-entity certificate that signs itself.
func SelfSigned(leaf Leaf) (Pair, error) {
	pair, err := (*CA)(nil).issue(leaf)
	if err != nil {
		return Pair{}, fmt.Errorf("making self-signed leaf %q: %w", leaf.Names, err)
	}
	return pair, nil
}

// CertPEM returns the leaf in PEM, as certbot's cert.pem has it.
func (p Pair) CertPEM() []byte { return PEM(p.Cert) }

// ChainPEM returns the intermediates in PEM, as certbot's chain.pem has them.
func (p Pair) ChainPEM() []byte { return PEM(p.Chain[1:]...) }

// FullchainPEM returns the leaf and the intermediates in PEM, as certbot's
// fullchain.pem has them.
func (p Pair) FullchainPEM() []byte { return PEM(p.Chain...) }

// KeyPEM returns the private key in PEM, PKCS #8 (RFC 5208).
func (p Pair) KeyPEM() ([]byte, error) { return KeyPEM(p.Key) }

// TLS returns the pair as a server's certificate for crypto/tls.
func (p Pair) TLS() tls.Certificate {
	certificate := tls.Certificate{PrivateKey: p.Key, Leaf: p.Cert}
	for _, cert := range p.Chain {
		certificate.Certificate = append(certificate.Certificate, cert.Raw)
	}
	return certificate
}

// PEM returns certificates in PEM (RFC 7468), in the order given.
func PEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out
}

// issue signs a leaf with the authority's key, or with the leaf's own where c is nil.
func (c *CA) issue(leaf Leaf) (Pair, error) {
	key := leaf.Key
	if key == nil {
		made, err := NewKey(leaf.KeyType)
		if err != nil {
			return Pair{}, err
		}
		key = made
	}
	template := leaf.template()
	parent, signer := template, key
	if c != nil {
		parent, signer = c.Cert, c.Key
	}
	cert, err := sign(template, parent, key.Public(), signer)
	if err != nil {
		return Pair{}, err
	}
	pair := Pair{Cert: cert, Key: key, Chain: []*x509.Certificate{cert}}
	if c != nil {
		pair.Chain = append(pair.Chain, c.path...)
	}
	return pair, nil
}

func (l Leaf) template() *x509.Certificate {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: l.CommonName},
		NotBefore:             l.NotBefore,
		NotAfter:              l.NotAfter,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           l.Usage,
		SignatureAlgorithm:    l.Signature,
		BasicConstraintsValid: true,
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if l.NotBefore.IsZero() && !l.NotAfter.IsZero() && l.NotAfter.Before(template.NotBefore) {
		template.NotBefore = l.NotAfter.Add(-leafLifetime)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = template.NotBefore.Add(leafLifetime)
	}
	if l.Usage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, name := range l.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	if l.Change != nil {
		l.Change(template)
	}
	return template
}

func authority(name string, changes []func(*x509.Certificate)) *x509.Certificate {
	start := time.Now().Add(-24 * time.Hour)
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             start,
		NotAfter:              start.Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	for _, change := range changes {
		change(template)
	}
	return template
}

// sign gives the template a serial number unless it has one, and returns what the
// signer made of it.
func sign(template, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	if template.SerialNumber == nil {
		serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
		if err != nil {
			return nil, err
		}
		template.SerialNumber = serial.Add(serial, big.NewInt(1))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
