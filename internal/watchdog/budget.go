package watchdog

import (
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/rules"
)

// Budgeted takes what is left of the limits of a certificate's CA, and judges the certificate if
// that is something else than before.
func (w *Watchdog) Budgeted(certificate string, left []ledger.Remaining) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok || slices.Equal(e.budget, left) {
		return
	}
	same := slices.EqualFunc(e.budget, left, func(a, b ledger.Remaining) bool { return a.Limit == b.Limit && a.Left == b.Left })
	e.budget = left
	if e.read && !same {
		w.judgeLocked(e, time.Now())
	}
}

// budgetFacts says how many more versions of exactly its names the CA will issue now. Whose limits
// are not known, of that nothing is said.
func (e *entry) budgetFacts(c *rules.CertificateFacts) {
	closest := -1
	for i, r := range e.budget {
		if (r.Limit == ledger.NewOrders || r.Limit == ledger.PerExactSet) && (closest < 0 || r.Left < e.budget[closest].Left) {
			closest = i
		}
	}
	if closest < 0 {
		return
	}
	r := e.budget[closest]
	c.BudgetRemaining = new(r.Left)
	line := fmt.Sprintf("%d left of %s", r.Left, r.Limit)
	if !r.Next.IsZero() {
		line += ", one more at " + day(r.Next)
	}
	c.Support["certificate.budget_remaining"] = rules.Support{Members: c.Members, Evidence: []certmedic.Evidence{{Source: "ledger", Line: line}}}
}
