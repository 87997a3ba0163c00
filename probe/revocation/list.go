package revocation

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"sort"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// list is what is kept of a certificate revocation list (RFC 5280 section 5) whose
// signature was verified.
type list struct {
	validity
	scope   scope
	records []record // ordered by id
}

// record is one revoked certificate.
type record struct {
	id     id
	reason uint8
	at     uint32 // unix seconds
}

// id is the beginning of the SHA-256 of a serial number, in the encoding of DER. That two
// certificates of one issuer share it by accident has a chance of 2^-88.
type id [11]byte

func (l *list) size() int { return len(l.records) * 16 }

// judge says what the list says about a certificate in its scope.
func (l *list) judge(c *x509.Certificate, now time.Time, from source) verdict {
	if why := l.scope.excludes(c); why != "" {
		return unknown(time.Time{}, from.String()+" is of no use: "+why)
	}
	v := l.validity.judge(l.lookUp(c.SerialNumber), now, from)
	if v.good && l.scope.someReasons {
		return unknown(v.until, from.String()+" is of no use: it does not tell all reasons of revocation")
	}
	return v
}

// lookUp returns the earliest revocation of a serial number, nil when it has none.
func (l *list) lookUp(serial *big.Int) *revocation {
	want := idOf(serial)
	first := sort.Search(len(l.records), func(i int) bool { return bytes.Compare(l.records[i].id[:], want[:]) >= 0 })
	if first == len(l.records) || l.records[first].id != want {
		return nil
	}
	found := l.records[first]
	return &revocation{at: time.Unix(int64(found.at), 0).UTC(), reason: found.reason}
}

func idOf(serial *big.Int) id {
	if serial.Sign() < 0 { // crypto/x509 refuses such certificates
		return id{}
	}
	var buffer [32]byte
	content := buffer[:]
	if n := serial.BitLen()/8 + 1; n <= len(buffer) {
		content = content[:n] // with the bit of the sign, as in DER
	} else {
		content = make([]byte, n)
	}
	return idOfDER(serial.FillBytes(content))
}

func idOfDER(content []byte) id {
	sum := sha256.Sum256(content)
	return id(sum[:len(id{})])
}

// readList parses a list, DER or PEM, checks that the issuer signed it, and indexes it.
func readList(data []byte, issuer *x509.Certificate) (*list, error) {
	if bytes.HasPrefix(data, []byte("-----BEGIN")) {
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, errors.New("it is broken PEM")
		}
		data = block.Bytes
	}
	header, entries, err := splitList(data)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(header.RawIssuer, issuer.RawSubject) && header.Issuer.String() != issuer.Subject.String() {
		return nil, fmt.Errorf("it is the list of %q", header.Issuer.String())
	}
	if err := header.CheckSignatureFrom(issuer); err != nil {
		return nil, fmt.Errorf("%s did not sign it: %w", commonName(issuer), err)
	}
	l := &list{validity: validity{header.ThisUpdate.UTC(), header.NextUpdate.UTC()}}
	if header.NextUpdate.IsZero() {
		return nil, errors.New("it does not say until when it holds (nextUpdate)")
	}
	if l.scope, err = scopeOf(header.Extensions); err != nil {
		return nil, err
	}
	if l.records, err = index(entries); err != nil {
		return nil, err
	}
	return l, nil
}

// splitList parses a list but for its entries, which it returns as they are: crypto/x509
// makes half a kilobyte of each. For that it is given the list without them.
func splitList(der []byte) (*x509.RevocationList, cryptobyte.String, error) {
	input := cryptobyte.String(der)
	var whole, signed, body cryptobyte.String
	if !input.ReadASN1(&whole, asn1.SEQUENCE) || !input.Empty() || !whole.ReadASN1Element(&signed, asn1.SEQUENCE) {
		return nil, nil, errors.New("it is not a revocation list")
	}
	rest := signed
	if !rest.ReadASN1(&body, asn1.SEQUENCE) {
		return nil, nil, errors.New("it is not a revocation list")
	}
	rest = body
	ok := rest.SkipOptionalASN1(asn1.INTEGER) && rest.SkipASN1(asn1.SEQUENCE) && rest.SkipASN1(asn1.SEQUENCE) && skipTime(&rest)
	if ok && (rest.PeekASN1Tag(asn1.UTCTime) || rest.PeekASN1Tag(asn1.GeneralizedTime)) {
		ok = skipTime(&rest)
	}
	before := body[:len(body)-len(rest)]
	var entries cryptobyte.String
	if !ok || !rest.ReadOptionalASN1(&entries, nil, asn1.SEQUENCE) {
		return nil, nil, errors.New("it is a broken revocation list")
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(before)
			b.AddBytes(rest)
		})
		b.AddBytes(whole)
	})
	without, err := b.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("it is a broken revocation list: %w", err)
	}
	header, err := x509.ParseRevocationList(without)
	if err != nil {
		return nil, nil, fmt.Errorf("it is a broken revocation list: %w", err)
	}
	header.RawTBSRevocationList = signed
	return header, entries, nil
}

