package alerting

import (
	"fmt"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestDecide(t *testing.T) {
	base := Event{Kind: KindUpdate, Severity: certmedic.SeverityWarning, Incident: certmedic.Incident{
		ID: "i", Reason: "drift for 12s > 2s", Evidence: []certmedic.Evidence{{Source: "hook", Line: "12:00:01 exit code 1"}},
	}}
	change := func(f func(*Event)) Event {
		e := base
		f(&e)
		return e
	}
	toldOf := func(e Event, state delivery) told { return told{state: state, event: e} }
	known := toldOf(base, delivered)
	tests := []struct {
		name   string
		told   told
		event  Event
		unsent bool
		want   Reason
	}{
		{"an incident that it does not know", told{}, base, false, ReasonFirst},
		{"an update after an attempt without an answer", toldOf(base, attempted), base, false, ReasonFirst},
		{"an update after the first was rejected", toldOf(base, rejected), base, false, ReasonFirst},
		{"the same again", known, base, false, ReasonUnchanged},
		{"the same condition with other numbers", known, change(func(e *Event) { e.Incident.Reason = "drift for 345s > 2s" }), false, ReasonUnchanged},
		{"the same condition with a fraction", known, change(func(e *Event) { e.Incident.Reason = "drift for 13.9s > 2s" }), false, ReasonUnchanged},
		{"the same evidence of a later attempt", known, change(func(e *Event) {
			e.Incident.Evidence = []certmedic.Evidence{{Source: "hook", Line: "12:45:59 exit code 1"}}
		}), false, ReasonUnchanged},
		{"more members", known, change(func(e *Event) { e.Incident.Members = []string{"a"} }), false, ReasonMembers},
		{"a raised severity", known, change(func(e *Event) { e.Severity = certmedic.SeverityCritical }), false, ReasonSeverity},
		{"another reason", known, change(func(e *Event) { e.Incident.Reason = "expired" }), false, ReasonCause},
		{"a cause that a diagnosis named", known, change(func(e *Event) { e.Incident.Cause = certmedic.CauseHookFailed }), false, ReasonCause},
		{"another exit code", known, change(func(e *Event) {
			e.Incident.Evidence = []certmedic.Evidence{{Source: "hook", Line: "12:00:01 exit code 2"}}
		}), false, ReasonEvidence},
		{"a later rung of the ladder", known, change(func(e *Event) { e.Step = certmedic.Step{Do: certmedic.StepNotify, After: time.Minute} }), false, ReasonStep},
		{"the ladder's first rung is no news", known, change(func(e *Event) { e.Step = certmedic.Step{Do: certmedic.StepNotify} }), false, ReasonUnchanged},
		{"the end of what it knows", known, Event{Kind: KindResolved}, false, ReasonResolved},
		{"the end of what it may know", toldOf(base, attempted), Event{Kind: KindResolved}, true, ReasonResolved},
		{"the end of what began before the start", told{}, Event{Kind: KindResolved}, false, ReasonResolved},
		{"the end of what was never sent", told{}, Event{Kind: KindResolved}, true, ReasonNeverTold},
		{"the end of what was rejected", toldOf(base, rejected), Event{Kind: KindResolved}, false, ReasonNeverTold},
		{"good news", told{}, Event{Kind: KindRenewed}, false, ReasonNews},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := decide(tt.told, tt.event, tt.unsent); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRetryDelay(t *testing.T) {
	for failures := range 70 {
		whole := lastBackoff
		if failures < 9 {
			whole = min(lastBackoff, time.Second<<failures)
		}
		for range 20 {
			if got := retryDelay(fmt.Errorf("down"), failures); got < max(time.Second, whole/2) || got > max(time.Second, whole) {
				t.Fatalf("after %d failures: %v, want %v to %v", failures, got, whole/2, whole)
			}
		}
	}
	asked := fmt.Errorf("slow down: %w", &RetryAfterError{Delay: 7 * time.Second, Err: fmt.Errorf("429")})
	if got := retryDelay(asked, 5); got != 7*time.Second {
		t.Errorf("asked for 7 s, waits %v", got)
	}
}

func TestQueueIsBounded(t *testing.T) {
	q := newQueue("ops")
	item := func(conversation, id int) Item {
		return Item{Event: Event{Kind: KindFiring, Incident: certmedic.Incident{ID: fmt.Sprint(id), DedupKey: fmt.Sprint(conversation)}}}
	}
	for i := range maxEvents {
		q.add(item(0, i))
	}
	if _, full := q.add(item(0, maxEvents)); !full {
		t.Error("a conversation takes more than its bound")
	}
	if replaced, full := q.add(item(0, 1)); full || len(replaced) != 1 {
		t.Error("a full conversation does not take a newer state")
	}
	for i := 1; i < maxConversations; i++ {
		q.add(item(i, 0))
	}
	if replaced, full := q.add(item(maxConversations, 0)); !full || len(replaced) != 1 {
		t.Error("the queue takes more conversations than its bound")
	}
}

func TestDaysLeft(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		left time.Duration
		want int
	}{
		{"a second after expiry it is negative", -time.Second, -1},
		{"exactly a day after expiry", -24 * time.Hour, -1},
		{"the last day counts as none", 23 * time.Hour, 0},
		{"whole days are rounded down", 71 * time.Hour, 2},
	}
	for _, tt := range tests {
		if got, ok := (Facts{NotAfter: now.Add(tt.left)}).DaysLeft(now); !ok || got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if _, ok := (Facts{}).DaysLeft(now); ok {
		t.Error("days are left of an unknown date")
	}
}
