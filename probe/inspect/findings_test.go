package inspect

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// patched is the certificate with bytes of its encoding replaced. Its signature does not
// verify any more.
func patched(t *testing.T, p *certtest.Pair, old, replacement []byte) *certtest.Pair {
	t.Helper()
	der := bytes.ReplaceAll(p.Cert.Raw, old, replacement)
	if bytes.Equal(der, p.Cert.Raw) {
		t.Fatal("nothing was replaced")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &certtest.Pair{Cert: cert, Key: p.Key}
}

// the object identifiers of signatures, in DER.
var (
	sha256WithRSA   = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11}
	md5WithRSA      = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4}
	ecdsaWithSHA256 = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2}
	ecdsaWithOther  = []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 9}
)

// version1 is the certificate without extensions, as they were before X.509 version 3,
// signed by the issuer's P-256 key.
func version1(t *testing.T, p, issuer *certtest.Pair) *certtest.Pair {
	t.Helper()
	input := cryptobyte.String(p.Cert.RawTBSCertificate)
	var tbs cryptobyte.String
	if !input.ReadASN1(&tbs, cryptobyteasn1.SEQUENCE) || !tbs.SkipASN1(cryptobyteasn1.Tag(0).ContextSpecific().Constructed()) {
		t.Fatal("no certificate of version 3")
	}
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for !tbs.Empty() && !tbs.PeekASN1Tag(cryptobyteasn1.Tag(3).ContextSpecific().Constructed()) {
			var element cryptobyte.String
			var tag cryptobyteasn1.Tag
			if !tbs.ReadAnyASN1Element(&element, &tag) {
				t.Fatal("the certificate cannot be read")
			}
			b.AddBytes(element)
		}
	})
	signed := b.BytesOrPanic()
	digest := sha256.Sum256(signed)
	signature, err := issuer.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var whole cryptobyte.Builder
	whole.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(signed)
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2})
		})
		b.AddASN1BitString(signature)
	})
	cert, err := x509.ParseCertificate(whole.BytesOrPanic())
	if err != nil {
		t.Fatal(err)
	}
	return &certtest.Pair{Cert: cert, Key: p.Key}
}

func named(name string) func(*Options) { return func(o *Options) { o.ServerName = name } }

func TestWhatCountsAsTheName(t *testing.T) {
	w := newWorld(t)
	of := func(names ...string) []*x509.Certificate {
		return certs(certtest.Issue(t, w.inter, certtest.Server(now, names...), nil), w.inter)
	}
	wildcard := of("*.example.com", "example.com")
	idn := of("xn--mnchen-3ya.example")
	zone := of("fe80::1")
	swapped := append(of("other.example.com"), of("shop.example.com")[0])
	mismatch := codesList{certmedic.NameMismatch}
	judge(t, w, []chainCase{
		{"a wildcard is good for one label", wildcard, named("www.example.com"), codesList{}, ""},
		{"the case does not matter", wildcard, named("WWW.Example.COM"), codesList{}, ""},
		{"a trailing dot does not matter", wildcard, named("www.example.com."), codesList{}, ""},
		{"an underscore is fine", wildcard, named("_sip.example.com"), codesList{}, ""},
		{"a wildcard is not good for two labels", wildcard, named("a.b.example.com"), mismatch, `"*.example.com", "example.com"`},
		{"a wildcard in the middle of a label is none", of("w*.example.com"), named("www.example.com"), mismatch, ""},
		{"a wildcard does not stand for an IP address", of("*.0.2.1"), named("192.0.2.1"), mismatch, ""},
		{"an internationalised name is asked for in ASCII", idn, named("münchen.example"), codesList{}, ""},
		{"its ASCII form is the same name", idn, named("xn--mnchen-3ya.example"), codesList{}, ""},
		{"another internationalised name is not", idn, named("köln.example"), mismatch, `"köln.example"`},
		{"the zone of a link-local address is no part of it", zone, named("fe80::1%eth0"), codesList{}, ""},
		{"an IPv6 address has many forms", zone, named("fe80:0:0:0:0:0:0:1"), codesList{}, ""},
		{"a name in the common name only is none", certs(w.leaf(t, func(c *x509.Certificate) { c.DNSNames = nil }), w.inter), nil, mismatch, `common name "shop.example.com" is ignored`},
		{
			"an empty subject does not matter",
			certs(w.leaf(t, func(c *x509.Certificate) { c.Subject = pkix.Name{} }), w.inter), nil,
			codesList{},
			"",
		},
		{
			"the leaf is not the first", swapped, nil, codesList{certmedic.NameMismatch, certmedic.ChainExtra}, "certificate 3 of the chain is, but the first one counts",
		},
	})
}

