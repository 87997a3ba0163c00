package alerting_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
)

// forgetful is a receiver that wants to hear again, every minute, what fires.
type forgetful struct {
	alertingtest.Recorder

	mu    sync.Mutex
	err   error
	heard []string // for each repetition the incidents that fired
}

func (*forgetful) Every() time.Duration { return time.Minute }

func (f *forgetful) Refresh(_ context.Context, open []alerting.Notification) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	var ids []string
	for _, n := range open {
		for _, e := range n.Open {
			id := e.Incident.ID
			if n.Ack != nil {
				id += " (" + n.Ack.By + ")"
			}
			ids = append(ids, id)
		}
	}
	f.heard = append(f.heard, strings.Join(ids, ", "))
	return nil
}

func (f *forgetful) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// wantHeard checks what was repeated since the last call.
func (f *forgetful) wantHeard(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := strings.Join(f.heard, "; "); got != strings.Join(want, "; ") {
		t.Errorf("repeated %q, want %q", got, want)
	}
	f.heard = nil
}

func TestWhatFiresIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &forgetful{}
		w := start(t, alerting.Options{Receivers: map[string]alerting.Notifier{"am": f}})
		sleep(2 * time.Minute)
		f.wantHeard(t)
		w.Tell(firing("a"))
		w.Tell(firing("b"))
		sleep(2 * time.Minute)
		f.wantHeard(t, "a, b", "a, b")
		w.Acknowledge("certmedic/shop/e1", alerting.Ack{By: "ann"})
		w.Tell(resolved("a"))
		sleep(time.Minute)
		f.wantHeard(t, "b (ann)")
		w.Tell(resolved("b"))
		sleep(5 * time.Minute)
		f.wantHeard(t)
		w.stop()
	})
}

func TestWhatFiresIsRepeatedAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &forgetful{}
		w := start(t, alerting.Options{Receivers: map[string]alerting.Notifier{"am": f}})
		w.Tell(firing("a"))
		sleep(2 * time.Second)
		w.stop()

		fires := firing("a")
		fires.Step = certmedic.Step{Do: certmedic.StepNotify}
		next := &forgetful{}
		w = start(t, alerting.Options{Receivers: map[string]alerting.Notifier{"am": next}, Outbox: w.outbox, Open: []alerting.Event{fires}})
		sleep(time.Minute + time.Second)
		if len(next.Delivered()) != 0 {
			t.Errorf("what is known is told again: %s", story(&next.Recorder))
		}
		next.mu.Lock()
		if len(next.heard) == 0 || next.heard[0] != "a" {
			t.Errorf("repeated %q, want a", next.heard)
		}
		next.mu.Unlock()
		w.stop()
	})
}

func TestWhatIsAboutToChangeIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &forgetful{}
		attempts := 0
		f.Answer = func(int) (bool, error) {
			if attempts++; attempts > 1 && attempts < 4 {
				return true, errors.New("away")
			}
			return false, nil
		}
		w := start(t, alerting.Options{Receivers: map[string]alerting.Notifier{"am": f}})
		w.Tell(firing("a"))
		sleep(59 * time.Second)
		w.Tell(resolved("a")) // the attempts within the next seconds fail
		sleep(2 * time.Second)
		f.wantHeard(t)
		sleep(2 * time.Minute)
		f.wantHeard(t)
		wantStory(t, &f.Recorder, "firing: firing a; resolved: resolved a")
		w.stop()
	})
}

func TestARepetitionThatFailsIsAFailureOfTheReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &forgetful{}
		w := start(t, alerting.Options{Receivers: map[string]alerting.Notifier{"am": f}})
		w.Tell(firing("a"))
		sleep(2 * time.Second)
		f.fail(errors.New("posting to am2: token=hunter2 refused"))
		sleep(6 * time.Minute)
		if why := w.Failing()["am"]; !strings.Contains(why, "am2") || strings.Contains(why, "hunter2") {
			t.Errorf("failing because of %q", why)
		}
		f.fail(nil)
		sleep(2 * time.Minute)
		if len(w.Failing()) != 0 {
			t.Errorf("still failing: %q", w.Failing())
		}
		w.stop()
	})
}

func TestIdentity(t *testing.T) {
	e := firing("a")
	e.Time = time.Date(2026, 3, 1, 0, 0, 0, 1, time.UTC)
	seen := map[string]string{e.Identity(): "the event"}
	for name, change := range map[string]func(*alerting.Event){
		"another kind":         func(e *alerting.Event) { e.Kind = alerting.KindResolved },
		"another incident":     func(e *alerting.Event) { e.Incident.ID = "b" },
		"another conversation": func(e *alerting.Event) { e.Incident.DedupKey = "certmedic/shop/e2" },
		"another moment":       func(e *alerting.Event) { e.Time = e.Time.Add(time.Nanosecond) },
	} {
		other := e
		change(&other)
		if twin := seen[other.Identity()]; twin != "" {
			t.Errorf("%s has the identity of %s", name, twin)
		}
		seen[other.Identity()] = name
	}
	e.Incident.Reason, e.Time = "told in other words", e.Time.In(time.FixedZone("x", 3600))
	if seen[e.Identity()] == "" || len(e.Identity()) != 32 {
		t.Errorf("the identity %q depends on words or on the time zone", e.Identity())
	}
}
