package inspect

import (
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// BenchmarkChain judges a leaf with its intermediate against as many roots as a system
// has.
func BenchmarkChain(b *testing.B) {
	root := certtest.Issue(b, nil, certtest.CA("Root", now), nil)
	inter := certtest.Issue(b, root, certtest.CA("Inter", now), nil)
	leaf := certtest.Issue(b, inter, certtest.Server(now, "shop.example.com"), nil)
	pool := x509.NewCertPool()
	pool.AddCert(root.Cert)
	for i := range 139 {
		pool.AddCert(certtest.Issue(b, nil, certtest.CA(fmt.Sprintf("Root %d", i), now), nil).Cert)
	}
	chain := []*x509.Certificate{leaf.Cert, inter.Cert}
	options := Options{
		Now: now, ServerName: "shop.example.com", Roots: []Roots{{Name: "system", Pool: pool}},
		Warn: Threshold{Share: 0.33}, Crit: Threshold{Share: 0.10},
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := Chain(chain, options); len(r.Findings) > 0 {
			b.Fatal(r.Findings)
		}
	}
}

// BenchmarkVerify is what crypto/x509 itself takes for the same.
func BenchmarkVerify(b *testing.B) {
	root := certtest.Issue(b, nil, certtest.CA("Root", now), nil)
	inter := certtest.Issue(b, root, certtest.CA("Inter", now), nil)
	leaf := certtest.Issue(b, inter, certtest.Server(now, "shop.example.com"), nil)
	b.ReportAllocs()
	for b.Loop() {
		o := x509.VerifyOptions{Roots: certtest.Pool(root), Intermediates: certtest.Pool(inter), CurrentTime: now, DNSName: "shop.example.com"}
		if _, err := leaf.Cert.Verify(o); err != nil {
			b.Fatal(err)
		}
	}
}
