package inspect

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/certmedic/certmedic"
)

func one(code certmedic.FindingCode, format string, args ...any) []certmedic.Finding {
	return []certmedic.Finding{certmedic.NewFinding(code, fmt.Sprintf(format, args...))}
}

// dates finds the leaf outside its dates, and certificates above it that spoil every
// path to a set of roots.
func (s *subject) dates() []certmedic.Finding {
	findings := s.outside(s.leaf)
	spoiled := s.relevant[:1]
	if len(s.chains) > 0 {
		spoiled = s.spoiledPaths()
	}
	for _, c := range distinct(spoiled) {
		if c != s.leaf {
			findings = append(findings, s.outside(c)...)
		}
	}
	return findings
}

// spoiledPaths returns the longest path of each set of roots that has paths, but none
// that is valid now.
func (s *subject) spoiledPaths() [][]*x509.Certificate {
	var spoiled [][]*x509.Certificate
	for _, set := range s.sets {
		if len(set.usable) == 0 && len(set.chains) > 0 {
			spoiled = append(spoiled, longest(set.chains))
		}
	}
	return spoiled
}

func (s *subject) outside(c *x509.Certificate) []certmedic.Finding {
	who := ""
	if c != s.leaf {
		who = label(c, s.leaf) + " "
	}
	now := s.options.Now
	if now.After(c.NotAfter) {
		return one(certmedic.Expired, "%sexpired %s ago (%s)", who, span(now.Sub(c.NotAfter)), date(c.NotAfter))
	}
	if now.Before(c.NotBefore) {
		return one(certmedic.NotYetValid, "%sbecomes valid in %s (%s); check the clocks", who, span(c.NotBefore.Sub(now)), date(c.NotBefore))
	}
	return nil
}

func (s *subject) name() []certmedic.Finding {
	name := s.options.ServerName
	if name == "" {
		return nil
	}
	asked := wireName(name)
	if s.leaf.VerifyHostname(asked) == nil {
		return nil
	}
	names := namesOf(s.leaf)
	if s.behind != nil {
		return one(certmedic.NameMismatch, "the first certificate is that of the authority %s, which is for no name, and clients ask for %s",
			commonName(s.leaf), quote(name))
	}
	if len(names) == 0 {
		return one(certmedic.NameMismatch, "the certificate has no subject alternative names, and its common name %s is ignored by clients; reissue it for %s",
			quote(s.leaf.Subject.CommonName), quote(name))
	}
	hint := ""
	for i, c := range s.presented[1:] {
		if !c.IsCA && c.VerifyHostname(asked) == nil {
			hint = fmt.Sprintf("; certificate %d of the chain is, but the first one counts", i+2)
			break
		}
	}
	return one(certmedic.NameMismatch, "the certificate is for %s, not for %s%s", list(names), quote(name), hint)
}

// wireName returns a server's name as certificates have it: an internationalised name in
// its ASCII form (RFC 5891), a link-local address without its zone.
func wireName(name string) string {
	if host, _, ok := strings.Cut(name, "%"); ok && net.ParseIP(host) != nil {
		return host
	}
	if !strings.ContainsFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return name
	}
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil {
		return name // which no certificate can have
	}
	return ascii
}

// namesOf returns the names that a certificate is for, ready for a detail.
func namesOf(c *x509.Certificate) []string {
	names := quoteAll(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

func (s *subject) usage() []certmedic.Finding {
	purpose, who := s.options.Purpose, "servers"
	if purpose == PurposeClient {
		who = "clients"
	}
	_, needed := purpose.usage()
	if !purpose.allows(s.leaf) {
		return one(certmedic.WrongUsage, "the certificate is not made for %s: its extended key usage lacks %s", who, needed)
	}
	for _, path := range s.misused() {
		for _, c := range path[1:] {
			if !purpose.allows(c) {
				return one(certmedic.WrongUsage, "%s above the leaf may not issue for %s: its extended key usage lacks %s", label(c, s.leaf), who, needed)
			}
		}
	}
	return nil
}

// misused returns the paths of sets whose every path has a certificate with another
// purpose, and where there is no path at all what was presented.
func (s *subject) misused() [][]*x509.Certificate {
	if len(s.chains) == 0 {
		return s.relevant
	}
	var paths [][]*x509.Certificate
	for _, set := range s.sets {
		if set.wrongUsage {
			paths = append(paths, set.chains...)
		}
	}
	return paths
}

func (s *subject) constraints() []certmedic.Finding {
	for _, set := range s.sets {
		var invalid x509.CertificateInvalidError
		if errors.As(set.err, &invalid) && invalid.Reason == x509.CANotAuthorizedForThisName {
			return one(certmedic.NameConstraint, "%s may not issue for these names: %s", s.constrained(), printable(invalid.Detail))
		}
	}
	return nil
}

// constrained names the first certificate above the leaf that has name constraints.
func (s *subject) constrained() string {
	for _, c := range s.relevant[0][1:] {
		for _, e := range c.Extensions {
			if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 30}) { // RFC 5280 section 4.2.1.10
				return label(c, s.leaf)
			}
		}
	}
	return "an issuer"
}

