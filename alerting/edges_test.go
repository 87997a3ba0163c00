package alerting_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
)

// picky rejects events of some kinds for good.
type picky struct {
	alertingtest.Recorder
	kinds    []alerting.Kind
	rejected int
}

func (p *picky) Notify(ctx context.Context, n alerting.Notification) (bool, error) {
	if slices.ContainsFunc(n.Events, func(e alerting.Event) bool { return slices.Contains(p.kinds, e.Kind) }) {
		p.rejected++
		return false, errors.New("400")
	}
	return p.Recorder.Notify(ctx, n)
}

func TestAFallbackThatRejectsHasTheOthersTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops, mail, last := down(), down(), &alertingtest.Recorder{}
		w := start(t, alerting.Options{
			Receivers: map[string]alerting.Notifier{"ops": ops, "mail": mail, "last": last},
			Routes:    []alerting.Route{{To: []string{"mail"}}}, Fallback: []string{"mail", "last"},
		})
		w.Tell(firing("a"))
		sleep(time.Hour)
		wantStory(t, last, "firing: firing a")
		if mail.Attempts() != 1 || ops.Attempts() != 0 {
			t.Errorf("%d and %d attempts", mail.Attempts(), ops.Attempts())
		}
		w.stop()
	})
}

// A token that ran out must not leave alerts open for good: their end is told once it is mended, which
// takes a new configuration.
func TestAnEndThatWasRejectedIsToldAfterTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := start(t, alerting.Options{Receivers: one(&picky{kinds: []alerting.Kind{alerting.KindResolved}})})
		first.Tell(firing("a"))
		sleep(time.Minute)
		first.Tell(resolved("a"))
		sleep(time.Minute)
		first.wantOutbox(0)
		first.stop()

		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops), Outbox: first.outbox})
		sleep(time.Minute)
		wantStory(t, ops, "resolved: resolved a")
		if left, err := first.outbox.Deliveries(); err != nil || len(left) > 0 {
			t.Errorf("kept are %+v, %v", left, err)
		}
		w.stop()
	})
}

func TestAnEndThatWasRejectedIsNoLongerOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &picky{kinds: []alerting.Kind{alerting.KindResolved}}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		sleep(time.Minute)
		w.Tell(resolved("a"))
		sleep(time.Minute)
		w.Tell(firing("b"))
		sleep(time.Minute)
		wantStory(t, &ops.Recorder, "firing: firing a; firing: firing b")
		if open := ops.Delivered()[1].Open; len(open) != 1 {
			t.Errorf("%d are said to fire, want b alone", len(open))
		}
		w.stop()
	})
}

// A clock that is set back makes what happens later look older; it still is what people are to know.
func TestAClockThatWasSetBackHidesNoEnd(t *testing.T) {
	ahead := time.Hour
	late := func() alerting.Event {
		e := asked("a")
		e.Time = time.Now().Add(ahead)
		return e
	}
	t.Run("while the receiver cannot be reached", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ops := &alertingtest.Recorder{Answer: func(attempt int) (bool, error) {
				if attempt < 5 {
					return true, errors.New("no route to host")
				}
				return false, nil
			}}
			w := start(t, alerting.Options{Receivers: one(ops)})
			w.Tell(late())
			sleep(2 * time.Second)
			w.Tell(resolved("a"))
			sleep(10 * time.Minute)
			wantStory(t, ops, "resolved: resolved a")
			w.stop()
		})
	})
	t.Run("while certmedic does not run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			outbox := &alertingtest.MemoryOutbox{}
			if err := outbox.Put(alerting.Entry{ID: "1", Receiver: "ops", Event: late()}); err != nil {
				t.Fatal(err)
			}
			ops := &alertingtest.Recorder{}
			w := start(t, alerting.Options{Receivers: one(ops), Outbox: outbox})
			sleep(time.Minute)
			wantStory(t, ops, "resolved: resolved a")
			w.stop()
		})
	})
	t.Run("and what an earlier run left is still what is old", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			outbox := &alertingtest.MemoryOutbox{}
			newer := event(alerting.KindUpdate, "a", certmedic.SeverityCritical)
			newer.Time, newer.Severity = time.Now().Add(-time.Minute), certmedic.SeverityCritical
			if err := outbox.Put(alerting.Entry{ID: "1", Receiver: "ops", Event: newer}); err != nil {
				t.Fatal(err)
			}
			open := asked("a")
			open.Time = time.Now().Add(-time.Hour)
			ops := &alertingtest.Recorder{}
			w := start(t, alerting.Options{Receivers: one(ops), Outbox: outbox, Open: []alerting.Event{open}})
			sleep(time.Minute)
			if got := ops.Delivered(); len(got) != 1 || got[0].Events[0].Severity != certmedic.SeverityCritical {
				t.Errorf("told %+v", got)
			}
			w.stop()
		})
	})
}

