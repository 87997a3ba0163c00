package alerting_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
)

const groupWait = time.Second

// world is an Alerter that runs in a bubble of virtual time.
type world struct {
	*alerting.Alerter
	t      *testing.T
	outbox *alertingtest.MemoryOutbox
	counts map[string]int
	mu     sync.Mutex
	cancel context.CancelFunc
	ended  chan error
}

func start(t *testing.T, opts alerting.Options) *world {
	t.Helper()
	w := &world{t: t, outbox: &alertingtest.MemoryOutbox{}, counts: map[string]int{}, ended: make(chan error, 1)}
	if opts.Outbox == nil {
		opts.Outbox = w.outbox
	}
	opts.GroupWait = groupWait
	opts.Count = func(receiver, outcome string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.counts[receiver+" "+outcome]++
	}
	a, err := alerting.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	w.Alerter = a
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(t.Context())
	go func() { w.ended <- a.Run(ctx) }()
	synctest.Wait()
	return w
}

// stop ends the Alerter and returns how long that took.
func (w *world) stop() time.Duration {
	w.t.Helper()
	begin := time.Now()
	w.cancel()
	if err := <-w.ended; err != nil {
		w.t.Error(err)
	}
	return time.Since(begin)
}

func (w *world) count(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[key]
}

func (w *world) wantOutbox(want int) {
	w.t.Helper()
	entries, err := w.outbox.Pending()
	if err != nil {
		w.t.Fatal(err)
	}
	if len(entries) != want {
		w.t.Errorf("%d entries in the outbox, want %d", len(entries), want)
	}
}

func event(kind alerting.Kind, id string, severity certmedic.Severity) alerting.Event {
	return alerting.Event{Kind: kind, Incident: alertingtest.Incident(id, "rule-"+id, severity), Certificate: alerting.Facts{Name: "shop"}}
}

func firing(id string) alerting.Event {
	return event(alerting.KindFiring, id, certmedic.SeverityWarning)
}

func resolved(id string) alerting.Event {
	return event(alerting.KindResolved, id, certmedic.SeverityWarning)
}

func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// story tells what a receiver got: for each notification its status and its events.
func story(r *alertingtest.Recorder) string {
	var out []string
	for _, n := range r.Delivered() {
		line := string(n.Status) + ":"
		for _, e := range n.Events {
			line += " " + string(e.Kind) + " " + e.Incident.ID
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

func wantStory(t *testing.T, r *alertingtest.Recorder, want string) {
	t.Helper()
	if got := story(r); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

func one(n alerting.Notifier) map[string]alerting.Notifier {
	return map[string]alerting.Notifier{"ops": n}
}

func TestAnEpisodeIsOneConversation(t *testing.T) {
	tests := []struct {
		name string
		tell []any // events, and pauses between them
		want string
	}{
		{"what happens together is told together", []any{firing("a"), firing("b")}, "firing: firing a firing b"},
		{"an end is told", []any{firing("a"), time.Minute, resolved("a")}, "firing: firing a; resolved: resolved a"},
		{"it fires until the last incident has ended", []any{firing("a"), firing("b"), time.Minute, resolved("a"), time.Minute, resolved("b")}, "firing: firing a firing b; firing: resolved a; resolved: resolved b"},
		{"what ends before it was told is not told", []any{firing("a"), time.Millisecond, resolved("a"), time.Minute}, ""},
		{"an unchanged repetition is not told", []any{firing("a"), time.Minute, firing("a"), time.Minute, event(alerting.KindUpdate, "a", certmedic.SeverityWarning)}, "firing: firing a"},
		{"an escalation is told as an update", []any{firing("a"), time.Minute, event(alerting.KindUpdate, "a", certmedic.SeverityCritical)}, "firing: firing a; firing: update a"},
		{"an update within the wait is part of the first", []any{firing("a"), event(alerting.KindUpdate, "a", certmedic.SeverityCritical)}, "firing: firing a"},
		{"it can fire again", []any{firing("a"), time.Minute, resolved("a"), time.Minute, firing("a")}, "firing: firing a; resolved: resolved a; firing: firing a"},
		{"an end of what began before the start is told", []any{resolved("a")}, "resolved: resolved a"},
		{"info is quiet beside something worse", []any{firing("a"), event(alerting.KindFiring, "i", certmedic.SeverityInfo), time.Minute, event(alerting.KindFiring, "j", certmedic.SeverityInfo)}, "firing: firing a"},
		{"good news annotate the conversation", []any{firing("a"), time.Minute, event(alerting.KindRenewed, "", certmedic.SeverityInfo)}, "firing: firing a; firing: renewed "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ops := &alertingtest.Recorder{}
				w := start(t, alerting.Options{Receivers: one(ops), Routes: []alerting.Route{{To: []string{"ops"}, Events: true}}})
				for _, what := range tt.tell {
					switch what := what.(type) {
					case alerting.Event:
						w.Tell(what)
					case time.Duration:
						sleep(what)
					}
				}
				sleep(time.Minute)
				wantStory(t, ops, tt.want)
				w.wantOutbox(0)
				if !w.QueueOldest().IsZero() {
					t.Error("something still waits")
				}
				w.stop()
			})
		})
	}
}

func TestNotificationsCarryTheDedupKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		sleep(time.Minute)
		n := ops.Delivered()[0]
		if n.Conversation != "certmedic/shop/e1" || n.Receiver != "ops" || n.Events[0].Severity != certmedic.SeverityWarning || n.Events[0].Time.IsZero() {
			t.Errorf("got %+v", n)
		}
		w.stop()
	})
}

func TestSecretsDoNotGetToReceivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops)})
		e := firing("a")
		e.Incident.Evidence = []certmedic.Evidence{{Source: "hook", Line: "\x1b[31mcurl -H 'Authorization: Bearer s3cr3t'"}}
		w.Tell(e)
		sleep(time.Minute)
		if line := ops.Delivered()[0].Events[0].Incident.Evidence[0].Line; strings.Contains(line, "s3cr3t") || strings.Contains(line, "\x1b") {
			t.Errorf("told %q", line)
		}
		w.stop()
	})
}

func TestAReceiverThatFailsGetsTheNewestStateOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(10 * time.Minute)
		broken := &alertingtest.Recorder{Answer: func(int) (bool, error) {
			if time.Now().Before(up) {
				return true, errors.New("down")
			}
			return false, nil
		}}
		fine := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: map[string]alerting.Notifier{"broken": broken, "fine": fine}})
		begin := time.Now()
		w.Tell(firing("a"))
		sleep(time.Minute)
		wantStory(t, fine, "firing: firing a")
		if got := w.QueueOldest(); !got.Equal(begin) {
			t.Errorf("oldest is %v, want %v", got, begin)
		}
		w.wantOutbox(1)
		w.Tell(event(alerting.KindUpdate, "a", certmedic.SeverityCritical))
		w.Tell(firing("b"))
		sleep(time.Minute)
		w.Tell(resolved("b"))
		sleep(20 * time.Minute)

		// b's beginning may have arrived with an attempt that failed, so its end is told.
		wantStory(t, broken, "firing: firing a resolved b")
		wantStory(t, fine, "firing: firing a; firing: update a firing b; firing: resolved b")
		if n := broken.Attempts(); n < 7 || n > 16 { // 1, 2, 4 ... 256 s, halved at most by chance
			t.Errorf("%d attempts in ten minutes", n)
		}
		if w.count("broken delivered") != 1 || w.count("broken retried") != broken.Attempts()-1 {
			t.Errorf("counted %v", w.counts)
		}
		w.wantOutbox(0)
		w.stop()
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		ops := &alertingtest.Recorder{Answer: func(attempt int) (bool, error) {
			at = append(at, time.Since(begin))
			if attempt == 1 {
				return true, fmt.Errorf("posting: %w", &alerting.RetryAfterError{Delay: 42 * time.Second, Err: errors.New("429")})
			}
			return false, nil
		}}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		sleep(time.Hour)
		if len(at) != 2 || at[0] != groupWait || at[1] != groupWait+42*time.Second {
			t.Errorf("attempts at %v", at)
		}
		w.stop()
	})
}

func TestARejectedNotificationIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{Answer: func(int) (bool, error) { return false, errors.New("400") }}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		sleep(time.Hour)
		w.Tell(resolved("a"))
		sleep(time.Hour)
		if ops.Attempts() != 1 || w.count("ops rejected") != 1 {
			t.Errorf("%d attempts, counted %v", ops.Attempts(), w.counts)
		}
		w.wantOutbox(0)
		w.stop()
	})
}

type paced struct {
	alertingtest.Recorder
	single bool
}

func (p *paced) Pace() time.Duration { return 10 * time.Second }
func (p *paced) OneEvent() bool      { return p.single }

func TestPaceCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &paced{}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		sleep(2 * time.Second)
		w.Tell(firing("b"))
		sleep(2 * time.Second)
		w.Tell(firing("c"))
		w.Tell(resolved("b"))
		sleep(time.Minute)
		wantStory(t, &ops.Recorder, "firing: firing a; firing: firing c")
		w.stop()
	})
}

func TestASingleEventReceiverIsNotToldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &paced{single: true}
		ops.Answer = func(attempt int) (bool, error) {
			if attempt == 2 {
				return true, errors.New("500")
			}
			return false, nil
		}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		w.Tell(firing("b"))
		w.Tell(firing("c"))
		sleep(time.Minute)
		wantStory(t, &ops.Recorder, "firing: firing a; firing: firing b; firing: firing c")
		w.stop()
	})
}

func TestWhatIsUndeliveredSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &alertingtest.Recorder{Answer: func(int) (bool, error) { return true, errors.New("down") }}
		first := start(t, alerting.Options{Receivers: one(down)})
		first.Tell(firing("a"))
		sleep(10 * time.Minute)
		if took := first.stop(); took > 6*time.Second {
			t.Errorf("stopping took %v", took)
		}
		first.wantOutbox(1)

		ops := &alertingtest.Recorder{}
		// The rules know that a fires, but nobody was told for sure.
		second := start(t, alerting.Options{Receivers: one(ops), Outbox: first.outbox, Open: []alerting.Event{firing("a")}})
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing a")
		first.wantOutbox(0)
		second.stop()
	})
}

func TestAReceiverIsNotToldAgainAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := start(t, alerting.Options{Receivers: one(&alertingtest.Recorder{})})
		first.Tell(firing("a"))
		first.Tell(firing("b"))
		sleep(time.Minute)
		first.stop()

		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops), Outbox: first.outbox, Open: []alerting.Event{asked("a"), asked("b")}})
		w.Tell(firing("a"))
		sleep(time.Minute)
		w.Tell(resolved("a"))
		sleep(time.Minute)
		wantStory(t, ops, "firing: resolved a") // b still fires
		w.stop()
	})
}

// asked is a firing incident of which a rung of its ladder asked to tell.
func asked(id string) alerting.Event {
	e := firing(id)
	e.Step = certmedic.Step{Do: certmedic.StepNotify}
	return e
}

func TestWhatWasMissedIsToldAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := start(t, alerting.Options{Receivers: one(&alertingtest.Recorder{})})
		first.Tell(firing("over"))
		first.Tell(firing("stays"))
		sleep(time.Minute)
		first.stop()

		ops := &alertingtest.Recorder{}
		// certmedic was killed after the rules had kept these, and before anybody was told.
		w := start(t, alerting.Options{
			Receivers: one(ops), Outbox: first.outbox,
			Open: []alerting.Event{asked("stays"), asked("missed"), firing("not-to-be-told-yet")},
		})
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing missed resolved over")
		if open := ops.Delivered()[0].Open; len(open) != 2 || open[0].Incident.ID+open[1].Incident.ID != "missedstays" {
			t.Errorf("what fires is told as %+v", open)
		}
		w.stop()
	})
}

func TestASilenceDefersUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var quiet atomic.Bool
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{
			Receivers: one(ops), Routes: []alerting.Route{{To: []string{"ops"}, Events: true}},
			Silenced: func(alerting.Event, time.Time) bool { return quiet.Load() },
		})
		w.Tell(firing("before"))
		sleep(time.Minute)
		quiet.Store(true)
		w.Tell(firing("a"))
		w.Tell(firing("short"))
		w.Tell(event(alerting.KindRenewed, "", certmedic.SeverityInfo))
		sleep(time.Minute)
		w.Tell(resolved("short"))
		w.Tell(resolved("before"))
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing before; resolved: resolved before")
		w.Unmute(time.Now())
		sleep(time.Minute)
		quiet.Store(false)
		w.Unmute(time.Now())
		sleep(time.Minute)
		w.Tell(resolved("a"))
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing before; resolved: resolved before; firing: firing a; resolved: resolved a")
		w.wantOutbox(0)
		w.stop()
	})
}

func TestAnAcknowledgementIsToldToWhoKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		knows, other := &alertingtest.Recorder{}, &alertingtest.Recorder{}
		w := start(t, alerting.Options{
			Receivers: map[string]alerting.Notifier{"knows": knows, "other": other}, Routes: []alerting.Route{{To: []string{"knows"}}},
		})
		ack := alerting.Ack{By: "ann", Via: "slack", At: time.Now()}
		if w.Acknowledge("certmedic/shop/e1", ack) {
			t.Error("what nobody knows of was acknowledged")
		}
		w.Tell(firing("a"))
		sleep(time.Minute)
		if !w.Acknowledge("certmedic/shop/e1", ack) {
			t.Error("it is not known")
		}
		sleep(time.Minute)
		w.Tell(event(alerting.KindUpdate, "a", certmedic.SeverityCritical))
		sleep(time.Minute)
		wantStory(t, knows, "firing: firing a; firing: acknowledged a; firing: update a")
		wantStory(t, other, "")
		if n := knows.Delivered()[2]; n.Ack == nil || n.Ack.By != "ann" {
			t.Errorf("the acknowledgement is forgotten: %+v", n.Ack)
		}
		w.stop()
	})
}

func TestWhatIsRejectedGoesToTheFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{Answer: func(int) (bool, error) { return false, errors.New("channel_not_found") }}
		mail := &alertingtest.Recorder{}
		w := start(t, alerting.Options{
			Receivers: map[string]alerting.Notifier{"ops": ops, "mail": mail}, Routes: []alerting.Route{{To: []string{"ops"}}}, Fallback: []string{"mail"},
		})
		w.Tell(firing("a"))
		sleep(time.Minute)
		wantStory(t, mail, "firing: firing a")
		if got := mail.Delivered()[0].Events[0].Undelivered; got != "ops rejected it: channel_not_found" {
			t.Errorf("the fallback is told %q", got)
		}
		if got := w.Failing(); len(got) != 1 || got["ops"] != "channel_not_found" {
			t.Errorf("failing are %q", got)
		}
		w.stop()
	})
}

// rememberer keeps a line of each conversation.
type rememberer struct{ alertingtest.Recorder }

func (r *rememberer) Notify(ctx context.Context, n alerting.Notification) (bool, error) {
	retry, err := r.Recorder.Notify(ctx, n)
	return retry, errors.Join(err, n.Remember(fmt.Appendf(nil, "%q", n.Events[0].Incident.ID)))
}

func TestANotifierRemembersOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := start(t, alerting.Options{Receivers: one(&rememberer{})})
		first.Tell(firing("a"))
		sleep(time.Minute)
		first.stop()
		ops := &rememberer{}
		w := start(t, alerting.Options{Receivers: one(ops), Outbox: first.outbox, Open: []alerting.Event{asked("a")}})
		w.Tell(firing("b"))
		sleep(time.Minute)
		if got := string(ops.Delivered()[0].Memory); got != `"a"` {
			t.Errorf("remembered %s", got)
		}
		w.Tell(resolved("a"))
		w.Tell(resolved("b"))
		sleep(time.Minute)
		if left, err := first.outbox.Deliveries(); err != nil || len(left) > 0 {
			t.Errorf("what is over is kept: %+v, %v", left, err)
		}
		w.stop()
	})
}

func TestAnOwnPaceIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ops := &alertingtest.Recorder{Answer: func(attempt int) (bool, error) {
			if attempt < 20 {
				return true, alerting.Wait(time.Second)
			}
			return false, nil
		}}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		sleep(19*time.Second + groupWait)
		wantStory(t, ops, "firing: firing a")
		if len(w.Failing()) > 0 || w.count("ops retried") > 0 {
			t.Errorf("%v after %v: failing %q, counted %v", len(ops.Delivered()), time.Since(begin), w.Failing(), w.counts)
		}
		w.stop()
	})
}

