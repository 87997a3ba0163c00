package watchdog

import (
	"cmp"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/rules"
)

// advice is what a CA said about when a version should be replaced.
type advice struct {
	version certmedic.Fingerprint
	window  *rules.Window // nil: it said nothing
}

// window takes what the CA says about a version.
func (e *entry) window(version certmedic.Fingerprint, w *rules.Window) { e.advice = advice{version, w} }

// maxAges is how many renewals are remembered.
const maxAges = 20

// learn remembers at which age versions are replaced, where the source itself does not tell:
// a source tells of the version that it holds, and endpoints without one of the version that
// all of them serve. It reports whether there was something new.
func (e *entry) learn() bool {
	leaf, ok := e.stored.Leaf()
	if !ok && e.cert.Source.Kind == certmedic.SourceNone {
		leaf, ok = e.unanimous()
	}
	last := e.memory.Newest
	if !ok || leaf.SHA256 == last.SHA256 || !leaf.NotBefore.After(last.NotBefore) {
		return false
	}
	if life := last.NotAfter.Sub(last.NotBefore); life > 0 {
		age := leaf.NotBefore.Sub(last.NotBefore)
		e.memory.Ages = append(slices.Clip(e.memory.Ages), float64(age)/float64(life))
		e.memory.Ages = e.memory.Ages[max(0, len(e.memory.Ages)-maxAges):]
	}
	e.memory.Newest = store.Version{SHA256: leaf.SHA256, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}
	return true
}

// unanimous returns the leaf that is served everywhere, and whether there is one.
func (e *entry) unanimous() (leaf certmedic.CertFacts, ok bool) {
	for _, seen := range e.memory.Seen {
		if ok && seen.SHA256 != leaf.SHA256 {
			return certmedic.CertFacts{}, false
		}
		leaf, ok = seen, true
	}
	return leaf, ok
}

// renewal returns what is known of when the certificate is renewed, for its newest version.
// While its source cannot be read, that is not known.
func (e *entry) renewal() (leaf certmedic.CertFacts, r rules.Renewal, ok bool) {
	leaf, ok = e.stored.Leaf()
	if !ok && e.cert.Source.Kind == certmedic.SourceNone {
		leaf = e.leafOfInterest()
	}
	if r.Ages = e.stored.Ages; len(r.Ages) == 0 {
		r.Ages = e.memory.Ages
	}
	if e.advice.version == leaf.SHA256 {
		r.Window = e.advice.window
	}
	return leaf, r, leaf.SHA256 != ""
}

// renewalFacts says whether the next renewal is late.
func (e *entry) renewalFacts(c *rules.CertificateFacts, now time.Time) {
	leaf, r, ok := e.renewal()
	e.scheduleFacts(c, now)
	if !ok {
		undecide(c.Undecided, "no version is known", "certificate.renewal_overdue", "certificate.renewal_due_in", "certificate.renewal_basis")
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
	evidence := []certmedic.Evidence{{Source: cmp.Or(e.storedAt(), e.cert.Name), Line: line}}
	c.Support["certificate.renewal_overdue"] = rules.Support{Members: c.Members, Evidence: append(evidence, e.renewalTried()...)}
}

// renewalTried returns why the last renewal of the stored version left nothing new.
func (e *entry) renewalTried() []certmedic.Evidence {
	leaf, _ := e.stored.Leaf()
	if a := e.action; a != nil && a.Kind == certmedic.ActionRenew && a.Version == leaf.SHA256 && a.Outcome.Kind == certmedic.OutcomeFailed {
		return evidenceOf(*a)
	}
	return nil
}

// Renewable is a version whose CA may say when it wants it to be replaced.
type Renewable struct {
	Certificate string
	Directory   string // of the ACME CA
	Leaf        certmedic.CertFacts
	CertPath    string             // the file that holds the leaf
	Issued      []certmedic.Issued // what the source's archive holds
}

// Renewables lists the stored versions whose source names the CA that renews them.
func (w *Watchdog) Renewables() []Renewable {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Renewable
	for _, name := range w.order {
		e := w.entries[name]
		if leaf, ok := e.stored.Leaf(); ok && e.stored.Directory != "" {
			all = append(all, Renewable{name, e.stored.Directory, leaf, e.stored.Path, e.stored.Issued})
		}
	}
	return all
}

// Advised takes the window in which a CA wants a version to be replaced, and judges its
// certificate.
func (w *Watchdog) Advised(certificate string, version certmedic.Fingerprint, window *rules.Window) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok {
		return
	}
	e.window(version, window)
	if e.read {
		w.judgeLocked(e, time.Now())
	}
}
