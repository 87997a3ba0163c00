package keystore

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"unicode/utf16"
)

// maxEntries bounds the entries of a key store; real trust stores have a few hundred.
const maxEntries = 5000

// The structures of RFC 7292, section 4.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		MacData  macData `asn1:"optional"`
	}
	contentInfo struct {
		ContentType asn1.ObjectIdentifier
		Content     asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	macData struct {
		Mac        digestInfo
		Salt       []byte
		Iterations int `asn1:"optional,default:1"`
	}
	digestInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	encryptedData struct {
		Version int
		Content encryptedContentInfo
	}
	encryptedContentInfo struct {
		ContentType asn1.ObjectIdentifier
		Algorithm   pkix.AlgorithmIdentifier
		Content     []byte `asn1:"tag:0,optional"`
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue `asn1:"tag:0,explicit"`
		Attributes []attribute   `asn1:"set,optional"`
	}
	attribute struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue `asn1:"set"`
	}
	certBag struct {
		ID   asn1.ObjectIdentifier
		Data []byte `asn1:"tag:0,explicit"`
	}
)

var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncryptedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidKeyBag        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedBag   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidCertBag       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidX509          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidFriendlyName  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}
	oidLocalKeyID    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 21}
)

// unmarshal decodes DER that nothing may follow.
func unmarshal(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err == nil && len(rest) > 0 {
		err = errors.New("bytes follow where the structure has ended")
	}
	return err
}

func readPKCS12(data []byte, passphrases [][]byte, b *budget) ([]Entry, error) {
	var file pfx
	var safe []byte
	if err := unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("the PKCS#12 file is broken: %w", err)
	}
	if !file.AuthSafe.ContentType.Equal(oidData) {
		return nil, errors.New("a PKCS#12 file that is signed with a public key is not supported")
	}
	if err := unmarshal(file.AuthSafe.Content.Bytes, &safe); err != nil {
		return nil, fmt.Errorf("the PKCS#12 file is broken: %w", err)
	}
	for _, text := range passphrases {
		for _, pass := range variants(text) {
			contents, err := openPKCS12(file.MacData, safe, pass, b)
			if !errors.Is(err, ErrPassphrase) {
				return contents.entries(), err
			}
		}
	}
	return nil, ErrPassphrase
}

// variants returns the two ways in which programs write the empty passphrase: as a
// terminator alone, and as nothing at all.
func variants(text []byte) []passphrase {
	pass := newPassphrase(string(text))
	if len(text) > 0 {
		return []passphrase{pass}
	}
	return []passphrase{pass, {}}
}

// contents are the bags of a PKCS#12 file, decrypted.
type contents struct {
	keys  []keyEntry
	certs []certEntry
}

type keyEntry struct {
	alias   string
	localID []byte // ties the key to its certificate
	public  crypto.PublicKey
	problem error
}

type certEntry struct {
	alias   string
	localID []byte
	cert    *x509.Certificate // nil where it could not be parsed
	problem error
	used    bool // in the chain of a key
}

