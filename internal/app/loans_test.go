package app

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// party is a member of two.
type party struct {
	records coord.Records
	token   uint64 // 0: it does not act
}

func (p *party) Records() coord.Records { return p.records }
func (p *party) shares(string) bool     { return true }
func (p *party) Lead(string) certmedic.Lead {
	return certmedic.Lead{Mine: p.token > 0, Token: p.token}
}

func newParty(t *testing.T, m *coordtest.Memory, name string, token uint64) (*loanBook, *party) {
	t.Helper()
	own, err := store.Open(t.TempDir(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	p := &party{m.Open(t, name, 10*time.Second), token}
	return newLoanBook(own, p, slog.New(slog.DiscardHandler)), p
}

func loanOf(version certmedic.Fingerprint) rollback.Loan {
	return rollback.Loan{Certificate: "shop", Version: version, Instead: "bad", Action: "a-" + string(version), Since: time.Now().UTC()}
}

func stands(t *testing.T, b *loanBook) certmedic.Fingerprint {
	t.Helper()
	l, ok, err := b.Loan("shop")
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return ""
	}
	return l.Version
}

// TestALoanIsKnownToWhoeverTakesOver has one member roll back, and another one act from then on.
func TestALoanIsKnownToWhoeverTakesOver(t *testing.T) {
	var m coordtest.Memory
	one, first := newParty(t, &m, "one", 1)
	two, second := newParty(t, &m, "two", 0)
	if err := one.SaveLoan(loanOf("good")); err != nil {
		t.Fatal(err)
	}
	var told []certmedic.Fingerprint
	lent := func(_ string, l *rollback.Loan) {
		if l == nil {
			told = append(told, "")
			return
		}
		told = append(told, l.Version)
	}
	for range 2 {
		if err := two.followAll(context.Background(), lent); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 1 || told[0] != "good" {
		t.Errorf("who does not act was told %q, want it once", told)
	}
	first.token, second.token = 0, 2
	if got := stands(t, two); got != "good" {
		t.Errorf("who takes over knows of %q", got)
	}
	if err := two.DropLoan("shop"); err != nil {
		t.Fatal(err)
	}
	if got := stands(t, one); got != "" {
		t.Errorf("the loan that ended elsewhere still stands: %q", got)
	}
	first.token = 1
	if err := one.SaveLoan(loanOf("late")); err != nil { // it was paused, and wakes
		t.Fatal(err)
	}
	if got := stands(t, two); got != "" {
		t.Errorf("a lower token had %q stand", got)
	}
}

// TestALoanThatCouldNotBeShared is kept, and shared when the coordinator is back; so is its end.
func TestALoanThatCouldNotBeShared(t *testing.T) {
	var m coordtest.Memory
	one, _ := newParty(t, &m, "one", 1)
	two, _ := newParty(t, &m, "two", 0)
	away := func(string) error { return errors.New("away") }
	if err := one.SaveLoan(loanOf("before")); err != nil {
		t.Fatal(err)
	}
	m.Fail(away)
	if err := one.SaveLoan(loanOf("good")); err != nil {
		t.Fatal(err)
	}
	if got := stands(t, one); got != "good" {
		t.Errorf("without the coordinator %q stands", got)
	}
	m.Fail(nil)
	if one, two := stands(t, one), stands(t, two); one != "good" || two != "good" {
		t.Errorf("with it again %q and %q stand", one, two)
	}
	m.Fail(away)
	if err := one.DropLoan("shop"); err != nil {
		t.Fatal(err)
	}
	m.Fail(nil)
	if one, two := stands(t, one), stands(t, two); one != "" || two != "" {
		t.Errorf("after its end %q and %q stand", one, two)
	}
}
