package alerting

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// talk is what a receiver knows of one conversation.
type talk struct {
	told   map[string]told  // by incident
	quiet  map[string]Event // by incident, the newest state of what it was not told because it is muted
	memory json.RawMessage  // what the notifier keeps
	ack    *Ack
	since  time.Time // of the first event that it was told, or may have been
}

func (t *talk) empty() bool {
	return len(t.told) == 0 && len(t.quiet) == 0 && len(t.memory) == 0 && t.ack == nil
}

// talkOf returns the talk of a conversation, a new one where there is none.
func (q *queue) talkOf(conversation string) *talk {
	t := q.talks[conversation]
	if t == nil {
		t = &talk{told: map[string]told{}, quiet: map[string]Event{}}
		q.talks[conversation] = t
	}
	return t
}

// forgetOver forgets a conversation of which nothing is known any more, and what was kept of one in
// which nothing is open, nor about to be. It reports whether anything was kept.
func (q *queue) forgetOver(conversation string) (kept bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.talks[conversation]
	if t == nil {
		return false
	}
	if len(t.told) == 0 && len(t.quiet) == 0 && !q.incidentWaitsLocked(conversation) {
		kept = len(t.memory) > 0 || t.ack != nil
		t.memory, t.ack, t.since = nil, nil, time.Time{}
	}
	if t.empty() {
		delete(q.talks, conversation)
	}
	return kept
}

// incidentWaitsLocked reports whether it waits to be told that something fires, or that it ended, which
// takes what is kept.
func (q *queue) incidentWaitsLocked(conversation string) bool {
	b := q.waiting[conversation]
	return b != nil && slices.ContainsFunc(b.Items, func(it Item) bool { return it.Event.Kind.about() })
}

// conversations returns all of which anything is known.
func (q *queue) conversations() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Sorted(maps.Keys(q.talks))
}

// concerns reports whether the receiver was told, or is about to be told, of the event's
// incident: then it must hear how that goes on, whatever the routes say now.
func (q *queue) concerns(e Event) bool {
	if !e.Kind.about() {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if t := q.talks[e.Conversation()]; t != nil {
		if _, ok := t.told[e.Incident.ID]; ok {
			return true
		}
		if _, ok := t.quiet[e.Incident.ID]; ok {
			return true
		}
	}
	return q.movesLocked(e)
}

// remember records what became of a delivery.
func (q *queue) remember(e Event, state delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	conversation := e.Conversation()
	switch {
	case e.Kind.acks():
		if state != rejected {
			q.talkOf(conversation).ack = e.looksAfter()
		}
	case e.Kind == KindResolved && state != attempted:
		if t := q.talks[conversation]; t != nil {
			t.end(e, state)
		}
	case e.Kind.firing():
		t := q.talkOf(conversation)
		if t.since.IsZero() && state != rejected {
			t.since = e.Time
		}
		if state != delivered && t.told[e.Incident.ID].state == delivered {
			return // it knows an older state for sure; that stays what to compare with
		}
		t.told[e.Incident.ID] = told{state: state, event: e}
		delete(t.quiet, e.Incident.ID)
	}
}

// owedFor is how long after its end it is tried to tell that to a receiver that rejected it.
const owedFor = 24 * time.Hour

// end notes that an incident is over. A receiver that knows of it and rejected its end still shows it.
func (t *talk) end(e Event, state delivery) {
	was := t.told[e.Incident.ID].state
	delete(t.quiet, e.Incident.ID)
	delete(t.told, e.Incident.ID)
	if knows := was == delivered || was == attempted || was == owed; state == rejected && knows && time.Since(e.Time) < owedFor {
		t.told[e.Incident.ID] = told{state: owed, event: e}
	}
}

// owes reports whether it was rejected before that an incident is over.
func (q *queue) owes(e Event) bool { return q.knownIn(e.Conversation())[e.Incident.ID].state == owed }

// unremember takes back that items were attempted: what the receiver knows is what it knew before.
func (q *queue) unremember(items []Item, before map[string]told) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range items {
		id, t := it.Event.Incident.ID, q.talks[it.Event.Conversation()]
		if t == nil || !it.Event.Kind.firing() {
			continue
		}
		if was, ok := before[id]; ok {
			t.told[id] = was
		} else {
			delete(t.told, id)
		}
	}
}

// doubt makes it uncertain again whether the receiver knows of an incident: an earlier
// run may have sent the event without hearing of its delivery.
func (q *queue) doubt(e Event) {
	if !e.Kind.firing() {
		return
	}
	q.mu.Lock()
	t := q.talkOf(e.Conversation())
	delete(t.told, e.Incident.ID)
	if t.since.IsZero() { // the event may have taken the place of one that was sent as well
		t.since = e.Incident.FiringAt
	}
	q.mu.Unlock()
	q.remember(e, attempted)
}

