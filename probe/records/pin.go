package records

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// The certificate usages of RFC 6698, section 2.1.1, by their names in RFC 7218.
const (
	pkixTA = 0 // an authority of the trusted path
	pkixEE = 1 // the leaf, which has to be trusted besides
	daneTA = 2 // an authority that the owner of the name trusts, whoever else does
	daneEE = 3 // the leaf; its names, dates and issuer do not matter
)

// pin is a usable TLSA record.
type pin struct {
	usage    uint8
	selector uint8 // 0: the whole certificate, 1: its SubjectPublicKeyInfo
	matching uint8 // 0: data as it is, 1: its SHA-256, 2: its SHA-512
	data     []byte
}

// parsePin returns false for a record that is of no use: its parameters are unknown, or
// its data cannot be what they say.
func parsePin(record dns.RR) (pin, bool) {
	tlsa, ok := record.(*dns.TLSA)
	if !ok || tlsa.Usage > daneEE || tlsa.Selector > 1 {
		return pin{}, false
	}
	data, err := hex.DecodeString(tlsa.Certificate)
	p := pin{tlsa.Usage, tlsa.Selector, tlsa.MatchingType, data}
	switch {
	case err != nil:
		return p, false
	case p.matching == 0:
		return p, len(data) > 0
	case p.matching == 1:
		return p, len(data) == sha256.Size
	default:
		return p, p.matching == 2 && len(data) == sha512.Size
	}
}

// vouches reports whether the record stands in for public trust.
func (p pin) vouches() bool { return p.usage == daneTA || p.usage == daneEE }

// String returns the record as a zone has it, with the beginning of its data.
func (p pin) String() string {
	const digits = 12
	text := fmt.Sprintf("%d %d %d ", p.usage, p.selector, p.matching)
	if data := hex.EncodeToString(p.data); len(data) > digits {
		return text + data[:digits] + "..."
	}
	return text + hex.EncodeToString(p.data)
}

// fits reports whether the record's data is that of the certificate.
func (p pin) fits(c *x509.Certificate) bool {
	content := c.Raw
	if p.selector == 1 {
		content = c.RawSubjectPublicKeyInfo
	}
	switch p.matching {
	case 1:
		sum := sha256.Sum256(content)
		content = sum[:]
	case 2:
		sum := sha512.Sum512(content)
		content = sum[:]
	}
	return bytes.Equal(content, p.data)
}

// leafPin is the data of the record "3 1 1" for a leaf: the one that a renewal with the
// same key leaves valid (RFC 7671, section 5.1).
func leafPin(leaf *x509.Certificate) string {
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// maxListed bounds how many items a detail lists.
const maxListed = 5

func listPins(pins []pin) string {
	var items []string
	for _, p := range pins {
		items = append(items, p.String())
	}
	return list(items)
}

func list(items []string) string {
	if len(items) <= maxListed {
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(items[:maxListed], ", "), len(items)-maxListed)
}

// served is what records are matched with.
type served struct {
	Query
	names []string // of which the leaf has to have one, where names matter
}

// match reports whether the record matches. Where its data fits and something else is
// wrong, the text says what.
func (s served) match(p pin) (bool, string) {
	switch p.usage {
	case daneEE:
		return p.fits(s.Presented[0]), ""
	case pkixEE:
		return s.trusted(p, p.fits(s.Presented[0]))
	case pkixTA:
		return s.matchPath(p)
	default:
		return s.matchAnchor(p)
	}
}

// trusted adds to a match what the usages 0 and 1 demand besides.
func (s served) trusted(p pin, fits bool) (bool, string) {
	if fits && len(s.Paths) == 0 {
		return false, fmt.Sprintf("%s is right, but has to lead to a public root as well, and what is served does not", p)
	}
	return fits, ""
}

// matchPath matches an authority on a trusted path. What is presented tells the case
// that there is no such path.
func (s served) matchPath(p pin) (bool, string) {
	paths := s.Paths
	if len(paths) == 0 {
		paths = [][]*x509.Certificate{s.Presented}
	}
	for _, path := range paths {
		for _, c := range path[min(1, len(path)):] {
			if p.fits(c) {
				return s.trusted(p, true)
			}
		}
	}
	return false, ""
}

// matchAnchor matches an authority of the owner's own: the presented chain has to lead to
// it, to be valid now, and to have the name (RFC 7671, section 5.2). It has to be
// presented, unless the record holds all of it; a record of a bare key alone is not
// something that clients can be relied on to complete.
func (s served) matchAnchor(p pin) (bool, string) {
	var anchors []*x509.Certificate
	for _, c := range s.Presented[1:] {
		if p.fits(c) {
			anchors = append(anchors, c)
		}
	}
	if p.selector == 0 && p.matching == 0 && len(anchors) == 0 {
		if c, err := x509.ParseCertificate(p.data); err == nil {
			anchors = append(anchors, c)
		}
	}
	if len(anchors) == 0 {
		return false, ""
	}
	if err := s.verify(anchors); err != nil {
		return false, fmt.Sprintf("the authority of %s is there, but clients do not accept the leaf below it: %s", p, strconv.Quote(err.Error()))
	}
	return true, ""
}

func (s served) verify(anchors []*x509.Certificate) error {
	options := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: s.Now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range anchors {
		options.Roots.AddCert(c)
	}
	for _, c := range s.Presented[1:] {
		options.Intermediates.AddCert(c)
	}
	leaf := s.Presented[0]
	if _, err := leaf.Verify(options); err != nil {
		return err
	}
	var wrong error
	for _, name := range s.names {
		err := leaf.VerifyHostname(canonical(name))
		if err == nil {
			return nil
		}
		wrong = err
	}
	return wrong
}