// pins compares with the keys of the leaf and of the paths only: a pinned certificate
// that is merely sent along proves nothing.
func (s *subject) pins() []certmedic.Finding {
	if len(s.options.Pins) == 0 {
		return nil
	}
	for _, path := range s.relevant {
		for _, c := range path {
			if slices.Contains(s.options.Pins, pin(c)) {
				return nil
			}
		}
	}
	return one(certmedic.PinMismatch, "no key of the chain is pinned; the leaf's is %s", pin(s.leaf))
}

func pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

func (s *subject) expiring() []certmedic.Finding {
	now := s.options.Now
	if !validAt(s.leaf, now) {
		return nil
	}
	facts := certmedic.CertFacts{NotBefore: s.leaf.NotBefore, NotAfter: s.leaf.NotAfter}
	critical := s.options.Crit.Reached(facts, now)
	if !critical && !s.options.Warn.Reached(facts, now) {
		return nil
	}
	findings := one(certmedic.Expiring, "expires in %s (%s), %.0f%% of its lifetime is left",
		span(facts.NotAfter.Sub(now)), date(facts.NotAfter), 100*facts.RemainingRatio(now))
	if critical {
		findings[0].Severity = certmedic.SeverityCritical
	}
	return findings
}

// chainExpiring finds sets of roots for which every usable path ends before the leaf.
func (s *subject) chainExpiring() []certmedic.Finding {
	if !validAt(s.leaf, s.options.Now) {
		return nil
	}
	for _, set := range s.sets {
		path := longest(set.usable)
		if path == nil {
			continue
		}
		first := earliest(path)
		if first.NotAfter.Before(s.leaf.NotAfter) {
			return one(certmedic.ChainExpiring, "%s ends in %s (%s), before the leaf (%s)",
				label(first, s.leaf), span(first.NotAfter.Sub(s.options.Now)), date(first.NotAfter), date(s.leaf.NotAfter))
		}
	}
	return nil
}

func (s *subject) extra() []certmedic.Finding {
	var parts []string
	for i, r := range s.roles {
		switch who := commonName(s.presented[i]); r {
		case roleRepeated:
			parts = append(parts, who+" (sent twice)")
		case roleExpired:
			parts = append(parts, who+" (expired, and no path needs it)")
		case roleExtra:
			parts = append(parts, who+" (no path needs it)")
		}
	}
	line := s.relevant[0]
	if len(parts) == 0 || s.behind != nil || s.deniedIssuer(line[len(line)-1]) != nil {
		return nil // what is needed cannot be told before the leaf stands first, and is sound
	}
	return one(certmedic.ChainExtra, "certificates that need not be sent: %s", list(parts))
}

// minimum sizes of keys in bits, after the CA/Browser Forum's baseline requirements,
// section 6.1.5.
const (
	minRSABits = 2048
	minECBits  = 256
)

// weakness looks at what paths are made of. The signature of a root proves nothing, and
// what other clients need it for is theirs to judge.
func (s *subject) weakness() []certmedic.Finding {
	var keys, signatures []string
	for i, c := range s.presented {
		if s.roles[i] != roleOnPath {
			continue
		}
		if why := weakKey(c); why != "" {
			keys = append(keys, s.who(c)+" has "+why)
		}
		isRoot := (i > 0 || s.options.Purpose == PurposeAuthority) && selfSigned(c)
		if weakSignature(c) && !isRoot {
			signatures = append(signatures, fmt.Sprintf("%s is signed with %s", s.who(c), c.SignatureAlgorithm))
		}
	}
	var findings []certmedic.Finding
	if len(keys) > 0 {
		findings = append(findings, one(certmedic.WeakKey, "%s; use rsa%d, ec%d or better", list(keys), minRSABits, minECBits)...)
	}
	if len(signatures) > 0 {
		findings = append(findings, one(certmedic.WeakSignature, "%s", list(signatures))...)
	}
	return findings
}

// who names a certificate in a detail.
func (s *subject) who(c *x509.Certificate) string {
	if c == s.leaf && s.options.Purpose == PurposeAuthority {
		return "the authority " + commonName(c)
	}
	return label(c, s.leaf)
}

// weakKey says what is weak about the certificate's key, "" where nothing is.
func weakKey(c *x509.Certificate) string {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() < minRSABits {
			return keyType(c)
		}
		if key.E < 3 || key.E%2 == 0 {
			return fmt.Sprintf("%s with the exponent %d", keyType(c), key.E)
		}
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize < minECBits {
			return keyType(c)
		}
	}
	if c.PublicKeyAlgorithm == x509.DSA {
		return keyType(c)
	}
	return ""
}

func weakSignature(c *x509.Certificate) bool {
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}
