package pagerduty

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/certmedic/certmedic/alerting"
)

// talk is one attempt to tell of a conversation.
type talk struct {
	*Notifier

	note   alerting.Notification
	key    string
	memory memory
}

func (n *Notifier) talk(note alerting.Notification) *talk {
	note.Open = worstFirst(note)
	return &talk{Notifier: n, note: note, key: keyOf(note.Conversation), memory: recall(note.Memory)}
}

// worstFirst returns what fires, the worst first as it was, and of what is equally bad the one that
// says that the certificate has expired. Where nobody says what fires, the events do.
func worstFirst(note alerting.Notification) []alerting.Event {
	open := slices.Clone(note.Open)
	if len(open) == 0 && note.Status == alerting.StatusFiring {
		for _, e := range note.Events {
			if e.Kind == alerting.KindFiring || e.Kind == alerting.KindUpdate {
				open = append(open, e)
			}
		}
	}
	slices.SortStableFunc(open, func(a, b alerting.Event) int {
		switch {
		case a.Severity.Rank() != b.Severity.Rank():
			return b.Severity.Rank() - a.Severity.Rank()
		case expired(a) == expired(b):
			return 0
		case expired(a):
			return -1
		}
		return 1
	})
	return open
}

// alert brings the alert, and the second one where there is one, to the conversation's state.
func (t *talk) alert(ctx context.Context) (retry bool, err error) {
	if t.note.Status == alerting.StatusResolved || len(t.note.Open) == 0 {
		return t.resolve(ctx)
	}
	if !t.memory.Open || slices.ContainsFunc(t.note.Events, isState) {
		if retry, err = t.trigger(ctx); err != nil {
			return retry, err
		}
	}
	return t.acknowledge(ctx)
}

// trigger opens the alert, updates it, or opens or updates the second one.
func (t *talk) trigger(ctx context.Context) (retry bool, err error) {
	if at := t.escalates(); !at.IsZero() {
		t.memory.Escalated = at
		t.remember() // before it is sent: whatever happens then, the end resolves it
	}
	key, first := t.key, ""
	if !t.memory.Escalated.IsZero() {
		key, first = t.key+escalated, t.key
	}
	ev := t.Notifier.trigger(t.note, key, first)
	data, err := json.Marshal(ev)
	if err != nil {
		return false, fmt.Errorf("encoding an event: %w", err)
	}
	sent := digest(data)
	if t.memory.Open && t.memory.Sent == sent {
		return false, nil // an earlier attempt came this far
	}
	if retry, err = t.enqueue(ctx, ev); err != nil {
		return retry, err
	}
	t.triggered(sent)
	t.remember()
	return false, nil
}

// triggered notes what PagerDuty knows by now.
func (t *talk) triggered(sent string) {
	m := &t.memory
	if worse := t.worse(); m.Open && worse != nil {
		m.Worse = worse.Time
	}
	m.Open, m.Sent = true, sent
	m.Expired = m.Expired || slices.ContainsFunc(t.note.Open, expired)
	if worst := t.note.Open[0].Severity; worst.Rank() > m.Severity.Rank() {
		m.Severity = worst
	}
}

// worse returns what fires that is worse than what was told; nil: nothing is.
func (t *talk) worse() *alerting.Event {
	for i, e := range t.note.Open {
		if e.Severity.Rank() > t.memory.Severity.Rank() || expired(e) && !t.memory.Expired {
			return &t.note.Open[i]
		}
	}
	return nil
}

// escalates returns since when people who have acknowledged must be called again: it got worse
// than they knew, or the certificate has expired since. The zero time means that they must not.
func (t *talk) escalates() time.Time {
	ack, m := t.note.Ack, t.memory
	if ack == nil || !m.Open || !m.Escalated.IsZero() {
		return time.Time{}
	}
	for _, e := range t.note.Open {
		if ack.At.Before(e.Time) && (e.Severity.Rank() > m.Severity.Rank() || expired(e) && !m.Expired) {
			return e.Time
		}
	}
	return time.Time{}
}

