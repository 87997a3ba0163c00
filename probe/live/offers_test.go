package live

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

func TestSuitesAreAllThatThereAre(t *testing.T) {
	var known []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		if s.SupportedVersions[0] != tls.VersionTLS13 {
			known = append(known, s.ID)
		}
	}
	ours := slices.Sorted(slices.Values(suites))
	if slices.Sort(known); !slices.Equal(ours, known) {
		t.Errorf("offered are %x, crypto/tls knows %x", ours, known)
	}
	for i, id := range suites {
		if name := tls.CipherSuiteName(id); strings.Contains(name, "_ECDSA_") != (i < ecdsaSuites) {
			t.Errorf("%s stands among those of the other type of key", name)
		}
	}
}

func TestVariantsReachTheOtherCertificate(t *testing.T) {
	p := newPKI(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	withRSA := certtest.Issue(t, p.root, certtest.Server(time.Now(), "shop.example.com"), key)
	unnamed := certtest.Issue(t, p.root, certtest.Server(time.Now(), "default.example.com"), nil)
	both := p.config(func(c *tls.Config) {
		ecdsa := c.Certificates[0]
		c.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			other, nameless := withRSA.TLS(p.root), unnamed.TLS(p.root)
			switch {
			case h.ServerName == "":
				return &nameless, nil
			case h.SupportsCertificate(&ecdsa) == nil:
				return &ecdsa, nil
			default:
				return &other, nil
			}
		}
		c.Certificates = nil
	})
	tests := []struct {
		variant certmedic.Variant
		leaf    *certtest.Pair
	}{
		{certmedic.VariantUsual, p.leaf},
		{certmedic.VariantECDSA, p.leaf},
		{certmedic.VariantRSA, withRSA},
		{certmedic.VariantNoSNI, unnamed},
	}
	address := serveTLS(t, both)
	dialer := Dialer{Timeout: 20 * time.Second}
	for _, tt := range tests {
		got := dialer.Handshake(t.Context(), Request{Address: address, ServerName: "shop.example.com", Variant: tt.variant})
		if got.Err != nil || len(got.Certs) != 2 || !got.Certs[0].Equal(tt.leaf.Cert) {
			t.Errorf("variant %q: error %+v, %d certificates, or not the leaf of that variant", tt.variant, got.Err, len(got.Certs))
		}
	}
	only := serveTLS(t, p.config(nil))
	got := dialer.Handshake(t.Context(), Request{Address: only, ServerName: "shop.example.com", Variant: certmedic.VariantRSA})
	if got.Err == nil || got.Err.Reason != certmedic.HandshakeFailed || len(got.Certs) > 0 {
		t.Errorf("a server without an RSA key, asked for it: error %+v, %d certificates", got.Err, len(got.Certs))
	}
}

func TestFastOfferFallsBackToTheFullOne(t *testing.T) {
	p := newPKI(t)
	tests := []struct {
		about  string
		groups []tls.CurveID // that the server has
		group  string        // that it ends with
	}{
		{"a server with every group takes the fast one", nil, "CurveP256"},
		{"a server with P-256 alone asks for it", []tls.CurveID{tls.CurveP256}, "CurveP256"},
		{"a server that demands a hybrid gets the full offer", []tls.CurveID{tls.X25519MLKEM768}, "X25519MLKEM768"},
	}
	for _, tt := range tests {
		address := serveTLS(t, p.config(func(c *tls.Config) { c.CurvePreferences = tt.groups }))
		dialer := Dialer{Timeout: 20 * time.Second}
		got := dialer.Handshake(t.Context(), Request{Address: address, ServerName: "shop.example.com", Fast: true})
		if got.Err != nil || got.TLS.Group != tt.group {
			t.Errorf("%s: error %+v, facts %+v", tt.about, got.Err, got.TLS)
		}
	}
}

func TestVersionsOfTheSettings(t *testing.T) {
	p := newPKI(t)
	address := serveTLS(t, p.config(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS12 }))
	tests := []struct {
		about    string
		min, max uint16
		variant  certmedic.Variant
		want     string // the version; empty: an error
	}{
		{"any version", 0, 0, "", "TLS 1.2"},
		{"at most TLS 1.1", 0, tls.VersionTLS11, "", "TLS 1.1"},
		{"at least TLS 1.3, which the server does not have", tls.VersionTLS13, 0, "", ""},
		{"exactly TLS 1.2", tls.VersionTLS12, tls.VersionTLS12, "", "TLS 1.2"},
		{"a maximum below the minimum", tls.VersionTLS12, tls.VersionTLS11, "", ""},
		{"a type of key with TLS 1.3 alone, which cannot tell them apart", tls.VersionTLS13, 0, certmedic.VariantECDSA, ""},
	}
	for _, tt := range tests {
		dialer := Dialer{Timeout: 20 * time.Second}
		got := dialer.Handshake(t.Context(), Request{
			Address: address, Variant: tt.variant,
			Settings: &Settings{MinVersion: tt.min, MaxVersion: tt.max},
		})
		if tt.want == "" && got.Err == nil || tt.want != "" && (got.Err != nil || got.TLS.Version != tt.want) {
			t.Errorf("%s: error %+v, facts %+v, want %q", tt.about, got.Err, got.TLS, tt.want)
		}
	}
}

func TestRefusedALPNShowsTheCertificate(t *testing.T) {
	p := newPKI(t)
	address := serveTLS(t, p.config(func(c *tls.Config) { c.NextProtos = []string{"h2c"} }))
	dialer := Dialer{Timeout: 20 * time.Second}
	got := dialer.Handshake(t.Context(), Request{Address: address, ServerName: "shop.example.com", Protocol: "https"})
	if got.Err != nil || len(got.Certs) != 2 || got.HTTP != nil || len(got.Findings) > 0 {
		t.Errorf("error %+v, %d certificates, HTTP %+v, findings %v", got.Err, len(got.Certs), got.HTTP, got.Findings)
	}
	settings := &Settings{HTTP: &HTTP{Statuses: []int{200}}}
	got = dialer.Handshake(t.Context(), Request{Address: address, ServerName: "shop.example.com", Protocol: "https", Settings: settings})
	if !certmedic.HasFinding(got.Findings, certmedic.HTTPStatus) {
		t.Errorf("findings are %v, want that the expected status was not seen", got.Findings)
	}
}

// Servers that lack a type of key refuse it once, and those that block whoever breaks off
// are offered everything at once.
func TestRefusalsAreNotRepeatedWhereTheyDoHarm(t *testing.T) {
	for _, tt := range []struct {
		protocol string
		variant  certmedic.Variant
		offers   int
	}{
		{"tls", certmedic.VariantUsual, 3},
		{"tls", certmedic.VariantRSA, 1},
		{"tls", certmedic.VariantECDSA, 1},
		{"mysql", certmedic.VariantUsual, 1},
		{"mariadb", certmedic.VariantUsual, 1},
	} {
		protocol, err := ParseProtocol(tt.protocol)
		if err != nil {
			t.Fatal(err)
		}
		offers, err := offersFor(&Request{Protocol: tt.protocol, Variant: tt.variant}, protocol)
		if err != nil || len(offers) != tt.offers {
			t.Errorf("%s %q: %d offers, %v, want %d", tt.protocol, tt.variant, len(offers), err, tt.offers)
		}
		if protocol.Variants() != (tt.protocol == "tls") {
			t.Errorf("%s: variants are asked for: %t", tt.protocol, protocol.Variants())
		}
	}
}
