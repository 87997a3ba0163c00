package version_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/deploy/deploytest"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

func pair() mint.Pair {
	return mint.Must(mint.Must(mint.Must(mint.NewCA("root")).Intermediate("issuing")).Leaf(mint.Leaf{Names: []string{"shop.test"}}))
}

func order(t *testing.T, p mint.Pair) version.Order {
	t.Helper()
	return deploytest.Order(t, "shop", p.Chain, mint.Must(p.KeyPEM()))
}

// TestOrder shows that an order survives its way through a request, holds no key, and that the
// version comes out of the files whole.
func TestOrder(t *testing.T) {
	p := pair()
	order := deploytest.Order(t, "shop", p.Chain, mint.Must(p.KeyPEM()))
	text, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	deploytest.NoKey(t, mint.Must(p.KeyPEM()), string(text))
	if err := json.Unmarshal(text, &order); err != nil {
		t.Fatal(err)
	}
	v, err := order.Read()
	if err != nil {
		t.Fatal(err)
	}
	key := string(mint.Must(p.KeyPEM()))
	d := v.Document()
	if d.Name != "shop" || d.Fingerprint != string(order.Chain[0]) || d.Privkey != key || d.Cert != string(p.CertPEM()) || d.Chain != string(p.ChainPEM()) || d.Fullchain != d.Cert+d.Chain {
		t.Errorf("the document is %+v", d)
	}
	if !v.Leaf.Equal(p.Cert) || len(d.SHA1) != 40 || len(d.Serial)%2 != 0 || d.Names[0] != "shop.test" || !strings.HasSuffix(d.NotAfter, "Z") {
		t.Errorf("the leaf is told as %+v", d)
	}
	// A file that holds certificates and key spreads neither.
	if err := os.WriteFile(order.Files.Privkey, []byte(d.Cert+key), 0o600); err != nil {
		t.Fatal(err)
	}
	order.Files.Fullchain, order.Files.Chain = "", ""
	order.Chain = order.Chain[:1]
	if v, err = order.Read(); err != nil || string(v.Parts[certmedic.PartPrivkey]) != key || len(v.Parts[certmedic.PartChain]) != 0 {
		t.Errorf("parts %q, %v", v.Parts, err)
	}
}

// TestOtherVersions shows that nothing but the version that was judged is read.
func TestOtherVersions(t *testing.T) {
	other := pair()
	for _, row := range []struct {
		about, file, data, want string
	}{
		{"another certificate", "fullchain.pem", string(other.FullchainPEM()), "another version"},
		{"no certificate", "fullchain.pem", "", "holds no such PEM block"},
		{"another key", "privkey.pem", string(mint.Must(other.KeyPEM())), "pairing"},
		{"a huge file", "privkey.pem", strings.Repeat("x", 2<<20), "larger than"},
	} {
		o := order(t, pair())
		path := strings.Replace(o.Files.Fullchain, "fullchain.pem", row.file, 1)
		if err := os.WriteFile(path, []byte(row.data), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := o.Read()
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
	}
	o := order(t, pair())
	o.Chain = nil
	if _, err := o.Read(); err == nil {
		t.Error("an order of nothing is taken")
	}
}
