// Package pages keeps in the records of a coordinator what members of a cluster told people: a record
// below "deliveries/" for each certificate, which the next episode uses again, so that they do not
// become more. The app hands a [Book] to alerting.
//
// It promises that a page is written only upon the one that was read, by the compare-and-swap of the
// records. It needs no token: who comes late finds the page turned. A page that is too long for a record
// loses what is longest first, and last the least bad of many incidents.
package pages

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/redact"
)

// prefix is that of the records.
const prefix = "deliveries/"

// Book is the pages in records.
type Book struct{ Records coord.Records }

var _ alerting.Book = Book{}

// keyOf returns the key of a certificate's record: its name, or a hash where that is no name of a record.
func keyOf(certificate string) string {
	key := prefix + certificate
	if coord.CheckName(key) == nil && certificate != "" && certificate[0] != '#' {
		return key
	}
	sum := sha256.Sum256([]byte(certificate))
	return prefix + "#" + hex.EncodeToString(sum[:])
}

// Page implements [alerting.Book].
func (b Book) Page(ctx context.Context, certificate string) (alerting.Page, error) {
	r, ok, err := b.Records.Get(ctx, keyOf(certificate))
	switch {
	case err != nil:
		return alerting.Page{}, fmt.Errorf("reading what was told about %q: %w", certificate, err)
	case !ok:
		return alerting.Page{Certificate: certificate}, nil
	}
	p := decode(r)
	p.Certificate = certificate
	return p, nil
}

// Pages implements [alerting.Book].
func (b Book) Pages(ctx context.Context) ([]alerting.Page, error) {
	records, err := b.Records.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("reading what was told: %w", err)
	}
	all := make([]alerting.Page, 0, len(records))
	for _, r := range records {
		all = append(all, decode(r))
	}
	return all, nil
}

// decode reads a record. One that cannot be read is an empty page, which is written anew: nobody must
// be kept from telling by it. Its certificate is in its key.
func decode(r coord.Record) alerting.Page {
	var p alerting.Page
	if err := json.Unmarshal(r.Value, &p); err != nil || keyOf(p.Certificate) != r.Key {
		p = alerting.Page{Certificate: r.Key[min(len(r.Key), len(prefix)):]}
	}
	p.Revision = r.Revision
	return p
}

// Write implements [alerting.Book].
func (b Book) Write(ctx context.Context, p alerting.Page) (alerting.Page, error) {
	value, err := encode(p)
	if err != nil {
		return p, err
	}
	r, err := b.Records.Put(ctx, keyOf(p.Certificate), p.Revision, 0, value)
	switch {
	case errors.Is(err, coord.ErrStale):
		return p, fmt.Errorf("writing what was told about %q: %w", p.Certificate, alerting.ErrOvertaken)
	case err != nil:
		return p, fmt.Errorf("writing what was told about %q: %w", p.Certificate, err)
	}
	p.Revision = r.Revision
	return p, nil
}

// shorten are the ways to make a page shorter, each more than the one before.
var shorten = []func(alerting.Line) alerting.Line{
	func(l alerting.Line) alerting.Line { return l },
	func(l alerting.Line) alerting.Line { return each(l, slim) },
	func(l alerting.Line) alerting.Line { return each(l, bare) },
	func(l alerting.Line) alerting.Line { return worst(each(l, bare), 100) },
	func(l alerting.Line) alerting.Line { return worst(each(l, bare), 10) },
}

// encode returns the page in at most as many bytes as a record holds.
func encode(p alerting.Page) ([]byte, error) {
	for _, less := range shorten {
		q := p
		q.Lines = maps.Clone(p.Lines)
		for name, l := range q.Lines {
			q.Lines[name] = less(l)
		}
		value, err := json.Marshal(q)
		if err != nil {
			return nil, fmt.Errorf("encoding what was told about %q: %w", p.Certificate, err)
		}
		if len(value) <= coord.MaxValue {
			return value, nil
		}
	}
	return nil, fmt.Errorf("what was told about %q does not fit into a record, for %d receivers", p.Certificate, len(p.Lines))
}

func each(l alerting.Line, change func(alerting.Event) alerting.Event) alerting.Line {
	l.Told = slices.Clone(l.Told)
	for i, e := range l.Told {
		l.Told[i] = change(e)
	}
	if l.Sending != nil {
		s := *l.Sending
		s.Events = slices.Clone(s.Events)
		for i, e := range s.Events {
			s.Events[i] = change(e)
		}
		l.Sending = &s
	}
	return l
}

// slim is an event without what can be long.
func slim(e alerting.Event) alerting.Event {
	e.Incident.Evidence, e.Incident.Members, e.Incident.Fix = nil, nil, ""
	return e
}

const shortText = 100 // characters

// bare is an event without all that is not needed to tell its end.
func bare(e alerting.Event) alerting.Event {
	e = slim(e)
	e.Incident.Summary, e.Incident.Reason = redact.Truncate(e.Incident.Summary, shortText), redact.Truncate(e.Incident.Reason, shortText)
	e.Incident.CauseSummary, e.Undelivered, e.Approval = "", "", nil
	e.Certificate = alerting.Facts{Name: e.Certificate.Name, NotAfter: e.Certificate.NotAfter}
	return e
}

// worst keeps so many of the worst incidents. The others may be told again when another member takes over.
func worst(l alerting.Line, most int) alerting.Line {
	slices.SortStableFunc(l.Told, func(a, b alerting.Event) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
	l.Told = l.Told[:min(len(l.Told), most)]
	if l.Sending != nil {
		l.Sending.Events = l.Sending.Events[:min(len(l.Sending.Events), most)]
	}
	return l
}
