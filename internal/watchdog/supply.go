package watchdog

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// Supply is how the versions of a certificate get from the host that has them issued to others, and whether this host's own copy is fit
// to be served.
type Supply struct {
	Fetched time.Time `json:"fetched_at,omitzero"` // when it last was sure what is published, of a certificate that is issued elsewhere
	Failing string    `json:"failing,omitempty"`   // why what is published cannot be fetched, or must not be believed; empty: it can

	Published   certmedic.Fingerprint `json:"published,omitempty"` // the version that is published, as far as is known here
	PublishedAt time.Time             `json:"published_at,omitzero"`
	PublishedBy string                `json:"published_by,omitempty"` // the member that did
	Unpublished string                `json:"unpublished,omitempty"`  // why the stored version is not published; empty: it is, or that is for another member to do

	Tested time.Time `json:"tested_at,omitzero"` // when this host's own copy was served to itself last
	Unfit  string    `json:"unfit,omitempty"`    // why that failed; empty: it did not
}

// Supplied takes a change of how the versions of a certificate get from host to host, and judges the certificate where rules may
// say something else.
func (w *Watchdog) Supplied(certificate string, change func(*Supply)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok {
		return
	}
	var next Supply
	if e.supply != nil {
		next = *e.supply
	}
	before := next
	change(&next)
	e.supply = &next
	if e.read && (before.Failing != next.Failing || before.Unpublished != next.Unpublished || before.Unfit != next.Unfit) {
		w.judgeLocked(e, time.Now())
	}
}

// Held is what the source of a certificate holds, as it was read last.
type Held struct {
	Stored certmedic.Stored
	Bad    string // why that must not be handed on: what is critical about it, or that its key is denied; empty: nothing
}

// Holds returns what the source of a certificate holds; ok is false while it was not read.
func (w *Watchdog) Holds(certificate string) (h Held, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok || !e.read {
		return Held{}, false
	}
	h.Stored = *e.stored
	all := e.findings()
	if i := slices.IndexFunc(all, critical); i >= 0 {
		h.Bad = string(all[i].Code) + ": " + all[i].Detail
	}
	if leaf, stands := e.stored.Leaf(); stands && e.keyDenied(leaf) {
		h.Bad = "its key is on the deny list"
	}
	return h, true
}

// supplyFacts says whether versions get to where they should. Of what is only watched nothing is said.
func (e *entry) supplyFacts(c *rules.CertificateFacts) {
	if e.cert.Watched {
		return
	}
	var s Supply
	if e.supply != nil {
		s = *e.supply
	}
	tell := func(name, source, why string) *bool {
		if why != "" {
			c.Support["certificate."+name] = rules.Support{Members: c.Members, Evidence: []certmedic.Evidence{{Source: source, Line: why}}}
		}
		return new(why != "")
	}
	c.SharedFailing = tell("shared_failing", "shared store", s.Failing)
	c.Unpublished = tell("unpublished", "shared store", s.Unpublished)
	c.StandbyUnfit = tell("standby_unfit", e.storedAt(), s.Unfit)
}