func TestAnEventIsInTheOutboxBeforeItIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, alerting.Options{Receivers: one(&alertingtest.Recorder{})})
		w.Tell(firing("a"))
		synctest.Wait() // the group wait has not passed
		w.wantOutbox(1)
		sleep(time.Minute)
		w.wantOutbox(0)
		w.stop()
	})
}

func TestStoppingDeliversWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		if took := w.stop(); took >= groupWait {
			t.Errorf("stopping took %v", took)
		}
		wantStory(t, ops, "firing: firing a")
	})
}

func TestStoppingIsBoundedWhenAReceiverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := alerting.NotifierFunc(func(ctx context.Context, _ alerting.Notification) (bool, error) {
			<-ctx.Done()
			return true, ctx.Err()
		})
		w := start(t, alerting.Options{Receivers: one(hang)})
		w.Tell(firing("a"))
		sleep(2 * time.Second)
		if took := w.stop(); took > 6*time.Second {
			t.Errorf("stopping took %v", took)
		}
		w.wantOutbox(1)
	})
}

func TestWhoWasToldHearsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		oncall, ops := &alertingtest.Recorder{}, &alertingtest.Recorder{}
		w := start(t, alerting.Options{
			Receivers: map[string]alerting.Notifier{"oncall": oncall, "ops": ops},
			Routes: []alerting.Route{
				{Match: map[string]string{"severity": "critical"}, To: []string{"oncall", "ops"}},
				{To: []string{"ops"}},
			},
		})
		w.Tell(firing("a"))
		sleep(time.Minute)
		w.Tell(event(alerting.KindUpdate, "a", certmedic.SeverityCritical))
		sleep(time.Minute)
		w.Tell(resolved("a")) // a warning again, by its rule
		sleep(time.Minute)
		wantStory(t, oncall, "firing: firing a; resolved: resolved a")
		wantStory(t, ops, "firing: firing a; firing: update a; resolved: resolved a")
		w.stop()
	})
}

// brokenOutbox is a disk that is full.
type brokenOutbox struct{}

func (brokenOutbox) Put(...alerting.Entry) error              { return errors.New("disk full") }
func (brokenOutbox) Pending() ([]alerting.Entry, error)       { return nil, errors.New("disk full") }
func (brokenOutbox) Done(...string) error                     { return errors.New("disk full") }
func (brokenOutbox) Deliveries() ([]alerting.Delivery, error) { return nil, errors.New("disk full") }
func (brokenOutbox) Settle(alerting.Delivery, []string) error { return errors.New("disk full") }

func TestABrokenOutboxStopsNoDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops), Outbox: brokenOutbox{}})
		w.Tell(firing("a"))
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing a")
		w.stop()
	})
}

func TestManyConversationsWaitOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops)})
		for i := range 500 {
			e := firing(fmt.Sprint(i))
			e.Incident.DedupKey = fmt.Sprintf("certmedic/c%d/1", i)
			w.Tell(e)
		}
		sleep(groupWait)
		if n := len(ops.Delivered()); n != 500 {
			t.Errorf("%d of 500 told after the group wait", n)
		}
		w.stop()
	})
}

func TestNewNamesEveryReceiverThatIsNotThere(t *testing.T) {
	_, err := alerting.New(alerting.Options{
		Receivers: one(&alertingtest.Recorder{}),
		Routes:    []alerting.Route{{To: []string{"ops", "osp"}}, {To: []string{"oncall"}}},
	})
	for _, want := range []string{`routes[0]: no receiver "osp"`, `routes[1]: no receiver "oncall"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestWhatAnOwnPaceHeldBackIsNotEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{Answer: func(attempt int) (bool, error) {
			if attempt == 1 {
				return true, alerting.Wait(time.Minute)
			}
			return false, nil
		}}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		sleep(10 * time.Second)
		w.Tell(resolved("a"))
		sleep(time.Hour)
		wantStory(t, ops, "")
		w.stop()
	})
}