func TestWhyThereIsNoPath(t *testing.T) {
	w := newWorld(t)
	good := w.leaf(t, nil)
	plain := w.again(t, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, 0 })
	noSigning := w.again(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	critical := w.again(t, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
	})
	ending := w.again(t, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	below := certtest.Issue(t, ending, certtest.CA("Below", now), nil)
	tooLong := certtest.Issue(t, below, certtest.Server(now, "shop.example.com"), nil)
	sha1 := w.again(t, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
	odd := w.leaf(t, func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 5}, Critical: true, Value: []byte{5, 0}}}
	})
	direct := certtest.Server(now, "shop.example.com")
	direct.SignatureAlgorithm = x509.ECDSAWithSHA1
	rollover := certtest.Issue(t, nil, certtest.CA("Root", now), nil)
	newKey := certtest.Issue(t, w.root, certtest.CA("Root", now), rollover.Key)
	mesh := w.loop(t)
	untrusted := codesList{certmedic.Untrusted}
	judge(t, w, []chainCase{
		{"an issuer that is no authority", certs(good, plain), nil, untrusted, `"Inter" signed the leaf, but is not an authority`},
		{"an issuer that may not sign", certs(good, noSigning), nil, untrusted, "may not sign certificates (key usage)"},
		{"an issuer of version 1", certs(good, version1(t, w.inter, w.root)), nil, untrusted, "is not an authority"},
		{"an unknown critical extension of the issuer", certs(good, critical), nil, untrusted, `"Inter" has a critical extension (1.2.3.4) that is not understood`},
		{"an unknown critical extension of the leaf", certs(odd, w.inter), nil, untrusted, "the leaf has a critical extension (1.2.3.5)"},
		{"too many intermediates", certs(tooLong, below, ending), nil, untrusted, `"Inter" signed the intermediate "Below", but allows 0 intermediates below it`},
		{
			"a signature with SHA-1 above the leaf", certs(good, sha1), nil,
			codesList{certmedic.Untrusted, certmedic.WeakSignature},
			`the intermediate "Inter" is signed with ECDSA-SHA1, which clients refuse`,
		},
		{
			"a leaf that the root signed with SHA-1 needs no other chain", certs(certtest.Issue(t, w.root, direct, nil)), nil,
			codesList{certmedic.Untrusted, certmedic.WeakSignature},
			"the leaf is signed with ECDSA-SHA1",
		},
		{"a signature of an unknown kind", certs(patched(t, good, ecdsaWithSHA256, ecdsaWithOther), w.inter), nil, untrusted, "the leaf is signed with an unknown algorithm"},
		{
			"a better certificate of the issuer makes the others extra", certs(good, plain, w.inter), nil, codesList{}, "",
		},
		{"a self-issued certificate for a new key of the root", certs(certtest.Issue(t, rollover, certtest.Server(now, "shop.example.com"), nil), newKey), nil, codesList{}, ""},
		{"authorities that sign each other lead nowhere", mesh, nil, untrusted, "round in a circle"},
		{"a leaf that is an authority is fine", certs(w.leaf(t, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }), w.inter), nil, codesList{}, ""},
		{"a leaf of version 1 has no names", certs(version1(t, good, w.inter), w.inter), nil, codesList{certmedic.NameMismatch}, "no subject alternative names"},
	})
}

// loop is a leaf below two authorities that signed each other.
func (w world) loop(t *testing.T) []*x509.Certificate {
	a := certtest.Issue(t, nil, certtest.CA("A", now), nil)
	b := certtest.Issue(t, a, certtest.CA("B", now), nil)
	back := certtest.Issue(t, b, certtest.CA("A", now), a.Key)
	return certs(certtest.Issue(t, b, certtest.Server(now, "shop.example.com"), nil), b, back)
}

// TestStrangersOfTheSameName holds what crypto/x509 says of a signature that does not
// verify, by which a stranger is told from an issuer that is known and refused.
func TestStrangersOfTheSameName(t *testing.T) {
	w := newWorld(t)
	_, edward, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for about, key := range map[string]crypto.Signer{"RSA": rsaKey(t, 2048), "ECDSA": nil, "Ed25519": edward} {
		known := certtest.Issue(t, nil, certtest.CA("Known", now), key)
		var again crypto.Signer
		switch key.(type) {
		case ed25519.PrivateKey:
			_, again, _ = ed25519.GenerateKey(rand.Reader)
		case nil:
		default:
			again = rsaKey(t, 2048)
		}
		stranger := certtest.Issue(t, nil, certtest.CA("Known", now), again)
		leaf := certtest.Issue(t, stranger, certtest.Server(now, "shop.example.com"), nil)
		o := w.options()
		o.Roots[0].Pool = certtest.Pool(known)
		if got := Chain(certs(leaf), o).Findings; !certmedic.HasFinding(got, certmedic.IncompleteChain) {
			t.Errorf("%s: findings are %v, want the issuer to be missing", about, got)
		}
	}
}

