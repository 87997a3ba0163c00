package inspect

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

var now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// world is a small web PKI: a root, an intermediate and another, unrelated root.
type world struct {
	root, inter, other *certtest.Pair
}

func newWorld(t *testing.T) world {
	root := certtest.Issue(t, nil, certtest.CA("Root", now), nil)
	return world{
		root:  root,
		inter: certtest.Issue(t, root, certtest.CA("Inter", now), nil),
		other: certtest.Issue(t, nil, certtest.CA("Other", now), nil),
	}
}

func (w world) leaf(t *testing.T, edit func(*x509.Certificate)) *certtest.Pair {
	template := certtest.Server(now, "shop.example.com")
	if edit != nil {
		edit(&template)
	}
	return certtest.Issue(t, w.inter, template, nil)
}

func (w world) options() Options {
	return Options{
		Now: now, ServerName: "shop.example.com", Roots: []Roots{{Name: "mozilla", Pool: certtest.Pool(w.root)}},
		Warn: Threshold{Share: 0.33}, Crit: Threshold{Share: 0.10},
	}
}

func certs(pairs ...*certtest.Pair) []*x509.Certificate {
	var out []*x509.Certificate
	for _, p := range pairs {
		out = append(out, p.Cert)
	}
	return out
}

func codes(findings []certmedic.Finding) []certmedic.FindingCode {
	found := []certmedic.FindingCode{}
	for _, f := range findings {
		found = append(found, f.Code)
	}
	return found
}

type codesList = []certmedic.FindingCode

// again is another certificate of the intermediate's name and key.
func (w world) again(t *testing.T, edit func(*x509.Certificate)) *certtest.Pair {
	template := certtest.CA("Inter", now)
	edit(&template)
	return certtest.Issue(t, w.root, template, w.inter.Key)
}

func days(n int) time.Time { return now.AddDate(0, 0, n) }

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

type chainCase struct {
	name    string
	chain   []*x509.Certificate
	options func(*Options)
	want    codesList
	detail  string // part of one of the details
}

func judge(t *testing.T, w world, tests []chainCase) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := w.options()
			if tt.options != nil {
				tt.options(&o)
			}
			got := Chain(tt.chain, o)
			if !slices.Equal(codes(got.Findings), tt.want) {
				t.Fatalf("findings are %v, want %v", got.Findings, tt.want)
			}
			if tt.detail != "" && !slices.ContainsFunc(got.Findings, func(f certmedic.Finding) bool { return strings.Contains(f.Detail, tt.detail) }) {
				t.Errorf("no detail of %v says %q", got.Findings, tt.detail)
			}
		})
	}
}

