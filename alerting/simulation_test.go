package alerting_test

import (
	"errors"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
)

// TestSimulationTellsAsTheAlerterDoes plays some seconds of years ago, without waiting for any.
func TestSimulationTellsAsTheAlerterDoes(t *testing.T) {
	start := time.Date(2016, 3, 1, 0, 0, 0, 0, time.UTC)
	quiet := start.Add(time.Hour)
	r := &alertingtest.Recorder{}
	s, err := alerting.Simulate(alerting.Options{
		Receivers: map[string]alerting.Notifier{"ops": r}, GroupWait: groupWait,
		Silenced: func(e alerting.Event, now time.Time) bool { return e.Incident.ID == "c" && now.Before(quiet) },
	})
	if err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration, e alerting.Event) {
		e.Time = start.Add(d)
		s.Tell(e)
	}
	deliver := func(d time.Duration) {
		t.Helper()
		if err := s.Deliver(t.Context(), start.Add(d)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(want string) {
		t.Helper()
		if got := story(r); got != want {
			t.Errorf("told\n%s\nwant\n%s", got, want)
		}
	}
	at(0, firing("a"))
	deliver(900 * time.Millisecond)
	want("")
	at(900*time.Millisecond, firing("b"))
	deliver(time.Second)
	want("firing: firing a firing b")
	at(time.Minute, firing("a")) // nothing new
	at(time.Minute, firing("c")) // silenced
	deliver(2 * time.Minute)
	want("firing: firing a firing b")
	s.Unmute(quiet)
	deliver(time.Hour)
	want("firing: firing a firing b; firing: firing c")
	if !s.Acknowledge(firing("a").Conversation(), alerting.Ack{By: "ann", At: quiet}) {
		t.Error("nobody knows of what was told")
	}
	at(2*time.Hour, resolved("a"))
	deliver(3 * time.Hour)
	want("firing: firing a firing b; firing: firing c; firing: acknowledged a resolved a")
}

// TestSimulationKeepsWhatIsNotTaken has a receiver fail once.
func TestSimulationKeepsWhatIsNotTaken(t *testing.T) {
	r := &alertingtest.Recorder{Answer: func(attempt int) (bool, error) {
		if attempt == 1 {
			return true, errors.New("not now")
		}
		return false, nil
	}}
	s, err := alerting.Simulate(alerting.Options{Receivers: map[string]alerting.Notifier{"ops": r}})
	if err != nil {
		t.Fatal(err)
	}
	e := firing("a")
	e.Time = time.Now().Add(-time.Hour)
	s.Tell(e)
	if err := s.Deliver(t.Context(), time.Now()); err == nil {
		t.Error("that a receiver fails is not said")
	}
	if err := s.Deliver(t.Context(), time.Now()); err != nil || story(r) != "firing: firing a" {
		t.Errorf("then %v, told %q", err, story(r))
	}
}
