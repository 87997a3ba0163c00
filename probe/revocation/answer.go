package revocation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	encoding "encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

const (
	maxAnswerBytes = 64 << 10

	// withoutNextUpdate is for how long an answer speaks that does not say so itself:
	// newer ones are to be had at any time then (RFC 6960 section 4.2.2.1).
	withoutNextUpdate = 24 * time.Hour
)

// answer is what is kept of an OCSP response whose signature was verified.
type answer struct {
	validity
	revoked *revocation
	stated  certmedic.OCSPFacts // as the response has them
	scts    [][]byte
}

func (a *answer) size() int {
	n := 256
	for _, sct := range a.scts {
		n += len(sct)
	}
	return n
}

func (a *answer) judge(now time.Time, from source) verdict {
	v := a.validity.judge(a.revoked, now, from)
	if a.stated.Status == statusWord(ocsp.Unknown) {
		v = unknown(time.Time{}, from.String()+" says that its responder does not know the certificate")
	}
	v.facts, v.scts = a.facts(false), a.scts
	return v
}

func (a *answer) facts(stapled bool) *certmedic.OCSPFacts {
	facts := a.stated
	facts.Stapled = stapled
	return &facts
}

func statusWord(status int) string {
	switch status {
	case ocsp.Good:
		return "good"
	case ocsp.Revoked:
		return "revoked"
	default:
		return "unknown"
	}
}

// ask asks the OCSP responder at a URL (RFC 6960), by GET because its caches can answer
// that (RFC 5019 section 5).
func (c *Checker) ask(ctx context.Context, s subject, responder string, now time.Time) verdict {
	key := listKey(responder, s.issuer) + s.cert.SerialNumber.String()
	kept := c.answers.Get(ctx, key, now, func(ctx context.Context) (*answer, time.Time, error) {
		a, err := c.loadAnswer(ctx, s, responder)
		if err != nil {
			return nil, time.Time{}, err
		}
		if err := a.wrong(now); err != nil {
			return a, time.Time{}, err
		}
		return a, earlier(a.nextUpdate, now.Add(c.options.MaxAge)), nil
	})
	if kept.Value == nil {
		return unknown(kept.Until, fmt.Sprintf("the OCSP responder %q is of no use: %v", responder, kept.Err))
	}
	v := kept.Value.judge(now, source{"the OCSP responder", responder})
	v.until = earlier(v.until, kept.Until)
	return v
}

func (c *Checker) loadAnswer(ctx context.Context, s subject, responder string) (*answer, error) {
	request, err := ocsp.CreateRequest(s.cert, s.issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("making an OCSP request: %w", err)
	}
	address := strings.TrimSuffix(responder, "/") + "/" + url.PathEscape(base64.StdEncoding.EncodeToString(request))
	der, err := c.options.Fetch(ctx, address, maxAnswerBytes)
	if err != nil {
		return nil, err
	}
	return readAnswer(der, s)
}

// readAnswer parses an OCSP response about a certificate, DER, and checks that it is about
// this certificate and that it was signed by who may say so. Its dates are not judged.
func readAnswer(der []byte, s subject) (*answer, error) {
	if len(der) > maxAnswerBytes {
		return nil, fmt.Errorf("it has %d bytes, more than %d", len(der), maxAnswerBytes)
	}
	response, err := ocsp.ParseResponseForCert(der, s.cert, nil)
	if err != nil {
		return nil, explain(err)
	}
	if err := s.checkSigner(response); err != nil {
		return nil, err
	}
	if err := s.checkSubject(response); err != nil {
		return nil, err
	}
	a := &answer{validity: validityOf(response), stated: certmedic.OCSPFacts{
		Status:     statusWord(response.Status),
		ProducedAt: response.ProducedAt.UTC(), ThisUpdate: response.ThisUpdate.UTC(), NextUpdate: response.NextUpdate.UTC(),
	}}
	if response.Status == ocsp.Revoked {
		reason := uint8(min(max(response.RevocationReason, 0), math.MaxUint8))
		a.revoked = &revocation{at: response.RevokedAt.UTC(), reason: reason}
		a.stated.RevokedAt = a.revoked.at
	}
	for _, e := range response.Extensions {
		if e.Id.Equal(encoding.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 5}) {
			a.scts, _ = inspect.SCTList(e.Value) // a broken one has none
		}
	}
	return a, nil
}

