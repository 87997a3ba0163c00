package disk

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk/keystore"
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

// certificateTypes are the PEM types of certificates. The last is OpenSSL's own, which
// holds what the certificate is trusted for behind it.
var certificateTypes = [...]string{"CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"}

// parseCertificates returns a file's certificates in their order. Blocks of other
// kinds are passed over. Each certificate that cannot be read has an error; the first
// error is the only one where nothing could be read.
func (b *builder) parseCertificates(data []byte) ([]*x509.Certificate, []error) {
	if !bytes.Contains(data, []byte(pemBegin)) {
		return parseDER(data)
	}
	blocks, errs := pemBlocks(data)
	var certs []*x509.Certificate
	number := 0
	for _, block := range blocks {
		if !slices.Contains(certificateTypes[:], block.Type) {
			continue
		}
		number++
		parse := parseCertificate
		if number > 1 {
			parse = b.reader.Keys.parseIssuer
		}
		cert, err := parse(block.Bytes)
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate %d: %w", number, err))
			continue
		}
		certs = append(certs, cert)
	}
	switch {
	case number > 0 || len(errs) > 0:
	case holdsKey(data):
		errs = append(errs, errors.New("no certificate in the file, but a private key"))
	default:
		errs = append(errs, errors.New("no certificate in the file"))
	}
	return certs, errs
}

// parseCertificate parses a certificate, and says of one that only Go refuses that others
// may take it.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err == nil {
		return cert, nil
	}
	var outer asn1.RawValue
	if rest, badOuter := asn1.Unmarshal(der, &outer); badOuter == nil && len(rest) > 0 {
		der = outer.FullBytes // behind it stands what OpenSSL trusts it for
		cert, err = x509.ParseCertificate(der)
	}
	if err != nil && isCertificate(der) {
		return nil, fmt.Errorf("has the form of a certificate, but Go refuses it, as do clients written in Go: %w", err)
	}
	return cert, err
}

// isCertificate reports whether the bytes have the outer form of a certificate (RFC 5280,
// section 4.1).
func isCertificate(der []byte) bool {
	var outer struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	rest, err := asn1.Unmarshal(der, &outer)
	return err == nil && len(rest) == 0 && outer.TBS.Tag == asn1.TagSequence
}

// parseDER reads a lone certificate in DER.
func parseDER(data []byte) ([]*x509.Certificate, []error) {
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, []error{errors.New("the file is empty")}
	case !isCertificate(data):
		return nil, []error{errors.New("neither PEM nor a certificate in DER")}
	}
	cert, err := parseCertificate(data)
	if err != nil {
		return nil, []error{err}
	}
	return []*x509.Certificate{cert}, nil
}

// firstLeaf returns the first certificate in a PEM file, of which it parses no more than the
// dates and the names. One whose dates cannot be read has neither.
func firstLeaf(data []byte) oldLeaf {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return oldLeaf{}
		}
		if slices.Contains(certificateTypes[:], block.Type) {
			sum := sha256.Sum256(block.Bytes)
			leaf := oldLeaf{version: certmedic.Fingerprint(hex.EncodeToString(sum[:]))}
			if from, to, rest, ok := validity(block.Bytes); ok {
				leaf.notBefore, leaf.notAfter, leaf.names = from.Unix(), to.Unix(), joined(alternatives(rest))
			}
			return leaf
		}
	}
}