// What a notifier remembers is of the conversation, which goes on where one incident ends and another
// one begins.
func TestTheMemoryStaysAsLongAsTheConversation(t *testing.T) {
	for _, row := range []struct {
		about string
		tell  func(w *world)
	}{
		{"in one message", func(w *world) { w.Tell(resolved("a")); w.Tell(firing("b")) }},
		{"the end is told while the next one waits", func(w *world) {
			w.Tell(resolved("a"))
			sleep(groupWait + time.Millisecond) // it is on its way
			w.Tell(firing("b"))
		}},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ops := &slow{}
				w := start(t, alerting.Options{Receivers: one(ops)})
				w.Tell(firing("a"))
				sleep(time.Minute)
				row.tell(w)
				sleep(time.Minute)
				w.Tell(event(alerting.KindUpdate, "b", certmedic.SeverityCritical))
				sleep(time.Minute)
				for i, n := range ops.Delivered() {
					if (len(n.Memory) > 0) != (i > 0) {
						t.Errorf("message %d has the memory %q", i, n.Memory)
					}
				}
				w.Tell(resolved("b"))
				sleep(time.Minute)
				if left, err := w.outbox.Deliveries(); err != nil || len(left) > 0 {
					t.Errorf("what is over is kept: %+v, %v", left, err)
				}
				w.stop()
			})
		})
	}
}

// slow remembers, and takes a second for each message.
type slow struct{ alertingtest.Recorder }

func (s *slow) Notify(ctx context.Context, n alerting.Notification) (bool, error) {
	time.Sleep(time.Second)
	retry, err := s.Recorder.Notify(ctx, n)
	return retry, errors.Join(err, n.Remember(json.RawMessage(`"posted"`)))
}

func TestInfoIsToldOnceNothingWorseFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops), Routes: []alerting.Route{{To: []string{"ops"}, Events: true}}})
		info := func(kind alerting.Kind, id string) alerting.Event { return event(kind, id, certmedic.SeverityInfo) }
		w.Tell(firing("a"))
		sleep(time.Minute)
		w.Tell(info(alerting.KindFiring, "short"))
		w.Tell(info(alerting.KindFiring, "long"))
		sleep(time.Minute)
		w.Unmute(time.Now())
		w.Tell(info(alerting.KindResolved, "short"))
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing a")
		w.Tell(resolved("a"))
		sleep(time.Minute)
		w.Unmute(time.Now())
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing a; resolved: resolved a; firing: firing long")
		w.wantOutbox(0)
		w.stop()
	})
}

func TestTheEndOfWhatNobodyWasToBeToldIsNotTold(t *testing.T) {
	in := alertingtest.Incident("a", "renewal-time", certmedic.SeverityWarning)
	over := certmedic.Transition{Kind: certmedic.TransitionResolved, Incident: in}
	if _, told := alerting.KindOf(over); told {
		t.Error("the end is told of what no rung of a ladder asked to tell")
	}
	over.Incident.Told = certmedic.Step{Do: certmedic.StepNotify}
	if kind, told := alerting.KindOf(over); kind != alerting.KindResolved || !told {
		t.Errorf("the end of what was told is %q, %v", kind, told)
	}
}

func TestNewsAreNotAConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &slow{}
		w := start(t, alerting.Options{Receivers: one(ops), Routes: []alerting.Route{{To: []string{"ops"}, Events: true}}})
		news := func(kind alerting.Kind) alerting.Event {
			return alerting.Event{Kind: kind, Severity: certmedic.SeverityInfo, Certificate: alerting.Facts{Name: "shop"}}
		}
		w.Tell(news(alerting.KindRenewed))
		sleep(groupWait + time.Millisecond) // it is on its way
		w.Tell(news(alerting.KindDeployed))
		sleep(time.Minute)
		for i, n := range ops.Delivered() {
			if len(n.Memory) > 0 {
				t.Errorf("message %d has the memory %q of another one", i, n.Memory)
			}
		}
		w.stop()
	})
}

// A receiver that asks for a long pause is as good as one that fails: others are told in its place.
func TestALongPauseIsAFailure(t *testing.T) {
	for _, row := range []struct {
		about string
		err   error
		fails bool
	}{
		{"that the service asked for", &alerting.RetryAfterError{Delay: time.Hour, Err: errors.New("429")}, true},
		{"that the notifier keeps", alerting.Wait(time.Hour), true},
		{"a short one", &alerting.RetryAfterError{Delay: 30 * time.Second, Err: errors.New("429")}, false},
		{"a matter of pace", alerting.Wait(time.Minute), false},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ops := &alertingtest.Recorder{Answer: func(attempt int) (bool, error) {
					if attempt == 1 {
						return true, row.err
					}
					return false, nil
				}}
				w := start(t, alerting.Options{Receivers: one(ops)})
				w.Tell(firing("a"))
				sleep(10 * time.Second)
				if why, fails := w.Failing()["ops"]; fails != row.fails {
					t.Errorf("failing %v: %q", fails, why)
				}
				sleep(2 * time.Hour)
				wantStory(t, ops, "firing: firing a")
				if len(w.Failing()) > 0 {
					t.Error("it fails still")
				}
				w.stop()
			})
		})
	}
}

// However many incidents a certificate has, none of them stays open.
func TestNoEndIsDroppedHoweverManyThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops)})
		const many = 300 // endpoints that cannot be reached
		for i := range many {
			w.Tell(firing(fmt.Sprint(i)))
		}
		sleep(time.Minute)
		if n := ops.Delivered()[0]; len(n.Open) != many {
			t.Errorf("%d are told, want %d", len(n.Open), many)
		}
		for i := range many {
			w.Tell(resolved(fmt.Sprint(i)))
		}
		sleep(time.Minute)
		if n := ops.Delivered()[1]; n.Status != alerting.StatusResolved {
			t.Errorf("%d are open still", len(n.Open))
		}
		w.stop()
	})
}

func TestAReceiverThatIsGoneIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := start(t, alerting.Options{Receivers: one(&alertingtest.Recorder{})})
		first.Tell(firing("a"))
		sleep(time.Minute)
		first.stop()
		var log bytes.Buffer
		w := start(t, alerting.Options{
			Receivers: map[string]alerting.Notifier{"other": &alertingtest.Recorder{}}, Outbox: first.outbox, Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		sleep(time.Minute)
		w.stop()
		if !strings.Contains(log.String(), "receiver=ops incidents=1") {
			t.Errorf("the log says %s", log.String())
		}
	})
}

// What was sent without an answer stays in the outbox over any number of starts, although each start
// tells it again: only so the receiver is asked whether it has the message.
func TestWhatIsToldAgainAtTheStartStaysInTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf := alerting.NotifierFunc(func(ctx context.Context, _ alerting.Notification) (bool, error) {
			<-ctx.Done()
			return true, ctx.Err()
		})
		e, kept := asked("a"), &alertingtest.MemoryOutbox{}
		e.Time = time.Now()
		first := start(t, alerting.Options{Receivers: one(deaf), Outbox: kept})
		first.Tell(e)
		sleep(2 * groupWait)
		for range 3 {
			left := &alertingtest.MemoryOutbox{} // as it was when certmedic was killed
			pending, err := kept.Pending()
			if err != nil || len(pending) != 1 || left.Put(pending...) != nil {
				t.Fatalf("the outbox has %+v, %v", pending, err)
			}
			kept = left
			next := start(t, alerting.Options{Receivers: one(deaf), Outbox: kept, Open: []alerting.Event{e}})
			sleep(2 * groupWait)
			defer next.stop()
		}
		first.stop()
	})
}