func TestChainDates(t *testing.T) {
	w := newWorld(t)
	good := w.leaf(t, nil)
	crossed := certtest.Issue(t, w.other, certtest.CA("Root", now), w.root.Key)
	expiredInter := w.again(t, func(c *x509.Certificate) { c.NotAfter = days(-3) })
	earlyInter := w.again(t, func(c *x509.Certificate) { c.NotAfter = days(40) })
	judge(t, w, []chainCase{
		{"a good chain has no findings", certs(good, w.inter), nil, codesList{}, ""},
		{"a root that is sent along is harmless", certs(good, w.inter, w.root), nil, codesList{}, ""},
		{"a cross-signed twin of the root serves other clients", certs(good, w.inter, crossed), nil, codesList{}, ""},
		{"without a name the name is not checked", certs(good, w.inter), func(o *Options) { o.ServerName = "" }, codesList{}, ""},
		{
			"an expired leaf says since when", certs(w.leaf(t, func(c *x509.Certificate) { c.NotAfter = days(-3) }), w.inter), nil,
			codesList{certmedic.Expired},
			"expired 3 days ago (2026-11-19 10:00 UTC)",
		},
		{
			"a leaf of the future says from when", certs(w.leaf(t, func(c *x509.Certificate) { c.NotBefore = days(2) }), w.inter), nil,
			codesList{certmedic.NotYetValid},
			"becomes valid in 2 days (2026-11-24 10:00 UTC)",
		},
		{
			"an expired intermediate in the only path is named", certs(good, expiredInter), nil,
			codesList{certmedic.Expired},
			`the intermediate "Inter" expired 3 days ago`,
		},
		{
			"an intermediate that expired before the leaf was made still builds a path",
			certs(w.leaf(t, func(c *x509.Certificate) { c.NotBefore = days(-1) }), expiredInter), nil,
			codesList{certmedic.Expired},
			`the intermediate "Inter"`,
		},
		{
			"an expired intermediate that no path needs is a warning", certs(good, w.inter, expiredInter), nil,
			codesList{certmedic.ChainExtra},
			`"Inter" (expired, and no path needs it)`,
		},
		{
			"little is left", certs(w.leaf(t, func(c *x509.Certificate) { c.NotAfter = days(12) }), w.inter), nil,
			codesList{certmedic.Expiring},
			"expires in 12 days (2026-12-04 10:00 UTC), 29% of its lifetime is left",
		},
		{"an intermediate that ends first", certs(good, earlyInter), nil, codesList{certmedic.ChainExpiring}, `"Inter" ends in 40 days`},
		{"another path that lasts makes it harmless", certs(good, earlyInter, w.inter), nil, codesList{}, ""},
	})
}

func TestChainNames(t *testing.T) {
	w := newWorld(t)
	good := w.leaf(t, nil)
	judge(t, w, []chainCase{
		{
			"another name lists those that are there", certs(good, w.inter), func(o *Options) { o.ServerName = "www.example.com" },
			codesList{certmedic.NameMismatch},
			`is for "shop.example.com", not for "www.example.com"`,
		},
		{
			"an IP address is a name too", certs(good, w.inter), func(o *Options) { o.ServerName = "192.0.2.1" },
			codesList{certmedic.NameMismatch},
			`not for "192.0.2.1"`,
		},
		{
			"an IP address that is covered matches", certs(certtest.Issue(t, w.inter, certtest.Server(now, "2001:db8::1"), nil), w.inter),
			func(o *Options) { o.ServerName = "2001:db8::1" },
			codesList{},
			"",
		},
		{
			"a certificate without SANs gets a hint", certs(w.leaf(t, func(c *x509.Certificate) { c.DNSNames = nil }), w.inter), nil,
			codesList{certmedic.NameMismatch},
			"no subject alternative names",
		},
	})
}