// validityOf returns for how long a response speaks: not before and no longer than the
// certificate of whoever signed it.
func validityOf(r *ocsp.Response) validity {
	v := validity{thisUpdate: r.ThisUpdate.UTC(), nextUpdate: r.NextUpdate.UTC()}
	if r.NextUpdate.IsZero() {
		v.nextUpdate = v.thisUpdate.Add(withoutNextUpdate)
	}
	if signer := r.Certificate; signer != nil {
		v.nextUpdate = earlier(v.nextUpdate, signer.NotAfter.UTC())
		if signer.NotBefore.After(v.thisUpdate) {
			v.thisUpdate = signer.NotBefore.UTC()
		}
	}
	return v
}

func explain(err error) error {
	var refused ocsp.ResponseError
	if errors.As(err, &refused) {
		return fmt.Errorf("the responder refused to answer: %s", refused.Status)
	}
	return fmt.Errorf("it cannot be read: %w", err)
}

// checkSigner wants the response signed by the issuer, or by somebody whom the issuer
// delegated that to (RFC 6960 section 4.2.2.2). That the response fits a certificate that
// came with it was checked when it was parsed. Whether the delegate was revoked is not
// asked: authorities say with id-pkix-ocsp-nocheck that nobody should, or replace them often.
func (s subject) checkSigner(r *ocsp.Response) error {
	delegate := r.Certificate
	if delegate == nil || s.isSigner(delegate) {
		if err := r.CheckSignatureFrom(s.issuer); err != nil {
			return fmt.Errorf("%s did not sign it: %w", commonName(s.issuer), err)
		}
		return nil
	}
	if !bytes.Equal(delegate.RawIssuer, s.issuer.RawSubject) {
		return fmt.Errorf("it was signed by %s, whom %s has not delegated that to", commonName(delegate), commonName(s.issuer))
	}
	if err := delegate.CheckSignatureFrom(s.issuer); err != nil {
		return fmt.Errorf("it was signed by %s, whom %s has not delegated that to: %w", commonName(delegate), commonName(s.issuer), err)
	}
	if !slices.Contains(delegate.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
		return fmt.Errorf("it was signed by %s, which may not sign OCSP responses", commonName(delegate))
	}
	return nil
}

// checkSubject wants the response to be about a certificate of the issuer. Serial numbers
// are compared when it is parsed, but other issuers may use the same.
func (s subject) checkSubject(r *ocsp.Response) error {
	name, key, ok := issuerHashes(r.TBSResponseData, s.cert)
	if !ok || !r.IssuerHash.Available() {
		return errors.New("it does not say whose certificate it is about in a way that is understood")
	}
	var info struct {
		Algorithm encoding.RawValue
		Key       encoding.BitString
	}
	if _, err := encoding.Unmarshal(s.issuer.RawSubjectPublicKeyInfo, &info); err != nil {
		return fmt.Errorf("reading the key of %s: %w", commonName(s.issuer), err)
	}
	if !bytes.Equal(name, sum(r.IssuerHash, s.issuer.RawSubject)) || !bytes.Equal(key, sum(r.IssuerHash, info.Key.RightAlign())) {
		return errors.New("it is about a certificate of another issuer")
	}
	return nil
}

func sum(hash crypto.Hash, data []byte) []byte {
	h := hash.New()
	_, _ = h.Write(data)
	return h.Sum(nil)
}

// issuerHashes returns the hashes of the issuer's name and key of the first status about
// the certificate's serial number, which is the one that package ocsp returns.
func issuerHashes(responseData []byte, c *x509.Certificate) (name, key []byte, ok bool) {
	data := cryptobyte.String(responseData)
	var body, responder, statuses cryptobyte.String
	var form asn1.Tag
	ok = data.ReadASN1(&body, asn1.SEQUENCE) &&
		body.SkipOptionalASN1(tag(0).Constructed()) && // version
		body.ReadAnyASN1(&responder, &form) &&
		body.SkipASN1(asn1.GeneralizedTime) && body.ReadASN1(&statuses, asn1.SEQUENCE)
	want := idOf(c.SerialNumber)
	for ok && !statuses.Empty() {
		var status, certID, nameHash, keyHash, serial cryptobyte.String
		ok = statuses.ReadASN1(&status, asn1.SEQUENCE) && status.ReadASN1(&certID, asn1.SEQUENCE) &&
			certID.SkipASN1(asn1.SEQUENCE) && certID.ReadASN1(&nameHash, asn1.OCTET_STRING) &&
			certID.ReadASN1(&keyHash, asn1.OCTET_STRING) && certID.ReadASN1(&serial, asn1.INTEGER)
		if ok && idOfDER(serial) == want {
			return nameHash, keyHash, true
		}
	}
	return nil, nil, false
}
