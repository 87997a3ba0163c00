package store

import (
	"reflect"
	"testing"
	"time"

	"github.com/certmedic/certmedic/rules"
)

func TestRenewalsAreKept(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Renewal{
		"shop": {
			Version: "a1", Window: &rules.Window{Start: start, End: start.Add(time.Hour), Chosen: start.Add(time.Minute)}, Explanation: "https://ca.example.test/why",
			CheckAfter: start,
		},
		"blog": {Version: "b2", CheckAfter: start.Add(time.Minute), Failures: 3, Error: "the CA is left alone for now"},
	}
	for name, r := range want {
		if err := s.SaveRenewal(name, r); err != nil {
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
	if got, err := s.Renewals(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := s.TrimRenewals(start.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	delete(want, "shop")
	if got, err := s.Renewals(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("after trimming: %+v, %v", got, err)
	}
}
