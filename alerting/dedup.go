package alerting

import (
	"cmp"
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// Reason says why an event is sent, or why it is not.
type Reason string

// The reasons to send an event.
const (
	ReasonFirst    Reason = "first"    // the receiver does not know the incident
	ReasonSeverity Reason = "severity" // it got better or worse
	ReasonCause    Reason = "cause"    // it holds for another reason, or a diagnosis named its cause
	ReasonEvidence Reason = "evidence" // there is new evidence
	ReasonMembers  Reason = "members"  // it concerns others, or fewer
	ReasonStep     Reason = "step"     // a later rung of the ladder wants to tell
	ReasonResolved Reason = "resolved"
	ReasonNews     Reason = "news" // about the certificate

	ReasonAcknowledged Reason = "acknowledged" // or not any more
)

// The reasons not to send an event.
const (
	ReasonUnchanged Reason = "unchanged"
	ReasonNeverTold Reason = "never_told" // it is over, and the receiver never heard of it
)

// Sends reports whether the reason is one to send.
func (r Reason) Sends() bool { return r != ReasonUnchanged && r != ReasonNeverTold }

// delivery says how sure it is that a receiver knows of an incident.
type delivery int

const (
	unknown   delivery = iota // nothing was sent since the start
	attempted                 // sent without an answer: it may know
	delivered
	rejected // it certainly does not know
	owed     // it knows, but rejected the end: that is told once more after the next start
)

// told is what a receiver was last told about an incident.
type told struct {
	state delivery
	event Event
}

// decide says whether an event is sent, given what the receiver was told. unsent says
// that a firing event was replaced by this one before it was sent.
func decide(t told, e Event, unsent bool) Reason {
	switch {
	case e.Kind.News():
		return ReasonNews
	case e.Kind.acks():
		return ReasonAcknowledged
	case e.Kind == KindResolved:
		if t.state == rejected || t.state == unknown && unsent {
			return ReasonNeverTold
		}
		return ReasonResolved
	case t.state != delivered:
		return ReasonFirst
	case t.event.Severity != e.Severity:
		return ReasonSeverity
	case causeOf(t.event.Incident) != causeOf(e.Incident):
		return ReasonCause
	case evidenceOf(t.event.Incident) != evidenceOf(e.Incident):
		return ReasonEvidence
	case !slices.Equal(t.event.Incident.Members, e.Incident.Members):
		return ReasonMembers
	case e.Step.After > 0 && t.event.Step != e.Step:
		return ReasonStep
	default:
		return ReasonUnchanged
	}
}

// dedup is the stage that drops what the receiver knows already, and says what the state
// of the conversation is for this receiver.
type dedup struct {
	queue *queue
	drop  func(Item)
}

// Exec decides for each item and sets the batch's status.
func (d dedup) Exec(_ context.Context, b Batch) (Batch, error) {
	known := d.queue.knownIn(b.Conversation)
	b = b.filter(func(it *Item) bool {
		t := known[it.Event.Incident.ID]
		it.Why = decide(t, it.Event, it.unsent)
		switch {
		case it.Why == ReasonNeverTold:
			d.queue.forget(it.Event)
		case it.Why == ReasonFirst:
			it.Event.Kind = KindFiring // an update of what it has not heard of is the first
		case it.Event.Kind == KindFiring:
			it.Event.Kind = KindUpdate
		}
		return it.Why.Sends()
	}, d.drop)
	b.Open = openAfter(known, b.Items)
	b.Status = statusOf(b.Open)
	return b, nil
}

// statusOf is the status of a conversation in which these fire.
func statusOf(open []Event) Status {
	if len(open) > 0 {
		return StatusFiring
	}
	return StatusResolved
}

// openAfter returns the newest events of what fires in a conversation once the items are
// delivered, the worst first.
func openAfter(known map[string]told, items []Item) []Event {
	open := map[string]Event{}
	for id, t := range known {
		if t.state == delivered || t.state == attempted {
			open[id] = t.event
		}
	}
	for _, it := range items {
		switch {
		case it.Event.Kind.firing():
			open[it.Event.Incident.ID] = it.Event
		case it.Event.Kind == KindResolved:
			delete(open, it.Event.Incident.ID)
		}
	}
	return slices.SortedFunc(maps.Values(open), func(a, b Event) int {
		return cmp.Or(cmp.Compare(b.Severity.Rank(), a.Severity.Rank()), a.Incident.FiringAt.Compare(b.Incident.FiringAt), cmp.Compare(a.Incident.ID, b.Incident.ID))
	})
}

// causeOf is the cause that a diagnosis named, and the reason without its numbers, which change with
// every evaluation; a fraction is one number.
func causeOf(i certmedic.Incident) string {
	return string(i.Cause) + "\x00" + fraction.ReplaceAllString(withoutNumbers(i.Reason, 1), "#")
}

// fraction is one without its digits.
var fraction = regexp.MustCompile(`#\.#`)

// evidenceOf is the evidence without its long numbers (times, process ids), so that the
// same line of another attempt is no news, but another exit code mostly is.
func evidenceOf(i certmedic.Incident) string {
	var lines []string
	for _, e := range i.Evidence {
		lines = append(lines, e.Source+"\x00"+withoutNumbers(e.Line, 2))
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}

// withoutNumbers replaces runs of at least minDigits digits by "#".
func withoutNumbers(s string, minDigits int) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		end := i
		for end < len(s) && s[end] >= '0' && s[end] <= '9' {
			end++
		}
		switch {
		case end == i:
			end++
			out.WriteByte(s[i])
		case end-i >= minDigits:
			out.WriteByte('#')
		default:
			out.WriteString(s[i:end])
		}
		i = end
	}
	return out.String()
}
