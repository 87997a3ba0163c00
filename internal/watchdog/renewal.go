package watchdog

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// advice is what a CA said about when a version should be replaced.
type advice struct {
	version certmedic.Fingerprint
	window  *rules.Window // nil: it said nothing
}

// window takes what the CA says about a version.
func (e *entry) window(version certmedic.Fingerprint, w *rules.Window) { e.advice = advice{version, w} }

// renewal returns what is known of when the certificate is renewed, for its newest version.
func (e *entry) renewal() (leaf certmedic.CertFacts, r rules.Renewal, ok bool) {
	leaf, ok = e.stored.Leaf()
	if !ok {
		leaf = e.leafOfInterest()
	}
	r.Ages = e.stored.Ages
	if e.advice.version == leaf.SHA256 {
		r.Window = e.advice.window
	}
	return leaf, r, leaf.SHA256 != ""
}

// renewalFacts says whether the next renewal is late.
func (e *entry) renewalFacts(c *rules.CertificateFacts, now time.Time) {
	leaf, r, ok := e.renewal()
	if !ok {
		undecide(c.Undecided, "no certificate was seen yet", "certificate.renewal_overdue", "certificate.renewal_due_in", "certificate.renewal_basis")
		return
	}
	due, basis := r.Due(leaf)
	c.RenewalOverdue, c.RenewalDueIn, c.RenewalBasis = now.After(due), due.Sub(now), basis
	if age, ok := r.Age(); ok {
		c.RenewalAge = new(time.Duration(age * float64(leaf.Lifetime())))
	}
	if r.Window != nil {
		c.ARIStartsIn, c.ARIEndsIn = new(r.Window.Start.Sub(now)), new(r.Window.End.Sub(now))
	}
	line := "due " + day(due) + " by " + basis
	c.Support["certificate.renewal_overdue"] = rules.Support{Evidence: []certmedic.Evidence{{Source: e.storedAt(), Line: line}}}
}
