package store

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestRehearsalsAreKeptApartFromActions(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"shop", "blog", "shop"} {
		at := start.Add(time.Duration(i) * time.Hour)
		a := certmedic.Action{ID: at.Format("20060102T150405"), Certificate: name, Kind: certmedic.RehearseHooks, StartedAt: at}
		if err := s.Rehearsals().Record(a); err != nil {
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
	all, err := s.Rehearsals().Actions("shop", time.Time{})
	if err != nil || len(all) != 2 || !all[0].StartedAt.Equal(start.Add(2*time.Hour)) {
		t.Errorf("of shop there are, newest first, %+v, %v", all, err)
	}
	if all, err := s.Rehearsals().Actions("", start.Add(time.Hour)); err != nil || len(all) != 2 {
		t.Errorf("after the first there are %+v, %v", all, err)
	}
	if all, err := s.Actions("", time.Time{}); err != nil || len(all) != 0 {
		t.Errorf("they count as actions: %+v, %v", all, err)
	}
	if err := s.Trim(); err != nil {
		t.Error(err)
	}
}