// forget ends the memory of an incident that is over and was not worth telling.
func (q *queue) forget(e Event) {
	if e.Kind == KindResolved {
		q.remember(e, rejected)
	}
}

// mute keeps an event for the time when it is not muted any more.
func (q *queue) mute(e Event) {
	if !e.Kind.firing() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.talkOf(e.Conversation()).quiet[e.Incident.ID] = e
}

// unmute takes out what was muted and is not any more.
func (q *queue) unmute(muted func(Event, told) bool) []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []Event
	for conversation, t := range q.talks {
		for id, e := range t.quiet {
			if q.movesLocked(e) {
				continue // it may be its end
			}
			if !muted(e, t.told[id]) && (e.Severity != certmedic.SeverityInfo || !t.worseThanInfo()) {
				out = append(out, e)
				delete(t.quiet, id)
			}
		}
		if t.empty() {
			delete(q.talks, conversation)
		}
	}
	slices.SortFunc(out, func(a, b Event) int { return a.Time.Compare(b.Time) })
	return out
}

// movesLocked reports whether something about the event's incident waits, or is being told.
func (q *queue) movesLocked(e Event) bool {
	b := q.waiting[e.Conversation()]
	return q.inHand[e.key()] || b != nil && slices.ContainsFunc(b.Items, func(it Item) bool { return it.Event.key() == e.key() })
}

// speaksAgain forgets that an incident was muted: its end is on its way, after which nothing of it is
// to be told.
func (q *queue) speaksAgain(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t := q.talks[e.Conversation()]; t != nil {
		delete(t.quiet, e.Incident.ID)
	}
}

// muted reports whether the receiver was not told of an incident because it is muted.
func (q *queue) muted(e Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.talks[e.Conversation()]
	if t == nil {
		return false
	}
	_, ok := t.quiet[e.Incident.ID]
	return ok
}

func (q *queue) knownIn(conversation string) map[string]told {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t := q.talks[conversation]; t != nil {
		return maps.Clone(t.told)
	}
	return nil
}

func (q *queue) knowsWorseThanInfo(conversation string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.talks[conversation]
	return t != nil && t.worseThanInfo()
}

// worseThanInfo reports whether the receiver knows, or may know, of something worse that fires.
func (t *talk) worseThanInfo() bool {
	for _, known := range t.told {
		if known.event.Severity != certmedic.SeverityInfo && (known.state == delivered || known.state == attempted) {
			return true
		}
	}
	return false
}

// keepsMemory keeps what the notifier wants to remember of a conversation.
func (q *queue) keepsMemory(conversation string, memory json.RawMessage) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.talkOf(conversation).memory = slices.Clone(memory)
}

// memoryOf returns what the notifier and people said of a conversation.
func (q *queue) memoryOf(conversation string) (memory json.RawMessage, ack *Ack) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t := q.talks[conversation]; t != nil {
		return slices.Clone(t.memory), t.ack
	}
	return nil, nil
}

// delivery returns what is kept of a conversation.
func (q *queue) delivery(conversation string) Delivery {
	q.mu.Lock()
	defer q.mu.Unlock()
	d := Delivery{Receiver: q.receiver, Conversation: conversation}
	t := q.talks[conversation]
	if t == nil {
		return d
	}
	d.Memory, d.Ack, d.Since = t.memory, t.ack, t.since
	for _, id := range slices.Sorted(maps.Keys(t.told)) {
		if state := t.told[id].state; state == delivered || state == owed {
			d.Told = append(d.Told, t.told[id].event)
		}
	}
	return d
}

// recall takes up what an earlier run has kept.
func (q *queue) recall(d Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.talkOf(d.Conversation).take(d)
}

// take takes over what was told.
func (t *talk) take(d Delivery) {
	t.memory, t.ack, t.since = d.Memory, d.Ack, d.Since
	for _, e := range d.Told {
		known := told{state: delivered, event: e}
		if e.Kind == KindResolved {
			known.state = owed
		}
		t.told[e.Incident.ID] = known
	}
}

// newestIn returns the newest of the worst events that the receiver knows of in a conversation.
func (q *queue) newestIn(conversation string) (Event, bool) {
	open := openAfter(q.knownIn(conversation), nil)
	if len(open) == 0 {
		return Event{}, false
	}
	return open[0], true
}

// knownEvents returns the newest events of all incidents that the receiver knows of, or may.
func (q *queue) knownEvents() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []Event
	for _, t := range q.talks {
		for _, known := range t.told {
			if known.state != rejected {
				all = append(all, known.event)
			}
		}
	}
	return all
}
