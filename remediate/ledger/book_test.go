package ledger

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func newBook(t *testing.T) (*Book, *kept) {
	t.Helper()
	store := &kept{entries: map[string]Entry{}}
	book, err := New(store)
	must(t, err)
	return book, store
}

// setLeft returns how many of the five of its names are left to the shop.
func setLeft(b *Book, now time.Time) int64 {
	for _, r := range b.Balance(now, shop()) {
		if r.Limit == PerExactSet {
			return r.Left
		}
	}
	return -1
}

func TestWhatIsSpentIsWrittenFirst(t *testing.T) {
	book, store := newBook(t)
	broken := errors.New("no space left on device")
	store.broken = broken
	if err := book.Spend(at(0, KindOrder)); !errors.Is(err, broken) {
		t.Errorf("spending says %v", err)
	}
	if left := setLeft(book, noon()); left != 5 {
		t.Errorf("what was not written was spent: %d left", left)
	}
	if err := book.Learn(noon(), []Sourced{{production, archive(1)}}); !errors.Is(err, broken) {
		t.Errorf("learning says %v", err)
	}
	if _, err := New(store); !errors.Is(err, broken) {
		t.Errorf("a ledger that cannot be read says %v", err)
	}
	store.broken = nil
	must(t, book.Spend(at(0, KindOrder, named("SHOP.example.com"))))
	again, err := New(store)
	must(t, err)
	if left := setLeft(again, noon()); left != 4 {
		t.Errorf("after a restart %d are left", left)
	}
}

// archive returns n versions for shop.example.com, of which the last was issued at noon and each
// other an hour before the next.
func archive(n int) []certmedic.Issued {
	var all []certmedic.Issued
	for i := range n {
		all = append(all, certmedic.Issued{
			Version: certmedic.Fingerprint(strings.Repeat("a", i+1)), NotBefore: noon().Add(time.Duration(i-n) * time.Hour), Names: []string{"shop.example.com"},
		})
	}
	return all
}

func TestWhatArchivesTell(t *testing.T) {
	book, store := newBook(t)
	o := shop()
	o.Issued = archive(2)
	if d := book.Ask(noon(), o); d.Balance[1].Left != 3 {
		t.Errorf("what the order's own archive tells is not counted before it was learnt: %v", d.Balance)
	}
	must(t, book.Learn(noon(), []Sourced{{production, archive(3)}, {"https://ca.example.test/", []certmedic.Issued{{Version: "b", NotBefore: noon(), Names: shop().Names}}}}))
	if left, domain := setLeft(book, noon()), store.entries["certificate/a"].Exempt; left != 2 || domain != ExemptFromNone {
		t.Errorf("after three %d are left, the first is exempt from %q", left, domain)
	}
	if e := store.entries["certificate/aaa"]; e.Exempt != ExemptRenewal || !e.Time.Equal(noon()) || e.By != ByCertbot {
		t.Errorf("the third is written down as %+v", e)
	}
	if d := book.Ask(noon(), o); d.Balance[1].Left != 2 {
		t.Errorf("what was learnt is counted again: %v", d.Balance)
	}
	ours := at(0, KindCertificate, version("aaa"), exempt(ExemptARI))
	must(t, book.Spend(ours))
	must(t, book.Learn(noon(), []Sourced{{production, archive(3)}}))
	if e := store.entries["certificate/aaa"]; e.Exempt != ExemptARI {
		t.Errorf("an archive knows better than who ordered: %+v", e)
	}
}

func TestWhatIsForgotten(t *testing.T) {
	book, store := newBook(t)
	for _, e := range []Entry{
		at(17*day, KindOrder), at(15*day, KindOrder), at(15*day, KindPause, until(time.Hour)), at(17*day, KindPause, until(9999*day)), at(300*day, KindPause),
	} {
		must(t, book.Spend(e))
	}
	must(t, book.Learn(noon(), []Sourced{{production, []certmedic.Issued{{Version: "old", NotBefore: noon().Add(-17 * day), Names: []string{"a.test"}}}}}))
	if len(store.entries) != 3 {
		t.Errorf("left are %v, want the order of the last days and two pauses that go on", store.entries)
	}
	if d := book.Ask(noon(), shop()); d.Reason != Paused {
		t.Errorf("a pause without end was forgotten: %+v", d)
	}
}

// TestTheLastIsTakenOnce has many ask for what is left at a time.
func TestTheLastIsTakenOnce(t *testing.T) {
	book, _ := newBook(t)
	var granted atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			o := shop()
			o.By = ByPerson
			if d, err := book.Take(noon().Add(time.Duration(i)), o); err == nil && d.Allowed() {
				granted.Add(1)
			}
		})
	}
	wg.Wait()
	if n := granted.Load(); n != 5 {
		t.Errorf("%d of the five are granted", n)
	}
	book, store := newBook(t)
	store.broken = errors.New("no space left on device")
	if _, err := book.Take(noon(), shop()); !errors.Is(err, store.broken) {
		t.Errorf("what cannot be written is granted: %v", err)
	}
	if d, err := Closed(errors.New("it cannot be read")).Take(noon(), shop()); err != nil || d.Reason != Paused {
		t.Errorf("a closed book grants: %+v, %v", d, err)
	}
}

// TestPeopleMayLeaveTheReserve asks for a person who spends all, and for one who does not.
func TestPeopleMayLeaveTheReserve(t *testing.T) {
	book, _ := newBook(t)
	person := shop()
	person.By = ByPerson
	careful := person
	careful.Keep = true
	for i := range 5 {
		if _, err := book.Take(noon().Add(time.Duration(i)), careful); err != nil {
			t.Fatal(err)
		}
	}
	if d := book.Ask(noon(), careful); d.Reason != Reserved || !book.Ask(noon(), person).Allowed() {
		t.Errorf("with a reserve left it is %+v for one who leaves it", d)
	}
}

// TestPatienceSurvivesARestart asks before and after one.
func TestPatienceSurvivesARestart(t *testing.T) {
	book, store := newBook(t)
	for _, before := range []time.Duration{3 * time.Hour, 2 * time.Hour, time.Hour, time.Minute} {
		must(t, book.Spend(at(before, KindFailure)))
	}
	first := book.Ask(noon(), shop())
	again, err := New(store)
	must(t, err)
	if second := again.Ask(noon().Add(time.Minute), shop()); first.Reason != Backoff || second.Reason != Backoff || !second.Retry.Equal(first.Retry) {
		t.Errorf("before: %q until %s, afterwards %q until %s", first.Reason, first.Retry, second.Reason, second.Retry)
	}
}
