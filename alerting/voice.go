package alerting

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// Voice is this member's part among several that judge the same certificates: one of them speaks,
// and all know what was told. What a member says about itself, and exercises, are its own: it tells
// them whoever speaks.
//
// Members judge at different moments and name the same incident differently. Between them an incident
// is the rule and the subject, a conversation is the certificate, and what receivers know it by is the
// key that stands on the certificate's [Page].
//
// Who told of an incident tells its end. For a member that is gone the speaker does both: it goes on
// with what holds, and ends what does not. What only a silent member sees is told by that one, once the
// speaker had its time to.
type Voice struct {
	Member string
	Book   Book

	// Speaks reports whether this member tells people about a certificate now. It asks nobody.
	Speaks func(certificate string) bool

	// Confirm proves that right before something is told. The error says that another member does by
	// now; a coordinator that cannot be asked is none.
	Confirm func(ctx context.Context, certificate string) error

	// Lives reports whether a member is there, as far as is known, and judges a certificate, where one is
	// named.
	Lives func(member, certificate string) bool

	// Lost reports whether the coordinator is known not to answer. What is told then is told by all members,
	// one after the other, so that who comes later may find at the receiver what was told: Alone reports
	// whether it is this member's turn with what happened at a time.
	Lost  func() bool
	Alone func(since time.Time) bool

	// Holds reports whether the incident of an event, which another member may have told of, is open
	// here, pending ones too; known is false until it was judged here.
	Holds func(e Event) (holds, known bool)

	// Patience is for how long a silent member waits for what it sees to be told by the speaker.
	Patience time.Duration
}

// ErrOvertaken says that a page is not any more as it was read.
var ErrOvertaken = errors.New("another member wrote it first")

// Book is what members share of what was told, a page for each certificate.
type Book interface {
	// Page returns the page of a certificate, an empty one with its name where there is none.
	Page(ctx context.Context, certificate string) (Page, error)
	// Pages returns all pages.
	Pages(ctx context.Context) ([]Page, error)
	// Write writes a page if it still has its revision, else the error wraps [ErrOvertaken]. After any
	// other error it is not known whether it was written. It returns the page with its new revision.
	Write(ctx context.Context, p Page) (Page, error)
}

// Page is what receivers were told about a certificate in its present episode, or the last one.
type Page struct {
	Certificate string               `json:"certificate"`
	Key         string               `json:"key"`                 // by which receivers know the conversation
	Lines       map[string]Line      `json:"receivers,omitempty"` // by receiver; none: the episode is over
	Ended       map[string]time.Time `json:"ended,omitempty"`     // incidents of which the end was told lately, and when
	Revision    uint64               `json:"-"`
}

// tells reports whether anybody was told of an incident, or may have been.
func (p Page) tells(id string) bool {
	is := func(e Event) bool { return e.Incident.ID == id }
	for _, l := range p.Lines {
		if slices.ContainsFunc(l.Told, is) || l.Sending != nil && slices.ContainsFunc(l.Sending.Events, is) {
			return true
		}
	}
	return false
}

// Line is what one receiver was told, and what may be on its way to it.
type Line struct {
	Delivery
	Sending *Sending `json:"sending,omitempty"` // written before it is sent, and taken out with what came of it
}

// Sending is what a member is about to tell. Where it ends before it has written what came of that, the
// receiver may know of it, or not.
type Sending struct {
	Member  string    `json:"member"`
	Session time.Time `json:"session"` // when that member's alerting began
	At      time.Time `json:"at"`
	Events  []Event   `json:"events"` // of incidents, without evidence
}

// sendingFor is for how long nobody else tells the receiver about the certificate. It is longer than an attempt.
const sendingFor = sendTimeout + 15*time.Second

// sharedMark ends the names of conversations that members share. No episode is named so.
const sharedMark = "/~"

// SharedConversation names the conversation about a certificate among the members of a cluster.
// Receivers know it by another name, see [Alerter.Key].
func SharedConversation(certificate string) string { return "certmedic/" + certificate + sharedMark }

// SharedCertificate returns the certificate that a conversation of all members is about, and whether it is one.
func SharedCertificate(conversation string) (name string, shared bool) {
	return certificateOf(conversation)
}

func certificateOf(conversation string) (name string, shared bool) {
	name, isOurs := strings.CutPrefix(conversation, "certmedic/")
	name, shared = strings.CutSuffix(name, sharedMark)
	return name, shared && isOurs
}

// keyOf names an episode that begins now: by its day, so that members that cannot ask each other name
// it alike.
func keyOf(certificate string, now time.Time) string {
	return "certmedic/" + certificate + "/" + now.UTC().Format("20060102")
}

// Own reports whether a member tells the event whoever speaks: an exercise, and what it says about itself.
func (e Event) Own() bool {
	return e.Drill || e.Incident.Subject.Kind == certmedic.AboutFleet || e.Kind == KindHeartbeat
}

// among returns the event as all members name it.
func (v *Voice) among(e Event) Event {
	switch {
	case e.Incident.Subject.Kind == certmedic.AboutFleet && !e.Drill:
		e.Incident.Summary += " (member " + v.Member + ")"
		return e
	case e.Own():
		return e
	}
	e.Member = v.Member
	e.Incident.DedupKey = SharedConversation(cmp.Or(e.Certificate.Name, e.Incident.Subject.Certificate))
	if e.Incident.ID != "" {
		e.Incident.ID = e.Incident.Rule + "/" + e.Incident.Subject.String()
	}
	return e
}

// slim is the event without what can be long.
func (e Event) slim() Event {
	e.Incident.Evidence, e.Incident.Members, e.Incident.Fix = nil, nil, ""
	return e
}
