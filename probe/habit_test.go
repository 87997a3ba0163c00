package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/revocation"
)

// twoKeys is a server with certificates of both types of key.
type twoKeys struct {
	leaves  map[certmedic.Variant]*x509.Certificate
	prefers certmedic.Variant
	fails   map[certmedic.Variant]certmedic.FindingCode // how a variant fails
	asked   []certmedic.Variant
}

func (s *twoKeys) handshake(_ context.Context, r live.Request) live.Result {
	s.asked = append(s.asked, r.Variant)
	if code, ok := s.fails[r.Variant]; ok {
		return live.Result{Stage: certmedic.ProbeHandshake, Err: &certmedic.ProbeError{Reason: code, Detail: "it failed"}}
	}
	class := r.Variant
	if class == certmedic.VariantUsual {
		class = s.prefers
	}
	leaf := s.leaves[class]
	if leaf == nil {
		return live.Result{Stage: certmedic.ProbeHandshake, Err: &certmedic.ProbeError{Reason: certmedic.HandshakeFailed, Detail: "no shared cipher"}}
	}
	return live.Result{Stage: certmedic.ProbeDone, TLS: &certmedic.TLSFacts{Version: "TLS 1.3", Group: live.FastGroup}, Certs: []*x509.Certificate{leaf}}
}

