package aia

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const maxCertificates = 20 // in one bundle

// bundle is what a URL of an issuer answered with.
type bundle struct {
	certs []*x509.Certificate
}

// size counts what is parsed as well as what is raw.
func (b *bundle) size() int {
	n := 0
	for _, c := range b.certs {
		n += 3*len(c.Raw) + 2048
	}
	return n
}

// readBundle parses one certificate in DER, any number in PEM, or a PKCS #7 message that
// holds nothing but certificates (RFC 5280 section 4.2.2.1, RFC 2797), in DER.
func readBundle(data []byte) (*bundle, error) {
	der := [][]byte{data}
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		der = inPEM(data)
	} else if inside, ok := inPKCS7(data); ok {
		der = inside
	}
	if len(der) == 0 || len(der) > maxCertificates {
		return nil, fmt.Errorf("it holds %d certificates", len(der))
	}
	b := &bundle{}
	for _, one := range der {
		c, err := x509.ParseCertificate(one)
		if err != nil {
			return nil, errors.New("it is not a certificate in DER, PEM or PKCS #7")
		}
		b.certs = append(b.certs, c)
	}
	return b, nil
}

func inPEM(data []byte) [][]byte {
	var der [][]byte
	for {
		block, rest := pem.Decode(data)
		if block == nil || len(der) > maxCertificates {
			return der
		}
		if inside, ok := inPKCS7(block.Bytes); ok {
			der = append(der, inside...)
		} else if block.Type == "CERTIFICATE" {
			der = append(der, block.Bytes)
		}
		data = rest
	}
}

// inPKCS7 returns the certificates of a SignedData (RFC 5652 section 5.1), and whether it
// is one.
func inPKCS7(data []byte) ([][]byte, bool) {
	input := cryptobyte.String(data)
	var message, kind, content, signed, set cryptobyte.String
	tag := asn1.Tag(0).ContextSpecific().Constructed()
	ok := input.ReadASN1(&message, asn1.SEQUENCE) && message.ReadASN1(&kind, asn1.OBJECT_IDENTIFIER) &&
		bytes.Equal(kind, []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2}) && // 1.2.840.113549.1.7.2
		message.ReadASN1(&content, tag) && content.ReadASN1(&signed, asn1.SEQUENCE) &&
		signed.SkipASN1(asn1.INTEGER) && signed.SkipASN1(asn1.SET) && signed.SkipASN1(asn1.SEQUENCE) &&
		signed.ReadASN1(&set, tag)
	if !ok {
		return nil, false
	}
	var der [][]byte
	for !set.Empty() {
		var one cryptobyte.String
		if !set.ReadASN1Element(&one, asn1.SEQUENCE) {
			return nil, false
		}
		der = append(der, one)
	}
	return der, true
}
