package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/internal/api"
)

// exercises are drills of an Alerter with two receivers, of which mail is the fallback.
type exercises struct {
	*drills
	t         *testing.T
	ops, mail *alertingtest.Recorder
	outbox    alertingtest.MemoryOutbox
	now       atomic.Pointer[alerting.Alerter]
	stop      func()
}

func newExercises(t *testing.T) *exercises {
	t.Helper()
	e := &exercises{t: t, ops: &alertingtest.Recorder{}, mail: &alertingtest.Recorder{}}
	e.drills = &drills{alerter: e.now.Load}
	return e
}

// begin runs another Alerter, as a new configuration does.
func (e *exercises) begin() {
	e.t.Helper()
	a, err := alerting.New(alerting.Options{
		Receivers: map[string]alerting.Notifier{"ops": e.ops, "mail": e.mail}, Fallback: []string{"mail"}, Open: e.open(),
		Routes: []alerting.Route{{Match: map[string]string{"severity": "critical"}, To: []string{"ops"}}}, Outbox: &e.outbox, Settled: e.settled,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(e.t.Context())
	ran := make(chan error, 1)
	go func() { ran <- a.Run(ctx) }()
	e.stop = func() {
		cancel()
		if err := <-ran; err != nil {
			e.t.Error(err)
		}
	}
	e.now.Store(a)
}

func kinds(r *alertingtest.Recorder) string {
	var all []string
	for _, n := range r.Delivered() {
		for _, e := range n.Events {
			all = append(all, string(e.Kind))
		}
	}
	return strings.Join(all, " ")
}

func (e *exercises) drill(lasts time.Duration) api.Drill {
	e.t.Helper()
	d, err := e.start(e.t.Context(), api.DrillRequest{Severity: certmedic.SeverityCritical, For: lasts, By: "ann"}, alerting.Facts{Name: "shop"})
	if err != nil {
		e.t.Fatal(err)
	}
	return d
}

func (e *exercises) look(id string) api.Drill {
	e.t.Helper()
	d, err := e.find(id)
	if err != nil {
		e.t.Fatal(err)
	}
	return d
}

func TestADrillIsToldToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExercises(t)
		e.begin()
		d := e.drill(time.Minute)
		time.Sleep(2 * time.Minute)
		if got := e.look(d.ID); !got.Done || !got.Delivered() || !slices.ContainsFunc(got.Receivers, func(r api.DrillReceiver) bool { return r.Receiver == "ops" }) {
			t.Errorf("it came to %+v", got)
		}
		if got := kinds(e.ops); got != "firing update resolved" {
			t.Errorf("told %q", got)
		}
		n := e.ops.Delivered()[0]
		if !n.Events[0].Drill || !strings.HasPrefix(n.Conversation, "certmedic/shop/drill-") || kinds(e.mail) != "" {
			t.Errorf("told %+v", n)
		}
		e.stop()
	})
}

func TestADrillEndsWhenItIsToldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExercises(t)
		e.begin()
		d := e.drill(time.Hour)
		time.Sleep(time.Minute)
		for range 2 { // a second time changes nothing
			if _, err := e.end(d.ID); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if got := e.look(d.ID); !got.Delivered() || kinds(e.ops) != "firing resolved" {
			t.Errorf("it came to %+v, told %q", got, kinds(e.ops))
		}
		if _, err := e.end("drill-none"); !errors.Is(err, errNoDrill) {
			t.Errorf("an unknown one ends: %v", err)
		}
		e.stop()
	})
}

func TestADrillSaysWhoRejectsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExercises(t)
		e.ops.Answer = func(int) (bool, error) { return false, errors.New("channel_not_found") }
		e.begin()
		d := e.drill(time.Minute)
		time.Sleep(2 * time.Minute)
		got := e.look(d.ID)
		if got.Delivered() || len(got.Receivers) != 2 || !got.Receivers[0].Instead || got.Receivers[0].Ended.IsZero() || got.Receivers[1].Error != "channel_not_found" {
			t.Errorf("it came to %+v", got)
		}
		e.stop()
	})
}

func TestADrillSaysWhoDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExercises(t)
		e.ops.Answer = func(int) (bool, error) { return true, errors.New("connection refused") }
		e.begin()
		d := e.drill(time.Second)
		time.Sleep(2 * time.Minute)
		if got := e.look(d.ID); got.Delivered() || !strings.HasSuffix(got.Receivers[0].Error+got.Receivers[len(got.Receivers)-1].Error, "connection refused") {
			t.Errorf("it came to %+v", got)
		}
		e.stop()
	})
}

func TestADrillGoesOnOverANewConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExercises(t)
		e.begin()
		d := e.drill(time.Hour)
		time.Sleep(time.Minute)
		e.stop()
		e.begin()
		time.Sleep(2 * time.Hour)
		if got := e.look(d.ID); !got.Delivered() || kinds(e.ops) != "firing update resolved" {
			t.Errorf("it came to %+v, told %q", got, kinds(e.ops))
		}
		e.stop()
	})
}

func TestADrillDoesNotOutliveACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExercises(t)
		e.begin()
		e.drill(time.Hour)
		time.Sleep(time.Minute)
		e.stop()
		e.drills = &drills{alerter: e.now.Load} // of another process
		e.begin()
		time.Sleep(time.Minute)
		if got := kinds(e.ops); got != "firing resolved" {
			t.Errorf("told %q", got)
		}
		e.stop()
	})
}

func TestDrillsThatAreRefused(t *testing.T) {
	e := newExercises(t)
	e.begin()
	defer e.stop()
	for _, row := range []struct {
		about   string
		request api.DrillRequest
		want    string
	}{
		{"too short", api.DrillRequest{Severity: certmedic.SeverityCritical}, "lasts between"},
		{"too long", api.DrillRequest{Severity: certmedic.SeverityCritical, For: 2 * time.Hour}, "lasts between"},
		{"no severity", api.DrillRequest{Severity: "bad", For: time.Minute}, `not "bad"`},
		{"nobody hears of it", api.DrillRequest{Severity: certmedic.SeverityWarning, For: time.Minute}, "no route tells anybody of shop of severity warning"},
	} {
		if _, err := e.start(t.Context(), row.request, alerting.Facts{Name: "shop"}); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
	}
}
