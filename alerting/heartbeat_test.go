package alerting_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
)

func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var blind atomic.Bool
		blind.Store(true)
		ops, other := &alertingtest.Recorder{}, &alertingtest.Recorder{}
		w := start(t, alerting.Options{
			Receivers: map[string]alerting.Notifier{"ops": ops, "other": other}, Heartbeats: []string{"ops"},
			Blind: func(time.Time) string {
				if blind.Load() {
					return "nothing was judged"
				}
				return ""
			},
		})
		sleep(10 * time.Minute)
		wantStory(t, ops, "")
		blind.Store(false)
		sleep(3*time.Minute - time.Second)
		wantStory(t, ops, "resolved: heartbeat ; resolved: heartbeat ; resolved: heartbeat ")
		blind.Store(true)
		sleep(time.Hour)
		if n := len(ops.Delivered()); n != 3 {
			t.Errorf("%d heartbeats, of which %d while it was blind", n, n-3)
		}
		if took := w.stop(); took > time.Second {
			t.Errorf("stopping took %v", took)
		}
		wantStory(t, other, "")
		w.wantOutbox(0)
	})
}

func TestAHeartbeatThatFailsIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{Answer: func(attempt int) (bool, error) {
			if attempt <= 6 {
				return true, errors.New("down")
			}
			return false, nil
		}}
		w := start(t, alerting.Options{Receivers: one(ops), Heartbeats: []string{"ops"}})
		sleep(80 * time.Second)
		if got := w.Failing(); got["ops"] != "heartbeat: down" {
			t.Errorf("failing are %q", got)
		}
		sleep(time.Minute)
		if got := w.Failing(); len(got) > 0 || len(ops.Delivered()) != 1 {
			t.Errorf("failing are %q, %d heartbeats", got, len(ops.Delivered()))
		}
		w.stop()
	})
}

func TestTry(t *testing.T) {
	down := errors.New("down")
	tests := []struct {
		about  string
		answer func(attempt int) (bool, error)
		told   string
		err    string // part of it
		fails  bool   // as the Alerter sees it afterwards
	}{
		{"both are taken", nil, "firing: firing a; resolved: resolved a", "", false},
		{"the pace is kept", func(attempt int) (bool, error) {
			if attempt%2 == 1 {
				return true, alerting.Wait(time.Second)
			}
			return false, nil
		}, "firing: firing a; resolved: resolved a", "", false},
		{"what may have been taken is ended", func(attempt int) (bool, error) {
			if attempt == 1 {
				return true, down
			}
			return false, nil
		}, "resolved: resolved a", "firing: down", false},
		{"what is rejected is over", func(int) (bool, error) { return false, errors.New("channel_not_found") }, "", "firing: channel_not_found", true},
		{"a pace that takes for ever", func(int) (bool, error) { return true, alerting.Wait(time.Hour) }, "", "waiting 1h0m0s", false},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ops := &alertingtest.Recorder{Answer: tt.answer}
				a, err := alerting.New(alerting.Options{Receivers: one(ops)})
				if err != nil {
					t.Fatal(err)
				}
				err = a.Try(t.Context(), "ops", firing("a"), resolved("a"))
				if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				wantStory(t, ops, tt.told)
				if got := a.States()[0]; got.Failing != tt.fails {
					t.Errorf("the state is %+v", got)
				}
			})
		})
	}
}

func TestATrialRemembers(t *testing.T) {
	ops := &rememberer{}
	a, err := alerting.New(alerting.Options{Receivers: one(ops)})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Try(t.Context(), "ops", firing("a"), resolved("a")); err != nil {
		t.Fatal(err)
	}
	if got := string(ops.Delivered()[1].Memory); got != `"a"` {
		t.Errorf("remembered %s", got)
	}
	if err := a.Try(t.Context(), "nobody", firing("a")); err == nil {
		t.Error("nobody was told")
	}
}

// shower shows what it would send.
type shower struct{ alertingtest.Recorder }

func (*shower) Preview(n alerting.Notification) ([]byte, error) {
	return []byte(string(n.Status) + " " + n.Events[0].Incident.Summary), nil
}

func TestOwnTextsAndPreview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops, other := &shower{}, &alertingtest.Recorder{}
		w := start(t, alerting.Options{
			Receivers: map[string]alerting.Notifier{"ops": ops, "other": other},
			Texts: map[string]func(alerting.Event) alerting.Event{"ops": func(e alerting.Event) alerting.Event {
				e.Incident.Summary = "\x1b[1mour words"
				return e
			}},
		})
		w.Tell(firing("a"))
		sleep(time.Minute)
		w.Tell(firing("a")) // the same, whatever the words
		sleep(time.Minute)
		mine, theirs := ops.Delivered(), other.Delivered()
		if len(mine) != 1 || mine[0].Events[0].Incident.Summary != "our words" || mine[0].Open[0].Incident.Summary != "our words" {
			t.Errorf("told %+v", mine)
		}
		if theirs[0].Events[0].Incident.Summary != firing("a").Incident.Summary {
			t.Error("somebody else hears these words too")
		}
		shown, own, err := w.Preview("ops", firing("a"))
		if err != nil || !own || string(shown) != "firing our words" {
			t.Errorf("shown is %q, %v, %v", shown, own, err)
		}
		if shown, own, err = w.Preview("other", firing("a")); err != nil || own || !strings.Contains(string(shown), `"rule-a"`) {
			t.Errorf("shown is %s, %v, %v", shown, own, err)
		}
		w.stop()
	})
}

func TestWhatIsOverIsNotLeftFiringByARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := &alertingtest.Recorder{Answer: func(int) (bool, error) { return true, errors.New("the answer was lost") }}
		first := start(t, alerting.Options{Receivers: one(hang)})
		first.Tell(firing("over"))
		sleep(time.Minute)
		first.stop()
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops), Outbox: first.outbox}) // it ended meanwhile
		sleep(time.Minute)
		wantStory(t, ops, "resolved: resolved over")
		first.wantOutbox(0)
		w.stop()
	})
}

func TestSettledHearsWhatBecameOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []string
		w := start(t, alerting.Options{
			Receivers: map[string]alerting.Notifier{"ops": &alertingtest.Recorder{Answer: func(attempt int) (bool, error) {
				return false, map[int]error{2: errors.New("400")}[attempt]
			}}},
			Settled: func(receiver string, e alerting.Event, err error) {
				said := receiver + " " + string(e.Kind)
				if err != nil {
					said += " " + err.Error()
				}
				heard = append(heard, said)
			},
		})
		w.Tell(firing("a"))
		sleep(time.Minute)
		w.Tell(event(alerting.KindUpdate, "a", certmedic.SeverityCritical))
		sleep(time.Minute)
		w.stop()
		if got := strings.Join(heard, "; "); got != "ops firing; ops update 400" {
			t.Errorf("heard %q", got)
		}
	})
}