func newTwoKeys(t *testing.T) (*Prober, *twoKeys) {
	t.Helper()
	root := certtest.Issue(t, nil, certtest.CA("Root", time.Now()), nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &twoKeys{prefers: certmedic.VariantECDSA, fails: map[certmedic.Variant]certmedic.FindingCode{}, leaves: map[certmedic.Variant]*x509.Certificate{
		certmedic.VariantRSA:   certtest.Issue(t, root, certtest.Server(time.Now(), "shop.example.com"), rsaKey).Cert,
		certmedic.VariantECDSA: certtest.Issue(t, root, certtest.Server(time.Now(), "shop.example.com"), ecdsaKey).Cert,
	}}
	p := prober(root, "192.0.2.1")
	p.Handshake, p.KeyTypes, p.Memory = s.handshake, true, &Memory{}
	return p, s
}

// told returns the variants that a probe tells of, and whether each presented a certificate.
func told(t *testing.T, p *Prober) map[certmedic.Variant]bool {
	t.Helper()
	all := map[certmedic.Variant]bool{}
	for _, a := range p.Probe(t.Context(), shop).Addresses {
		all[a.Variant] = a.Reached()
	}
	return all
}

func TestAVariantThatIsLostIsNotGone(t *testing.T) {
	p, s := newTwoKeys(t)
	s.fails[certmedic.VariantRSA] = certmedic.Timeout
	if got := told(t, p); len(got) != 1 {
		t.Fatalf("the first probe tells of %v", got)
	}
	delete(s.fails, certmedic.VariantRSA)
	if got := told(t, p); !got[certmedic.VariantRSA] {
		t.Errorf("a variant that was lost once is not asked for again: %v", got)
	}
	for _, code := range []certmedic.FindingCode{certmedic.Timeout, certmedic.Unreachable, certmedic.Timeout} {
		s.fails[certmedic.VariantRSA] = code
		if got := told(t, p); len(got) != 2 || got[certmedic.VariantRSA] {
			t.Errorf("%s: the probe tells of %v, want a variant that presented nothing", code, got)
		}
	}
	delete(s.fails, certmedic.VariantRSA)
	if got := told(t, p); !got[certmedic.VariantRSA] {
		t.Errorf("the variant does not come back: %v", got)
	}

	s.leaves[certmedic.VariantRSA] = nil
	if got := told(t, p); len(got) != 2 {
		t.Errorf("the first refusal tells of %v, want it to be in doubt", got)
	}
	if got := told(t, p); len(got) != 1 {
		t.Errorf("the second refusal tells of %v, want it to be gone", got)
	}
	s.asked = nil
	told(t, p)
	if len(s.asked) != 1 {
		t.Errorf("what is gone is asked for: %v", s.asked)
	}
}

func TestAServerThatGainsAnotherTypeOfKeyIsAskedForBoth(t *testing.T) {
	p, s := newTwoKeys(t)
	gained := s.leaves[certmedic.VariantECDSA]
	s.leaves[certmedic.VariantECDSA], s.prefers = nil, certmedic.VariantRSA
	told(t, p)
	told(t, p)
	s.leaves[certmedic.VariantECDSA], s.prefers = gained, certmedic.VariantECDSA
	if got := told(t, p); !got[certmedic.VariantRSA] {
		t.Errorf("the RSA certificate was not asked for when the usual one changed: %v", got)
	}
}

func TestAServerThatRefusesTheFastOfferIsSparedIt(t *testing.T) {
	p, a := fakeProber(t)
	p.Probe(t.Context(), shop)
	p.Handshake = func(ctx context.Context, r live.Request) live.Result {
		result := a.handshake(ctx, r)
		if result.TLS != nil {
			result.TLS.Group = "X25519MLKEM768" // it refused, and was made the full offer at once
		}
		return result
	}
	p.Probe(t.Context(), shop)
	a.take()
	p.Probe(t.Context(), shop)
	if got := a.take(); len(got) != 1 || got[0].Fast || got[0].Variant != certmedic.VariantUsual {
		t.Errorf("it was asked %+v, want the full offer alone", got)
	}
}

func TestNoVariantIsAskedOfServersThatBlockClients(t *testing.T) {
	p, s := newTwoKeys(t)
	endpoint := shop
	endpoint.Protocol = "mysql"
	p.Probe(t.Context(), endpoint)
	if len(s.asked) != 1 {
		t.Errorf("a MySQL server was asked for %q", s.asked)
	}
}

func TestAVerdictOfTheFutureIsNotBelieved(t *testing.T) {
	p, _ := newTwoKeys(t)
	p.Revocation = func(_ context.Context, q revocation.Query) revocation.Result {
		if q.Now.After(time.Now().Add(24 * time.Hour)) {
			return revocation.Result{Findings: []certmedic.Finding{certmedic.NewFinding(certmedic.RevocationUnknown, "out of date")}}
		}
		return revocation.Result{}
	}
	p.At = time.Now().Add(20 * 24 * time.Hour) // a clock that is wrong for one probe
	if o := p.Probe(t.Context(), shop); !certmedic.HasFinding(o.Addresses[0].Findings, certmedic.RevocationUnknown) {
		t.Fatalf("findings %v", o.Addresses[0].Findings)
	}
	p.At = time.Time{}
	if o := p.Probe(t.Context(), shop); len(o.Addresses[0].Findings) != 0 {
		t.Errorf("the verdict of a wrong clock is kept: %v", o.Addresses[0].Findings)
	}
}

func TestARevokedPathIsLeftForAnother(t *testing.T) {
	asked := 0
	p := &Prober{Revocation: func(_ context.Context, q revocation.Query) revocation.Result {
		asked++
		if len(q.Path) == 3 {
			return revocation.Result{Findings: []certmedic.Finding{certmedic.NewFinding(certmedic.Revoked, "the intermediate")}}
		}
		return revocation.Result{}
	}}
	leaf := &x509.Certificate{}
	long, short := []*x509.Certificate{leaf, leaf, leaf}, []*x509.Certificate{leaf, leaf}
	for _, tt := range []struct {
		says    string
		paths   [][]*x509.Certificate
		revoked bool
	}{
		{"the second path is good", [][]*x509.Certificate{long, short}, false},
		{"there is only one path", [][]*x509.Certificate{long}, true},
		{"all paths are revoked", [][]*x509.Certificate{long, long}, true},
	} {
		v := &verdict{}
		p.addRevocation(t.Context(), v, tt.paths, live.Result{}, time.Now())
		if got := certmedic.HasFinding(v.findings, certmedic.Revoked); got != tt.revoked {
			t.Errorf("%s: revoked is %t", tt.says, got)
		}
	}
}

func TestWhatIsPresentedIsTakenApart(t *testing.T) {
	a, b, c := []byte("a"), []byte("b"), []byte("c")
	cert := func(raw []byte) *x509.Certificate { return &x509.Certificate{Raw: raw} }
	target := &target{endpoint: shop, name: "shop.example.com"}
	seen := map[verdictKey]int{}
	for i, result := range []live.Result{
		{Certs: []*x509.Certificate{cert(a), cert(b)}, Staple: c},
		{Certs: []*x509.Certificate{cert(a)}, Staple: b, SCTs: [][]byte{c}},
		{Certs: []*x509.Certificate{cert(a), cert(b), cert(c)}},
		{Certs: []*x509.Certificate{cert(a)}, SCTs: [][]byte{b, c}},
		{Certs: []*x509.Certificate{cert(a), cert(b)}, Staple: c, TLS: &certmedic.TLSFacts{}},
	} {
		key := keyOf(target, "shop.example.com", result)
		if other, ok := seen[key]; ok {
			t.Errorf("%d is taken for %d", i, other)
		}
		seen[key] = i
	}
	result := live.Result{Certs: []*x509.Certificate{cert(a)}}
	if keyOf(target, "", result) == keyOf(target, "shop.example.com", result) {
		t.Error("a probe without a name shares a verdict with one that has one")
	}
}

func TestMemoryIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	m := &Memory{MaxBytes: 100 << 10}
	now := time.Now()
	used := verdictKey{1}
	m.keep(used, &verdict{made: now, until: now.Add(time.Hour)})
	for i := range 10_000 {
		m.keep(verdictKey{2, byte(i), byte(i >> 8)}, &verdict{made: now, until: now.Add(time.Hour)})
		if m.verdict(used, now) == nil {
			t.Fatalf("what is used was forgotten after %d others", i)
		}
	}
	if kept := len(m.young) + len(m.old); kept*512 > m.MaxBytes+1024 {
		t.Errorf("%d verdicts are kept within %d bytes", kept, m.MaxBytes)
	}
	p, _ := newTwoKeys(t)
	p.Memory = &Memory{MaxBytes: 8 << 10}
	for range 100 {
		endpoint := shop
		endpoint.ServerName = time.Now().Format("150405.000000000") + ".example.com"
		p.Probe(t.Context(), endpoint)
	}
	if len(p.Memory.habits) > 8 {
		t.Errorf("%d habits are kept", len(p.Memory.habits))
	}
}
