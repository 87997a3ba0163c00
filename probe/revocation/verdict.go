package revocation

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/certmedic/certmedic"
)

// tolerance is by how much clocks of issuers and ours may differ.
const tolerance = 5 * time.Minute

// Reason codes of RFC 5280 section 5.3.1 that matter here.
const (
	reasonHold   = 6
	reasonRemove = 8
)

// words are the reasons of RFC 5280 section 5.3.1 by their codes.
var words = []string{
	"no reason given", "key compromise", "CA compromise", "affiliation changed", "superseded", "cessation of operation",
	"certificate hold", "", "removed from the list", "privilege withdrawn", "AA compromise",
}

func word(reason uint8) string {
	if int(reason) < len(words) && words[reason] != "" {
		return words[reason]
	}
	return fmt.Sprintf("reason code %d", reason)
}

// verdict is what the sources say about one certificate: that it was revoked, that it is
// good, or why they do not say. The zero verdict is that there is nothing to say.
type verdict struct {
	good    bool
	revoked *revocation
	unknown []string // the reasons
	source  source   // who says it
	until   time.Time

	facts *certmedic.OCSPFacts // where the source is an OCSP responder
	scts  [][]byte
}

// revocation is when and why a certificate was revoked.
type revocation struct {
	at     time.Time
	reason uint8
}

// source is who says something. It is put into words only where it is told.
type source struct {
	what string
	url  string // empty where what says it all
}

func (s source) String() string {
	if s.url == "" {
		return s.what
	}
	return s.what + " " + strconv.Quote(s.url)
}

func unknown(until time.Time, why string) verdict {
	return verdict{unknown: []string{why}, until: until}
}

func (v verdict) definite() bool { return v.good || v.revoked != nil }

// firstOf returns what the first source says that says something, else the reasons of all.
func firstOf(urls []string, look func(url string) verdict) verdict {
	var v verdict
	for _, url := range urls {
		w := look(url)
		if w.definite() {
			return w.beside(v)
		}
		v = v.and(w)
	}
	return v
}

// beside returns the verdict, as what decides beside another: it stays the same for as
// long as both do, and has the facts of the response that there was.
func (v verdict) beside(w verdict) verdict {
	v.until = earlier(v.until, w.until)
	if v.facts == nil {
		v.facts, v.scts = w.facts, w.scts
	}
	return v
}

// and adds the reasons of another source that does not say anything either.
func (v verdict) and(w verdict) verdict {
	v.unknown = append(slices.Clip(v.unknown), w.unknown...)
	return v.beside(w)
}

// validity is for how long a source speaks.
type validity struct {
	thisUpdate, nextUpdate time.Time
}

// wrong says why a source does not speak for a time; nil when it does.
func (v validity) wrong(now time.Time) error {
	switch {
	case v.thisUpdate.After(now.Add(tolerance)):
		return fmt.Errorf("it is from the future (%s)", date(v.thisUpdate))
	case now.After(v.nextUpdate.Add(tolerance)):
		return fmt.Errorf("it is out of date since %s", date(v.nextUpdate))
	default:
		return nil
	}
}

// judge turns what a source says into a verdict. A revocation stands even where its
// source is out of date, because only a hold can be lifted.
func (v validity) judge(revoked *revocation, now time.Time, from source) verdict {
	wrong := v.wrong(now)
	end := v.nextUpdate.Add(tolerance)
	switch {
	case revoked != nil && revoked.at.After(now.Add(tolerance)):
		return unknown(revoked.at.Add(-tolerance), from.String()+" revokes it from "+date(revoked.at)+" on")
	case revoked != nil && wrong == nil:
		return verdict{revoked: revoked, source: from, until: end}
	case revoked != nil && revoked.reason != reasonHold:
		return verdict{revoked: revoked, source: from}
	case wrong != nil && now.Before(v.thisUpdate):
		return unknown(v.thisUpdate.Add(-tolerance), from.String()+" is of no use: "+wrong.Error())
	case wrong != nil:
		return unknown(time.Time{}, from.String()+" is of no use: "+wrong.Error())
	default:
		return verdict{good: true, source: from, until: end}
	}
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// earlier returns the earlier of two times, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
