package alerting

import (
	"cmp"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/redact"
)

// Kind says what happened.
type Kind string

// The kinds of events. The first three are about an incident, the next two about a whole
// conversation; renewed, deployed and rolled back are news about a certificate, which only
// routes with Events hear of. A heartbeat says that certmedic lives, and is not part of any
// conversation.
const (
	KindFiring       Kind = "firing"
	KindUpdate       Kind = "update" // of an incident that fires: worse, another reason, new evidence
	KindResolved     Kind = "resolved"
	KindAcknowledged Kind = "acknowledged" // a person says that they look after it

	KindUnacknowledged Kind = "unacknowledged" // nobody looks after it any more
	KindRenewed        Kind = "renewed"
	KindDeployed       Kind = "deployed"
	KindRolledBack     Kind = "rolled_back"
	KindHeartbeat      Kind = "heartbeat"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{KindFiring, KindUpdate, KindResolved, KindAcknowledged, KindUnacknowledged, KindRenewed, KindDeployed, KindRolledBack, KindHeartbeat}
}

// KindOf says as what people are told of a transition, if they are: when a rung of the ladder
// says so, when what they were told has changed, and when an incident ends.
func KindOf(t certmedic.Transition) (kind Kind, told bool) {
	switch {
	case t.Kind == certmedic.TransitionResolved:
		return KindResolved, t.Incident.Told.Do != ""
	case t.Kind == certmedic.TransitionChanged:
		return KindUpdate, true
	case t.Kind != certmedic.TransitionStep || t.Step.Do != certmedic.StepNotify:
		return "", false
	case t.Step.After > 0:
		return KindUpdate, true
	}
	return KindFiring, true
}

// News reports whether the event is about a certificate rather than about an incident.
func (k Kind) News() bool { return k == KindRenewed || k == KindDeployed || k == KindRolledBack }

// firing reports whether the event says that an incident holds.
func (k Kind) firing() bool { return k == KindFiring || k == KindUpdate }

// Status is the state of a whole conversation, as a receiver shall show it.
type Status string

// The statuses: firing while any incident of the conversation that the receiver knows
// of fires, else resolved.
const (
	StatusFiring   Status = "firing"
	StatusResolved Status = "resolved"
)

// Event is something that people may be told.
type Event struct {
	Kind        Kind               `json:"kind"`
	Time        time.Time          `json:"time"`
	Severity    certmedic.Severity `json:"severity"`      // empty: the incident's; a step of a ladder may raise it
	Incident    certmedic.Incident `json:"incident"`      // of good news: Summary and DedupKey only
	Step        certmedic.Step     `json:"step,omitzero"` // the rung that asked to tell, if one did
	Certificate Facts              `json:"certificate"`
	Approval    *Approval          `json:"approval,omitempty"`    // what a person is asked to approve; nil: nothing
	Ack         *Ack               `json:"ack,omitempty"`         // of an acknowledgement, or of who took it back
	Drill       bool               `json:"drill,omitempty"`       // an exercise, to be marked as one
	Undelivered string             `json:"undelivered,omitempty"` // at the fallback: who did not take it, and why
	Member      string             `json:"member,omitempty"`      // of a cluster, who tells it; empty on a single host
}

// Approval is a plan that waits for a person's yes or no.
type Approval struct {
	ID      string    `json:"id"`
	Hash    string    `json:"hash"` // of the plan; an approval holds for this one only
	Summary string    `json:"summary"`
	Expires time.Time `json:"expires"`
}

// Ack says who looks after a conversation.
type Ack struct {
	By  string    `json:"by"`
	Via string    `json:"via"` // the receiver or the command that it came through
	At  time.Time `json:"at"`
	Why string    `json:"why,omitempty"` // in the words of who said so
}

// Facts are what receivers are told about the certificate. A field that is not known is
// empty.
type Facts struct {
	Name      string                `json:"name"`
	Labels    map[string]string     `json:"labels,omitempty"`
	Domains   []string              `json:"domains,omitempty"`
	NotBefore time.Time             `json:"not_before,omitzero"`
	NotAfter  time.Time             `json:"not_after,omitzero"`
	Issuer    string                `json:"issuer,omitempty"`
	Serial    string                `json:"serial,omitempty"`
	SHA256    certmedic.Fingerprint `json:"sha256,omitempty"`
	Stage     certmedic.Stage       `json:"stage,omitempty"` // how far its newest version has come
}

// DaysLeft returns the whole days from now until NotAfter, rounded down, so that it is
// negative from the first second after expiry on; and whether NotAfter is known.
func (f Facts) DaysLeft(now time.Time) (int, bool) {
	const day = 24 * time.Hour
	if f.NotAfter.IsZero() {
		return 0, false
	}
	left := f.NotAfter.Sub(now)
	days := int(left / day)
	if left < 0 && left%day != 0 {
		days--
	}
	return days, true
}

// Conversation returns the dedup key `certmedic/<certificate>/<episode>` that the event
// belongs to. Good news outside an episode belongs to `certmedic/<certificate>`.
func (e Event) Conversation() string {
	return cmp.Or(e.Incident.DedupKey, "certmedic/"+e.Certificate.Name)
}

// Label returns the value that routes and silences match: severity, rule, certificate, or one
// of the certificate's own labels.
func (e Event) Label(name string) string {
	switch name {
	case "severity":
		return string(e.Severity)
	case "rule":
		return e.Incident.Rule
	case "certificate":
		return e.Certificate.Name
	default:
		return e.Certificate.Labels[name]
	}
}

// key tells events of a conversation apart: a newer event replaces an older one that
// has the same key and was not sent yet.
func (e Event) key() string {
	switch {
	case e.Kind.News():
		return "news/" + string(e.Kind)
	case e.Kind.acks():
		return "ack"
	}
	return "incident/" + e.Incident.ID
}

// acks reports whether the event says who looks after a conversation.
func (k Kind) acks() bool { return k == KindAcknowledged || k == KindUnacknowledged }

// about reports whether the event is about an incident.
func (k Kind) about() bool { return k.firing() || k == KindResolved }

// presentable completes the event and takes secrets and control characters out of what
// others wrote, once for all receivers and the outbox.
func (e Event) presentable() Event {
	e.Severity = cmp.Or(e.Severity, e.Incident.Severity, certmedic.SeverityInfo)
	e.Incident.Summary = clean(e.Incident.Summary)
	e.Incident.Reason = clean(e.Incident.Reason)
	e.Incident.NextStep = clean(e.Incident.NextStep)
	e.Incident.CauseSummary, e.Incident.Fix = clean(e.Incident.CauseSummary), clean(e.Incident.Fix)
	evidence := make([]certmedic.Evidence, 0, len(e.Incident.Evidence))
	for _, ev := range e.Incident.Evidence {
		evidence = append(evidence, certmedic.Evidence{Source: clean(ev.Source), Line: clean(ev.Line), Output: ev.Output})
	}
	e.Incident.Evidence = evidence
	if e.Ack != nil {
		e.Ack = &Ack{By: clean(e.Ack.By), Via: e.Ack.Via, At: e.Ack.At, Why: clean(e.Ack.Why)}
	}
	e.Certificate.Issuer = clean(e.Certificate.Issuer)
	e.Certificate.Domains = slices.Clone(e.Certificate.Domains)
	for i, name := range e.Certificate.Domains {
		e.Certificate.Domains[i] = clean(name)
	}
	return e
}

func clean(s string) string { return redact.Text(redact.Plain(s)) }