func TestChainTrust(t *testing.T) {
	w := newWorld(t)
	good := w.leaf(t, nil)
	clientInter := w.again(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	boundInter := w.again(t, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.org"} })
	impostor := certtest.Issue(t, w.other, certtest.CA("Inter", now), nil)
	privateInter := certtest.Issue(t, w.other, certtest.CA("Private", now), nil)
	private := certtest.Issue(t, privateInter, certtest.Server(now, "shop.example.com"), nil)
	self := certtest.Issue(t, nil, certtest.Server(now, "shop.example.com"), nil)
	judge(t, w, []chainCase{
		{"self-signed is not merely untrusted", certs(self), nil, codesList{certmedic.SelfSigned}, "signed by its own key"},
		{"a self-signed leaf that is a root is trusted", certs(self), func(o *Options) { o.Roots[0].Pool = certtest.Pool(self) }, codesList{}, ""},
		{
			"a path to a private root is untrusted", certs(private, privateInter), nil,
			codesList{certmedic.Untrusted},
			`whose issuer "Other" is neither sent nor trusted`,
		},
		{
			"a path to a private root that is sent is untrusted", certs(private, privateInter, w.other), nil,
			codesList{certmedic.Untrusted},
			`the chain ends at the root "Other"`,
		},
		{"the leaf alone is incomplete", certs(good), nil, codesList{certmedic.IncompleteChain}, "serve fullchain.pem"},
		{
			"a foreign intermediate does not complete it", certs(good, impostor), nil,
			codesList{certmedic.IncompleteChain, certmedic.ChainExtra},
			`without its issuer "Inter"`,
		},
		{"no roots at all trust nothing", certs(good, w.inter), func(o *Options) { o.Roots = nil }, codesList{certmedic.Untrusted}, "an empty set of roots"},
		{
			"all sets of roots have to trust", certs(good, w.inter),
			func(o *Options) { o.Roots = append(o.Roots, Roots{"corp", certtest.Pool(w.other)}) },
			codesList{certmedic.Untrusted},
			"trusted by mozilla, not by corp",
		},
		{
			"a client's certificate is of no use", certs(w.leaf(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), w.inter), nil,
			codesList{certmedic.WrongUsage},
			"lacks serverAuth",
		},
		{
			"an authority for clients may not issue for servers", certs(good, clientInter), nil,
			codesList{certmedic.WrongUsage},
			"above the leaf",
		},
		{"names outside of the constraints", certs(good, boundInter), nil, codesList{certmedic.NameConstraint}, "may not issue for these names"},
	})
}

func TestChainShape(t *testing.T) {
	w := newWorld(t)
	good := w.leaf(t, nil)
	crossed := certtest.Issue(t, w.other, certtest.CA("Root", now), w.root.Key)
	privateInter := certtest.Issue(t, w.other, certtest.CA("Private", now), nil)
	weak := rsaKey(t, 1024)
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	judge(t, w, []chainCase{
		{"the wrong order", certs(good, crossed, w.inter), nil, codesList{certmedic.ChainOrder}, `signed: "Root"`},
		{"a certificate twice", certs(good, w.inter, w.inter), nil, codesList{certmedic.ChainExtra}, "sent twice"},
		{"a certificate that belongs to nothing", certs(good, w.inter, privateInter), nil, codesList{certmedic.ChainExtra}, `"Private" (no path needs it)`},
		{
			"a small RSA key", certs(certtest.Issue(t, w.inter, certtest.Server(now, "shop.example.com"), weak), w.inter), nil,
			codesList{certmedic.WeakKey},
			"the leaf has rsa1024",
		},
		{
			"a small EC key", certs(certtest.Issue(t, w.inter, certtest.Server(now, "shop.example.com"), small), w.inter), nil,
			codesList{certmedic.WeakKey},
			"the leaf has ec224",
		},
		{"a pin of the leaf fits", certs(good, w.inter), func(o *Options) { o.Pins = []string{"sha256/AA==", pin(good.Cert)} }, codesList{}, ""},
		{"a pin of the root fits", certs(good, w.inter), func(o *Options) { o.Pins = []string{pin(w.root.Cert)} }, codesList{}, ""},
		{
			"a pinned certificate that is merely sent along proves nothing", certs(good, w.inter, privateInter),
			func(o *Options) { o.Pins = []string{pin(privateInter.Cert)} },
			codesList{certmedic.PinMismatch, certmedic.ChainExtra},
			pin(good.Cert),
		},
	})
}

func TestChainTellsEverythingAtOnce(t *testing.T) {
	w := newWorld(t)
	weak := rsaKey(t, 1024)
	private := certtest.Issue(t, w.other, certtest.CA("Private", now), nil)
	template := certtest.Server(now, "other.example.com")
	template.NotAfter = now.AddDate(0, 0, -1)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	leaf := certtest.Issue(t, private, template, weak)
	o := w.options()
	o.Pins = []string{"sha256/AA=="}
	got := Chain(certs(leaf, w.inter, private, private), o)
	want := codesList{
		certmedic.Expired, certmedic.NameMismatch, certmedic.Untrusted, certmedic.WrongUsage,
		certmedic.PinMismatch, certmedic.ChainExtra, certmedic.WeakKey,
	}
	if !slices.Equal(codes(got.Findings), want) {
		t.Errorf("findings are %v, want %v", got.Findings, want)
	}
}

func TestExpiringIsCriticalBelowTheCriticalThreshold(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(t, func(c *x509.Certificate) { c.NotAfter = now.Add(50 * time.Hour) })
	got := Chain(certs(leaf, w.inter), w.options()).Findings
	if len(got) != 1 || got[0].Code != certmedic.Expiring || got[0].Severity != certmedic.SeverityCritical {
		t.Errorf("findings are %v, want expiring with severity critical", got)
	}
}

func TestExpiredRootIsNamed(t *testing.T) {
	w := newWorld(t)
	old := certtest.CA("Old Root", now)
	old.NotAfter = now.AddDate(0, 0, -10)
	root := certtest.Issue(t, nil, old, nil)
	leaf := certtest.Issue(t, root, certtest.Server(now, "shop.example.com"), nil)
	o := w.options()
	o.Roots[0].Pool = certtest.Pool(root)
	got := Chain(certs(leaf), o).Findings
	if len(got) != 1 || got[0].Code != certmedic.Expired || !strings.Contains(got[0].Detail, `the root "Old Root" expired 10 days ago`) {
		t.Errorf("findings are %v, want the expired root", got)
	}
}

func TestChainNotAfter(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(t, nil)
	expired := w.leaf(t, func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, 0, -3) })
	early := certtest.CA("Inter", now)
	early.NotAfter = now.AddDate(0, 0, 40)
	inter := certtest.Issue(t, w.root, early, w.inter.Key)
	tests := []struct {
		name  string
		chain []*x509.Certificate
		want  time.Time
	}{
		{"a good chain ends with its leaf", certs(leaf, w.inter), leaf.Cert.NotAfter},
		{"the first of a path to end is its end", certs(leaf, inter), inter.Cert.NotAfter},
		{"the longest of two paths counts", certs(leaf, inter, w.inter), leaf.Cert.NotAfter},
		{"an expired chain keeps its date", certs(expired, w.inter), expired.Cert.NotAfter},
		{"without a path there is none", certs(leaf), time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Chain(tt.chain, w.options()).ChainNotAfter; !got.Equal(tt.want) {
				t.Errorf("the chain ends at %s, want %s", got, tt.want)
			}
		})
	}
}

