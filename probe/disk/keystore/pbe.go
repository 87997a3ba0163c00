package keystore

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"unicode/utf16"
)

// maxIterations bounds the rounds of key derivation that one file may ask for, over all
// its parts and all passphrases. They take a few seconds; programs ask for 2,000 to 600,000
// a part.
const maxIterations = 8 << 20

// budget counts down the rounds that are left.
type budget struct{ left int }

func newBudget() *budget { return &budget{left: maxIterations} }

// spend refuses work that would go beyond the bound.
func (b *budget) spend(iterations int) error {
	if iterations < 1 || iterations > b.left {
		return fmt.Errorf("it asks for %d rounds of key derivation, more than is done for a file", iterations)
	}
	b.left -= iterations
	return nil
}

// passphrase is a passphrase in the two encodings that key derivations want.
type passphrase struct {
	text string // UTF-8 (RFC 8018, section 3)
	bmp  []byte // UTF-16, big endian, with a terminator (RFC 7292, appendix B.1)
}

func newPassphrase(text string) passphrase {
	units := append(utf16.Encode([]rune(text)), 0)
	bmp := make([]byte, 0, 2*len(units))
	for _, unit := range units {
		bmp = append(bmp, byte(unit>>8), byte(unit))
	}
	return passphrase{text: text, bmp: bmp}
}

var (
	oidPBE3DES  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 3}
	oidPBERC128 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 5}
	oidPBERC40  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 6}
	oidPBES2    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidPBMAC1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}
	oidAES128   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES192   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	oidAES256   = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	oid3DES     = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}
)

// digestOf returns the hash of an algorithm's name, whether it is that of the digest or of
// the HMAC with it; nil for one that is not known.
func digestOf(oid asn1.ObjectIdentifier) func() hash.Hash {
	switch oid.String() {
	case "1.3.14.3.2.26", "1.2.840.113549.2.7":
		return sha1.New
	case "2.16.840.1.101.3.4.2.4", "1.2.840.113549.2.8":
		return sha256.New224
	case "2.16.840.1.101.3.4.2.1", "1.2.840.113549.2.9":
		return sha256.New
	case "2.16.840.1.101.3.4.2.2", "1.2.840.113549.2.10":
		return sha512.New384
	case "2.16.840.1.101.3.4.2.3", "1.2.840.113549.2.11":
		return sha512.New
	}
	return nil
}

// encryptedKey is EncryptedPrivateKeyInfo of RFC 5958.
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

func openShrouded(der []byte, pass passphrase, b *budget) (crypto.PublicKey, error) {
	var sealed encryptedKey
	if err := unmarshal(der, &sealed); err != nil {
		return nil, errors.New("the encrypted private key is broken")
	}
	plain, err := decrypt(sealed.Algorithm, sealed.Data, pass, b)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return publicHalf(plain)
}

