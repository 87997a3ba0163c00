package sslseries

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/crypto/ocsp"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/probe/inspect"
)

// pki is a root, an issuing authority and a leaf with serial number 66.
type pki struct {
	root, issuing *mint.CA
	leaf          mint.Pair
}

func newPKI() pki {
	root := mint.Must(mint.NewCA("Lab Root"))
	issuing := mint.Must(root.Intermediate("Lab Issuing"))
	return pki{root, issuing, mint.Must(issuing.Leaf(leafWith(66)))}
}

func leafWith(serial int64) mint.Leaf {
	return mint.Leaf{CommonName: "shop", Names: []string{"shop.test", "www.shop.test", "192.0.2.1"}, Change: func(c *x509.Certificate) {
		c.SerialNumber = big.NewInt(serial)
		c.NotBefore, c.NotAfter = time.Unix(1000, 0), time.Unix(5_000_000_000, 0)
		c.EmailAddresses = []string{"ops@shop.test"}
		c.Subject = pkix.Name{CommonName: "shop", OrganizationalUnit: []string{"web"}}
	}}
}

func (p pki) facts() Facts {
	return Facts{
		Success: true, Prober: "tcp", Version: "TLS 1.3", Certs: p.leaf.Chain, Now: time.Now(),
		Roots: []inspect.Roots{{Name: "lab", Pool: p.root.Pool()}},
	}
}

// staple returns a response about the leaf, signed by the authority.
func (p pki) staple(signer *mint.CA, response ocsp.Response) []byte {
	response.SerialNumber = p.leaf.Cert.SerialNumber
	return mint.Must(ocsp.CreateResponse(signer.Cert, signer.Cert, response, signer.Key))
}

func text(t *testing.T, f Facts) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	Register(registry, f)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&b, family); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// wants fails for each line that the text lacks, and for each that begins with "!" and
// that it has. A line may be the beginning of one.
func wants(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		not := strings.HasPrefix(line, "!")
		line = strings.TrimPrefix(line, "!")
		if has := strings.Contains("\n"+text, "\n"+line); has == not {
			t.Errorf("%q is there: %t, in\n%s", line, has, text)
		}
	}
}

const labels = `cn="shop",dnsnames=",shop.test,www.shop.test,",emails=",ops@shop.test,",ips=",192.0.2.1,",issuer_cn="Lab Issuing",ou=",web,",serial_no="66"`

func TestSeriesOfAGoodChain(t *testing.T) {
	p := newPKI()
	wants(
		t, text(t, p.facts()),
		"# HELP ssl_probe_success If the probe was a success\n", "ssl_probe_success 1\n", `ssl_prober{prober="tcp"} 1`+"\n",
		`ssl_tls_version_info{version="TLS 1.3"} 1`+"\n",
		"ssl_cert_not_after{"+labels+"} 5e+09\n", "ssl_cert_not_before{"+labels+"} 1000\n",
		`ssl_cert_not_after{cn="Lab Issuing",dnsnames="",emails="",ips="",issuer_cn="Lab Root",ou="",`,
		`ssl_verified_cert_not_after{chain_no="0",`+labels+"} 5e+09\n",
		`ssl_verified_cert_not_before{chain_no="0",cn="Lab Root",`,
		"ssl_ocsp_response_stapled 0\n", "!ssl_ocsp_response_status", "!ssl_ocsp_response_next_update",
	)
}

func TestSeriesOfABadChain(t *testing.T) {
	p := newPKI()
	f := p.facts()
	f.Success, f.Roots = false, nil
	wants(t, text(t, f), "ssl_probe_success 0\n", "ssl_cert_not_after{"+labels+"}", "!ssl_verified_cert_not_after{")
	wants(t, text(t, Facts{Prober: "tcp"}), "ssl_probe_success 0\n", `ssl_prober{prober="tcp"} 1`, "!ssl_cert", "!ssl_tls", "!ssl_ocsp")
}

func TestTwoCertificatesOfOneSerialNumberStayTwo(t *testing.T) {
	p := newPKI()
	other := leafWith(66)
	change := other.Change
	other.Change = func(c *x509.Certificate) {
		change(c)
		c.Subject.CommonName = "other"
	}
	f := p.facts()
	f.Certs = append(f.Certs, mint.Must(p.issuing.Leaf(other)).Cert)
	wants(t, text(t, f), `ssl_cert_not_after{cn="shop",`, `ssl_cert_not_after{cn="other",`)

	sooner := leafWith(66)
	sooner.Change = func(c *x509.Certificate) {
		change(c)
		c.NotAfter = time.Unix(4_000_000_000, 0)
	}
	f.Certs = append(f.Certs, mint.Must(p.issuing.Leaf(sooner)).Cert)
	wants(t, text(t, f), "ssl_cert_not_after{"+labels+"} 4e+09\n")
}

func TestVerifiedPathsAreOrderedByTheirEnd(t *testing.T) {
	p := newPKI()
	old := mint.Must(mint.NewCA("Old Root", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }))
	f := p.facts()
	f.Certs = append(f.Certs, mint.Must(old.CrossSign(p.root)))
	f.Roots[0].Pool.AddCert(old.Cert)
	wants(t, text(t, f), `ssl_verified_cert_not_after{chain_no="0",cn="Lab Root",`, `ssl_verified_cert_not_after{chain_no="1",cn="Old Root",`)
}

func TestStaples(t *testing.T) {
	p := newPKI()
	nobody := mint.Must(mint.NewCA("Lab Issuing"))
	from, until := time.Unix(1_700_000_000, 0), time.Unix(1_700_090_000, 0)
	for _, row := range []struct {
		about  string
		staple []byte
		lines  []string
	}{
		{
			"a good answer", p.staple(p.issuing, ocsp.Response{Status: ocsp.Good, ThisUpdate: from, NextUpdate: until}),
			[]string{
				"ssl_ocsp_response_stapled 1\n", "ssl_ocsp_response_status 0\n", "ssl_ocsp_response_this_update 1.7e+09\n",
				"ssl_ocsp_response_next_update 1.70009e+09\n", "ssl_ocsp_response_produced_at ", "!ssl_ocsp_response_revoked_at",
			},
		},
		{
			"an answer without an end", p.staple(p.issuing, ocsp.Response{Status: ocsp.Good, ThisUpdate: from}),
			[]string{"ssl_ocsp_response_status 0\n", "!ssl_ocsp_response_next_update"},
		},
		{
			"a revoked leaf", p.staple(p.issuing, ocsp.Response{Status: ocsp.Revoked, ThisUpdate: from, RevokedAt: from}),
			[]string{"ssl_ocsp_response_status 1\n", "ssl_ocsp_response_revoked_at 1.7e+09\n"},
		},
		{
			"an answer that somebody else signed", p.staple(nobody, ocsp.Response{Status: ocsp.Good, ThisUpdate: from}),
			[]string{"ssl_ocsp_response_stapled 1\n", "!ssl_ocsp_response_status"},
		},
		{"garbage", []byte("good"), []string{"ssl_ocsp_response_stapled 1\n", "!ssl_ocsp_response_status"}},
	} {
		t.Run(row.about, func(t *testing.T) {
			f := p.facts()
			f.Staple = row.staple
			wants(t, text(t, f), row.lines...)
		})
	}
}
