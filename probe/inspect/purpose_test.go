package inspect

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

func TestPurposes(t *testing.T) {
	w := newWorld(t)
	client := func(edit func(*x509.Certificate)) *certtest.Pair {
		template := certtest.Server(now)
		template.Subject = pkix.Name{CommonName: "admin"}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		if edit != nil {
			edit(&template)
		}
		return certtest.Issue(t, w.inter, template, nil)
	}
	forClients := func(o *Options) { o.Purpose, o.Roots, o.ServerName = PurposeClient, nil, "" }
	forClientsOf := func(p *certtest.Pair) func(*Options) {
		return func(o *Options) {
			forClients(o)
			o.Roots = []Roots{{Name: "corp", Pool: certtest.Pool(p)}}
		}
	}
	authority := func(o *Options) { o.Purpose, o.Roots, o.ServerName = PurposeAuthority, nil, "" }
	ending := func(c *x509.Certificate) { c.NotAfter = days(2) }
	endingCA := certtest.CA("Ending", now)
	endingCA.NotAfter = days(100)
	small := certtest.Issue(t, nil, certtest.CA("Small", now), rsaKey(t, 1024))
	sha1 := certtest.CA("SHA-1", now)
	sha1.SignatureAlgorithm = x509.ECDSAWithSHA1
	judge(t, w, []chainCase{
		{"a client's certificate is fine without a path to any root", certs(client(nil)), forClients, codesList{}, ""},
		{"a client's certificate that ends soon", certs(client(ending)), forClients, codesList{certmedic.Expiring}, ""},
		{"a client's certificate that has ended", certs(client(func(c *x509.Certificate) { c.NotAfter = days(-2) })), forClients, codesList{certmedic.Expired}, ""},
		{"a server's certificate is no client's", certs(w.leaf(t, nil), w.inter), forClients, codesList{certmedic.WrongUsage}, "not made for clients: its extended key usage lacks clientAuth"},
		{"a client's certificate is no server's", certs(client(nil), w.inter), func(o *Options) { o.ServerName = "" }, codesList{certmedic.WrongUsage}, "not made for servers"},
		{"roots that are named judge clients, too", certs(client(nil), w.inter), forClientsOf(w.other), codesList{certmedic.Untrusted}, "not trusted by corp"},
		{"and find a client's path", certs(client(nil), w.inter), forClientsOf(w.root), codesList{}, ""},
		{"an authority is fine for being kept", certs(w.root), authority, codesList{}, ""},
		{"an authority that ends soon", certs(certtest.Issue(t, nil, endingCA, nil)), authority, codesList{certmedic.Expiring}, ""},
		{"an authority with a weak key", certs(small), authority, codesList{certmedic.WeakKey}, `the authority "Small" has rsa1024`},
		{"an authority that signed itself with SHA-1 proves nothing by that", certs(certtest.Issue(t, nil, sha1, nil)), authority, codesList{}, ""},
	})
}

func TestIsAuthority(t *testing.T) {
	ca := func(name string, edit func(*x509.Certificate)) x509.Certificate {
		template := certtest.CA(name, now)
		if edit != nil {
			edit(&template)
		}
		return template
	}
	noUsage := func(c *x509.Certificate) { c.KeyUsage = 0 }
	for _, row := range []struct {
		about    string
		template x509.Certificate
		want     bool
	}{
		{"a root", ca("Corp Root", nil), true},
		{"a root without a key usage, as OpenSSL makes them", ca("Corp Root", noUsage), true},
		{"what OpenSSL makes for a host", ca("shop.example.com", noUsage), false},
		{"an authority that is a server, too", ca("Corp", func(c *x509.Certificate) { c.DNSNames = []string{"corp.example.com"} }), false},
		{"one that may not sign certificates", ca("Corp", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), false},
		{"a server", certtest.Server(now, "shop.example.com"), false},
	} {
		if got := IsAuthority(certtest.Issue(t, nil, row.template, nil).Cert); got != row.want {
			t.Errorf("%s: %t", row.about, got)
		}
	}
}

func TestLeavesBehindTheirAuthority(t *testing.T) {
	w := newWorld(t)
	good := w.leaf(t, nil)
	stranger := certtest.Issue(t, w.other, certtest.Server(now, "shop.example.com"), nil)
	judge(t, w, []chainCase{
		{"clients take the intermediate", certs(w.inter, good), nil, codesList{certmedic.NameMismatch, certmedic.ChainOrder}, `the leaf for "shop.example.com" has to stand before it`},
		{"clients take the root", certs(w.root, w.inter, good), nil, codesList{certmedic.NameMismatch, certmedic.ChainOrder}, `that of the authority "Root", which is for no name`},
	})
	for _, row := range []struct {
		about       string
		chain, want []*x509.Certificate
		moved       bool
	}{
		{"a sound chain", certs(good, w.inter), certs(good, w.inter), false},
		{"upside down", certs(w.root, w.inter, good), certs(good, w.inter, w.root), true},
		{"with something else", certs(w.inter, w.other, good), certs(good, w.inter, w.other), true},
		{"a leaf of somebody else", certs(w.inter, stranger), certs(w.inter, stranger), false},
		{"authorities only", certs(w.root, w.inter), certs(w.root, w.inter), false},
		{"nothing", nil, nil, false},
	} {
		got, moved := LeafFirst(row.chain)
		if moved != row.moved || !sameChain(got, row.want) {
			t.Errorf("%s: moved %t", row.about, moved)
		}
	}
}

func sameChain(a, b []*x509.Certificate) bool {
	for i := range a {
		if len(a) != len(b) || !a[i].Equal(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// A signature that does not verify is told as that where the issuer is there.
func TestAlteredCertificates(t *testing.T) {
	w := newWorld(t)
	good := w.leaf(t, nil)
	altered := patched(t, good, []byte("shop.example.com"), []byte("sh0p.example.com"))
	judge(t, w, []chainCase{
		{"an altered leaf", certs(altered, w.inter), func(o *Options) { o.ServerName = "" }, codesList{certmedic.Untrusted}, `the signature of the leaf does not verify with the key of its issuer "Inter"`},
		{"an altered intermediate", certs(good, patched(t, w.inter, w.inter.Cert.SerialNumber.Bytes(), flipped(w.inter.Cert.SerialNumber.Bytes())), w.root), nil, codesList{certmedic.Untrusted}, `the signature of the intermediate "Inter" does not verify`},
	})
}

func flipped(b []byte) []byte {
	out := append([]byte{}, b...)
	out[len(out)-1] ^= 1
	return out
}
