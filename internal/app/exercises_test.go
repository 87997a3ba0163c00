package app

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/api"
)

func TestOnlyWhatWasTakenIsAnExercise(t *testing.T) {
	noon := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	d := api.Drill{Receivers: []api.DrillReceiver{
		{Receiver: "ops", Began: noon, Ended: noon.Add(time.Minute)},
		{Receiver: "late", Began: noon, Error: "it has not taken all of it"},
		{Receiver: "deaf"},
	}}
	if got := drilled(d); len(got) != 1 || got[0].Receiver != "ops" || !got[0].Time.Equal(noon.Add(time.Minute)) || got[0].Kind != exerciseDrill {
		t.Errorf("the drill leaves %v", got)
	}
	got := tests([]api.TestResult{{Receiver: "ops", Delivered: true}, {Receiver: "broken", Error: "no"}})
	if len(got) != 1 || got[0].Receiver != "ops" || got[0].Kind != exerciseTest {
		t.Errorf("the tests leave %v", got)
	}
}
