package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/store"
)

func TestExercisesKeepTheLastOfEachKind(t *testing.T) {
	s, err := store.Open(t.TempDir(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	noon := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, e := range []store.Exercise{{Kind: "test", Receiver: "ops", Time: noon}, {Kind: "drill", Receiver: "ops", Time: noon}, {Kind: "test", Receiver: "ops", Time: noon.Add(time.Hour)}} {
		if err := s.SaveExercise(e); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.Exercises()
	if want := []store.Exercise{{Kind: "drill", Receiver: "ops", Time: noon}, {Kind: "test", Receiver: "ops", Time: noon.Add(time.Hour)}}; err != nil || !slices.Equal(all, want) {
		t.Errorf("%v, %v", all, err)
	}
}
