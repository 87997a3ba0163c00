package disk

import (
	"crypto/x509"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

// MayLackChain reports whether the content need not hold the issuers of its leaf: one
// certificate, such as a certbot's cert.pem or a file in DER, in a file that is not called
// fullchain and holds or names no key, so that no service serves it as it is.
func (c Content) MayLackChain() bool {
	name := filepath.Base(c.Stored.Path)
	return len(c.Certs) == 1 && c.Stored.Files.Privkey == "" && !strings.HasPrefix(name, "fullchain")
}

// arrange puts the certificate first that stands for a file without a key: of authorities the
// one that ends first, and a leaf before the authority that issued it. What has a key is left
// as it is, because services take the first certificate for it.
func (b *builder) arrange() {
	if len(b.certs) == 0 || b.stored.Files.Privkey != "" {
		return
	}
	leaf := func(c *x509.Certificate) bool { return !inspect.IsAuthority(c) }
	if b.purpose == inspect.PurposeServer && !slices.ContainsFunc(b.certs, leaf) {
		b.purpose = inspect.PurposeAuthority
	}
	if b.purpose == inspect.PurposeAuthority {
		b.takeFirstEnding()
		return
	}
	certs, moved := inspect.LeafFirst(b.certs)
	if moved {
		b.find(certmedic.ChainOrder, "%s: the leaf stands behind the authority %q that issued it; services take the first certificate, so put the leaf first",
			b.stored.Path, b.certs[0].Subject.CommonName)
		b.certs = certs
	}
}

// takeFirstEnding has the authority that ends first stand for all in a file.
func (b *builder) takeFirstEnding() {
	first := 0
	for i, c := range b.certs {
		if c.NotAfter.Before(b.certs[first].NotAfter) {
			first = i
		}
	}
	if len(b.certs) == 1 {
		return
	}
	b.which = b.certs[first].Subject.CommonName
	certs := append([]*x509.Certificate{b.certs[first]}, b.certs[:first]...)
	b.certs = append(certs, b.certs[first+1:]...)
}

// takeItem takes the item whose certificate ends first, and what is wrong with any of them.
func (b *builder) takeItem(path string, items []Item) {
	var first *Item
	for i := range items {
		for _, f := range items[i].Stored.Findings {
			if !slices.Contains(b.stored.Findings, f) {
				b.stored.Findings = append(b.stored.Findings, f)
			}
		}
		certs := items[i].Certs
		if len(certs) > 0 && (first == nil || certs[0].NotAfter.Before(first.Certs[0].NotAfter)) {
			first = &items[i]
		}
	}
	if first == nil {
		return
	}
	b.certs, b.keyMatches, b.purpose = first.Certs, first.KeyMatches, first.Purpose
	b.which = strings.TrimPrefix(strings.TrimPrefix(first.Target, path), "#")
	b.stored.Files.Privkey = first.Stored.Files.Privkey
}
