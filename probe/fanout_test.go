package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/records"
	"github.com/certmedic/certmedic/probe/revocation"
)

// both serves an RSA and an ECDSA certificate, each to the clients that take it, and the
// ECDSA one of another name to clients that send none.
func both(t *testing.T, rsaLeaf, ecdsaLeaf, nameless tls.Certificate) netip.AddrPort {
	return serve(t, "127.0.0.1:0", func(conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		server := tls.Server(conn, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == "" {
				return &nameless, nil
			}
			if hello.SupportsCertificate(&ecdsaLeaf) == nil {
				return &ecdsaLeaf, nil
			}
			return &rsaLeaf, nil
		}})
		if server.Handshake() == nil {
			_, _ = io.Copy(io.Discard, server)
		}
	})
}

func TestEveryVariantOfAnAddressIsObserved(t *testing.T) {
	root := certtest.Issue(t, nil, certtest.CA("Root", time.Now()), nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecdsaKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaLeaf := certtest.Issue(t, root, certtest.Server(time.Now().Add(-200*24*time.Hour), "shop.example.com"), rsaKey)
	ecdsaLeaf := certtest.Issue(t, root, certtest.Server(time.Now(), "shop.example.com"), ecdsaKey)
	other := certtest.Issue(t, root, certtest.Server(time.Now(), "other.example.com"), ecdsaKey)
	address := both(t, rsaLeaf.TLS(), ecdsaLeaf.TLS(), other.TLS())

	p := prober(root)
	p.KeyTypes = true
	o := p.Probe(t.Context(), certmedic.Endpoint{Address: address.String(), ServerName: "shop.example.com", WithoutSNI: true})
	leaves := map[certmedic.Variant]certmedic.Fingerprint{
		certmedic.VariantUsual: inspect.Facts(ecdsaLeaf.Cert).SHA256,
		certmedic.VariantRSA:   inspect.Facts(rsaLeaf.Cert).SHA256,
		certmedic.VariantNoSNI: inspect.Facts(other.Cert).SHA256,
	}
	if len(o.Addresses) != len(leaves) {
		t.Fatalf("%d observations, want %d: %+v", len(o.Addresses), len(leaves), o.Addresses)
	}
	for _, a := range o.Addresses {
		leaf, _ := a.Leaf()
		if leaf.SHA256 != leaves[a.Variant] || a.Address != address.String() {
			t.Errorf("variant %q of %s serves %s, want %s", a.Variant, a.Address, leaf.SHA256, leaves[a.Variant])
		}
		expired := certmedic.HasFinding(a.Findings, certmedic.Expired)
		if expired != (a.Variant == certmedic.VariantRSA) {
			t.Errorf("variant %q: expired is %t: %v", a.Variant, expired, a.Findings)
		}
		if certmedic.HasFinding(a.Findings, certmedic.NameMismatch) {
			t.Errorf("variant %q has a name mismatch: %v", a.Variant, a.Findings)
		}
	}
	if certmedic.HasFinding(o.Findings, certmedic.SplitServing) {
		t.Errorf("certificates for two types of key are taken for a split: %v", o.Findings)
	}
}

// asked is a handshake that answers with a fixed chain and notes what it was asked.
type asked struct {
	mu       sync.Mutex
	requests []live.Request
	result   live.Result
}

func (a *asked) handshake(_ context.Context, r live.Request) live.Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, r)
	result := a.result
	if result.TLS != nil {
		facts := *result.TLS
		facts.Group = "X25519MLKEM768"
		if r.Fast {
			facts.Group = live.FastGroup
		}
		result.TLS = &facts
	}
	if r.Variant != certmedic.VariantUsual {
		return live.Result{Stage: certmedic.ProbeHandshake, Err: &certmedic.ProbeError{Reason: certmedic.HandshakeFailed, Detail: "no shared cipher"}}
	}
	return result
}

