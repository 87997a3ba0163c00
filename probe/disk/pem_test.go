package disk

import (
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
)

// TestDatesOfAnyCertificate compares the dates and names in an archive with those of a whole
// parse, over both forms of dates and what may stand before them.
func TestDatesOfAnyCertificate(t *testing.T) {
	for _, pair := range []mint.Pair{
		mint.Must(mint.SelfSigned(mint.Leaf{Names: []string{"shop.example.test"}})),
		mint.Must(mint.SelfSigned(mint.Leaf{Names: []string{"shop.example.test"}, KeyType: mint.RSA2048, NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC)})),
		mint.Must(mint.Must(mint.NewCA("a CA")).Leaf(mint.Leaf{CommonName: "shop", NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)})),
	} {
		from, to, rest, ok := validity(pair.Cert.Raw)
		if !ok || !from.Equal(pair.Cert.NotBefore) || !to.Equal(pair.Cert.NotAfter) {
			t.Errorf("%v to %v, %t, want %v to %v", from, to, ok, pair.Cert.NotBefore, pair.Cert.NotAfter)
		}
		if got := alternatives(rest); !slices.Equal(got, pair.Cert.DNSNames) {
			t.Errorf("names %v, want %v", got, pair.Cert.DNSNames)
		}
		for n := range len(rest) {
			alternatives(rest[:n]) // half a certificate is no reason to crash
		}
	}
}
