package store

import (
	"reflect"
	"testing"
	"time"

	"github.com/certmedic/certmedic/remediate/ledger"
)

func TestTheLedgerIsKept(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]ledger.Entry{
		"order/1": {Time: start, Kind: ledger.KindOrder, Directory: "https://ca.example.test/", Account: "1", Names: []string{"a", "b"}, Exempt: ledger.ExemptARI, By: ledger.ByCertmedic},
		"pause/2": {Time: start, Kind: ledger.KindPause, Until: start.Add(time.Hour), Detail: "too many orders"},
	}
	if err := s.SaveLedger(want); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, time.Second); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if got, err := s.Ledger(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := s.DropLedger([]string{"order/1", "order/3"}); err != nil {
		t.Fatal(err)
	}
	delete(want, "order/1")
	if got, err := s.Ledger(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("after one was dropped: %+v, %v", got, err)
	}
}
