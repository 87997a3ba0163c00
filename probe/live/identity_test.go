package live

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

func TestClientCertificates(t *testing.T) {
	p := newPKI(t)
	client := func(issuer *certtest.Pair) []tls.Certificate {
		template := certtest.Server(time.Now(), "client.example.com")
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		return []tls.Certificate{certtest.Issue(t, issuer, template, nil).TLS()}
	}
	tests := []struct {
		about        string
		certificates []tls.Certificate
		refuse       bool // whatever is presented
		detail       string
	}{
		{"the right one is accepted", client(p.root), false, ""},
		{"none is presented", nil, false, "read without one"},
		{"one that the server says not to accept is not presented", client(nil), false, "read without one"},
		{"one that is refused after all", client(p.root), true, `refused the client certificate that was presented, with the TLS alert "bad certificate"`},
	}
	for _, tt := range tests {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			address := serveTLS(t, p.config(func(c *tls.Config) {
				c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, certtest.Pool(p.root), version
				if tt.refuse {
					c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return errors.New("revoked") }
				}
			}))
			dialer := Dialer{Timeout: 20 * time.Second}
			got := dialer.Handshake(t.Context(), Request{
				Address: address, ServerName: "shop.example.com",
				Settings: &Settings{Certificates: tt.certificates},
			})
			if got.Err != nil || len(got.Certs) != 2 {
				t.Errorf("%s, %s: error %+v, %d certificates", tt.about, tls.VersionName(version), got.Err, len(got.Certs))
			}
			wrong := len(got.Findings) != 1 || got.Findings[0].Code != certmedic.ClientCertRequired || !strings.Contains(got.Findings[0].Detail, tt.detail)
			if tt.detail == "" && len(got.Findings) > 0 || tt.detail != "" && wrong {
				t.Errorf("%s, %s: findings are %v, want %q", tt.about, tls.VersionName(version), got.Findings, tt.detail)
			}
		}
	}
}

// A wait for each handshake would show as minRefusalWait times as many.
func TestNobodyWaitsWhereNoCertificateWasAskedFor(t *testing.T) {
	address := serveTLS(t, newPKI(t).config(nil))
	dialer := Dialer{Timeout: 20 * time.Second}
	const times = 20
	start := time.Now()
	for range times {
		if got := dialer.Handshake(t.Context(), Request{Address: address, Fast: true}); got.Err != nil {
			t.Fatal(got.Err)
		}
	}
	if took := time.Since(start); took > times*minRefusalWait {
		t.Errorf("%d handshakes took %s", times, took)
	}
}

func TestStapleAndSCTs(t *testing.T) {
	p := newPKI(t)
	address := serveTLS(t, p.config(func(c *tls.Config) {
		c.Certificates[0].OCSPStaple = []byte("staple")
		c.Certificates[0].SignedCertificateTimestamps = [][]byte{[]byte("one"), []byte("two")}
	}))
	got := ask(t, address)
	if string(got.Staple) != "staple" || len(got.SCTs) != 2 || string(got.SCTs[1]) != "two" {
		t.Errorf("staple %q, timestamps %q", got.Staple, got.SCTs)
	}
}
