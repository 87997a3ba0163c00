package inspect

import (
	"crypto/x509"
	"slices"

	"github.com/certmedic/certmedic"
)

// LeafFirst returns certificates in the order in which they have to be sent, where the first
// is an authority and a later one is a leaf that it issued, directly or through others. It
// reports whether that was so; all other certificates are returned as they are.
func LeafFirst(certs []*x509.Certificate) (ordered []*x509.Certificate, moved bool) {
	line := displaced(certs)
	if line == nil {
		return certs, false
	}
	for _, c := range certs {
		if !slices.Contains(line, c) {
			line = append(line, c)
		}
	}
	return line, true
}

// displaced returns the line from a leaf to the authority that stands before it, nil where
// the first certificate is no authority or issued none of the others.
func displaced(certs []*x509.Certificate) []*x509.Certificate {
	if len(certs) < 2 || !IsAuthority(certs[0]) {
		return nil
	}
	for _, c := range certs[1:] {
		if c.IsCA {
			continue
		}
		line := ascend(append([]*x509.Certificate{c}, certs...))
		if slices.Contains(line, certs[0]) {
			return line
		}
	}
	return nil
}

// order finds a leaf behind its authority, and certificates that come before any that they
// signed. RFC 8446 section 4.4.2 lets servers send more than one path, so that only this much
// order is asked for.
func (s *subject) order() []certmedic.Finding {
	if s.behind != nil {
		return one(certmedic.ChainOrder, "the first certificate is the authority %s, which clients take for the server's own: "+
			"the leaf for %s has to stand before it", commonName(s.leaf), list(namesOf(s.behind)))
	}
	wanted := map[string]bool{string(s.leaf.RawIssuer): true}
	var early []string
	for i, c := range s.presented[1:] {
		if !s.roles[i+1].needless() && !wanted[string(c.RawSubject)] {
			early = append(early, commonName(c))
		}
		wanted[string(c.RawIssuer)] = true
	}
	if len(early) == 0 {
		return nil
	}
	return one(certmedic.ChainOrder, "sent before the certificates that they signed: %s", list(early))
}