// decrypt undoes password-based encryption: PBES2 (RFC 8018, section 6.2) and the older
// schemes of PKCS#12 (RFC 7292, appendix C). Padding that is wrong means that the
// passphrase is.
func decrypt(algorithm pkix.AlgorithmIdentifier, data []byte, pass passphrase, b *budget) ([]byte, error) {
	block, iv, err := cipherOf(algorithm, pass, b)
	if err != nil {
		return nil, err
	}
	size := block.BlockSize()
	if len(iv) != size || len(data) == 0 || len(data)%size != 0 {
		return nil, errors.New("the encrypted part has a length that cannot be")
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	padding := int(plain[len(plain)-1])
	if padding < 1 || padding > size {
		return nil, ErrPassphrase
	}
	end := len(plain) - padding
	if !bytes.Equal(plain[end:], bytes.Repeat([]byte{byte(padding)}, padding)) {
		return nil, ErrPassphrase
	}
	return plain[:end], nil
}

type pbeParams struct {
	Salt       []byte
	Iterations int
}

func cipherOf(algorithm pkix.AlgorithmIdentifier, pass passphrase, b *budget) (cipher.Block, []byte, error) {
	if algorithm.Algorithm.Equal(oidPBES2) {
		return cipherOfPBES2(algorithm.Parameters.FullBytes, pass, b)
	}
	keyLen, create := 0, newRC2
	switch {
	case algorithm.Algorithm.Equal(oidPBE3DES):
		keyLen, create = 24, des.NewTripleDESCipher
	case algorithm.Algorithm.Equal(oidPBERC128):
		keyLen = 16
	case algorithm.Algorithm.Equal(oidPBERC40):
		keyLen = 5
	default:
		return nil, nil, fmt.Errorf("the encryption %s is not supported", algorithm.Algorithm)
	}
	var params pbeParams
	if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil {
		return nil, nil, fmt.Errorf("the encryption's parameters are broken: %w", err)
	}
	if err := b.spend(params.Iterations); err != nil {
		return nil, nil, err
	}
	derive := func(purpose byte, size int) []byte {
		return deriveKey(sha1.New, purpose, params, pass, size)
	}
	block, err := create(derive(forKey, keyLen))
	return block, derive(forIV, 8), err
}

type (
	pbes2Params struct {
		KDF        pkix.AlgorithmIdentifier
		Encryption pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

func cipherOfPBES2(der []byte, pass passphrase, b *budget) (cipher.Block, []byte, error) {
	var params pbes2Params
	if err := unmarshal(der, &params); err != nil {
		return nil, nil, fmt.Errorf("the encryption's parameters are broken: %w", err)
	}
	keyLen, create := 0, aes.NewCipher
	switch scheme := params.Encryption.Algorithm; {
	case scheme.Equal(oidAES128):
		keyLen = 16
	case scheme.Equal(oidAES192):
		keyLen = 24
	case scheme.Equal(oidAES256):
		keyLen = 32
	case scheme.Equal(oid3DES):
		keyLen, create = 24, des.NewTripleDESCipher
	default:
		return nil, nil, fmt.Errorf("the encryption %s is not supported", scheme)
	}
	key, err := deriveStretched(params.KDF, pass, keyLen, b)
	if err != nil {
		return nil, nil, err
	}
	block, err := create(key)
	return block, params.Encryption.Parameters.Bytes, err
}

// deriveStretched is PBKDF2 (RFC 8018, section 5.2). A size of 0 leaves it to the
// parameters, within the bounds that RFC 9579 gives for a MAC's key.
func deriveStretched(kdf pkix.AlgorithmIdentifier, pass passphrase, size int, b *budget) ([]byte, error) {
	var params pbkdf2Params
	if !kdf.Algorithm.Equal(oidPBKDF2) {
		return nil, fmt.Errorf("the key derivation %s is not supported", kdf.Algorithm)
	}
	if err := unmarshal(kdf.Parameters.FullBytes, &params); err != nil {
		return nil, fmt.Errorf("the key derivation's parameters are broken: %w", err)
	}
	digest := sha1.New // the default of the standard
	if len(params.PRF.Algorithm) > 0 {
		digest = digestOf(params.PRF.Algorithm)
	}
	if digest == nil {
		return nil, fmt.Errorf("the key derivation with %s is not supported", params.PRF.Algorithm)
	}
	if size == 0 {
		size = params.KeyLength
	}
	if size < 16 || size > 64 {
		return nil, fmt.Errorf("a derived key of %d bytes is not supported", size)
	}
	if err := b.spend(params.Iterations); err != nil {
		return nil, err
	}
	return pbkdf2.Key(digest, pass.text, params.Salt, params.Iterations, size)
}

// macOf computes the code that guards a PKCS#12 file (RFC 7292, appendix A, and RFC 9579
// for PBMAC1).
func macOf(mac macData, safe []byte, pass passphrase, b *budget) ([]byte, error) {
	algorithm := mac.Mac.Algorithm
	if algorithm.Algorithm.Equal(oidPBMAC1) {
		var params pbes2Params // of the same form
		if err := unmarshal(algorithm.Parameters.FullBytes, &params); err != nil {
			return nil, fmt.Errorf("the MAC's parameters are broken: %w", err)
		}
		key, err := deriveStretched(params.KDF, pass, 0, b)
		if err != nil {
			return nil, err
		}
		return code(params.Encryption.Algorithm, key, safe)
	}
	digest := digestOf(algorithm.Algorithm)
	if digest == nil {
		return nil, fmt.Errorf("the MAC with %s is not supported", algorithm.Algorithm)
	}
	if err := b.spend(mac.Iterations); err != nil {
		return nil, err
	}
	key := deriveKey(digest, forMAC, pbeParams{mac.Salt, mac.Iterations}, pass, digest().Size())
	return code(algorithm.Algorithm, key, safe)
}

// code returns the HMAC of a message.
func code(algorithm asn1.ObjectIdentifier, key, message []byte) ([]byte, error) {
	digest := digestOf(algorithm)
	if digest == nil {
		return nil, fmt.Errorf("the MAC with %s is not supported", algorithm)
	}
	h := hmac.New(digest, key)
	h.Write(message)
	return h.Sum(nil), nil
}

// What a derived key is for (RFC 7292, appendix B.3).
const (
	forKey byte = 1
	forIV  byte = 2
	forMAC byte = 3
)

// deriveKey is the key derivation of RFC 7292, appendix B.2, in its words: D, I and B.
func deriveKey(digest func() hash.Hash, purpose byte, params pbeParams, pass passphrase, size int) []byte {
	h := digest()
	v := h.BlockSize()
	d := bytes.Repeat([]byte{purpose}, v)
	i := append(fill(params.Salt, v), fill(pass.bmp, v)...)
	var out []byte
	for {
		h.Reset()
		h.Write(d)
		h.Write(i)
		a := h.Sum(nil)
		for range params.Iterations - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		if out = append(out, a...); len(out) >= size {
			return out[:size]
		}
		addToBlocks(i, fill(a, v)[:v])
	}
}

// fill repeats the bytes up to a multiple of the block's size; nothing stays nothing.
func fill(data []byte, block int) []byte {
	size := (len(data) + block - 1) / block * block
	out := make([]byte, 0, size+len(data))
	for len(out) < size {
		out = append(out, data...)
	}
	return out[:size:size]
}

// addToBlocks adds b+1 to each block of data, modulo the block's size.
func addToBlocks(data, b []byte) {
	add := new(big.Int).SetBytes(b)
	add.Add(add, big.NewInt(1))
	modulus := new(big.Int).Lsh(big.NewInt(1), uint(8*len(b)))
	for ; len(data) > 0; data = data[len(b):] {
		sum := new(big.Int).SetBytes(data[:len(b)])
		sum.Add(sum, add).Mod(sum, modulus).FillBytes(data[:len(b)])
	}
}
