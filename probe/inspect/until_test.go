package inspect

import (
	"crypto/x509"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

func TestUntil(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = days(-10), days(90) })
	short := w.again(t, func(c *x509.Certificate) { c.NotAfter = days(5) })
	early := w.again(t, func(c *x509.Certificate) { c.NotBefore = days(2) })
	old := w.leaf(t, func(c *x509.Certificate) { c.NotAfter = days(-1) })
	tests := []struct {
		name       string
		chain      []*x509.Certificate
		warn, crit Threshold
		want       time.Time
	}{
		{"the end of the leaf", certs(leaf, w.inter), Threshold{}, Threshold{}, days(90).Add(1)},
		{"the warning", certs(leaf, w.inter), Threshold{Share: 0.5}, Threshold{Share: 0.1}, days(40).Add(-time.Second)},
		{"the critical threshold where there is no warning", certs(leaf, w.inter), Threshold{}, Threshold{Duration: 30 * day}, days(60).Add(1)},
		{"the end of another path", certs(leaf, w.inter, short), Threshold{}, Threshold{}, days(5).Add(1)},
		{"the beginning of another path", certs(leaf, w.inter, early), Threshold{}, Threshold{}, days(2)},
		{"a chain that is not trusted changes with its dates too", certs(leaf), Threshold{}, Threshold{}, days(90).Add(1)},
		{"what counts the days is not kept", certs(old, w.inter), Threshold{}, Threshold{}, time.Time{}},
		{"nor what is about to expire", certs(leaf, w.inter), Threshold{Share: 0.95}, Threshold{}, time.Time{}},
		{"nor what its chain is shorter than", certs(leaf, short), Threshold{}, Threshold{}, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := w.options()
			o.Warn, o.Crit = tt.warn, tt.crit
			if got := Chain(tt.chain, o).Until; !got.Equal(tt.want) {
				t.Errorf("the result lasts until %s, want %s", got, tt.want)
			}
		})
	}
}

// chances makes random chains out of a few keys, with dates around now.
type chances struct {
	*rand.Rand
	t                  *testing.T
	root, inter, other *certtest.Pair
}

// around sets random dates, in whole seconds as certificates have them.
func (c chances) around(template x509.Certificate) x509.Certificate {
	template.NotBefore = now.Add(time.Duration(c.IntN(400)-300) * time.Hour)
	template.NotAfter = template.NotBefore.Add(time.Duration(1+c.IntN(600)) * time.Hour)
	return template
}

func (c chances) chain() ([]*x509.Certificate, Options) {
	leaf := certtest.Issue(c.t, c.inter, c.around(certtest.Server(now, "shop.example.com")), nil)
	chain := certs(leaf)
	for range c.IntN(3) {
		chain = append(chain, certtest.Issue(c.t, c.root, c.around(certtest.CA("Inter", now)), c.inter.Key).Cert)
	}
	if c.IntN(2) == 0 {
		chain = append(chain, certtest.Issue(c.t, c.other, c.around(certtest.CA("Root", now)), c.root.Key).Cert)
	}
	o := Options{Now: now, ServerName: "shop.example.com", Public: certtest.Pool(c.other)}
	ending := certtest.CA("Root", now)
	ending.NotAfter = now.Add(time.Duration(c.IntN(600)-200) * time.Hour)
	for _, root := range []*certtest.Pair{c.root, c.other, certtest.Issue(c.t, nil, ending, c.root.Key)} {
		if c.IntN(2) == 0 {
			o.Roots = append(o.Roots, Roots{Name: root.Cert.Subject.CommonName, Pool: certtest.Pool(root)})
		}
	}
	if c.IntN(2) == 0 {
		o.Warn = Threshold{Share: c.Float64()}
	}
	if c.IntN(2) == 0 {
		o.Crit = Threshold{Duration: time.Duration(c.IntN(300)) * time.Hour}
	}
	return chain, o
}

// TestUntilHolds tries random chains at random times, and the first and last of them.
func TestUntilHolds(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := newWorld(t)
	c := chances{rand.New(rand.NewPCG(seed, 0)), t, w.root, w.inter, w.other}
	kept := 0
	for range 100 {
		chain, o := c.chain()
		want := Chain(chain, o)
		if want.Until.IsZero() {
			continue
		}
		kept++
		left := want.Until.Sub(o.Now)
		if left <= 0 {
			t.Fatalf("%v: the result lasts until %s, which is not after now", want.Findings, want.Until)
		}
		for _, later := range []time.Duration{1, left - 1, time.Duration(c.Int64N(int64(left)))} {
			o.Now = now.Add(min(later, left-1))
			if got := Chain(chain, o); !reflect.DeepEqual(got, want) {
				t.Fatalf("at %s:\n%v\nbut before, until %s:\n%v", o.Now, got.Findings, want.Until, want.Findings)
			}
		}
	}
	if kept < 10 {
		t.Errorf("only %d results could be kept", kept)
	}
}

func TestExpiredRootIsToldWhateverTheLeafsDates(t *testing.T) {
	w := newWorld(t)
	old := certtest.CA("DST Root CA X3", now)
	old.NotAfter = days(-400)
	dst := certtest.Issue(t, nil, old, nil)
	cross := certtest.Issue(t, dst, certtest.CA("ISRG Root X1", now), nil)
	leaf := certtest.Issue(t, cross, certtest.Server(now, "shop.example.com"), nil)
	for _, chain := range [][]*x509.Certificate{certs(leaf, cross), certs(leaf, cross, dst)} {
		o := w.options()
		o.Roots[0].Pool = certtest.Pool(dst)
		got := Chain(chain, o)
		if !slices.Equal(codes(got.Findings), codesList{certmedic.Expired}) || !strings.Contains(got.Findings[0].Detail, `the root "DST Root CA X3" expired 400 days ago`) {
			t.Errorf("findings are %v, want the expired root alone", got.Findings)
		}
	}
}

func TestPathsThatAreValidNowComeFirst(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(t, nil)
	expired := w.again(t, func(c *x509.Certificate) { c.NotAfter = days(-3) })
	for _, chain := range [][]*x509.Certificate{certs(leaf, expired, w.inter), certs(leaf, w.inter, expired)} {
		got := Chain(chain, w.options()).Chains
		if len(got) != 2 || got[0][1] != w.inter.Cert || got[1][1] != expired.Cert {
			t.Errorf("%d paths begin with the one through the certificate until %s", len(got), got[0][1].NotAfter)
		}
	}
}