// validity returns the dates of a certificate (RFC 5280, section 4.1): what stands behind
// its version, its serial number, its algorithm and its issuer; and what stands behind them.
func validity(der []byte) (notBefore, notAfter time.Time, rest cryptobyte.String, ok bool) {
	var tbs, dates cryptobyte.String
	whole := cryptobyte.String(der)
	ok = whole.ReadASN1(&whole, cbasn1.SEQUENCE) && whole.ReadASN1(&tbs, cbasn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(cbasn1.Tag(0).ContextSpecific().Constructed()) &&
		tbs.SkipASN1(cbasn1.INTEGER) && tbs.SkipASN1(cbasn1.SEQUENCE) && tbs.SkipASN1(cbasn1.SEQUENCE) &&
		tbs.ReadASN1(&dates, cbasn1.SEQUENCE) && readDate(&dates, &notBefore) && readDate(&dates, &notAfter)
	return notBefore, notAfter, tbs, ok
}

// alternatives returns the DNS names and IP addresses of a certificate's subject (RFC 5280,
// section 4.2.1.6), by what stands behind its dates: its subject, its key, two identifiers that
// nobody uses, and the extensions. One that cannot be read has no names.
func alternatives(tbs cryptobyte.String) []string {
	var key, extensions cryptobyte.String
	found := tbs.SkipASN1(cbasn1.SEQUENCE) && tbs.ReadASN1(&key, cbasn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(cbasn1.Tag(1).ContextSpecific()) && tbs.SkipOptionalASN1(cbasn1.Tag(2).ContextSpecific()) &&
		tbs.ReadASN1(&extensions, cbasn1.Tag(3).ContextSpecific().Constructed()) && extensions.ReadASN1(&extensions, cbasn1.SEQUENCE)
	for found && !extensions.Empty() {
		var extension, value cryptobyte.String
		var id asn1.ObjectIdentifier
		if !extensions.ReadASN1(&extension, cbasn1.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&id) ||
			!extension.SkipOptionalASN1(cbasn1.BOOLEAN) || !extension.ReadASN1(&value, cbasn1.OCTET_STRING) {
			return nil
		}
		if id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			return generalNames(value)
		}
	}
	return nil
}

// generalNames returns the DNS names and IP addresses among general names.
func generalNames(value cryptobyte.String) []string {
	var names []string
	if !value.ReadASN1(&value, cbasn1.SEQUENCE) {
		return nil
	}
	for !value.Empty() {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !value.ReadAnyASN1(&name, &tag) {
			return nil
		}
		switch tag {
		case cbasn1.Tag(2).ContextSpecific():
			names = append(names, string(name))
		case cbasn1.Tag(7).ContextSpecific():
			if ip, ok := netip.AddrFromSlice(name); ok {
				names = append(names, ip.String())
			}
		}
	}
	return names
}

func readDate(from *cryptobyte.String, date *time.Time) bool {
	if from.PeekASN1Tag(cbasn1.UTCTime) {
		return from.ReadASN1UTCTime(date)
	}
	return from.ReadASN1GeneralizedTime(date)
}

var errEncryptedKey = errors.New("the private key is encrypted")

// parseKey returns the public half of the first private key in a PEM file, opened with
// the first passphrase that fits where it is encrypted; or of the one private key in a key
// store. Its errors never hold any of the key.
func parseKey(data []byte, passphrases [][]byte) (crypto.PublicKey, error) {
	if keystore.Detect(data) != keystore.None {
		return storedKey(data, passphrases)
	}
	blocks, _ := pemBlocks(data)
	for _, block := range blocks {
		encrypted := block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
		switch {
		case !strings.HasSuffix(block.Type, "PRIVATE KEY"):
		case encrypted && len(passphrases) == 0:
			return nil, errEncryptedKey
		case block.Type == "ENCRYPTED PRIVATE KEY":
			return keystore.OpenPKCS8(block.Bytes, passphrases)
		case encrypted:
			return openPEM(block, passphrases)
		default:
			return publicHalf(block)
		}
	}
	return nil, errors.New("no private key in the file")
}

// holdsKey reports whether a PEM file has a private key in it, encrypted or not.
func holdsKey(data []byte) bool {
	return bytes.Contains(data, []byte("PRIVATE KEY-----"))
}

// openPEM opens a key that is encrypted in OpenSSL's old way, by headers of the block.
func openPEM(block *pem.Block, passphrases [][]byte) (crypto.PublicKey, error) {
	for _, text := range passphrases {
		//lint:ignore SA1019 the scheme is weak, and keys encrypted with it are still about
		der, err := x509.DecryptPEMBlock(block, text)
		if err != nil {
			continue
		}
		public, err := publicHalf(&pem.Block{Type: block.Type, Bytes: der})
		clear(der)
		if err == nil { // a wrong passphrase may decrypt to nonsense
			return public, nil
		}
	}
	return nil, keystore.ErrPassphrase
}

// storedKey returns the one private key of a key store.
func storedKey(data []byte, passphrases [][]byte) (crypto.PublicKey, error) {
	entries, err := keystore.Read(data, passphrases)
	if err != nil {
		return nil, err
	}
	entries = slices.DeleteFunc(entries, func(e keystore.Entry) bool { return !e.HasKey })
	switch {
	case len(entries) == 0:
		return nil, errors.New("no private key in the key store")
	case len(entries) > 1:
		return nil, fmt.Errorf("%d private keys in the key store (%s): which one is meant cannot be told", len(entries), aliases(entries))
	case entries[0].Key == nil:
		return nil, errors.Join(entries[0].Problems...)
	}
	return entries[0].Key, nil
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