func openPKCS12(mac macData, safe []byte, pass passphrase, b *budget) (contents, error) {
	var c contents
	if len(mac.Mac.Algorithm.Algorithm) > 0 {
		want, err := macOf(mac, safe, pass, b)
		if err != nil {
			return c, err
		}
		if !hmac.Equal(want, mac.Mac.Digest) {
			return c, ErrPassphrase
		}
	}
	var parts []contentInfo
	if err := unmarshal(safe, &parts); err != nil {
		return c, fmt.Errorf("the PKCS#12 file is broken: %w", err)
	}
	for _, part := range parts {
		if err := c.addPart(part, pass, b); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *contents) addPart(part contentInfo, pass passphrase, b *budget) error {
	var der []byte
	var sealed encryptedData
	var err error
	switch {
	case part.ContentType.Equal(oidData):
		err = unmarshal(part.Content.Bytes, &der)
	case part.ContentType.Equal(oidEncryptedData):
		if err = unmarshal(part.Content.Bytes, &sealed); err == nil {
			der, err = decrypt(sealed.Content.Algorithm, sealed.Content.Content, pass, b)
		}
	default:
		err = errors.New("a part that is encrypted with a public key is not supported")
	}
	if err != nil {
		return err
	}
	var bags []safeBag
	if err := unmarshal(der, &bags); err != nil {
		return fmt.Errorf("the PKCS#12 file is broken: %w", err)
	}
	for _, bag := range bags {
		if len(c.keys)+len(c.certs) >= maxEntries {
			return fmt.Errorf("it has more than %d entries", maxEntries)
		}
		c.addBag(bag, pass, b)
	}
	return nil
}

// addBag adds a key or a certificate. Bags of other kinds, such as revocation lists, are
// passed over.
func (c *contents) addBag(bag safeBag, pass passphrase, b *budget) {
	alias, localID := names(bag.Attributes)
	switch {
	case bag.ID.Equal(oidKeyBag):
		public, err := publicHalf(bag.Value.Bytes)
		c.keys = append(c.keys, keyEntry{alias, localID, public, err})
	case bag.ID.Equal(oidShroudedBag):
		public, err := openShrouded(bag.Value.Bytes, pass, b)
		c.keys = append(c.keys, keyEntry{alias, localID, public, err})
	case bag.ID.Equal(oidCertBag):
		var held certBag
		entry := certEntry{alias: alias, localID: localID}
		if err := unmarshal(bag.Value.Bytes, &held); err != nil || !held.ID.Equal(oidX509) {
			entry.problem = errors.New("the certificate is not X.509")
		} else {
			entry.cert, entry.problem = x509.ParseCertificate(held.Data)
		}
		c.certs = append(c.certs, entry)
	}
}

// names returns a bag's friendly name and its local key ID.
func names(attributes []attribute) (alias string, localID []byte) {
	for _, a := range attributes {
		var value asn1.RawValue
		if _, err := asn1.Unmarshal(a.Value.Bytes, &value); err != nil {
			continue
		}
		switch {
		case a.ID.Equal(oidFriendlyName):
			alias = fromBMP(value.Bytes)
		case a.ID.Equal(oidLocalKeyID):
			localID = value.Bytes
		}
	}
	return alias, localID
}

func fromBMP(text []byte) string {
	units := make([]uint16, 0, len(text)/2)
	for ; len(text) >= 2; text = text[2:] {
		units = append(units, uint16(text[0])<<8|uint16(text[1]))
	}
	return string(utf16.Decode(units))
}

// entries joins each key with its chain. Certificates that are in no chain are entries of
// their own.
func (c *contents) entries() []Entry {
	var out []Entry
	for _, key := range c.keys {
		entry := Entry{Alias: key.alias, HasKey: true, Key: key.public}
		if key.problem != nil {
			entry.Problems = append(entry.Problems, fmt.Errorf("the private key: %w", key.problem))
		}
		if leaf := c.leafOf(key); leaf != nil {
			entry.Certs = c.chainFrom(leaf)
		}
		out = append(out, entry)
	}
	for _, held := range c.certs {
		switch {
		case held.used:
		case held.cert == nil:
			out = append(out, Entry{Alias: held.alias, Problems: []error{held.problem}})
		default:
			out = append(out, Entry{Alias: held.alias, Certs: []*x509.Certificate{held.cert}})
		}
	}
	return out
}

// leafOf finds a key's certificate: the one that the key fits, else the one that the file
// says belongs to it.
func (c *contents) leafOf(key keyEntry) *certEntry {
	var told *certEntry
	for i := range c.certs {
		held := &c.certs[i]
		switch {
		case held.cert == nil:
		case sameKey(key.public, held.cert.PublicKey):
			return held
		case len(key.localID) > 0 && bytes.Equal(key.localID, held.localID):
			told = held
		}
	}
	return told
}

// chainFrom follows the issuers' names from a leaf. A certificate is taken once at most.
func (c *contents) chainFrom(leaf *certEntry) []*x509.Certificate {
	chain := []*x509.Certificate{leaf.cert}
	seen := map[*certEntry]bool{leaf: true}
	leaf.used = true
	for {
		next := c.issuerOf(chain[len(chain)-1], seen)
		if next == nil {
			return chain
		}
		seen[next], next.used = true, true
		chain = append(chain, next.cert)
	}
}

func (c *contents) issuerOf(cert *x509.Certificate, seen map[*certEntry]bool) *certEntry {
	for i := range c.certs {
		held := &c.certs[i]
		if held.cert != nil && !seen[held] && bytes.Equal(held.cert.RawSubject, cert.RawIssuer) {
			return held
		}
	}
	return nil
}
