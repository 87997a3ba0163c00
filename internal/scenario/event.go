package scenario

import (
	"time"

	"github.com/certmedic/certmedic"
)

// EventError is the kind of an event that says that a rule cannot be asked from then on.
const EventError = "error"

// Event is something that happened in a test: a transition of an incident (pending, firing,
// step, resolved and so on), renewed or deployed, or [EventError].
type Event struct {
	Time     time.Time          `json:"time"` // of the virtual clock
	Kind     string             `json:"kind"`
	Rule     string             `json:"rule,omitempty"`
	Subject  string             `json:"subject"`
	Severity certmedic.Severity `json:"severity,omitempty"`
	Do       certmedic.StepKind `json:"do,omitempty"` // of a step
	Reason   string             `json:"reason,omitempty"`

	after time.Duration // from the start of the test on
}

// String returns the event as a line of a timeline.
func (e Event) String() string {
	line := when(e.Time, e.after) + "  " + e.Kind
	switch {
	case e.Rule == "":
		return line + " " + e.Subject
	case e.Kind == EventError:
		return line + " " + e.Rule + " of " + e.Subject + ": " + e.Reason
	case e.Do != "":
		return line + " " + string(e.Do) + " of " + e.Rule + " of " + e.Subject + " (" + string(e.Severity) + ")"
	}
	return line + " " + e.Rule + " of " + e.Subject + " (" + string(e.Severity) + "): " + e.Reason
}

// event tells what happened.
func (p *play) event(h happening) Event {
	e := Event{Time: h.at, after: h.at.Sub(p.world.start), Subject: orElse(h.certificate, "fleet")}
	in := h.transition.Incident
	switch {
	case h.event != "":
		e.Kind = string(h.event)
	case h.failing != "":
		e.Kind, e.Rule, e.Reason = EventError, h.failing, h.why
	case h.transition.Kind == certmedic.TransitionStep:
		e.Kind, e.Rule, e.Subject, e.Severity, e.Do = string(h.transition.Kind), in.Rule, nameOf(in.Subject), in.Severity, h.transition.Step.Do
	default:
		e.Kind, e.Rule, e.Subject, e.Severity, e.Reason = string(h.transition.Kind), in.Rule, nameOf(in.Subject), in.Severity, in.Reason
	}
	return e
}
