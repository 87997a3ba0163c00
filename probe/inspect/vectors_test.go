package inspect

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Netflix/bettertls/test-suites/certutil"
	"github.com/Netflix/bettertls/test-suites/nameconstraints"
	"github.com/Netflix/bettertls/test-suites/pathbuilding"
	bettertls "github.com/Netflix/bettertls/test-suites/test-case"

	"github.com/certmedic/certmedic"
)

// trusts reports whether a chain has no finding that makes clients refuse it.
func trusts(findings []certmedic.Finding) bool {
	for _, f := range findings {
		if f.Severity == certmedic.SeverityCritical {
			return false
		}
	}
	return true
}

// TestBetterTLS runs Netflix's vectors. Every hard expectation is met, and there is no
// exception. Soft ones, where clients differ, fall to the strict side: a violated
// constraint of any name in the certificate counts, and the common name is no name.
// CERTMEDIC_CHAOS=1 runs all name constraints instead of one in twenty.
func TestBetterTLS(t *testing.T) {
	root, key, err := certutil.GenerateSelfSignedCert("bettertls_trust_root")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for provider, share := range map[bettertls.TestCaseProvider]float64{
		pathbuilding.NewTestCaseProvider(): 1, nameconstraints.NewTestCaseProvider(): 0.05,
	} {
		t.Run(provider.Name(), func(t *testing.T) {
			total, err := provider.GetTestCaseCount()
			if err != nil || total < 50 {
				t.Fatalf("there are %d cases, %v", total, err)
			}
			if os.Getenv("CERTMEDIC_CHAOS") != "" {
				share = 1
			}
			sample := rand.New(rand.NewPCG(1, 2))
			for i := range total {
				if sample.Float64() < share {
					runBetterTLS(t, provider, i, Options{Roots: []Roots{{Name: "bettertls", Pool: pool}}}, key, root)
				}
			}
		})
	}
}

func runBetterTLS(t *testing.T, provider bettertls.TestCaseProvider, index uint, o Options, key crypto.Signer, root *x509.Certificate) {
	t.Helper()
	test, err := provider.GetTestCase(index)
	if err != nil {
		t.Fatal(err)
	}
	made, err := test.GetCertificates(root, key)
	if err != nil {
		t.Fatal(err)
	}
	var chain []*x509.Certificate
	for _, der := range made.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			// A certificate that cannot be parsed is not_a_certificate, critical as well.
			if test.ExpectedResult() == bettertls.EXPECTED_RESULT_PASS {
				t.Errorf("case %d: %v", index, err)
			}
			return
		}
		chain = append(chain, c)
	}
	o.Now, o.ServerName = time.Now(), test.GetHostname()
	got := Chain(chain, o).Findings
	want := test.ExpectedResult() == bettertls.EXPECTED_RESULT_PASS || test.ExpectedResult() == bettertls.EXPECTED_RESULT_SOFT_PASS
	if trusts(got) != want {
		t.Errorf("case %d: findings are %v, want %v", index, got, test.ExpectedResult())
	}
}

// vector is one of NIST's PKITS, in the form of Go's source tree.
type vector struct {
	Name                        string
	CertPath                    []string
	InitialPolicySet            []string
	InitialPolicyMappingInhibit bool
	InitialExplicitPolicy       bool
	InitialAnyPolicyInhibit     bool
	ShouldValidate              bool
}

// exception says why a vector of PKITS is judged otherwise: another subject, or another
// expectation of TLS clients.
func (v vector) exception() string {
	number, rest, _ := strings.Cut(v.Name, " ")
	if _, part, ok := strings.Cut(rest, "(Subpart "); ok {
		number += "/" + strings.TrimSuffix(part, ")")
	}
	for why, numbers := range exceptions() {
		if slices.Contains(strings.Fields(numbers), number) {
			return why
		}
	}
	return ""
}

