package inspect

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

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

// pathless says why no set of roots has a path: a certificate on the way cannot be used,
// the presented chain lacks the leaf's issuer, or it leads to a root that is not trusted.
func (s *subject) pathless(verdict string, because error) []certmedic.Finding {
	line := s.relevant[0]
	last := line[len(line)-1]
	if why := obstacle(line); why != "" {
		return one(certmedic.Untrusted, "%s: %s", verdict, why)
	}
	if why := refusal(because); why != "" {
		return one(certmedic.Untrusted, "%s: %s", verdict, why)
	}
	if issuer := s.deniedIssuer(last); issuer != nil {
		return one(certmedic.Untrusted, "%s: the signature of %s does not verify with the key of its issuer %s, which comes with it: it was altered after it was signed",
			verdict, label(last, s.leaf), commonName(issuer))
	}
	if len(line) == 1 {
		return one(certmedic.IncompleteChain, "%s", s.missingIssuer())
	}
	if selfSigned(last) {
		return one(certmedic.Untrusted, "%s: the chain ends at the root %s; add it to the roots if it is yours", verdict, commonName(last))
	}
	if slices.ContainsFunc(line, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, last.RawIssuer) }) {
		return one(certmedic.Untrusted, "%s: the chain goes round in a circle, its authorities signed each other", verdict)
	}
	return one(certmedic.Untrusted, "%s: the chain ends at %s, whose issuer %s is neither sent nor trusted",
		verdict, commonName(last), issuerName(last))
}

func (s *subject) missingIssuer() string {
	if len(s.presented) == 1 {
		return fmt.Sprintf("the leaf comes alone, without its issuer %s; serve fullchain.pem", issuerName(s.leaf))
	}
	return fmt.Sprintf("the leaf comes with %s, but without its issuer %s; serve the fullchain.pem of this leaf",
		count(int64(len(s.presented)-1), "further certificate"), issuerName(s.leaf))
}

// deniedIssuer returns the presented certificate that is an issuer by its name and by the
// identifier of its key, and whose key did not sign; nil where there is none. One that has
// the name alone is a stranger.
func (s *subject) deniedIssuer(c *x509.Certificate) *x509.Certificate {
	for _, p := range s.presented {
		named := bytes.Equal(p.RawSubject, c.RawIssuer) && !p.Equal(c)
		if named && len(c.AuthorityKeyId) > 0 && bytes.Equal(p.SubjectKeyId, c.AuthorityKeyId) && !signedBy(c, p) {
			return p
		}
	}
	return nil
}

// obstacle returns why clients refuse a line of certificates whatever they trust, "" where
// they need not.
func obstacle(line []*x509.Certificate) string {
	for i, c := range line {
		who := label(c, line[0])
		if len(c.UnhandledCriticalExtensions) > 0 {
			return fmt.Sprintf("%s has a critical extension (%s) that is not understood, and has to be refused for it", who, c.UnhandledCriticalExtensions[0])
		}
		if i > 0 {
			if why := unfit(c, i-1); why != "" {
				return fmt.Sprintf("%s signed %s, but %s", who, label(line[i-1], line[0]), why)
			}
		}
		if !signaturePasses(c) && !selfSigned(c) {
			return fmt.Sprintf("%s is signed with %s, which clients refuse", who, signatureName(c))
		}
	}
	return ""
}

// unfit returns why a certificate may not have signed the one below it, with so many
// intermediates between itself and the leaf.
func unfit(c *x509.Certificate, intermediates int) string {
	switch {
	case selfIssued(c) && c.Version < 3:
		return "" // a root of the time before there were extensions
	case !c.BasicConstraintsValid || !c.IsCA:
		return "is not an authority (basic constraints)"
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return "may not sign certificates (key usage)"
	case c.MaxPathLen >= 0 && intermediates > c.MaxPathLen:
		return fmt.Sprintf("allows %s below it (path length)", count(int64(c.MaxPathLen), "intermediate"))
	default:
		return ""
	}
}

// signaturePasses reports whether crypto/x509 accepts the kind of the signature.
func signaturePasses(c *x509.Certificate) bool {
	return c.SignatureAlgorithm != x509.UnknownSignatureAlgorithm && c.SignatureAlgorithm != x509.DSAWithSHA256 && !weakSignature(c)
}

func signatureName(c *x509.Certificate) string {
	if c.SignatureAlgorithm == x509.UnknownSignatureAlgorithm {
		return "an unknown algorithm"
	}
	return c.SignatureAlgorithm.String()
}

// refusal returns why crypto/x509 refused an issuer that it knows, "" where it knows
// none. A signature that does not verify makes it a stranger of the same name.
func refusal(err error) string {
	text := strings.TrimPrefix(err.Error(), "x509: ")
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		var hinted bool
		_, text, hinted = strings.Cut(strings.TrimSuffix(text, ")"), "(possibly because of ")
		if !hinted || strings.Contains(text, "verification") {
			return ""
		}
	}
	if strings.Contains(text, "expired or is not yet valid") {
		return "the root that it leads to is outside of its dates" // the text would count the time
	}
	return printable(text)
}