// A silence may end while the end of what it hid is on its way, to somebody who may have heard of it
// in an earlier run: nothing may follow that end.
func TestNothingFollowsAnEndWhoseSilenceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops, silenced, kept := &alertingtest.Recorder{}, true, &alertingtest.MemoryOutbox{}
		slow := alerting.NotifierFunc(func(ctx context.Context, n alerting.Notification) (bool, error) {
			sleep(10 * time.Second)
			return ops.Notify(ctx, n)
		})
		if err := kept.Put(alerting.Entry{ID: "of an earlier run", Receiver: "ops", Event: asked("a")}); err != nil {
			t.Fatal(err)
		}
		w := start(t, alerting.Options{
			Receivers: one(slow), Outbox: kept, Open: []alerting.Event{asked("a")},
			Silenced: func(alerting.Event, time.Time) bool { return silenced },
		})
		sleep(time.Minute)
		w.Tell(resolved("a"))
		sleep(5 * time.Second) // it is being sent
		silenced = false
		w.Unmute(time.Now())
		sleep(time.Minute)
		wantStory(t, ops, "resolved: resolved a")
		w.stop()
	})
}

// What is kept of a conversation is there until its end was told: a notifier may need it for that.
func TestWhatIsKeptOutlivesAnEndThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops, kept := &alertingtest.Recorder{}, &alertingtest.MemoryOutbox{}
		memory := json.RawMessage(`{"escalated":true}`)
		if err := kept.Settle(alerting.Delivery{Receiver: "ops", Conversation: conversation, Memory: memory}, nil); err != nil {
			t.Fatal(err)
		}
		if err := kept.Put(alerting.Entry{ID: "of an earlier run", Receiver: "ops", Event: resolved("a")}); err != nil {
			t.Fatal(err)
		}
		w := start(t, alerting.Options{Receivers: one(ops), Outbox: kept})
		sleep(time.Minute)
		wantStory(t, ops, "resolved: resolved a")
		if got := ops.Delivered(); len(got) == 1 && !bytes.Equal(got[0].Memory, memory) {
			t.Errorf("it was told with %s", got[0].Memory)
		}
		if left, err := kept.Deliveries(); err != nil || len(left) > 0 {
			t.Errorf("kept are %+v, %v", left, err)
		}
		w.stop()
	})
}

// meanwhile is an outbox during whose reading something else happens.
type meanwhile struct {
	*alertingtest.MemoryOutbox
	happens func()
}

func (m *meanwhile) Pending() ([]alerting.Entry, error) {
	m.happens()
	return m.MemoryOutbox.Pending()
}

// The rules go on while a start takes up what an earlier run left. Whoever was not told before hears
// nothing of what ends meanwhile, and who was hears its end.
func TestWhatEndsDuringAStartIsNotToldAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops, oncall := &alertingtest.Recorder{}, &alertingtest.Recorder{}
		kept := &meanwhile{MemoryOutbox: &alertingtest.MemoryOutbox{}}
		if err := kept.Settle(alerting.Delivery{Receiver: "ops", Conversation: conversation, Told: []alerting.Event{asked("a")}}, nil); err != nil {
			t.Fatal(err)
		}
		a, err := alerting.New(alerting.Options{
			Receivers: map[string]alerting.Notifier{"ops": ops, "oncall": oncall}, Outbox: kept, Open: []alerting.Event{asked("a")},
		})
		if err != nil {
			t.Fatal(err)
		}
		kept.happens = func() { a.Tell(resolved("a")) }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		sleep(time.Minute)
		wantStory(t, ops, "resolved: resolved a")
		wantStory(t, oncall, "")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