func skipTime(s *cryptobyte.String) bool {
	return s.PeekASN1Tag(asn1.UTCTime) && s.SkipASN1(asn1.UTCTime) || s.SkipASN1(asn1.GeneralizedTime)
}

// index parses the entries of a list, which were signed.
func index(entries cryptobyte.String) ([]record, error) {
	var records []record
	for !entries.Empty() {
		before := len(entries)
		r, err := readEntry(&entries)
		if err != nil {
			return nil, fmt.Errorf("entry %d of the list: %w", len(records)+1, err)
		}
		if records == nil {
			records = make([]record, 0, before/(before-len(entries))+1)
		}
		if r.reason != reasonRemove {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(a, b record) int {
		if order := bytes.Compare(a.id[:], b.id[:]); order != 0 {
			return order
		}
		return cmp.Compare(a.at, b.at)
	})
	if cap(records) > len(records)+len(records)/4 {
		records = slices.Clone(records) // the first entry promised more
	}
	return records, nil
}

func readEntry(entries *cryptobyte.String) (record, error) {
	var entry, serial, extensions cryptobyte.String
	if !entries.ReadASN1(&entry, asn1.SEQUENCE) || !entry.ReadASN1(&serial, asn1.INTEGER) || !minimal(serial) {
		return record{}, errors.New("it has no serial number")
	}
	at, ok := readTime(&entry)
	if !ok {
		return record{}, errors.New("it has no date")
	}
	r := record{id: idOfDER(serial), at: uint32(min(max(at.Unix(), 0), math.MaxUint32))}
	if !entry.ReadOptionalASN1(&extensions, nil, asn1.SEQUENCE) || !entry.Empty() {
		return record{}, errors.New("it is broken")
	}
	for !extensions.Empty() {
		if err := r.readExtension(&extensions); err != nil {
			return record{}, err
		}
	}
	return r, nil
}

// minimal reports whether the content of an INTEGER is encoded as DER wants it.
func minimal(content []byte) bool {
	if len(content) < 2 {
		return len(content) == 1
	}
	return !(content[0] == 0 && content[1] < 0x80 || content[0] == 0xff && content[1] >= 0x80)
}

func readTime(s *cryptobyte.String) (time.Time, bool) {
	var t time.Time
	if !s.PeekASN1Tag(asn1.UTCTime) {
		ok := s.ReadASN1GeneralizedTime(&t)
		return t, ok
	}
	before := *s
	var text cryptobyte.String
	if s.ReadASN1(&text, asn1.UTCTime) {
		if t, ok := parseUTC(text); ok {
			return t, true
		}
	}
	*s = before
	ok := s.ReadASN1UTCTime(&t)
	return t, ok
}

// parseUTC parses YYMMDDHHMMSSZ as RFC 5280 section 4.1.2.5.1 has it, in a tenth of the
// time that package time takes; lists hold a hundred thousand dates.
func parseUTC(text []byte) (time.Time, bool) {
	if len(text) != 13 || text[12] != 'Z' {
		return time.Time{}, false
	}
	var n [6]int
	for i := range n {
		tens, ones := text[2*i]-'0', text[2*i+1]-'0'
		if tens > 9 || ones > 9 {
			return time.Time{}, false
		}
		n[i] = int(tens)*10 + int(ones)
	}
	year := 1900 + n[0]
	if n[0] < 50 {
		year += 100
	}
	t := time.Date(year, time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC)
	return t, t.Day() == n[2] && int(t.Month()) == n[1] && n[3] < 24 && n[4] < 60 && n[5] < 60
}

// readExtension reads an extension of an entry. A critical one that says that an entry is
// of another issuer, or something unknown, makes the list useless (RFC 5280 section 5.3).
func (r *record) readExtension(extensions *cryptobyte.String) error {
	var extension, oid, value cryptobyte.String
	var critical bool
	if !extensions.ReadASN1(&extension, asn1.SEQUENCE) || !extension.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
		extension.PeekASN1Tag(asn1.BOOLEAN) && !extension.ReadASN1Boolean(&critical) ||
		!extension.ReadASN1(&value, asn1.OCTET_STRING) {
		return errors.New("it has a broken extension")
	}
	switch {
	case bytes.Equal(oid, []byte{0x55, 0x1d, 0x15}): // reasonCode, 2.5.29.21
		var reason int
		if !value.ReadASN1Enum(&reason) || reason < 0 || reason > math.MaxUint8 {
			return errors.New("it has a broken reason")
		}
		r.reason = uint8(reason)
	case critical:
		return errors.New("it has a critical extension that is not understood")
	}
	return nil
}