func TestWhatIsWeak(t *testing.T) {
	w := newWorld(t)
	old := certtest.Issue(t, nil, certtest.CA("Old", now), rsaKey(t, 2048))
	bySHA1 := certtest.CA("SHA-1", now)
	bySHA1.SignatureAlgorithm = x509.ECDSAWithSHA1
	sha1Root := certtest.Issue(t, nil, bySHA1, nil)
	small := certtest.Issue(t, w.root, certtest.CA("Small", now), rsaKey(t, 1024))
	pss := certtest.Server(now, "shop.example.com")
	pss.SignatureAlgorithm = x509.SHA256WithRSAPSS
	_, edward, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	oldTwin := w.again(t, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 })
	trusting := func(p *certtest.Pair) func(*Options) {
		return func(o *Options) { o.Roots[0].Pool = certtest.Pool(p) }
	}
	judge(t, w, []chainCase{
		{
			"a small key of an intermediate", certs(certtest.Issue(t, small, certtest.Server(now, "shop.example.com"), nil), small), nil,
			codesList{certmedic.WeakKey},
			`the intermediate "Small" has rsa1024`,
		},
		{"the signature of a root proves nothing", certs(certtest.Issue(t, sha1Root, certtest.Server(now, "shop.example.com"), nil), sha1Root), trusting(sha1Root), codesList{}, ""},
		{"RSA-PSS is fine", certs(certtest.Issue(t, old, pss, nil)), trusting(old), codesList{}, ""},
		{"Ed25519 is fine", certs(certtest.Issue(t, w.inter, certtest.Server(now, "shop.example.com"), edward), w.inter), nil, codesList{}, ""},
		{
			"MD5 is weak, and refused", certs(patched(t, certtest.Issue(t, old, certtest.Server(now, "shop.example.com"), nil), sha256WithRSA, md5WithRSA)), trusting(old),
			codesList{certmedic.Untrusted, certmedic.WeakSignature},
			"signed with MD5-RSA",
		},
		{"what only other clients use is theirs to judge", certs(w.leaf(t, nil), w.inter, oldTwin), nil, codesList{}, ""},
	})
}

func TestExtraAndConstraints(t *testing.T) {
	w := newWorld(t)
	good := w.leaf(t, nil)
	template := certtest.CA("Root", now)
	template.NotAfter = days(-50)
	crossed := certtest.Issue(t, w.other, template, w.root.Key)
	excluded := w.again(t, func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"shop.example.com"} })
	permitted := w.again(t, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} })
	noAddress := w.again(t, func(c *x509.Certificate) {
		c.PermittedIPRanges = []*net.IPNet{{IP: net.IPv4(10, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)}}
	})
	address := certtest.Issue(t, w.inter, certtest.Server(now, "192.0.2.1"), nil)
	mail := w.again(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })
	private := certtest.Issue(t, w.other, certtest.CA("Private", now), nil)
	both := certtest.Issue(t, private, certtest.CA("Below", now), nil)
	judge(t, w, []chainCase{
		{
			"an expired cross-signed root is only a warning", certs(good, w.inter, crossed), nil,
			codesList{certmedic.ChainExtra},
			`"Root" (expired, and no path needs it)`,
		},
		{
			"what nobody needs may be as bad as it likes", certs(good, w.inter, private, both), nil,
			codesList{certmedic.ChainExtra},
			`"Private" (no path needs it), "Below" (no path needs it)`,
		},
		{"an excluded name", certs(good, excluded), nil, codesList{certmedic.NameConstraint}, `the intermediate "Inter" may not issue for these names: DNS name "shop.example.com" is excluded`},
		{"a permitted name", certs(good, permitted), nil, codesList{}, ""},
		{"an address that is not permitted", certs(address, noAddress), named("192.0.2.1"), codesList{certmedic.NameConstraint}, "192.0.2.1"},
		{"an authority for mail is named", certs(good, mail), nil, codesList{certmedic.WrongUsage}, `the intermediate "Inter" above the leaf may not issue for servers`},
	})
}

func TestHundredCertificates(t *testing.T) {
	w := newWorld(t)
	chain := certs(w.leaf(t, nil), w.inter)
	for range 98 {
		chain = append(chain, certtest.Issue(t, nil, certtest.CA(strings.Repeat("long ", 1000), now), w.inter.Key).Cert)
	}
	got := Chain(chain, w.options()).Findings
	if len(got) != 1 || got[0].Code != certmedic.ChainExtra || !strings.Contains(got[0].Detail, "and 93 more") || len(got[0].Detail) > 2000 {
		t.Errorf("findings are %.3000v", got)
	}
}
