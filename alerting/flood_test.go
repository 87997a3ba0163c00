package alerting_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/pagerduty"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
	"github.com/certmedic/certmedic/alerting/slack"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

// flood is many certificates that expire within a minute, in front of a Slack and a PagerDuty that
// take only so many messages. It is played in a bubble of virtual time.
type flood struct {
	*world
	slack *slackfake.Server
	pager *pdfake.Service
	size  int
	began time.Time
}

// The four ways that certificates go, by their number.
const (
	staysBad = iota
	getsWorse
	changesItsMind // its reason is another one four times
	healsAtOnce    // seconds later, so that most are healed before their turn
	ways
)

func newFlood(t *testing.T, size int) *flood {
	t.Helper()
	f := &flood{slack: slackfake.Unstarted(slackfake.Options{Tiers: true}), pager: pdfake.New(pdfake.Options{}), size: size}
	toSlack, err := slack.New(slack.Config{Token: f.slack.Token, Channel: "#certs", APIURL: f.slack.APIURL(), Buttons: true}, f.slack.Client())
	if err != nil {
		t.Fatal(err)
	}
	toPager, err := pagerduty.New(pagerduty.Config{RoutingKey: strings.Repeat("k", 32), APIURL: "http://pagerduty.invalid"}, f.pager.Client())
	if err != nil {
		t.Fatal(err)
	}
	f.world = start(t, alerting.Options{Receivers: map[string]alerting.Notifier{"ops": toSlack, "oncall": toPager}})
	f.began = time.Now()
	return f
}

func conversationOf(i int) string { return fmt.Sprintf("certmedic/cert-%05d/e1", i) }

// about is an event about the certificate with a number.
func about(kind alerting.Kind, i int, severity certmedic.Severity, reason string) alerting.Event {
	e := event(kind, fmt.Sprintf("i%d", i), severity)
	e.Certificate = alerting.Facts{Name: fmt.Sprintf("cert-%05d", i)}
	e.Incident.DedupKey, e.Incident.Subject.Certificate = conversationOf(i), e.Certificate.Name
	e.Incident.Summary, e.Incident.Reason = e.Certificate.Name+" has expired", reason
	return e
}

// burst has all certificates expire within a minute, and some of them go on.
func (f *flood) burst() {
	for i := range f.size {
		f.Tell(about(alerting.KindFiring, i, certmedic.SeverityWarning, "at first"))
		time.Sleep(time.Minute / time.Duration(f.size))
		before := i - f.size/20 // what expired three seconds ago
		if before < 0 {
			continue
		}
		switch before % ways {
		case getsWorse:
			f.Tell(about(alerting.KindUpdate, before, certmedic.SeverityCritical, "the newest"))
		case changesItsMind:
			for _, reason := range []string{"another", "a third", "a fourth", "the newest"} {
				f.Tell(about(alerting.KindUpdate, before, certmedic.SeverityWarning, reason))
			}
		case healsAtOnce:
			f.Tell(about(alerting.KindResolved, before, certmedic.SeverityWarning, "at first"))
		}
	}
}

// heal ends what goes on.
func (f *flood) heal() {
	for i := range f.size {
		f.Tell(about(alerting.KindResolved, i, certmedic.SeverityWarning, "the newest"))
	}
}

// drain lets time pass until nothing waits, and returns how long that took.
func (f *flood) drain() time.Duration {
	f.t.Helper()
	from := time.Now()
	for !f.QueueOldest().IsZero() {
		if time.Since(from) > 24*time.Hour {
			f.t.Fatal("it does not end")
		}
		sleep(time.Minute)
	}
	return time.Since(from)
}

// wantNoLimits wants no call to have been one too many, or wrong.
func (f *flood) wantNoLimits() {
	f.t.Helper()
	if c := f.slack.Counts(); c.Limited+c.Refused > 0 {
		f.t.Errorf("Slack: %+v", c)
	}
	if c := f.pager.Counts(); c.Throttled+c.Refused > 0 {
		f.t.Errorf("PagerDuty: %+v, %q", c, f.pager.Refusals())
	}
}

// wantNewest wants Slack and PagerDuty to show every conversation once, in its newest state. It
// returns how many conversations ended before their turn.
func (f *flood) wantNewest() (neverTold int) {
	f.t.Helper()
	shown := map[string][]slackfake.Message{}
	for _, m := range f.slack.Messages() {
		shown[m.Conversation()] = append(shown[m.Conversation()], m)
	}
	paged := map[string][]pdfake.Incident{}
	for _, in := range f.pager.Incidents() {
		paged[in.Key] = append(paged[in.Key], in)
	}
	for i := range f.size {
		messages, pages := shown[conversationOf(i)], paged[conversationOf(i)]
		switch ended := i%ways == healsAtOnce && i < f.size-f.size/20; {
		case len(messages) > 1 || len(pages) > 1 || !ended && len(messages)+len(pages) < 2:
			f.t.Fatalf("certificate %d: %d messages, %d pages", i, len(messages), len(pages))
		case ended && len(messages) == 0:
			neverTold++
		case ended && !strings.Contains(messages[0].Text, "Resolved"), ended && len(pages) > 0 && pages[0].Status != pdfake.Resolved:
			f.t.Fatalf("certificate %d has ended: %q, %+v", i, messages[0].Text, pages)
		case !ended:
			f.wantState(i, messages[0], pages[0])
		}
	}
	return neverTold
}

