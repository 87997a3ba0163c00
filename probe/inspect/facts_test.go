package inspect

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

func TestFacts(t *testing.T) {
	template := certtest.Server(now, "a.example.com", "192.0.2.1")
	template.SerialNumber = big.NewInt(0x0a0b0c)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	got := Facts(certtest.Issue(t, nil, template, key).Cert)
	if got.Serial != "0a0b0c" || got.KeyType != "ed25519" || got.Subject != "CN=a.example.com" {
		t.Errorf("facts are %+v", got)
	}
	if !slices.Equal(got.DNSNames, []string{"a.example.com"}) || !slices.Equal(got.IPAddresses, []string{"192.0.2.1"}) {
		t.Errorf("names are %v and %v", got.DNSNames, got.IPAddresses)
	}
	if len(got.SHA256) != 64 || len(got.SPKISHA256) != 64 || got.SHA256 == got.SPKISHA256 {
		t.Errorf("fingerprints are %s and %s", got.SHA256, got.SPKISHA256)
	}
}

func TestKeyType(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if got := Facts(certtest.Issue(t, nil, certtest.Server(now, "a"), key).Cert).KeyType; got != "rsa2048" {
		t.Errorf("key type is %q, want rsa2048", got)
	}
	if got := Facts(certtest.Issue(t, nil, certtest.Server(now, "a"), nil).Cert).KeyType; got != "ec256" {
		t.Errorf("key type is %q, want ec256", got)
	}
}

func TestThreshold(t *testing.T) {
	leaf := certmedic.CertFacts{NotBefore: now.AddDate(0, 0, -60), NotAfter: now.AddDate(0, 0, 30)}
	tests := []struct {
		text    string
		want    Threshold
		reached bool
	}{
		{"33%", Threshold{Share: 0.33}, false},
		{"33.5%", Threshold{Share: 0.335}, true},
		{"0%", Threshold{}, false},
		{"0", Threshold{}, false},
		{"72h", Threshold{Duration: 72 * time.Hour}, false},
		{"30d", Threshold{Duration: 30 * day}, false},
		{"31d", Threshold{Duration: 31 * day}, true},
	}
	for _, tt := range tests {
		got, err := ParseThreshold(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("%q is read as %v, %v, want %v", tt.text, got, err, tt.want)
		}
		if got.Reached(leaf, now) != tt.reached {
			t.Errorf("%q: reached is %v, want %v", tt.text, !tt.reached, tt.reached)
		}
		again, err := ParseThreshold(got.String())
		if err != nil || again != got {
			t.Errorf("%q is written as %q, which is read as %v, %v", tt.text, got, again, err)
		}
	}
	for _, text := range []string{"", "%", "d", "-1%", "101%", "NaN%", "-3h", "-1d", "1.5d", "9999999d", "soon"} {
		if got, err := ParseThreshold(text); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is read as %v, %v, want an error that names it", text, got, err)
		}
	}
}

func TestSpan(t *testing.T) {
	tests := map[time.Duration]string{
		time.Second: "1 second", 119 * time.Second: "119 seconds", 2 * time.Minute: "2 minutes",
		47 * time.Hour: "47 hours", 48 * time.Hour: "2 days", -400 * day: "400 days",
	}
	for d, want := range tests {
		if got := span(d); got != want {
			t.Errorf("%s is said as %q, want %q", d, got, want)
		}
	}
}
