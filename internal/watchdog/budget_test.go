package watchdog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/rules"
)

func TestBudgetOfARenewal(t *testing.T) {
	left := func(limit ledger.Limit, n int64) ledger.Remaining { return ledger.Remaining{Limit: limit, Left: n} }
	for _, row := range []struct {
		about  string
		budget []ledger.Remaining
		want   int64 // -1: not known
	}{
		{"of a CA whose limits nobody knows nothing is said", nil, -1},
		{"the limit that is closest counts", []ledger.Remaining{left(ledger.NewOrders, 300), left(ledger.PerExactSet, 3)}, 3},
		{"whichever it is", []ledger.Remaining{left(ledger.NewOrders, 2), left(ledger.PerExactSet, 3)}, 2},
		{"the one of new names is none of a renewal", []ledger.Remaining{left(ledger.PerExactSet, 3), left(ledger.PerDomain, 0)}, 3},
		{"failed validations are no certificates", []ledger.Remaining{left(ledger.PerExactSet, 3), left(ledger.FailedValidations, 1)}, 3},
	} {
		cert := certmedic.Certificate{Name: "shop"}
		e := newEntry(&cert, store.Memory{}, rules.State{})
		e.budget = row.budget
		got := int64(-1)
		if n := e.facts(time.Now()).Certificate.BudgetRemaining; n != nil {
			got = *n
		}
		if got != row.want {
			t.Errorf("%s: %d, want %d", row.about, got, row.want)
		}
	}
}

// TestBudgetIsJudgedAtOnce has the ledger say that little is left.
func TestBudgetIsJudgedAtOnce(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		for _, row := range []struct {
			left   int64
			firing bool
		}{{5, false}, {1, true}, {0, true}, {2, false}} {
			s.w.Budgeted("shop", []ledger.Remaining{{Limit: ledger.PerExactSet, Left: row.left}})
			s.w.Budgeted("another", nil)
			firing := false
			for _, in := range s.w.Views()[0].Incidents {
				firing = firing || in.Rule == "rate-limit-near" && in.State == certmedic.StateFiring
			}
			if firing != row.firing {
				t.Errorf("%d are left: firing %t", row.left, firing)
			}
		}
	})
}
