package revocation

import (
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// scope says for which certificates of its issuer a list speaks: the extension
// issuingDistributionPoint (RFC 5280 section 5.2.5). The zero scope is all of them.
type scope struct {
	named       bool     // only for certificates that point to one of URLs
	urls        []string // of the distribution point
	usersOnly   bool     // for no authorities
	casOnly     bool     // for authorities only
	someReasons bool     // for some reasons only
}

// scopeOf reads the extensions of a list. Those that change what the list means, and are
// not understood, make it useless.
func scopeOf(extensions []pkix.Extension) (scope, error) {
	var s scope
	for _, e := range extensions {
		switch {
		case e.Id.Equal(encoding.ObjectIdentifier{2, 5, 29, 28}):
			if err := s.read(e.Value); err != nil {
				return scope{}, err
			}
		case e.Id.Equal(encoding.ObjectIdentifier{2, 5, 29, 27}):
			return scope{}, errors.New("it is a delta of another list")
		case e.Id.Equal(encoding.ObjectIdentifier{2, 5, 29, 20}), e.Id.Equal(encoding.ObjectIdentifier{2, 5, 29, 35}):
			// the list's number and the issuer's key, which change nothing
		case e.Critical:
			return scope{}, fmt.Errorf("it has the critical extension %s, which is not understood", e.Id)
		}
	}
	return s, nil
}

func (s *scope) read(der []byte) error {
	input := cryptobyte.String(der)
	var body, point, reasons cryptobyte.String
	if !input.ReadASN1(&body, asn1.SEQUENCE) || !input.Empty() ||
		!body.ReadOptionalASN1(&point, &s.named, tag(0).Constructed()) {
		return errors.New("its issuing distribution point is broken")
	}
	if s.named {
		if err := s.readName(point); err != nil {
			return err
		}
	}
	var indirect, attributes bool
	ok := readFlag(&body, tag(1), &s.usersOnly) && readFlag(&body, tag(2), &s.casOnly) &&
		body.ReadOptionalASN1(&reasons, &s.someReasons, tag(3)) &&
		readFlag(&body, tag(4), &indirect) && readFlag(&body, tag(5), &attributes)
	switch {
	case !ok || !body.Empty():
		return errors.New("its issuing distribution point is broken")
	case indirect:
		return errors.New("it is an indirect list, which is not understood")
	case attributes:
		return errors.New("it is for attribute certificates")
	default:
		return nil
	}
}

// readName reads the distribution point's name: URLs are taken, other forms passed over.
func (s *scope) readName(point cryptobyte.String) error {
	var names cryptobyte.String
	if !point.ReadASN1(&names, tag(0).Constructed()) || !point.Empty() {
		return errors.New("its issuing distribution point has a name that is not understood")
	}
	for !names.Empty() {
		var name cryptobyte.String
		var form asn1.Tag
		if !names.ReadAnyASN1(&name, &form) {
			return errors.New("its issuing distribution point is broken")
		}
		if form == tag(6) {
			s.urls = append(s.urls, string(name))
		}
	}
	return nil
}

// excludes says why the list does not speak for a certificate; "" when it does.
func (s scope) excludes(c *x509.Certificate) string {
	switch {
	case s.usersOnly && c.IsCA:
		return "it does not cover authorities"
	case s.casOnly && !c.IsCA:
		return "it covers authorities only"
	case s.named && !slices.ContainsFunc(s.urls, func(u string) bool { return slices.Contains(c.CRLDistributionPoints, u) }):
		return fmt.Sprintf("it is the part %q of its issuer's list, to which the certificate does not point", s.urls)
	default:
		return ""
	}
}

func tag(n uint8) asn1.Tag { return asn1.Tag(n).ContextSpecific() }

// readFlag reads an optional BOOLEAN with an implicit tag.
func readFlag(s *cryptobyte.String, form asn1.Tag, flag *bool) bool {
	var value cryptobyte.String
	var present bool
	if !s.ReadOptionalASN1(&value, &present, form) || present && len(value) != 1 {
		return false
	}
	*flag = present && value[0] != 0
	return true
}
