package keystore

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"hash"
	"unicode/utf16"
)

// The structures of RFC 7292, section 4, as far as they are not encrypted.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		MacData  macData
	}
	contentInfo struct {
		ContentType asn1.ObjectIdentifier
		Content     asn1.RawValue `asn1:"tag:0,explicit"`
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
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue `asn1:"tag:0,explicit"`
		Attributes []attribute   `asn1:"set,optional"`
	}
	attribute struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue `asn1:"set"`
	}
)

var errNotOurs = errors.New("it has not the form that was expected")

// named gives the key of a PKCS#12 file a friendly name (RFC 2985, section 5.5.1), which Java
// takes for its alias: the library that writes the file cannot. The bag of the key lies beside
// what is encrypted, and the whole is signed anew.
func named(data []byte, alias, passphrase string) ([]byte, error) {
	var file pfx
	var safe []byte
	var parts []contentInfo
	if err := decode(data, &file); err != nil {
		return nil, err
	}
	if err := decode(file.AuthSafe.Content.Bytes, &safe); err != nil {
		return nil, err
	}
	if err := decode(safe, &parts); err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, errNotOurs
	}
	last := &parts[len(parts)-1]
	bags, err := withName(last.Content.Bytes, alias)
	if err != nil {
		return nil, err
	}
	last.Content = explicit(bags)
	if safe, err = asn1.Marshal(parts); err != nil {
		return nil, err
	}
	octets, err := asn1.Marshal(safe)
	if err != nil {
		return nil, err
	}
	file.AuthSafe.Content = explicit(octets)
	if err := file.MacData.sign(safe, passphrase); err != nil {
		return nil, err
	}
	return asn1.Marshal(file)
}

// withName adds the name to the only bag of an octet string, which is the key's.
func withName(octets []byte, alias string) ([]byte, error) {
	var inner []byte
	var bags []safeBag
	if err := decode(octets, &inner); err != nil {
		return nil, err
	}
	if err := decode(inner, &bags); err != nil {
		return nil, err
	}
	if len(bags) != 1 {
		return nil, errNotOurs
	}
	value, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagBMPString, Bytes: wide(alias)})
	if err != nil {
		return nil, err
	}
	bags[0].Value = explicit(bags[0].Value.Bytes)
	bags[0].Attributes = append(bags[0].Attributes, attribute{
		ID:    asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20},
		Value: asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: value},
	})
	if inner, err = asn1.Marshal(bags); err != nil {
		return nil, err
	}
	return asn1.Marshal(inner)
}

func explicit(content []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: content}
}

func decode(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err == nil && len(rest) > 0 {
		err = errNotOurs
	}
	return err
}

// sign computes the digest of the content (RFC 7292, section 4 and appendix B).
func (m *macData) sign(safe []byte, passphrase string) error {
	algorithm, block := sha256.New, sha256.BlockSize
	if len(m.Mac.Digest) == sha1.Size {
		algorithm, block = sha1.New, sha1.BlockSize
	}
	if size := algorithm().Size(); len(m.Mac.Digest) != size {
		return errNotOurs
	}
	const forMAC = 3
	mac := hmac.New(algorithm, derive(algorithm, block, forMAC, append(wide(passphrase), 0, 0), *m))
	_, _ = mac.Write(safe) // never fails
	m.Mac.Digest = mac.Sum(nil)
	return nil
}

// derive makes a key from a passphrase, of the length of one digest (RFC 7292, appendix B.2,
// of which longer keys need more).
func derive(algorithm func() hash.Hash, block int, purpose byte, passphrase []byte, m macData) []byte {
	input := append(repeated([]byte{purpose}, block), append(filled(m.Salt, block), filled(passphrase, block)...)...)
	for range max(1, m.Iterations) {
		h := algorithm()
		_, _ = h.Write(input) // never fails
		input = h.Sum(nil)
	}
	return input
}

// filled repeats data until whole blocks are full.
func filled(data []byte, block int) []byte {
	return repeated(data, (len(data)+block-1)/block*block)
}

func repeated(data []byte, size int) []byte {
	out := make([]byte, 0, size+len(data))
	for len(data) > 0 && len(out) < size {
		out = append(out, data...)
	}
	return out[:min(size, len(out))]
}

// wide encodes text as a BMPString does: two bytes a character, the high one first.
func wide(text string) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = append(out, byte(unit>>8), byte(unit))
	}
	return out
}
