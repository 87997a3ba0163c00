package protocols_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

// TestWeb is about what a client is told beside the certificate: nginx in the ways of
// testdata/services/etc/nginx/web.conf, haproxy that demands client certificates, and OpenSSL's command line as the CA's office,
// which knows one certificate that is good and one that was revoked.
func TestWeb(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.boot("services")
	h.openOffice()
	h.must("ln -s ../web.conf /etc/nginx/conf.d/")
	h.start("haproxy", "nginx", "ocsp")
	h.awaitPorts("80", "8445", "4437", "8888")

	client := []string{"--cert", tlsDir + "/client.pem", "--cert-key", tlsDir + "/client.key"}
	two := []string{"--resolve", "services:4432:127.0.0.2", "--resolve", "services:4432:127.0.0.3"}
	for _, row := range []struct {
		about, target string
		flags         []string
		code          int
		want          []string // what the findings say; none: there are none
	}{
		{"a client certificate is demanded", "https://services:8445", nil, 0, []string{"client_certificate_required: "}},
		{"a client certificate is given", "https://services:8445", client, 0, nil},
		{"two addresses differ", "services:4432", two, 1, []string{"split_serving: ", "127.0.0.2:4432", "127.0.0.3:4432", fingerprint(h.ecdsa).Short(), fingerprint(h.rsa).Short()}},
		{"the revocation list does not have it", "services:4433", nil, 0, nil},
		{"the revocation list has it", "services:4434", nil, 2, []string{"revoked: "}},
		{"revocation is not looked at", "services:4434", []string{"--revocation", "off"}, 0, nil},
		{"the responder says that it is good", "services:4433", []string{"--revocation", "ocsp"}, 0, nil},
		{"the responder says that it was revoked", "services:4434", []string{"--revocation", "ocsp"}, 2, []string{"revoked: ", `"http://services:8888"`}},
		{"a good staple", "services:4435", []string{"--revocation", "staple"}, 0, nil},
		{"a staple that tells of a revocation", "services:4436", []string{"--revocation", "staple"}, 2, []string{"revoked: "}},
		{"the intermediate is missing", "services:4437", nil, 2, []string{"incomplete_chain: ", "fullchain.pem"}},
		{"the intermediate is missing and may be fetched", "services:4437", []string{"--aia"}, 2, []string{"incomplete_chain: ", "fullchain.pem", "Test Issuing"}},
	} {
		t.Run(row.about, func(t *testing.T) {
			results, code := h.check(t, append(row.flags, row.target)...)
			got := findings(results[row.target])
			if code != row.code || len(row.want) == 0 && got != "" {
				t.Errorf("the exit code is %d, want %d, with the findings\n%s", code, row.code, got)
			}
			for _, want := range row.want {
				if !strings.Contains(got, want) {
					t.Errorf("the findings do not say %q:\n%s", want, got)
				}
			}
			for _, a := range results[row.target].Addresses {
				if !a.Reached() {
					t.Errorf("%s: there are no facts: %+v", a.Address, a.Error)
				}
			}
		})
	}
	t.Run("what was stapled is shown", func(t *testing.T) { testStapled(t, h) })
	t.Run("keystores", func(t *testing.T) { testKeystores(t, h) })
}

// openOffice makes the certificates that the CA has something to say about, and has it
// say that: a revocation list on nginx, responses to staple, and a responder's database.
func (h *host) openOffice() {
	h.world.t.Helper()
	leaf := mint.Leaf{Names: []string{"services"}, Change: func(c *x509.Certificate) {
		c.CRLDistributionPoints = []string{"http://services/issuing.crl"}
		c.OCSPServer = []string{"http://services:8888"}
		c.IssuingCertificateURL = []string{"http://services/issuing.der"}
	}}
	good, revoked := h.issue("good", leaf), h.issue("revoked", leaf)
	h.issue("client", mint.Leaf{CommonName: "client", Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	h.WriteFile(tlsDir+"/leaf.pem", good.CertPEM(), 0o644) // without the chain
	h.WriteFile(tlsDir+"/issuing.pem", h.world.issuing.PEM(), 0o644)
	h.WriteFile(tlsDir+"/issuing.key", mint.Must(mint.KeyPEM(h.world.issuing.Key)), 0o600)
	h.WriteFile("/var/www/html/issuing.der", h.world.issuing.Cert.Raw, 0o644)
	const layout = "060102150405Z"
	h.WriteFile(tlsDir+"/index.txt", fmt.Appendf(nil, "V\t%s\t\t%s\tunknown\t/\nR\t%s\t%s,keyCompromise\t%s\tunknown\t/\n",
		good.Cert.NotAfter.UTC().Format(layout), serial(good),
		revoked.Cert.NotAfter.UTC().Format(layout), time.Now().UTC().Add(-time.Minute).Format(layout), serial(revoked)), 0o644)
	h.must(`cd /etc/tls
		openssl ca -config ca.cnf -gencrl 2>/dev/null | openssl crl -outform DER -out /var/www/html/issuing.crl
		for name in good revoked; do
			openssl ocsp -index index.txt -CA issuing.pem -rsigner issuing.pem -rkey issuing.key -issuer issuing.pem \
				-cert $name.pem -ndays 7 -no_nonce -respout $name.ocsp >/dev/null 2>&1
		done`)
}

// serial returns a certificate's number in the form of OpenSSL's database.
func serial(pair mint.Pair) string {
	hex := fmt.Sprintf("%X", pair.Cert.SerialNumber)
	if len(hex)%2 == 1 {
		hex = "0" + hex
	}
	return hex
}

func testStapled(t *testing.T, h *host) {
	results, _ := h.check(t, "services:4435", "services:4436", "services:4433", "--revocation", "staple")
	for target, want := range map[string]string{"services:4435": "good", "services:4436": "revoked", "services:4433": ""} {
		for _, a := range results[target].Addresses {
			got := certmedic.OCSPFacts{}
			if a.OCSP != nil {
				got = *a.OCSP
			}
			if got.Status != want || got.Stapled != (want != "") {
				t.Errorf("%s: the staple is shown as %+v, want status %q", target, got, want)
			}
		}
	}
}

// testKeystores reads what OpenSSL makes of a certificate with its key: today, and in
// the ciphers that Windows and Java wrote for decades.
func testKeystores(t *testing.T, h *host) {
	h.must(`cd /etc/tls && (umask 077 && echo secret >passphrase)
		openssl pkcs12 -export -in rsa.pem -inkey rsa.key -passout file:passphrase -out today.p12
		openssl pkcs12 -export -legacy -in rsa.pem -inkey rsa.key -passout file:passphrase -out old.p12`)
	for _, path := range []string{tlsDir + "/today.p12", tlsDir + "/old.p12"} {
		results, code := h.check(t, path, "--name", h.Name(), "--passphrase-file", tlsDir+"/passphrase")
		if code != 0 || findings(results[path]) != "" {
			t.Errorf("%s: the exit code is %d, with the findings\n%s", path, code, findings(results[path]))
		}
		expectServed(t, results[path], h, rsaOnly)
	}
}
