package inspect

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

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
	if len(s.chains()) > 0 {
		spoiled = s.spoiledPaths()
	}
	seen := map[string]bool{}
	for _, path := range spoiled {
		for _, c := range path[1:] {
			if !seen[string(c.Raw)] {
				findings = append(findings, s.outside(c)...)
			}
			seen[string(c.Raw)] = true
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
	if host, _, ok := strings.Cut(name, "%"); ok && net.ParseIP(host) != nil {
		name = host // the zone of a link-local address is no part of the name
	}
	if s.leaf.VerifyHostname(name) == nil {
		return nil
	}
	names := quoteAll(s.leaf.DNSNames)
	for _, ip := range s.leaf.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return one(certmedic.NameMismatch, "the certificate has no subject alternative names, and its common name %s is ignored by clients; reissue it for %q",
			strconv.Quote(s.leaf.Subject.CommonName), name)
	}
	return one(certmedic.NameMismatch, "the certificate is for %s, not for %q", list(names), name)
}

// trusted finds sets of roots without a path from the leaf.
func (s *subject) trusted() []certmedic.Finding {
	var by, not []string
	var because error
	for _, set := range s.sets {
		switch {
		case set.err == nil:
			by = append(by, set.name)
		case reasonOf(set.err) != x509.CANotAuthorizedForThisName:
			not = append(not, set.name)
			because = set.err
		}
	}
	if len(not) == 0 {
		return nil
	}
	verdict := "not trusted by " + list(not)
	if len(by) > 0 {
		verdict = fmt.Sprintf("trusted by %s, not by %s", list(by), list(not))
	}
	if selfSigned(s.leaf) {
		return one(certmedic.SelfSigned, "signed by its own key, %s", verdict)
	}
	if len(by) > 0 {
		return one(certmedic.Untrusted, "%s", verdict)
	}
	return s.pathless(verdict, because)
}

// pathless says why no set of roots has a path: the presented chain lacks the leaf's
// issuer, or it leads to a root that is not trusted.
func (s *subject) pathless(verdict string, because error) []certmedic.Finding {
	var unknown x509.UnknownAuthorityError
	if !errors.As(because, &unknown) {
		return one(certmedic.Untrusted, "%s: %s", verdict, printable(because.Error()))
	}
	line := s.relevant[0]
	if len(line) == 1 {
		return one(certmedic.IncompleteChain, "%s", s.missingIssuer())
	}
	last := line[len(line)-1]
	if selfIssued(last) {
		return one(certmedic.Untrusted, "%s: the chain ends at the root %s%s", verdict, commonName(last), hint(because))
	}
	return one(certmedic.Untrusted, "%s: the chain ends at %s, whose issuer %s is neither sent nor trusted%s",
		verdict, commonName(last), issuerName(last), hint(because))
}

func (s *subject) missingIssuer() string {
	if len(s.presented) == 1 {
		return fmt.Sprintf("the server sends only the leaf, without its issuer %s; serve fullchain.pem", issuerName(s.leaf))
	}
	return fmt.Sprintf("the server sends %d further certificates, but not the leaf's issuer %s; serve the fullchain.pem of this leaf",
		len(s.presented)-1, issuerName(s.leaf))
}

// hint returns what crypto/x509 believes to be the reason, such as a signature that is
// too weak, with the sentence around it.
func hint(err error) string {
	_, reason, ok := strings.Cut(err.Error(), "(possibly because of ")
	if !ok {
		return ""
	}
	return " (possibly because of " + printable(reason)
}

func (s *subject) usage() []certmedic.Finding {
	if !forServers(s.leaf) {
		return one(certmedic.WrongUsage, "the certificate is not made for servers: its extended key usage lacks serverAuth")
	}
	for _, set := range s.sets {
		if set.wrongUsage {
			return one(certmedic.WrongUsage, "a certificate above the leaf may not issue for servers: its extended key usage lacks serverAuth")
		}
	}
	return nil
}

func forServers(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

func (s *subject) constraints() []certmedic.Finding {
	for _, set := range s.sets {
		if reasonOf(set.err) == x509.CANotAuthorizedForThisName {
			return one(certmedic.NameConstraint, "an issuer may not issue for these names: %s", printable(set.err.Error()))
		}
	}
	return nil
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

// order finds certificates that come before any that they signed. RFC 8446 section
// 4.4.2 lets servers send more than one path, so that only this much order is asked for.
func (s *subject) order() []certmedic.Finding {
	wanted := map[string]bool{string(s.leaf.RawIssuer): true}
	var early []string
	for i, c := range s.presented[1:] {
		if s.unneeded[i+1] == "" && !wanted[string(c.RawSubject)] {
			early = append(early, commonName(c))
		}
		wanted[string(c.RawIssuer)] = true
	}
	if len(early) == 0 {
		return nil
	}
	return one(certmedic.ChainOrder, "sent before the certificates that they signed: %s", list(early))
}

func (s *subject) extra() []certmedic.Finding {
	var parts []string
	for i, reason := range s.unneeded {
		if reason != "" {
			parts = append(parts, commonName(s.presented[i])+" "+reason)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return one(certmedic.ChainExtra, "certificates that need not be sent: %s", list(parts))
}

// minimum sizes of keys in bits, after the CA/Browser Forum's baseline requirements,
// section 6.1.5.
const (
	minRSABits = 2048
	minECBits  = 256
)

func (s *subject) weakness() []certmedic.Finding {
	var keys, signatures []string
	for i, c := range s.presented {
		if s.unneeded[i] != "" {
			continue
		}
		if weakKey(c) {
			keys = append(keys, fmt.Sprintf("%s has %s", label(c, s.leaf), keyType(c)))
		}
		if weakSignature(c) && (i == 0 || !selfIssued(c)) {
			signatures = append(signatures, fmt.Sprintf("%s is signed with %s", label(c, s.leaf), c.SignatureAlgorithm))
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

func weakKey(c *x509.Certificate) bool {
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() < minRSABits
	case *ecdsa.PublicKey:
		return key.Curve.Params().BitSize < minECBits
	}
	return c.PublicKeyAlgorithm == x509.DSA
}

func weakSignature(c *x509.Certificate) bool {
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}
