// Package certtest makes certificates for the tests of the packages around it: real
// ones, with real signatures, right or wrong as the test wants them.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

// Pair is a certificate with its key.
type Pair struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// CA returns the template of an authority, valid for ten years around now.
func CA(name string, now time.Time) x509.Certificate {
	return x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.AddDate(-5, 0, 0),
		NotAfter:              now.AddDate(5, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
}

// Server returns the template of a server's certificate for the names, DNS names or IP
// addresses, valid from 30 days before now to 60 days after it.
func Server(now time.Time, names ...string) x509.Certificate {
	t := x509.Certificate{
		NotBefore:   now.AddDate(0, 0, -30),
		NotAfter:    now.AddDate(0, 0, 60),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
			continue
		}
		t.DNSNames = append(t.DNSNames, name)
	}
	if len(names) > 0 {
		t.Subject.CommonName = names[0]
	}
	return t
}

// Issue signs the template with the issuer, or with its own key where the issuer is nil.
// The key is a new P-256 key unless one is given.
func Issue(t testing.TB, issuer *Pair, template x509.Certificate, key crypto.Signer) *Pair {
	t.Helper()
	var err error
	if key == nil {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(t, err)
	}
	if template.SerialNumber == nil {
		template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
		check(t, err)
	}
	parent, signer := &template, key
	if issuer != nil {
		parent, signer = issuer.Cert, issuer.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return &Pair{Cert: cert, Key: key}
}

// TLS returns the pair for a TLS server that presents it with the chain.
func (p *Pair) TLS(chain ...*Pair) tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key, Leaf: p.Cert}
	for _, above := range chain {
		c.Certificate = append(c.Certificate, above.Cert.Raw)
	}
	return c
}

// Pool returns a pool of the pairs' certificates.
func Pool(pairs ...*Pair) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, p := range pairs {
		pool.AddCert(p.Cert)
	}
	return pool
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
