package inspect

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certmedic/certmedic"
)

// maxSCTs bounds how many timestamps of a list are read; certificates have two to six.
const maxSCTs = 64

// where signed certificate timestamps came from, as [certmedic.SCTFacts] names it.
const (
	sctInCertificate = "certificate"
	sctInTLS         = "tls"
	sctInOCSP        = "ocsp"
)

// SCTs returns the signed certificate timestamps of a leaf: those that it embeds, those
// of the handshake and those of an OCSP response, in this order. Each of tls and ocsp is
// one serialized timestamp, see [SCTList]. What cannot be read is left out, and no
// signature is checked. The leaf may be nil.
func SCTs(leaf *x509.Certificate, tls, ocsp [][]byte) []certmedic.SCTFacts {
	facts := sctFacts(embeddedSCTs(leaf), sctInCertificate)
	facts = append(facts, sctFacts(tls, sctInTLS)...)
	return append(facts, sctFacts(ocsp, sctInOCSP)...)
}

// SCTList splits the value of the extension in which a certificate (RFC 6962 section 3.3,
// OID 1.3.6.1.4.1.11129.2.4.2) or an OCSP response (2.4.5) keeps its timestamps.
func SCTList(extension []byte) ([][]byte, error) {
	outer, list := cryptobyte.String(extension), cryptobyte.String(nil)
	if !outer.ReadASN1(&list, cryptobyteasn1.OCTET_STRING) || !outer.Empty() {
		return nil, errors.New("the list of timestamps is no octet string")
	}
	var entries cryptobyte.String
	if !list.ReadUint16LengthPrefixed(&entries) || !list.Empty() {
		return nil, errors.New("the list of timestamps has the wrong length")
	}
	var scts [][]byte
	for !entries.Empty() {
		var sct cryptobyte.String
		if !entries.ReadUint16LengthPrefixed(&sct) || sct.Empty() {
			return nil, fmt.Errorf("timestamp %d has the wrong length", len(scts)+1)
		}
		if scts = append(scts, sct); len(scts) > maxSCTs {
			return nil, fmt.Errorf("there are more than %d timestamps", maxSCTs)
		}
	}
	return scts, nil
}

func embeddedSCTs(leaf *x509.Certificate) [][]byte {
	if leaf == nil {
		return nil
	}
	for _, e := range leaf.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}) {
			scts, err := SCTList(e.Value)
			if err != nil {
				return nil
			}
			return scts
		}
	}
	return nil
}

func sctFacts(scts [][]byte, source string) []certmedic.SCTFacts {
	var facts []certmedic.SCTFacts
	for _, raw := range scts[:min(len(scts), maxSCTs)] {
		if fact, ok := parseSCT(raw); ok {
			fact.Source = source
			facts = append(facts, fact)
		}
	}
	return facts
}

// parseSCT reads a SignedCertificateTimestamp of version 1 (RFC 6962 section 3.2).
func parseSCT(raw []byte) (certmedic.SCTFacts, bool) {
	s := cryptobyte.String(raw)
	var version, hash, signature uint8
	var milliseconds uint64
	var log []byte
	var extensions, signed cryptobyte.String
	read := s.ReadUint8(&version) && version == 0 && s.ReadBytes(&log, 32) && s.ReadUint64(&milliseconds) &&
		s.ReadUint16LengthPrefixed(&extensions) && s.ReadUint8(&hash) && s.ReadUint8(&signature) &&
		s.ReadUint16LengthPrefixed(&signed) && s.Empty()
	if !read || milliseconds > maxMilliseconds {
		return certmedic.SCTFacts{}, false
	}
	return certmedic.SCTFacts{
		Log:  base64.StdEncoding.EncodeToString(log),
		Time: time.UnixMilli(int64(milliseconds)).UTC(),
	}, true
}

// maxMilliseconds is the end of the year 9999, the last that RFC 3339 can write.
const maxMilliseconds = 253402300799999

// logged finds a chain to a public root for which no log vouches.
func (s *subject) logged() []certmedic.Finding {
	if s.options.Public == nil || len(SCTs(s.leaf, s.options.SCTs, nil)) > 0 {
		return nil
	}
	public := s.verify(Roots{Pool: s.options.Public})
	s.public = &public
	if len(public.usable) == 0 {
		return nil
	}
	return one(certmedic.NoSCT, "no signed certificate timestamp in the certificate, the handshake or OCSP: browsers refuse a certificate of %s that is in no log", issuerName(s.leaf))
}