func (f *flood) wantState(i int, m slackfake.Message, page pdfake.Incident) {
	f.t.Helper()
	reason, severity := "at first", "warning"
	if i < f.size-f.size/20 && i%ways == getsWorse {
		reason, severity = "the newest", "critical"
	} else if i < f.size-f.size/20 && i%ways == changesItsMind {
		reason = "the newest"
	}
	if !strings.Contains(m.Shown(), reason) || page.Severity != severity || page.Status != pdfake.Triggered {
		f.t.Fatalf("certificate %d: want %q in\n%s\nand %s in %+v", i, reason, m.Shown(), severity, page)
	}
}

// TestManyAtOnce has many certificates expire within a minute: ten thousand in the long proofs, else
// a sample. Everybody is told of each that is not over by then, once and in its newest state, and
// neither Slack nor PagerDuty ever has to say that it is too much.
func TestManyAtOnce(t *testing.T) {
	size := 500
	if os.Getenv("CERTMEDIC_CHAOS") != "" {
		size = 10_000
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFlood(t, size)
		f.burst()
		t.Logf("%d certificates: all of them told after %v", size, f.drain())
		f.wantNoLimits()
		neverTold := f.wantNewest()
		posts, edits := f.slack.Counts().Posts, f.slack.Counts().Edits
		if most := (size-size/20)/ways - 70; neverTold < most { // in the first minute, a message a second
			t.Errorf("%d that were over were not told, want at least %d", neverTold, most)
		}
		if edits > 70 {
			t.Errorf("%d edits: what waits is to be sent in its newest state", edits)
		}
		t.Logf("%d were over before their turn; %d posts, %d edits", neverTold, posts, edits)
		f.heal()
		t.Logf("all of their ends told after %v", f.drain())
		f.wantNoLimits()
		if open := f.pager.Open(); len(open) > 0 || f.slack.Counts().Posts != posts {
			t.Errorf("%d are open, %d posts, want none and %d", len(open), f.slack.Counts().Posts, posts)
		}
		f.wantOutbox(0)
		f.stop()
	})
}

// The bounds of what a conversation may take of memory while it is waited for, while it goes on, and
// when it is over, in bytes. Of the latter only the room in maps is left, which is used again.
const (
	mostWaiting = 4 << 10
	mostOpen    = 4 << 10
	mostLeft    = 200
)

// TestMemoryOfManyConversations tells thousands of conversations, and more of them, to a receiver that
// takes one message a second: what they take is bounded for each, and forgotten when they are over.
func TestMemoryOfManyConversations(t *testing.T) {
	const size = 2_000
	synctest.Test(t, func(t *testing.T) {
		r := pacedReceiver{}
		w := &flood{world: start(t, alerting.Options{Receivers: map[string]alerting.Notifier{"ops": r}, Outbox: noOutbox{}}), size: size}
		before := heap()
		perConversation := func(what string, most int64) {
			t.Helper()
			got := (heap() - before) / size
			t.Logf("%s: %d bytes for each conversation", what, got)
			if got > most {
				t.Errorf("%s: want at most %d bytes", what, most)
			}
		}
		for i := range size {
			w.Tell(about(alerting.KindFiring, i, certmedic.SeverityWarning, "at first"))
		}
		perConversation("waiting", mostWaiting)
		for range 5 { // however much is told while they wait
			for i := range size {
				w.Tell(about(alerting.KindUpdate, i, certmedic.SeverityWarning, "another"))
			}
			sleep(time.Millisecond)
		}
		perConversation("waiting, with updates", mostWaiting)
		w.drain()
		perConversation("open", mostOpen)
		w.heal()
		w.drain()
		perConversation("over", mostLeft)
		w.stop()
	})
}

// heap returns the bytes that are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one found to be finalised
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// pacedReceiver takes a message a second, and remembers of a conversation as much as Slack's does.
type pacedReceiver struct{}

func (pacedReceiver) Pace() time.Duration { return time.Second }

func (pacedReceiver) Notify(_ context.Context, n alerting.Notification) (bool, error) {
	memory, err := json.Marshal(strings.Repeat("m", 300))
	if err != nil {
		return false, err
	}
	return false, n.Remember(memory)
}

// noOutbox is an outbox that keeps nothing, so that only what alerting itself keeps is measured.
type noOutbox struct{}

func (noOutbox) Put(...alerting.Entry) error              { return nil }
func (noOutbox) Pending() ([]alerting.Entry, error)       { return nil, nil }
func (noOutbox) Done(...string) error                     { return nil }
func (noOutbox) Deliveries() ([]alerting.Delivery, error) { return nil, nil }
func (noOutbox) Settle(alerting.Delivery, []string) error { return nil }

// TestWhatWaitsKeepsItsPlace has a receiver keep to a pace of its own: who came first is told first.
func TestWhatWaitsKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var last time.Time
		w := start(t, alerting.Options{Receivers: map[string]alerting.Notifier{"ops": alerting.NotifierFunc(
			func(_ context.Context, n alerting.Notification) (bool, error) {
				if wait := time.Second - time.Since(last); wait > 0 {
					return true, alerting.Wait(wait)
				}
				last = time.Now()
				told = append(told, n.Events[0].Certificate.Name)
				return false, nil
			})}})
		for i := range 6 {
			w.Tell(about(alerting.KindFiring, i, certmedic.SeverityWarning, "at first"))
		}
		sleep(time.Minute)
		w.stop()
		if !slices.IsSorted(told) || len(told) != 6 {
			t.Errorf("told in the order %v", told)
		}
	})
}
