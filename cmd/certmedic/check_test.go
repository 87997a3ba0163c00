package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/check"
	"github.com/certmedic/certmedic/probe/inspect"
)

// resultOf is a result with one address that serves a leaf with 30 of 90 days left.
func resultOf(target string, findings ...certmedic.Finding) check.Result {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	return check.Result{
		Target: target, Time: now, Status: certmedic.StatusOf(findings...),
		Addresses: []certmedic.AddressObservation{{
			Address: "192.0.2.1:443", Findings: findings,
			Chain: []certmedic.CertFacts{{
				Issuer: `CN=R11,O=Let's Encrypt,C=US`, DNSNames: []string{target}, KeyType: "ec256",
				NotBefore: now.AddDate(0, 0, -60), NotAfter: now.AddDate(0, 0, 30),
			}},
		}},
	}
}

func TestTextOnATerminal(t *testing.T) {
	var out strings.Builder
	report := &textReport{out: &out, style: style{signs: true, colour: true}}
	if err := report.add(resultOf("shop.test", certmedic.NewFinding(certmedic.Expiring, "expires in 30 days"))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\x1b[33m▲\x1b[0m \x1b[1mshop.test\x1b[0m  \x1b[33mwarning\x1b[0m\n",
		"R11 (Let's Encrypt)\n",
		"until 2026-12-22 10:00 UTC, 30 days left (33%)  \x1b[33m▰▰▰▰\x1b[0m\x1b[2m▱▱▱▱▱▱\x1b[0m\n",
		"→ renew the certificate",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
}

func TestTextLetsNoStringForgeALine(t *testing.T) {
	var out strings.Builder
	r := resultOf("shop.test\n  critical  forged", certmedic.NewFinding(certmedic.Drift, "\x1b[2J\nok        forged"))
	r.Addresses[0].Chain[0].Issuer = "CN=a\x1b]0;title\x07\nok        forged"
	r.Addresses[0].Chain[0].DNSNames = []string{"a\nok        forged"}
	if err := (&textReport{out: &out}).add(r); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\x07") || strings.Contains(out.String(), "\nok  ") || strings.Contains(out.String(), "\n  critical  forged") {
		t.Errorf("something passed:\n%q", out.String())
	}
}

func TestIssuerOf(t *testing.T) {
	for _, row := range []struct{ about, dn, want string }{
		{"name and organisation", "CN=R11,O=Let's Encrypt,C=US", "R11 (Let's Encrypt)"},
		{"no organisation", "CN=Lab Issuing", "Lab Issuing"},
		{"no common name", "O=Corp,C=DE", "O=Corp,C=DE"},
		{"an escaped comma", `CN=Corp\, Inc.,O=Corp\+Co`, "Corp, Inc. (Corp+Co)"},
		{"an attribute inside of a value", `OU=x\,CN=forged,CN=real`, "real"},
		{"several attributes in one part", "OU=x+CN=real", "real"},
		{"an escape at the end", `CN=odd\`, `odd\`},
		{"nothing", "", ""},
	} {
		if got := issuerOf(row.dn); got != row.want {
			t.Errorf("%s: %q is shown as %q, want %q", row.about, row.dn, got, row.want)
		}
	}
}

func TestNagiosKeepsTextAndDataApart(t *testing.T) {
	var out strings.Builder
	report := &nagiosReport{out: &out}
	for range 12 {
		if err := report.add(resultOf("it's=a|b", certmedic.NewFinding(certmedic.Drift, "one | two\nthree"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := report.end(); err != nil {
		t.Fatal(err)
	}
	line := out.String()
	if strings.Count(line, "|") != 1 || strings.Count(line, "\n") != 1 {
		t.Errorf("the line is %q", line)
	}
	for _, want := range []string{"WARNING - 12 warning: it's=a/b: one / two three; ", "; and 2 more | ", "'it''s_a/b'=2592000s;;"} {
		if !strings.Contains(line, want) {
			t.Errorf("there is no %q in %q", want, line)
		}
	}
}

func TestProgressStepsAside(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, total: 3}
	p.count(resultOf("a.test", certmedic.NewFinding(certmedic.Expired, "expired")))
	broken := errors.New("broken pipe")
	if err := p.aside(func() error { out.WriteString("RESULT"); return broken }); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	p.erase()
	p.count(resultOf("b.test"))
	if want := "\r\x1b[K1/3 checked, 1 critical\r\x1b[KRESULT"; out.String() != want {
		t.Errorf("the terminal got %q, want %q", out.String(), want)
	}
}

func TestEveryFindingHasAdviceOrSaysItAll(t *testing.T) {
	selfEvident := []certmedic.FindingCode{
		certmedic.HTTPStatus, certmedic.NoSCT, certmedic.RevocationUnknown,
	}
	without := map[certmedic.FindingCode]bool{}
	for _, code := range selfEvident {
		without[code] = true
	}
	for _, code := range certmedic.FindingCodes() {
		if got := advice(certmedic.NewFinding(code, "")); (got == "") != without[code] {
			t.Errorf("the advice on %s is %q", code, got)
		}
	}
	behind := certmedic.NewFinding(certmedic.Drift, "a serves b, stored is c: "+inspect.NewerServed)
	if got := advice(behind); strings.Contains(got, "reload") || !strings.Contains(got, "behind") {
		t.Errorf("the advice on a source that is behind is %q", got)
	}
}