func (a *asked) take() []live.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	requests := a.requests
	a.requests = nil
	return requests
}

func fakeProber(t *testing.T) (*Prober, *asked) {
	root := certtest.Issue(t, nil, certtest.CA("Root", time.Now()), nil)
	leaf := certtest.Issue(t, root, certtest.Server(time.Now(), "shop.example.com"), nil)
	a := &asked{result: live.Result{
		Stage: certmedic.ProbeDone, TLS: &certmedic.TLSFacts{Version: "TLS 1.3"}, Certs: []*x509.Certificate{leaf.Cert},
	}}
	p := prober(root, "192.0.2.1")
	p.Handshake, p.KeyTypes, p.Memory = a.handshake, true, &Memory{}
	return p, a
}

var shop = certmedic.Endpoint{Address: "shop.example.com:443"}

func TestTheSteadyStateAsksTheFastOfferAndRemembersTheGroup(t *testing.T) {
	p, a := fakeProber(t)
	p.Probe(t.Context(), shop)
	first := a.take()
	if len(first) != 2 || first[0].Fast || first[1].Variant == certmedic.VariantUsual {
		t.Fatalf("the first probe asked %+v, want the full offer and the other type of key", first)
	}
	o := p.Probe(t.Context(), shop)
	second := a.take()
	if len(second) != 1 || !second[0].Fast {
		t.Fatalf("the second probe asked %+v, want one fast handshake", second)
	}
	if group := o.Addresses[0].TLS.Group; group != "X25519MLKEM768" {
		t.Errorf("the group is %q, want the one of the full offer", group)
	}

	a.result = live.Result{Stage: certmedic.ProbeConnect, Err: &certmedic.ProbeError{Reason: certmedic.Unreachable, Detail: "refused"}}
	p.Probe(t.Context(), shop)
	a.take()
	p.Probe(t.Context(), shop)
	if again := a.take(); len(again) == 0 || again[0].Fast {
		t.Errorf("after a failure it asked %+v, want the full offer", again)
	}
}

func TestVerdictsAreKeptWhileNothingChanges(t *testing.T) {
	p, a := fakeProber(t)
	looked := 0
	until := time.Now().Add(time.Hour)
	p.Revocation = func(context.Context, revocation.Query) revocation.Result {
		looked++
		return revocation.Result{Until: until, Findings: []certmedic.Finding{certmedic.NewFinding(certmedic.RevocationUnknown, "no answer")}}
	}
	for range 3 {
		o := p.Probe(t.Context(), shop)
		if got := codes(o.Addresses[0].Findings); !slices.Equal(got, []certmedic.FindingCode{certmedic.RevocationUnknown}) {
			t.Fatalf("findings %v", got)
		}
	}
	if looked != 1 {
		t.Errorf("revocation was looked up %d times for one chain, want once", looked)
	}
	a.result.Staple = []byte("a newer response")
	p.Probe(t.Context(), shop)
	if looked != 2 {
		t.Errorf("a new staple was not looked at: %d", looked)
	}
	renamed := shop
	renamed.ServerName = "www.example.com"
	if o := p.Probe(t.Context(), renamed); !certmedic.HasFinding(o.Addresses[0].Findings, certmedic.NameMismatch) {
		t.Errorf("another name has the first one's verdict: %v", o.Addresses[0].Findings)
	}
	until = time.Now()
	a.result.Staple = nil
	p.Memory = &Memory{}
	looked = 0
	p.Probe(t.Context(), shop)
	p.Probe(t.Context(), shop)
	if looked != 2 {
		t.Errorf("a verdict that is not to be kept was: looked %d times, want 2", looked)
	}
}

