package ari

import (
	"crypto/x509"
	"testing"

	"github.com/certmedic/certmedic/internal/lab/mint"
)

// Any set of roots vouches for a server, but only for the host that is asked.
func TestTrust(t *testing.T) {
	ca := mint.Must(mint.NewCA("corp"))
	leaf := mint.Must(ca.Leaf(mint.Leaf{Names: []string{"ca.corp.test"}}))
	own := x509.NewCertPool()
	own.AddCert(ca.Cert)
	chain := []*x509.Certificate{leaf.Cert}
	for _, tt := range []struct {
		about string
		roots []*x509.CertPool
		host  string
		want  bool
	}{
		{"the second set vouches", []*x509.CertPool{x509.NewCertPool(), own}, "ca.corp.test", true},
		{"another host", []*x509.CertPool{own}, "acme.corp.test", false},
		{"an address that it does not name", []*x509.CertPool{own}, "127.0.0.1", false},
		{"nobody vouches", []*x509.CertPool{x509.NewCertPool()}, "ca.corp.test", false},
	} {
		if err := (&trusting{roots: tt.roots}).verify(chain, tt.host); (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.about, err)
		}
	}
}
