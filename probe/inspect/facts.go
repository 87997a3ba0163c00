package inspect

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
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
