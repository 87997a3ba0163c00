package alerting_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
)

const conversation = "certmedic/shop/e1"

func TestAnAcknowledgementIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops)})
		if w.Unacknowledge(conversation, alerting.Ack{At: time.Now()}) {
			t.Error("an acknowledgement of what nobody knows of was taken back")
		}
		w.Tell(firing("a"))
		sleep(time.Minute)
		w.Acknowledge(conversation, alerting.Ack{By: "ann", At: time.Now()})
		sleep(time.Minute)
		w.Unacknowledge(conversation, alerting.Ack{By: "bob", At: time.Now()})
		sleep(time.Minute)
		w.Tell(event(alerting.KindUpdate, "a", certmedic.SeverityCritical))
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing a; firing: acknowledged a; firing: unacknowledged a; firing: update a")
		for i, n := range ops.Delivered()[2:] {
			if n.Ack != nil {
				t.Errorf("notification %d says that %q still looks after it", i+2, n.Ack.By)
			}
		}
		if back := ops.Delivered()[2].Events[0].Ack; back == nil || back.By != "bob" {
			t.Errorf("who took it back is not said: %+v", back)
		}
		w.stop()
	})
}

func TestOnlyTheLastWordAboutWhoLooksAfterItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		w := start(t, alerting.Options{Receivers: one(ops)})
		w.Tell(firing("a"))
		sleep(time.Minute)
		w.Acknowledge(conversation, alerting.Ack{By: "ann", At: time.Now()})
		w.Unacknowledge(conversation, alerting.Ack{By: "ann", At: time.Now().Add(time.Millisecond)})
		w.Acknowledge(conversation, alerting.Ack{By: "bob", At: time.Now().Add(2 * time.Millisecond)})
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing a; firing: acknowledged a")
		if ack := ops.Delivered()[1].Ack; ack == nil || ack.By != "bob" {
			t.Errorf("%+v looks after it, want bob", ack)
		}
		w.stop()
	})
}

func TestWhatPeopleSaidWhileNobodyListenedIsToldAfterTheStart(t *testing.T) {
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		about  string
		before *alerting.Ack
		now    map[string]alerting.Ack
		want   string
	}{
		{"nothing was said", nil, map[string]alerting.Ack{}, ""},
		{"it is known", &alerting.Ack{By: "ann", At: at}, map[string]alerting.Ack{conversation: {By: "ann", At: at}}, ""},
		{"nobody was told of it", nil, map[string]alerting.Ack{conversation: {By: "ann", At: at}}, "firing: acknowledged a"},
		{"somebody else took over", &alerting.Ack{By: "ann", At: at}, map[string]alerting.Ack{conversation: {By: "bob", At: at.Add(time.Hour)}}, "firing: acknowledged a"},
		{"it was taken back", &alerting.Ack{By: "ann", At: at}, map[string]alerting.Ack{}, "firing: unacknowledged a"},
		{"it was before the receiver heard of it", nil, map[string]alerting.Ack{conversation: {By: "ann", At: at.Add(-2 * time.Hour)}}, ""},
		{"it is about something else", nil, map[string]alerting.Ack{"certmedic/other/e1": {By: "ann", At: at}}, ""},
	} {
		t.Run(row.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				outbox := &alertingtest.MemoryOutbox{}
				e := firing("a")
				e.Time = at.Add(-time.Hour)
				if err := outbox.Settle(alerting.Delivery{Receiver: "ops", Conversation: conversation, Told: []alerting.Event{e}, Ack: row.before}, nil); err != nil {
					t.Fatal(err)
				}
				ops := &alertingtest.Recorder{}
				w := start(t, alerting.Options{
					Receivers: one(ops), Outbox: outbox, Open: []alerting.Event{e},
					Acknowledged: func() map[string]alerting.Ack { return row.now },
				})
				sleep(time.Minute)
				wantStory(t, ops, row.want)
				w.stop()
			})
		})
	}
}

func TestAnAcknowledgementIsToldAlthoughItGotWorseSince(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ops, outbox, acks := &alertingtest.Recorder{}, &alertingtest.MemoryOutbox{}, map[string]alerting.Ack{}
			options := alerting.Options{Receivers: one(ops), Outbox: outbox, Acknowledged: func() map[string]alerting.Ack { return acks }}
			w := start(t, options)
			w.Tell(firing("a"))
			sleep(time.Minute)
			acks[conversation] = alerting.Ack{By: "ann", At: time.Now()} // kept, and not told before the end of certmedic
			sleep(time.Minute)
			worse := event(alerting.KindUpdate, "a", certmedic.SeverityCritical)
			w.Tell(worse)
			sleep(time.Minute)
			if restart {
				w.stop()
				options.Open = []alerting.Event{worse}
				w = start(t, options)
			} else {
				w.TellAcks(time.Now())
			}
			sleep(time.Minute)
			wantStory(t, ops, "firing: firing a; firing: update a; firing: acknowledged a")
			w.stop()
		})
	}
}

func TestAnAcknowledgementIsToldToWhoMayHaveHeardBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		worse := event(alerting.KindUpdate, "a", certmedic.SeverityCritical)
		worse.Incident.FiringAt, worse.Time = begin, begin.Add(2*time.Minute)
		ops, kept := &alertingtest.Recorder{}, &alertingtest.MemoryOutbox{}
		if err := kept.Put(alerting.Entry{ID: "of an earlier run", Receiver: "ops", Event: worse}); err != nil {
			t.Fatal(err)
		}
		acks := map[string]alerting.Ack{conversation: {By: "ann", At: begin.Add(time.Minute)}}
		w := start(t, alerting.Options{
			Receivers: one(ops), Outbox: kept, Open: []alerting.Event{worse}, Acknowledged: func() map[string]alerting.Ack { return acks },
		})
		sleep(time.Hour)
		w.TellAcks(time.Now())
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing a; firing: acknowledged a")
		w.stop()
	})
}

func TestAnAcknowledgementBeforeTheFirstMessageIsToldAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ops := &alertingtest.Recorder{}
		acks := map[string]alerting.Ack{}
		w := start(t, alerting.Options{Receivers: one(ops), Acknowledged: func() map[string]alerting.Ack { return acks }})
		w.Tell(firing("a"))
		sleep(groupWait / 2)
		acks[conversation] = alerting.Ack{By: "ann", At: time.Now()}
		if w.Acknowledge(conversation, acks[conversation]) {
			t.Error("somebody knows of it")
		}
		w.TellAcks(time.Now())
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing a")
		for range 2 {
			w.TellAcks(time.Now())
			sleep(time.Minute)
		}
		wantStory(t, ops, "firing: firing a; firing: acknowledged a")
		w.Tell(resolved("a"))
		delete(acks, conversation)
		w.TellAcks(time.Now())
		sleep(time.Minute)
		wantStory(t, ops, "firing: firing a; firing: acknowledged a; resolved: resolved a")
		w.stop()
	})
}