func expired(e alerting.Event) bool {
	return !e.Certificate.NotAfter.IsZero() && !e.Certificate.NotAfter.After(e.Time)
}

// acknowledge passes on an acknowledgement that PagerDuty does not know of.
func (t *talk) acknowledge(ctx context.Context) (retry bool, err error) {
	ack := t.newAck()
	if ack == nil {
		return false, nil
	}
	if t.memory.Escalated.IsZero() && ack.At.Before(t.memory.Worse) { // who said so did not know how bad it is by now
		t.memory.Escalated = t.memory.Worse
		t.remember()
		if retry, err = t.trigger(ctx); err != nil {
			return retry, err
		}
	}
	keys := []string{t.key}
	if at := t.memory.Escalated; !at.IsZero() && !ack.At.Before(at) {
		keys = append(keys, t.key+escalated)
	}
	for _, key := range keys {
		if retry, err = t.enqueue(ctx, t.Notifier.alert("acknowledge", key)); err != nil {
			return retry, err
		}
	}
	t.memory.Acked = ack.At
	t.remember()
	return false, nil
}

// newAck returns the newest acknowledgement among the events that came from elsewhere and was not
// passed on yet; nil where there is none.
func (t *talk) newAck() *alerting.Ack {
	var newest *alerting.Ack
	for _, e := range t.note.Events {
		if e.Kind == alerting.KindAcknowledged && e.Ack != nil {
			newest = e.Ack
		}
	}
	if newest == nil || newest.Via == t.note.Receiver || newest.At.Equal(t.memory.Acked) {
		return nil
	}
	return newest
}

// resolve ends what is open, the second alert first. Without a memory the first is resolved too,
// because it may have been opened without an answer; PagerDuty drops what resolves nothing.
func (t *talk) resolve(ctx context.Context) (retry bool, err error) {
	if !t.memory.Open && !slices.ContainsFunc(t.note.Events, isState) {
		return false, nil // an acknowledgement of what is over
	}
	if !t.memory.Escalated.IsZero() {
		if retry, err = t.enqueue(ctx, t.Notifier.alert("resolve", t.key+escalated)); err != nil {
			return retry, err
		}
		t.memory.Escalated = time.Time{}
		t.remember()
	}
	if retry, err = t.enqueue(ctx, t.Notifier.alert("resolve", t.key)); err != nil {
		return retry, err
	}
	t.memory = memory{Changes: t.memory.Changes}
	t.remember()
	return false, nil
}

// changes enters the news, and a heartbeat, as change events. The key of a ruleset takes none: its
// owner hears no news, but is told that there is nobody to hear the heartbeat.
func (t *talk) changes(ctx context.Context) (retry bool, err error) {
	for _, e := range t.note.Events {
		id := string(e.Kind) + "/" + strconv.FormatInt(e.Time.UnixNano(), 10)
		switch {
		case isAlert(e) || slices.Contains(t.memory.Changes, id):
			continue
		case !t.config.takesChanges() && e.Kind == alerting.KindHeartbeat:
			return false, errors.New("the routing key of a ruleset takes no change events, and so no heartbeats")
		case !t.config.takesChanges():
			continue
		}
		if retry, err = t.enter(ctx, t.change(e)); err != nil {
			return retry, err
		}
		if e.Kind.News() && len(t.note.Events) > 1 {
			t.memory.Changes = append(t.memory.Changes, id)
			t.remember()
		}
	}
	return false, nil
}

// remember keeps the memory. Where that fails the Alerter still has it until it ends, and says so in
// its log; it is no reason to tell nobody, as what is sent twice has the same key.
func (t *talk) remember() {
	if t.note.Remember == nil {
		return
	}
	data, err := json.Marshal(t.memory)
	if err != nil {
		return // a struct of strings and times
	}
	_ = t.note.Remember(data)
}
