package mint_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
)

func TestLeafVerifiesThroughItsIntermediates(t *testing.T) {
	root := mint.Must(mint.NewCA("Lab Root"))
	policy := mint.Must(root.Intermediate("Lab Policy"))
	issuing := mint.Must(policy.Intermediate("Lab Issuing"))
	pair := mint.Must(issuing.Leaf(mint.Leaf{Names: []string{"shop.test", "127.0.0.1"}}))

	if len(pair.Chain) != 3 {
		t.Fatalf("the chain has %d certificates, want leaf and two intermediates", len(pair.Chain))
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pair.ChainPEM())
	for _, name := range []string{"shop.test", "127.0.0.1"} {
		options := x509.VerifyOptions{Roots: root.Pool(), Intermediates: pool, DNSName: name}
		if _, err := pair.Cert.Verify(options); err != nil {
			t.Errorf("verifying for %q: %v", name, err)
		}
	}
	if _, err := tls.X509KeyPair(pair.FullchainPEM(), mint.Must(pair.KeyPEM())); err != nil {
		t.Errorf("the PEM forms do not make a pair: %v", err)
	}
}

func TestEveryKeyTypeMakesAUsableLeaf(t *testing.T) {
	root := mint.Must(mint.NewCA("Lab Root"))
	for _, kind := range []mint.KeyType{"", mint.EC256, mint.EC384, mint.Ed25519, mint.RSA1024, mint.RSA2048} {
		pair, err := root.Leaf(mint.Leaf{Names: []string{"shop.test"}, KeyType: kind})
		if err != nil {
			t.Errorf("%q: %v", kind, err)
			continue
		}
		if _, err := pair.Cert.Verify(x509.VerifyOptions{Roots: root.Pool()}); err != nil {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if _, err := mint.NewKey("dsa"); err == nil {
		t.Error("an unknown key type makes a key")
	}
}

func TestLeavesCanBeWrongOnPurpose(t *testing.T) {
	constrained := func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"inside.test"}, true
	}
	root := mint.Must(mint.NewCA("Lab Root"))
	narrow := mint.Must(root.Intermediate("Lab Narrow", constrained))
	names := []string{"shop.test"}
	for why, pair := range map[string]mint.Pair{
		"an end in the past":       mint.Must(root.Leaf(mint.Leaf{Names: names, NotAfter: time.Now().Add(-time.Minute)})),
		"a beginning to come":      mint.Must(root.Leaf(mint.Leaf{Names: names, NotBefore: time.Now().Add(time.Hour)})),
		"another name":             mint.Must(root.Leaf(mint.Leaf{Names: []string{"other.test"}})),
		"for clients only":         mint.Must(root.Leaf(mint.Leaf{Names: names, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})),
		"signed with SHA-1":        mint.Must(root.Leaf(mint.Leaf{Names: names, Signature: x509.ECDSAWithSHA1})),
		"signed by itself":         mint.Must(mint.SelfSigned(mint.Leaf{Names: names})),
		"outside name constraints": mint.Must(narrow.Leaf(mint.Leaf{Names: names})),
	} {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pair.ChainPEM())
		options := x509.VerifyOptions{Roots: root.Pool(), Intermediates: pool, DNSName: "shop.test"}
		if _, err := pair.Cert.Verify(options); err == nil {
			t.Errorf("a leaf with %s verifies", why)
		}
	}
}

func TestCrossSigningGivesASecondPath(t *testing.T) {
	old, young := mint.Must(mint.NewCA("Old Root")), mint.Must(mint.NewCA("Young Root"))
	cross := mint.Must(old.CrossSign(young))
	pair := mint.Must(young.Leaf(mint.Leaf{Names: []string{"shop.test"}}))
	pool := x509.NewCertPool()
	pool.AddCert(cross)
	if _, err := pair.Cert.Verify(x509.VerifyOptions{Roots: old.Pool(), Intermediates: pool}); err != nil {
		t.Errorf("no path over the cross-signed certificate: %v", err)
	}
}
