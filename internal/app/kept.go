package app

import (
	"errors"
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
)

// kept is what an earlier generation, or process, left in the state.
type kept struct {
	rules   map[string]rules.State
	memory  map[string]store.Memory
	windows map[string]store.Renewal
	actions []certmedic.Action
	book    *ledger.Book
	loans   map[string]rollback.Loan

	rehearsals []certmedic.Action // newest first
}

func (a *App) kept() (kept, error) {
	var k kept
	var errRules, errMemory, errWindows, errActions, errBook, errLoans, errRehearsals error
	k.rules, errRules = a.store.Rules()
	k.memory, errMemory = a.store.Memories()
	k.windows, errWindows = a.store.Renewals()
	k.actions, errActions = a.store.Actions("", time.Now().Add(-recentActions))
	k.loans, errLoans = a.store.Loans()
	k.rehearsals, errRehearsals = a.store.Rehearsals().Actions("", time.Time{})
	k.book, errBook = ledger.New(a.store)
	if a.tell(notCounted, errBook) != nil {
		a.o.Log.Error("nothing is ordered from a CA until this is mended", "err", errBook)
		k.book = ledger.Closed(errBook)
	}
	if err := errors.Join(errRules, errMemory, errWindows, errActions, errLoans, errRehearsals); err != nil {
		return kept{}, fmt.Errorf("reading what was kept: %w", err)
	}
	return k, nil
}
