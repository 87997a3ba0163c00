package watchdog

import (
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// Proven is a version that was seen served by every address of its certificate, with nothing
// critical found there or in the source.
type Proven struct {
	Certificate certmedic.Certificate
	Stored      certmedic.Stored
	Addresses   []string // where it was seen, as people know them
	Time        time.Time
}

// proveLocked says once for each version that it is proven.
func (w *Watchdog) proveLocked(e *entry, now time.Time) {
	if w.o.Proven == nil || e.cert.Watched || e.stage() != certmedic.StageServed {
		return
	}
	leaf, _ := e.stored.Leaf()
	if e.proven == leaf.SHA256 || e.unseen(now) != "" || e.flawed() {
		return
	}
	e.proven = leaf.SHA256
	p := Proven{Certificate: *e.cert, Stored: *e.stored, Time: now}
	for _, at := range slices.Sorted(maps.Keys(e.memory.Seen)) {
		p.Addresses = append(p.Addresses, spoken(at))
	}
	w.o.Proven(p)
}

// flawed reports whether anything critical is known of what is stored or served, or its key is
// on the deny list.
func (e *entry) flawed() bool {
	for _, o := range e.observed {
		if anyCritical(o) || slices.ContainsFunc(o.Findings, critical) {
			return true
		}
	}
	leaf, _ := e.stored.Leaf()
	return e.keyDenied(leaf) || slices.ContainsFunc(e.findings(), critical)
}

// keyDenied reports whether a leaf's key is on the deny list.
func (e *entry) keyDenied(leaf certmedic.CertFacts) bool {
	return e.denied != nil && e.denied(leaf.SPKISHA256)
}

// deniedFacts says whether the key of what is served or stored is on the deny list. Without a
// list nothing is said.
func (e *entry) deniedFacts(c *rules.CertificateFacts) {
	if e.denied == nil {
		return
	}
	var support rules.Support
	hit := func(at string, leaf certmedic.CertFacts, verb string) {
		if !e.keyDenied(leaf) {
			return
		}
		support.Members = append(support.Members, at)
		support.Evidence = append(support.Evidence, certmedic.Evidence{
			Source: at, Line: verb + " " + leaf.SHA256.Short() + ", whose key " + leaf.SPKISHA256.Short() + " is on the deny list",
		})
	}
	if leaf, ok := e.stored.Leaf(); ok {
		hit(e.storedAt(), leaf, "holds")
	}
	for _, at := range slices.Sorted(maps.Keys(e.memory.Seen)) {
		hit(spoken(at), e.memory.Seen[at], "serves")
	}
	c.KeyDenied = new(len(support.Members) > 0)
	c.Support["certificate.key_denied"] = support
}

// Denied judges every certificate that holds or serves a key, because that was put on the deny
// list just now.
func (w *Watchdog) Denied(spki certmedic.Fingerprint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.order {
		if e := w.entries[name]; e.has(spki) {
			w.judgeLocked(e, time.Now())
		}
	}
}

// has reports whether a key is that of what is stored, or of what an address presented last.
func (e *entry) has(spki certmedic.Fingerprint) bool {
	if leaf, ok := e.stored.Leaf(); ok && leaf.SPKISHA256 == spki {
		return true
	}
	for _, leaf := range e.memory.Seen {
		if leaf.SPKISHA256 == spki {
			return true
		}
	}
	return false
}
