package watchdog

import (
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
)

// Lent takes which rollback of a certificate stands now, nil where none does, and judges the
// certificate.
func (w *Watchdog) Lent(certificate string, l *rollback.Loan) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok {
		return
	}
	now := time.Now()
	e.lend(l, now)
	if e.read {
		w.judgeLocked(e, now)
	}
}

// lend takes which rollback stands, nil where none does.
func (e *entry) lend(l *rollback.Loan, now time.Time) {
	e.loan = l
	e.compare(now)
}

// lends reports whether a version is served because it is lent: in place of the stored one, which
// was left or is no better. That is no drift.
func (e *entry) lends(served certmedic.Fingerprint) bool {
	leaf, ok := e.stored.Leaf()
	if e.loan == nil || !ok || served != e.loan.Version {
		return false
	}
	return leaf.SHA256 == e.loan.Instead || slices.ContainsFunc(e.problems, invalid) || e.keyDenied(leaf)
}

// repaid reports whether something better than what is lent is stored and seen served everywhere.
func (e *entry) repaid(now time.Time) bool {
	if e.loan == nil || e.stage() != certmedic.StageServed || e.unseen(now) != "" || e.flawed() {
		return false
	}
	leaf, _ := e.stored.Leaf()
	return e.loan.RepaidBy(leaf)
}

// repayLocked says that a loan can end.
func (w *Watchdog) repayLocked(e *entry, now time.Time) {
	if w.o.Repaid != nil && e.repaid(now) {
		w.o.Repaid(e.cert.Name)
	}
}

// loanFacts says whether a rollback stands, and until when. Of what is only watched nothing is
// said: nobody rolls it back.
func (e *entry) loanFacts(c *rules.CertificateFacts, now time.Time) {
	if e.cert.Watched {
		return
	}
	c.Loan = new(e.loan != nil)
	if e.loan == nil {
		return
	}
	l := e.loan
	c.LoanEndsIn, c.LoanCount = new(l.Until.Sub(now)), new(int64(l.Count))
	line := fmt.Sprintf("lent since %s, until %s, in place of %s: %s", day(l.Since), day(l.Until), l.Instead.Short(), l.Why)
	told := []certmedic.Evidence{{Source: l.Version.Short(), Line: line}}
	if l.Pinned {
		told = append(told, certmedic.Evidence{Source: "certbot", Line: "is kept from renewing until the loan ends"})
	}
	if l.Count > 1 {
		told = append(told, certmedic.Evidence{Source: "rollback", Line: fmt.Sprintf("it is the %s within 30 days for one cause", ordinal(l.Count))})
	}
	c.Support["certificate.loan"] = rules.Support{Members: c.Members, Evidence: told}
}

// ordinal writes a number as people say it in a row.
func ordinal(n int) string {
	switch n {
	case 2:
		return "second"
	case 3:
		return "third"
	}
	return fmt.Sprintf("%dth", n)
}
