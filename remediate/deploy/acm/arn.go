package acm

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"
)

// CheckARN says what is wrong with the ARN of a certificate in a region: its form is
// arn:PARTITION:acm:REGION:ACCOUNT:certificate/ID.
func CheckARN(arn, region string) error {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "acm" || !strings.HasPrefix(parts[5], "certificate/") || strings.ContainsFunc(arn, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%q is no ARN of a certificate, such as arn:aws:acm:%s:123456789012:certificate/ID", arn, region)
	}
	if parts[3] != region {
		return fmt.Errorf("%q is in the region %s, not in %s", arn, parts[3], region)
	}
	return nil
}

// keyType names a key as ACM does; empty: ACM does not take it.
func keyType(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return map[int]string{1024: "RSA_1024", 2048: "RSA_2048", 3072: "RSA_3072", 4096: "RSA_4096"}[key.N.BitLen()]
	case *ecdsa.PublicKey:
		return map[int]string{256: "EC_prime256v1", 384: "EC_secp384r1", 521: "EC_secp521r1"}[key.Params().BitSize]
	}
	return ""
}