// exceptions returns the reasons to judge vectors otherwise, each with their numbers in
// PKITS, and after a slash their subpart.
func exceptions() map[string]string {
	return map[string]string{
		"crypto/x509 verifies no DSA signatures, nor does TLS 1.3 know any":                                   "4.1.4 4.1.5",
		"crypto/x509 compares names byte by byte; RFC 5280 section 4.1.2.6 has authorities encode them alike": "4.3.3 4.3.4 4.3.5 4.3.10 4.3.11",
		"revocation is not judged here but by package revocation": `4.4.1 4.4.2 4.4.3 4.4.4 4.4.5 4.4.6 4.4.8 4.4.9 4.4.10 4.4.11 4.4.12 4.4.18 4.4.20 4.4.21
			4.5.2 4.5.5 4.5.7 4.7.4 4.7.5
			4.14.2 4.14.3 4.14.8 4.14.9 4.14.11 4.14.12 4.14.14 4.14.15 4.14.16 4.14.17 4.14.20 4.14.21 4.14.23 4.14.26 4.14.27 4.14.31 4.14.32 4.14.34 4.14.35
			4.15.1 4.15.3 4.15.4 4.15.6 4.15.9 4.15.10`,
		"crypto/x509 counts self-issued intermediates for the path length":                                "4.6.15 4.6.17",
		"clients of TLS ask for no policies, and forbid none":                                             "4.8.1/3 4.8.2/2 4.8.3/2 4.8.3/3 4.8.6/3 4.8.14/2 4.10.1.2/2 4.10.1.3/3 4.10.3/1 4.10.5/2 4.10.6/2 4.10.13/3 4.12.3/2",
		"crypto/x509 cannot check critical constraints on directory names, and refuses them":              "4.13.1 4.13.4 4.13.5 4.13.6 4.13.11 4.13.14 4.13.18 4.13.19 4.13.27",
		"crypto/x509 applies constraints on hosts of mail addresses and URIs to the hosts below them too": "4.13.24 4.13.25 4.13.36",
		"crypto/x509 does not parse CRL distribution points that are relative to their issuer":            "4.14.4 4.14.5 4.14.29",
	}
}

// TestPKITS runs NIST's vectors of RFC 5280. Valid means here that there is no critical
// finding. Those that are judged otherwise are listed, each with its reason.
func TestPKITS(t *testing.T) {
	folder := pkits(t)
	data, err := os.ReadFile(filepath.Join(folder, "vectors.json"))
	if err != nil {
		t.Skipf("Go's source tree has no PKITS: %v", err)
	}
	var vectors []vector
	if err := json.Unmarshal(data, &vectors); err != nil || len(vectors) < 200 {
		t.Fatalf("there are %d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			got, ok := v.findings(t, folder)
			ok = ok && trusts(got)
			why := v.exception()
			if ok != v.ShouldValidate && why == "" {
				t.Errorf("findings are %v, want trusted to be %v", got, v.ShouldValidate)
			}
			if ok == v.ShouldValidate && why != "" {
				t.Errorf("agrees; the exception is not needed: %s", why)
			}
		})
	}
}

func pkits(t *testing.T) string {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skipf("asking for Go's source tree: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "src", "crypto", "x509", "testdata", "nist-pkits")
}

// findings judges the vector's path, and says false where a certificate cannot be parsed.
func (v vector) findings(t *testing.T, folder string) ([]certmedic.Finding, bool) {
	var chain []*x509.Certificate
	for _, name := range v.CertPath {
		der, err := os.ReadFile(filepath.Join(folder, "certs", name))
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Log(err)
			return nil, false
		}
		chain = append([]*x509.Certificate{c}, chain...)
	}
	anchor := chain[len(chain)-1]
	pool := x509.NewCertPool()
	pool.AddCert(anchor)
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	return Chain(chain[:len(chain)-1], Options{Now: at, Roots: []Roots{{Name: "NIST", Pool: pool}}}).Findings, true
}
