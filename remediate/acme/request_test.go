package acme_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/remediate/acme"
)

// TestRequestsThatCannotBe are refused before anything is asked or written.
func TestRequestsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		change func(*acme.Request)
		words  string
	}{
		{"a directory without TLS", func(r *acme.Request) { r.Directory = "http://ca.test/dir" }, "no https URL"},
		{"no names", func(r *acme.Request) { r.Names = nil }, "0 names"},
		{"too many names", func(r *acme.Request) {
			for i := range 101 {
				r.Names = append(r.Names, fmt.Sprintf("n%d.shop.test", i))
			}
		}, "102 names"},
		{"a name of one label", func(r *acme.Request) { r.Names = []string{"localhost"} }, `"localhost" is neither`},
		{"a name with an underscore", func(r *acme.Request) { r.Names = []string{"_x.shop.test"} }, `"_x.shop.test"`},
		{"a star within a name", func(r *acme.Request) { r.Names = []string{"a.*.shop.test"} }, `"a.*.shop.test"`},
		{"a path as a name", func(r *acme.Request) { r.Names = []string{"../shop.test"} }, `"../shop.test"`},
		{"an address with a zone", func(r *acme.Request) { r.Names = []string{"fe80::1%eth0"} }, "zone"},
		{"a wildcard by http-01", func(r *acme.Request) { r.Names = []string{"*.shop.test"} }, "dns-01 only"},
		{"an address by dns-01", func(r *acme.Request) {
			r.Names, r.Challenge = []string{"192.0.2.1"}, acme.Challenge{DNS01: &acme.DNS01{Provider: "exec"}}
		}, "cannot be validated by dns-01"},
		{"no challenge", func(r *acme.Request) { r.Challenge = acme.Challenge{} }, "0 ways"},
		{"two challenges", func(r *acme.Request) { r.Challenge.TLSALPN01 = &acme.TLSALPN01{} }, "2 ways"},
		{"an unknown provider", func(r *acme.Request) { r.Challenge = acme.Challenge{DNS01: &acme.DNS01{Provider: "manual"}} }, `"manual" is none`},
		{"a key type that CAs do not take", func(r *acme.Request) { r.KeyType = "ed25519" }, `"ed25519" is none`},
		{"a relative work folder", func(r *acme.Request) { r.Work = "work" }, "absolute"},
		{"a relative folder of accounts", func(r *acme.Request) { r.Account.Dir = "accounts" }, "absolute"},
		{"a relative webroot", func(r *acme.Request) { r.Challenge.HTTP01.Webroot = "www" }, "absolute"},
	} {
		dir := t.TempDir()
		r := acme.Request{
			Directory: "https://127.0.0.1:1/dir", Names: []string{"shop.test"}, KeyType: "ec256", Account: acme.Account{Dir: filepath.Join(dir, "accounts")},
			Challenge: acme.Challenge{HTTP01: &acme.HTTP01{Listen: "127.0.0.1:0"}}, Work: filepath.Join(dir, "work"),
		}
		tt.change(&r)
		_, err := acme.Obtain(t.Context(), r, new(bytes.Buffer))
		var told *acme.Error
		if !errors.As(err, &told) || told.Kind != acme.KindInvalid || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v", tt.about, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: there is %v, %v", tt.about, entries, err)
		}
	}
}

// TestOnThisHost shows what is found out before an order is placed.
func TestOnThisHost(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, false)
	for _, tt := range []struct {
		about  string
		change func(*acme.Request)
		kind   acme.Kind
		words  string
	}{
		{"a profile that the CA does not have", func(r *acme.Request) { r.Profile = "tlsserver" }, acme.KindInvalid, `offers ["classic" "short"]`},
		{"a webroot that is not there", func(r *acme.Request) { r.Challenge.HTTP01.Webroot = "/nowhere/at/all" }, acme.KindInvalid, "/nowhere/at/all"},
		{"roots that are not there", func(r *acme.Request) { r.CAFile = "/nowhere/ca.pem" }, acme.KindInvalid, "/nowhere/ca.pem"},
		{"roots of somebody else", func(r *acme.Request) { r.CAFile = "" }, acme.KindUnreachable, "certificate"},
		{"a CA that is not there", func(r *acme.Request) { r.Directory = "https://127.0.0.1:1/dir" }, acme.KindUnreachable, "refused"},
		{"a certificate to replace that is not there", func(r *acme.Request) { r.Replaces = "/nowhere/cert.pem" }, acme.KindInvalid, "/nowhere/cert.pem"},
		{"settings of a provider that others may read", func(r *acme.Request) {
			file := filepath.Join(filepath.Dir(r.Work), "env")
			must(t, os.WriteFile(file, []byte("EXEC_PATH=/bin/true\n"), 0o644))
			r.Challenge = acme.Challenge{DNS01: &acme.DNS01{Provider: "exec", EnvFile: file}}
		}, acme.KindInvalid, "may be read by others"},
		{"a provider without its settings", func(r *acme.Request) {
			r.Challenge = acme.Challenge{DNS01: &acme.DNS01{Provider: "pdns"}}
		}, acme.KindInvalid, "PDNS_API_KEY"},
	} {
		r := a.request(t, "shop.test")
		tt.change(&r)
		t.Run(tt.about, func(t *testing.T) { wantError(t, r, tt.kind, tt.words) })
	}
	if a.placed() != 0 {
		t.Errorf("%d orders were placed", a.placed())
	}
}

func TestProviders(t *testing.T) {
	if all := acme.Providers(); !slices.IsSorted(all) || !slices.Contains(all, "rfc2136") || len(all) != 11 {
		t.Errorf("providers %q", all)
	}
}
