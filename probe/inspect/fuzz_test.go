package inspect

import (
	"crypto/x509"
	"encoding/binary"
	"strings"
	"testing"
	"unicode"

	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// maxDetail bounds every detail, in bytes: a few names and a message, escaped.
const maxDetail = 20_000

// packed is a list of certificates in DER, each after its length.
func packed(chain ...*x509.Certificate) []byte {
	var data []byte
	for _, c := range chain {
		data = binary.BigEndian.AppendUint16(data, uint16(len(c.Raw)))
		data = append(data, c.Raw...)
	}
	return data
}

// unpacked returns the certificates of a list that can be parsed.
func unpacked(data []byte) []*x509.Certificate {
	var chain []*x509.Certificate
	for len(data) > 2 {
		size := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
		if c, err := x509.ParseCertificate(data[2 : 2+size]); err == nil {
			chain = append(chain, c)
		}
		data = data[2+size:]
	}
	return chain
}

// FuzzChain judges whatever can be parsed. Nothing may panic, and no detail may be long
// or hold what a terminal obeys.
func FuzzChain(f *testing.F) {
	root := certtest.Issue(f, nil, certtest.CA("Root", now), nil)
	inter := certtest.Issue(f, root, certtest.CA("In\x1bter", now), nil)
	leaf := certtest.Issue(f, inter, certtest.Server(now, "shop.example.com", "192.0.2.1"), nil)
	f.Add(packed(leaf.Cert, inter.Cert, root.Cert), "shop.example.com")
	f.Add(packed(leaf.Cert, leaf.Cert), "b\x1bad\n.example")
	f.Add(packed(root.Cert), "")
	o := Options{
		Now: now, Roots: []Roots{{Name: "a", Pool: certtest.Pool(root)}, {Name: "b"}}, Pins: []string{"sha256/AA=="},
		Warn: Threshold{Share: 0.9}, Crit: Threshold{Duration: day}, Public: certtest.Pool(root),
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		o := o
		o.ServerName = name
		chain := unpacked(data)
		got := Chain(chain, o)
		if len(chain) > 0 && len(got.Findings) == 0 {
			t.Error("a chain that the second set cannot trust has no finding")
		}
		for _, finding := range got.Findings {
			if strings.ContainsFunc(finding.Detail, func(r rune) bool { return !unicode.IsPrint(r) }) || len(finding.Detail) > maxDetail {
				t.Errorf("%s has the detail %.200q, of %d bytes", finding.Code, finding.Detail, len(finding.Detail))
			}
		}
		for _, c := range chain {
			Facts(c)
			MustStaple(c)
		}
	})
}
