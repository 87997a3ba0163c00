package acme

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/certmedic/certmedic/internal/ownership"
)

// parseChain reads the certificates of a PEM text, leaf first.
func parseChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate")
	}
	return chain, nil
}

// preferred returns the chain with an issuer of that common name, the default one where none
// has it. What counts first is the issuer at the top, then those below: a cross-signed chain
// passes through the other's issuers.
func preferred(chains [][]*x509.Certificate, issuer string) (chain []*x509.Certificate, found bool) {
	if issuer == "" {
		return chains[0], true
	}
	for _, chain := range chains {
		if chain[len(chain)-1].Issuer.CommonName == issuer {
			return chain, true
		}
	}
	for _, chain := range chains {
		for _, cert := range chain {
			if cert.Issuer.CommonName == issuer {
				return chain, true
			}
		}
	}
	return chains[0], false
}

// check reports what is wrong with a chain that the CA issued for a key and names.
func check(chain []*x509.Certificate, key crypto.Signer, names []string, now time.Time) error {
	leaf := chain[0]
	if !samePublic(key, leaf.PublicKey) {
		return errors.New("its key is another one")
	}
	for _, name := range names {
		if !covers(leaf, name) {
			return fmt.Errorf("it does not cover %q", name)
		}
	}
	if !leaf.NotAfter.After(now) {
		return fmt.Errorf("it expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	for i, cert := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(cert); err != nil {
			return fmt.Errorf("its chain is broken at %q: %w", cert.Subject, err)
		}
	}
	return nil
}

// covers reports whether a certificate holds a name, as it was asked for.
func covers(leaf *x509.Certificate, name string) bool {
	for _, have := range leaf.DNSNames {
		if have == name {
			return true
		}
	}
	for _, have := range leaf.IPAddresses {
		if have.String() == name {
			return true
		}
	}
	return false
}

func encode(chain []*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, cert := range chain {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	return b.Bytes()
}

// replaced reads the certificate that the request's one replaces; nil where there is none.
func (r Request) replaced() (*x509.Certificate, error) {
	if r.Replaces == "" {
		return nil, nil
	}
	if err := ownership.Check(r.Replaces); err != nil {
		return nil, invalid("the certificate to replace, %q: %v", r.Replaces, err)
	}
	data, err := os.ReadFile(r.Replaces)
	if err != nil {
		return nil, invalid("the certificate to replace, %q: %v", r.Replaces, err)
	}
	chain, err := parseChain(data)
	if err != nil {
		return nil, invalid("the certificate to replace, %q: %v", r.Replaces, err)
	}
	return chain[0], nil
}

// renewalID is the identifier of a certificate in orders (RFC 9773, section 4.1); empty where
// the certificate does not name its issuer's key.
func renewalID(leaf *x509.Certificate) (string, error) {
	if leaf == nil || len(leaf.AuthorityKeyId) == 0 {
		return "", nil
	}
	der, err := asn1.Marshal(leaf.SerialNumber)
	if err != nil {
		return "", fmt.Errorf("encoding a serial number: %w", err)
	}
	var serial asn1.RawValue
	if _, err := asn1.Unmarshal(der, &serial); err != nil {
		return "", fmt.Errorf("encoding a serial number: %w", err)
	}
	encoding := base64.RawURLEncoding
	return encoding.EncodeToString(leaf.AuthorityKeyId) + "." + encoding.EncodeToString(serial.Bytes), nil
}
