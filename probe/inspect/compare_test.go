package inspect

import (
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
)

// facts are a leaf's facts, with its digest, its type of key and the day it begins.
func facts(sha256, key string, begins int) certmedic.CertFacts {
	return certmedic.CertFacts{SHA256: certmedic.Fingerprint(sha256), KeyType: key, NotBefore: days(begins), NotAfter: days(begins + 90)}
}

func observed(address, name string, leaf certmedic.CertFacts) certmedic.AddressObservation {
	return certmedic.AddressObservation{Address: address, ServerName: name, Chain: []certmedic.CertFacts{leaf}}
}

func inVariant(v certmedic.Variant, a certmedic.AddressObservation) certmedic.AddressObservation {
	a.Variant = v
	return a
}

const (
	first  = "192.0.2.1:443"
	second = "192.0.2.2:443"
)

type comparison struct {
	about     string
	addresses []certmedic.AddressObservation
	want      []string // part of the detail of each finding
}

func (c comparison) check(t *testing.T, code certmedic.FindingCode, got []certmedic.Finding) {
	t.Helper()
	if len(got) != len(c.want) {
		t.Fatalf("findings are %v, want %d", got, len(c.want))
	}
	for i, f := range got {
		if f.Code != code || !strings.Contains(f.Detail, c.want[i]) {
			t.Errorf("finding %d is %v, want %s that says %q", i, f, code, c.want[i])
		}
	}
}

func TestSplit(t *testing.T) {
	older, newer, ec := facts("aaaa", "rsa2048", -60), facts("bbbb", "rsa2048", 0), facts("eeee", "ec256", 0)
	mute := certmedic.AddressObservation{Address: "192.0.2.9:443", ServerName: "a"}
	noName, rsa, ecdsa := certmedic.VariantNoSNI, certmedic.VariantRSA, certmedic.VariantECDSA
	for _, tt := range []comparison{
		{"one version", []certmedic.AddressObservation{observed(first, "a", older), mute}, nil},
		{
			"two versions say who serves what",
			[]certmedic.AddressObservation{observed(first, "a", older), mute, observed(second, "a", newer)},
			[]string{"the addresses serve 2 versions: aaaa (until 2026-12-22 10:00 UTC) by 192.0.2.1:443, bbbb"},
		},
		{"other names are no split", []certmedic.AddressObservation{observed(first, "a", older), observed(second, "b", newer)}, nil},
		{
			"RSA beside ECDSA is no split", []certmedic.AddressObservation{
				observed(first, "a", ec), inVariant(rsa, observed(first, "a", newer)), inVariant(ecdsa, observed(first, "a", ec)),
				observed(second, "a", ec), inVariant(rsa, observed(second, "a", newer)),
			}, nil,
		},
		{"what clients without a name get is no split", []certmedic.AddressObservation{observed(first, "a", newer), inVariant(noName, observed(first, "a", older))}, nil},
		{
			"a split for RSA clients only",
			[]certmedic.AddressObservation{
				observed(first, "a", ec), inVariant(rsa, observed(first, "a", newer)),
				observed(second, "a", ec), inVariant(rsa, observed(second, "a", older)),
			},
			[]string{"2 versions to clients that take RSA only: bbbb"},
		},
		{
			"a split for clients without a name",
			[]certmedic.AddressObservation{inVariant(noName, observed(first, "a", older)), inVariant(noName, observed(second, "a", newer))},
			[]string{"to clients that send no name"},
		},
		{
			"a variant that splits as the usual does is told once",
			[]certmedic.AddressObservation{
				observed(first, "a", older), inVariant(rsa, observed(first, "a", older)),
				observed(second, "a", newer), inVariant(rsa, observed(second, "a", newer)),
			},
			[]string{"2 versions: aaaa"},
		},
	} {
		t.Run(tt.about, func(t *testing.T) { tt.check(t, certmedic.SplitServing, Split(tt.addresses)) })
	}
}

func TestDrift(t *testing.T) {
	older, stored, ec := facts("aaaa", "rsa2048", -60), facts("bbbb", "rsa2048", 0), facts("eeee", "ec256", 0)
	noName, rsa, ecdsa := certmedic.VariantNoSNI, certmedic.VariantRSA, certmedic.VariantECDSA
	for _, tt := range []comparison{
		{"the stored leaf is served", []certmedic.AddressObservation{observed(first, "a", stored)}, nil},
		{
			"an older one is",
			[]certmedic.AddressObservation{observed(first, "a", older), observed(second, "a", stored)},
			[]string{"192.0.2.1:443 serves aaaa (until 2026-12-22 10:00 UTC), stored is bbbb (until 2027-02-20 10:00 UTC): the stored one is newer"},
		},
		{"an address that presented nothing says nothing", []certmedic.AddressObservation{{Address: first, ServerName: "a"}}, nil},
		{"the variant of the stored key matches", []certmedic.AddressObservation{observed(first, "a", ec), inVariant(rsa, observed(first, "a", stored)), inVariant(ecdsa, observed(first, "a", ec))}, nil},
		{
			"the variant of the stored key is named",
			[]certmedic.AddressObservation{observed(first, "a", ec), inVariant(rsa, observed(first, "a", older))},
			[]string{"serves aaaa (until 2026-12-22 10:00 UTC) to clients that take RSA only"},
		},
		{
			"the same in two variants is told once",
			[]certmedic.AddressObservation{observed(first, "a", older), inVariant(rsa, observed(first, "a", older))},
			[]string{"serves aaaa (until 2026-12-22 10:00 UTC), stored"},
		},
		{"another type of key alone is drift", []certmedic.AddressObservation{observed(first, "a", ec)}, []string{"serves eeee"}},
		{
			"the variant of another address does not count",
			[]certmedic.AddressObservation{observed(first, "a", ec), observed(second, "a", ec), inVariant(rsa, observed(second, "a", stored))},
			[]string{"192.0.2.1:443 serves eeee"},
		},
		{"what clients without a name get is no drift", []certmedic.AddressObservation{observed(first, "a", stored), inVariant(noName, observed(first, "a", older))}, nil},
	} {
		t.Run(tt.about, func(t *testing.T) { tt.check(t, certmedic.Drift, Drift(tt.addresses, stored)) })
	}
	if got := Drift([]certmedic.AddressObservation{observed(first, "a", older)}, certmedic.CertFacts{}); got != nil {
		t.Errorf("without a stored leaf there is no drift, got %v", got)
	}
}

func TestKeyClass(t *testing.T) {
	for key, want := range map[string]certmedic.Variant{
		"rsa2048": certmedic.VariantRSA, "ec256": certmedic.VariantECDSA, "ed25519": certmedic.VariantUsual, "dsa": certmedic.VariantUsual, "unknown": certmedic.VariantUsual,
	} {
		if got := KeyClass(certmedic.CertFacts{KeyType: key}); got != want {
			t.Errorf("%s is of class %q, want %q", key, got, want)
		}
	}
}
