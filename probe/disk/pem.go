package disk

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// maxPEMSize bounds certificate and key files, in bytes: a bundle of all public roots
// has a quarter of a megabyte.
const maxPEMSize = 4 << 20

const pemBegin = "-----BEGIN "

// pemBlocks returns the blocks of a file, and an error for each that begins and cannot
// be decoded, with its line. The standard decoder passes over such blocks in silence,
// which would hide half of a file that is being written.
func pemBlocks(data []byte) ([]*pem.Block, []error) {
	var blocks []*pem.Block
	var errs []error
	rest := data
	for {
		i := bytes.Index(rest, []byte(pemBegin))
		if i < 0 {
			return blocks, errs
		}
		start := len(data) - len(rest) + i
		block, after := pem.Decode(rest[i:])
		begun := bytes.Count(rest[i:len(rest)-len(after)], []byte(pemBegin))
		if block == nil {
			begun, after = bytes.Count(rest[i:], []byte(pemBegin))+1, nil
		}
		if begun > 1 {
			line := 1 + bytes.Count(data[:start], []byte("\n"))
			errs = append(errs, fmt.Errorf("line %d: the PEM block that begins here is broken", line))
		}
		if block != nil {
			blocks = append(blocks, block)
		}
		rest = after
	}
}

// parseCertificates returns a file's certificates in their order. Blocks of other
// kinds are passed over. Each certificate that cannot be read has an error; the first
// error is the only one where nothing could be read.
func parseCertificates(data []byte) ([]*x509.Certificate, []error) {
	if !bytes.Contains(data, []byte(pemBegin)) {
		return parseDER(data)
	}
	blocks, errs := pemBlocks(data)
	var certs []*x509.Certificate
	number := 0
	for _, block := range blocks {
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" {
			continue
		}
		number++
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate %d: %w", number, err))
			continue
		}
		certs = append(certs, cert)
	}
	if number == 0 && len(errs) == 0 {
		errs = append(errs, errors.New("no certificate in the file"))
	}
	return certs, errs
}

// parseDER reads a lone certificate in DER, and names the other binary forms.
func parseDER(data []byte) ([]*x509.Certificate, []error) {
	cert, err := x509.ParseCertificate(data)
	switch {
	case err == nil:
		return []*x509.Certificate{cert}, nil
	case len(bytes.TrimSpace(data)) == 0:
		return nil, []error{errors.New("the file is empty")}
	case keystoreKind(data) != "":
		return nil, []error{fmt.Errorf("%s is not supported yet", keystoreKind(data))}
	default:
		return nil, []error{errors.New("neither PEM nor a certificate in DER")}
	}
}

// keystoreKind names the key store that the bytes begin like, empty for none. A
// PKCS#12 file is a sequence that begins with the version 3 (RFC 7292, section 4).
func keystoreKind(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}):
		return "JKS"
	case bytes.HasPrefix(data, []byte{0xce, 0xce, 0xce, 0xce}):
		return "JCEKS"
	}
	var outer asn1.RawValue
	var version int
	if _, err := asn1.Unmarshal(data, &outer); err != nil || outer.Tag != asn1.TagSequence {
		return ""
	}
	if _, err := asn1.Unmarshal(outer.Bytes, &version); err != nil || version != 3 {
		return ""
	}
	return "PKCS#12"
}

var errEncryptedKey = errors.New("the private key is encrypted")

// parseKey returns the public half of the first private key in a PEM file. Its errors
// never hold any of the key.
func parseKey(data []byte) (crypto.PublicKey, error) {
	blocks, _ := pemBlocks(data)
	for _, block := range blocks {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return nil, errEncryptedKey
		}
		return publicHalf(block)
	}
	return nil, errors.New("no private key in the file")
}

func publicHalf(block *pem.Block) (crypto.PublicKey, error) {
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
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

// samePublicKey reports whether two public keys of any kind are equal.
func samePublicKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
