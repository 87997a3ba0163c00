package store

import (
	"reflect"
	"testing"
	"time"

	"github.com/certmedic/certmedic/remediate/rollback"
)

func TestLoansAreKept(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	first := rollback.Loan{Certificate: "shop", Version: "a1", Instead: "b2", Since: start, Until: start.Add(time.Hour), Count: 1}
	second := rollback.Loan{
		Certificate: "shop", Version: "a1", Instead: "c3", Why: "expired", Way: rollback.WayAppend, Action: "x",
		Since: start, Until: start.Add(time.Hour), NotBefore: start.Add(-time.Hour), Count: 2, Pinned: true,
	}
	other := rollback.Loan{Certificate: "blog", Version: "d4", Since: start, Until: start}
	for _, l := range []rollback.Loan{first, second, other} {
		if err := s.SaveLoan(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, time.Second); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if got, err := s.Loans(); err != nil || !reflect.DeepEqual(got, map[string]rollback.Loan{"shop": second, "blog": other}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := s.DropLoan("blog"); err != nil {
		t.Fatal(err)
	}
	if _, stands, err := s.Loan("blog"); err != nil || stands {
		t.Errorf("what was dropped stands: %v, %v", stands, err)
	}
	if got, stands, err := s.Loan("shop"); err != nil || !stands || !reflect.DeepEqual(got, second) {
		t.Errorf("got %+v, %v, %v", got, stands, err)
	}
	if err := s.DropLoan("blog"); err != nil {
		t.Errorf("dropping what is not there: %v", err)
	}
}
