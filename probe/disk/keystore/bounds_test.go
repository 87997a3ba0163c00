package keystore

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	java "github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// algorithm returns an algorithm with its parameters.
func algorithm(t *testing.T, oid asn1.ObjectIdentifier, params any) pkix.AlgorithmIdentifier {
	t.Helper()
	return pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: marshal(t, params)}}
}

func octets(t *testing.T, data []byte) asn1.RawValue {
	t.Helper()
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: marshal(t, data)}
}

// TestKeyDerivationIsBounded makes files that ask for more rounds than a life has, at each
// place where a file can: behind a passphrase that fits as well.
func TestKeyDerivationIsBounded(t *testing.T) {
	endless := pbeParams{Salt: []byte("salt"), Iterations: math.MaxInt64}
	stretched := func() pkix.AlgorithmIdentifier {
		kdf := algorithm(t, oidPBKDF2, struct {
			Salt       []byte
			Iterations int
		}{endless.Salt, endless.Iterations})
		return algorithm(t, oidPBES2, struct{ KDF, Encryption pkix.AlgorithmIdentifier }{kdf, algorithm(t, oidAES256, make([]byte, 16))})
	}
	file := func(part contentInfo, mac macData) []byte {
		return marshal(t, struct {
			Version  int
			AuthSafe contentInfo
			MacData  macData `asn1:"optional"`
		}{3, contentInfo{oidData, octets(t, marshal(t, []contentInfo{part}))}, mac})
	}
	sealed := func(a pkix.AlgorithmIdentifier) contentInfo {
		data := encryptedData{Content: encryptedContentInfo{oidData, a, make([]byte, 16)}}
		return contentInfo{oidEncryptedData, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: marshal(t, data)}}
	}
	shrouded := marshal(t, encryptedKey{stretched(), make([]byte, 16)})
	key := safeBag{ID: oidShroudedBag, Value: asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: shrouded}}
	mac := macData{Mac: digestInfo{Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidSHA1}, Digest: make([]byte, 20)}, Salt: endless.Salt, Iterations: endless.Iterations}
	for _, row := range []struct {
		about string
		data  []byte
	}{
		{"for the MAC", file(contentInfo{oidData, octets(t, marshal(t, []safeBag{}))}, mac)},
		{"for an encrypted part, with PBKDF2", file(sealed(stretched()), macData{})},
		{"for an encrypted part, in the old way", file(sealed(algorithm(t, oidPBE3DES, endless)), macData{})},
		{"for a key", file(contentInfo{oidData, octets(t, marshal(t, []safeBag{key}))}, macData{})},
	} {
		entries, err := Read(row.data, nil)
		for _, e := range entries {
			for _, problem := range e.Problems {
				err = problem
			}
		}
		if err == nil || !strings.Contains(err.Error(), "rounds of key derivation") {
			t.Errorf("%s: %v", row.about, err)
		}
	}
}

var oidSHA1 = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}

// TestRoundsAddUp holds that many small requests do not make a large one.
func TestRoundsAddUp(t *testing.T) {
	b := newBudget()
	for range 8 {
		if err := b.spend(1 << 20); err != nil {
			t.Fatal(err)
		}
	}
	if b.spend(1) == nil || b.spend(0) == nil {
		t.Error("more rounds than the bound were granted")
	}
}

// FuzzRead reads whatever comes, with few rounds so that much does.
func FuzzRead(f *testing.F) {
	now := time.Now()
	ca := certtest.Issue(f, nil, certtest.CA("store ca", now), nil)
	leaf := certtest.Issue(f, ca, certtest.Server(now, "shop.example.test"), nil)
	for _, encoder := range []*pkcs12.Encoder{pkcs12.LegacyRC2, pkcs12.LegacyDES, pkcs12.Modern2026, pkcs12.Passwordless} {
		if encoder != pkcs12.Passwordless {
			encoder = encoder.WithIterations(2)
		}
		data, err := encoder.Encode(leaf.Key, leaf.Cert, []*x509.Certificate{ca.Cert}, "")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	store := java.New()
	trusted := java.TrustedCertificateEntry{CreationTime: now, Certificate: java.Certificate{Type: "X509", Content: ca.Cert.Raw}}
	held := java.PrivateKeyEntry{CreationTime: now, PrivateKey: make([]byte, 60), CertificateChain: []java.Certificate{trusted.Certificate}}
	if err := errors.Join(store.SetTrustedCertificateEntry("ca", trusted), store.SetPrivateKeyEntry("key", held, []byte("changeit"))); err != nil {
		f.Fatal(err)
	}
	var data bytes.Buffer
	if err := store.Store(&data, []byte("changeit")); err != nil {
		f.Fatal(err)
	}
	f.Add(data.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := read(data, nil, &budget{left: 100})
		if err == nil && len(entries) > 0 && Detect(data) == None {
			t.Error("what is no key store was read")
		}
		_, _ = openShrouded(data, newPassphrase("changeit"), &budget{left: 100})
	})
}