func TestDetailsEscapeWhatCertificatesHold(t *testing.T) {
	w := newWorld(t)
	evil := "\x1b[31mEvil\u202e\n"
	authority := certtest.Issue(t, w.other, x509.Certificate{
		Subject: pkix.Name{CommonName: evil}, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
	}, nil)
	leaf := certtest.Issue(t, authority, certtest.Server(now, "shop.example.com"), nil)
	for _, chain := range [][]*x509.Certificate{certs(leaf), certs(leaf, authority), certs(w.leaf(t, nil), w.inter, authority)} {
		for _, f := range Chain(chain, w.options()).Findings {
			if strings.ContainsAny(f.Detail, "\x1b\n\u202e") {
				t.Errorf("detail %q holds control characters", f.Detail)
			}
		}
	}
	if got := Facts(authority.Cert).Subject; !strings.Contains(got, "\x1b") {
		t.Errorf("the facts' subject is %q, want it as it is in the certificate", got)
	}
}

func TestManyCertificatesOfOneNameEndSoon(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(t, nil)
	chain := certs(leaf)
	for range 2 * maxSignatureChecks {
		chain = append(chain, certtest.Issue(t, nil, certtest.CA("Inter", now), nil).Cert)
	}
	got := Chain(chain, w.options()).Findings
	if !certmedic.HasFinding(got, certmedic.IncompleteChain) && !certmedic.HasFinding(got, certmedic.Untrusted) {
		t.Errorf("findings are %v, want the chain not to be trusted", codes(got))
	}
	for _, f := range got {
		if len(f.Detail) > 2000 {
			t.Errorf("the detail of %s has %d characters", f.Code, len(f.Detail))
		}
	}
}