func TestDNSVouchesForMailServersOnly(t *testing.T) {
	for _, tt := range []struct {
		protocol string
		trusted  bool
	}{{"smtp", true}, {"https", false}} {
		p, _ := fakeProber(t)
		p.Roots = []inspect.Roots{{Name: "nobody", Pool: x509.NewCertPool()}}
		p.Records = func(_ context.Context, q records.Query) records.Result {
			if q.Host != "shop.example.com" || q.Port != 443 {
				t.Errorf("asked about %s:%d", q.Host, q.Port)
			}
			return records.Result{Vouched: true}
		}
		endpoint := shop
		endpoint.Protocol = tt.protocol
		found := p.Probe(t.Context(), endpoint).Addresses[0].Findings
		if trusted := certmedic.StatusOf(found...) != certmedic.StatusCritical; trusted != tt.trusted {
			t.Errorf("%s: trusted is %t: %v", tt.protocol, trusted, found)
		}
	}
}

func TestAddressesCanBeChosen(t *testing.T) {
	for _, tt := range []struct {
		says     string
		endpoint certmedic.Endpoint
		modules  map[string]Module
		want     []string
	}{
		{"both families are probed", shop, nil, []string{"192.0.2.1:443", "[2001:db8::1]:443"}},
		{"one family by choice", certmedic.Endpoint{Address: shop.Address, Family: IP6}, nil, []string{"[2001:db8::1]:443"}},
		{"addresses instead of a lookup", certmedic.Endpoint{Address: shop.Address, Addresses: []string{"198.51.100.7"}}, nil, []string{"198.51.100.7:443"}},
		{
			"a proxy looks the name up",
			certmedic.Endpoint{Address: shop.Address, Module: "corp"},
			map[string]Module{"corp": {Live: &live.Settings{Proxy: &url.URL{Scheme: "http", Host: "proxy:3128"}}}},
			[]string{shop.Address},
		},
	} {
		p, _ := fakeProber(t)
		p.Lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}, nil
		}
		p.Modules = tt.modules
		var got []string
		for _, a := range p.Probe(t.Context(), tt.endpoint).Addresses {
			got = append(got, a.Address)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: probed %v, want %v", tt.says, got, tt.want)
		}
	}
}

func TestAnEndpointOfNoModuleIsAFact(t *testing.T) {
	p, a := fakeProber(t)
	endpoint := shop
	endpoint.Module = "gone"
	o := p.Probe(t.Context(), endpoint)
	if len(a.take()) != 0 || o.Addresses[0].Error == nil || o.Addresses[0].Error.Detail != `there is no module "gone"` {
		t.Errorf("observed %+v", o.Addresses)
	}
}

func TestAModuleThatSkipsVerificationFindsTheRest(t *testing.T) {
	p, a := fakeProber(t)
	root := certtest.Issue(t, nil, certtest.CA("Root", time.Now()), nil)
	leaf := certtest.Issue(t, root, certtest.Server(time.Now().Add(-200*24*time.Hour), "other.example.com"), nil)
	a.result.Certs = []*x509.Certificate{leaf.Cert}
	p.Modules = map[string]Module{"any": {SkipVerify: true}}
	endpoint := shop
	endpoint.Module = "any"
	if got := codes(p.Probe(t.Context(), endpoint).Addresses[0].Findings); !slices.Equal(got, []certmedic.FindingCode{certmedic.Expired}) {
		t.Errorf("findings %v, want that it expired, and nothing about its chain and name", got)
	}
}

func TestAnOverrideLeavesTheLastDotAside(t *testing.T) {
	for _, override := range []string{"shop.example.com:443:198.51.100.7", "shop.example.com.:443:198.51.100.7"} {
		key, ip, err := ParseOverride(override)
		if err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{"shop.example.com:443", "shop.example.com.:443"} {
			p, _ := fakeProber(t)
			p.Override = map[string][]netip.Addr{key: {ip}}
			if o := p.Probe(t.Context(), certmedic.Endpoint{Address: address}); o.Addresses[0].Address != "198.51.100.7:443" {
				t.Errorf("%s for %s: probed %s", override, address, o.Addresses[0].Address)
			}
		}
	}
}
