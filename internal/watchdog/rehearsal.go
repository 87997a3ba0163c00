package watchdog

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// The words of certificate.rehearsal.
const (
	rehearsalOK      = "ok"
	rehearsedHooks   = "hooks_failed"
	rehearsedRenewal = "renewal_failed"
)

// Rehearsed takes the news of a rehearsal and judges its certificate.
func (w *Watchdog) Rehearsed(a certmedic.Action) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e, ok := w.entries[a.Certificate]; ok && e.rehearsed(a) {
		w.judgeLocked(e, time.Now())
	}
}

// rehearsed takes a rehearsal. One that was refused, interrupted, or is still at work says
// nothing, so that the one before it still counts.
func (e *entry) rehearsed(a certmedic.Action) (news bool) {
	if a.Outcome.Kind != certmedic.OutcomeRehearsed && a.Outcome.Kind != certmedic.OutcomeFailed {
		return false
	}
	put(&e.rehearsals, a.Kind, &a)
	return true
}

// rehearsalFacts says how the last rehearsals went.
func (e *entry) rehearsalFacts(c *rules.CertificateFacts) {
	support := rules.Support{Members: c.Members}
	for _, r := range []struct {
		kind   certmedic.ActionKind
		failed string
	}{{certmedic.RehearseRenewal, rehearsedRenewal}, {certmedic.RehearseHooks, rehearsedHooks}} {
		a := e.rehearsals[r.kind]
		switch {
		case a == nil:
		case a.Outcome.Kind == certmedic.OutcomeFailed && !e.disproved(*a):
			c.Rehearsal = r.failed
			support.Evidence = append(support.Evidence, evidenceOf(*a)...)
		case c.Rehearsal == "":
			c.Rehearsal = rehearsalOK
		}
	}
	c.Support["certificate.rehearsal"] = support
}

// disproved reports whether what failed in a rehearsal has succeeded since then for real: of a
// renewal, another version is stored; of the hooks, another one is served, or an action healed.
func (e *entry) disproved(a certmedic.Action) bool {
	leaf, ok := e.stored.Leaf()
	renewed := ok && a.Version != "" && leaf.SHA256 != a.Version
	if a.Kind == certmedic.RehearseRenewal {
		return renewed
	}
	healed := e.ran != nil && e.ran.Outcome.Kind == certmedic.OutcomeHealed && e.ran.EndedAt.After(a.EndedAt)
	return renewed && !e.memory.Awaited || healed
}

// lastRehearsals returns the last rehearsal of each kind, the newest first.
func (e *entry) lastRehearsals() []certmedic.Action {
	var all []certmedic.Action
	for _, a := range e.rehearsals {
		all = append(all, *a)
	}
	slices.SortFunc(all, func(a, b certmedic.Action) int { return b.StartedAt.Compare(a.StartedAt) })
	return all
}

// RehearsalCode returns the exit code of the first command of a rehearsal that failed, 0 if none
// did, and -1 if it did not exit by itself.
func RehearsalCode(a certmedic.Action) int64 {
	for _, r := range a.Runs {
		if blamed(r) {
			return exitCode(r)
		}
	}
	return 0
}
