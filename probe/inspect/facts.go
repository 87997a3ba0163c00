package inspect

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// Facts returns what a certificate says about itself. Nothing of it is judged, and
// nothing keeps the parsed certificate alive. Strings are as the certificate has them,
// control characters included.
func Facts(c *x509.Certificate) certmedic.CertFacts {
	return certmedic.CertFacts{
		Subject:     c.Subject.String(),
		Issuer:      c.Issuer.String(),
		Serial:      serial(c),
		SHA256:      fingerprint(c.Raw),
		SPKISHA256:  fingerprint(c.RawSubjectPublicKeyInfo),
		NotBefore:   c.NotBefore.UTC(),
		NotAfter:    c.NotAfter.UTC(),
		DNSNames:    append([]string{}, c.DNSNames...),
		IPAddresses: ipStrings(c),
		KeyType:     keyType(c),
	}
}

func fingerprint(der []byte) certmedic.Fingerprint {
	sum := sha256.Sum256(der)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

func serial(c *x509.Certificate) string {
	if c.SerialNumber == nil || c.SerialNumber.Sign() == 0 {
		return "00"
	}
	return hex.EncodeToString(c.SerialNumber.Bytes())
}

func ipStrings(c *x509.Certificate) []string {
	ips := make([]string, 0, len(c.IPAddresses))
	for _, ip := range c.IPAddresses {
		ips = append(ips, ip.String())
	}
	return ips
}

func keyType(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa%d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return fmt.Sprintf("ec%d", key.Curve.Params().BitSize)
	case ed25519.PublicKey:
		return "ed25519"
	}
	if c.PublicKeyAlgorithm == x509.UnknownPublicKeyAlgorithm {
		return "unknown"
	}
	return strings.ToLower(c.PublicKeyAlgorithm.String())
}

// KeyClass returns the variant of a client that takes this certificate's type of key
// only: RSA, ECDSA, or the usual one where it is neither.
func KeyClass(c certmedic.CertFacts) certmedic.Variant {
	switch {
	case strings.HasPrefix(c.KeyType, "rsa"):
		return certmedic.VariantRSA
	case strings.HasPrefix(c.KeyType, "ec"):
		return certmedic.VariantECDSA
	default:
		return certmedic.VariantUsual
	}
}

// MustStaple reports whether the certificate demands that its server staples an OCSP
// response: a TLS feature (RFC 7633) of status_request, 5.
func MustStaple(leaf *x509.Certificate) bool {
	for _, e := range leaf.Extensions {
		if !e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}) {
			continue
		}
		var features []int
		rest, err := asn1.Unmarshal(e.Value, &features)
		return err == nil && len(rest) == 0 && slices.Contains(features, 5)
	}
	return false
}
