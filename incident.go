package certmedic

import (
	"strings"
	"time"
)

// IncidentState is the state of an incident's life.
type IncidentState string

// The states: pending until the rule's `for` has passed, firing until the condition
// has cleared, then resolved.
const (
	StatePending  IncidentState = "pending"
	StateFiring   IncidentState = "firing"
	StateResolved IncidentState = "resolved"
)

// SubjectKind says what a rule is about.
type SubjectKind string

// The kinds of subjects that rules are about.
const (
	AboutCertificate SubjectKind = "certificate"
	AboutEndpoint    SubjectKind = "endpoint"
	AboutAddress     SubjectKind = "address"
	AboutFile        SubjectKind = "file"
	AboutFleet       SubjectKind = "fleet"
)

// Subject is what an incident is about. A subject below a certificate names the
// certificate too, so that an episode can gather all of them.
type Subject struct {
	Kind        SubjectKind `json:"kind"`
	Certificate string      `json:"certificate,omitempty"`
	Endpoint    string      `json:"endpoint,omitempty"`
	Address     string      `json:"address,omitempty"`
}

// String returns the subject as a person would name it.
func (s Subject) String() string {
	switch s.Kind {
	case AboutAddress:
		return s.Endpoint + " at " + s.Address
	case AboutEndpoint, AboutFile:
		return s.Endpoint
	case AboutFleet:
		return "the fleet"
	default:
		return s.Certificate
	}
}

// Incident is a rule that holds for a subject, with its history.
type Incident struct {
	ID        string        `json:"id"`
	Rule      string        `json:"rule"`
	Subject   Subject       `json:"subject"`
	Severity  Severity      `json:"severity"`
	State     IncidentState `json:"state"`
	Summary   string        `json:"summary"`
	Reason    string        `json:"reason"` // why the condition holds, from its evaluation
	Runbook   string        `json:"runbook,omitempty"`
	Members   []string      `json:"members"` // the endpoints' addresses that are affected
	Evidence  []Evidence    `json:"evidence"`
	Episode   string        `json:"episode"`
	DedupKey  string        `json:"dedup_key"`
	PendingAt time.Time     `json:"pending_at"` // since when the condition has held
	FiringAt  time.Time     `json:"firing_at,omitzero"`
	ClearedAt time.Time     `json:"cleared_at,omitzero"` // the condition no longer holds, keep_firing_for runs
	EndedAt   time.Time     `json:"ended_at,omitzero"`
	NextStep  string        `json:"next_step,omitempty"` // what happens next, with its time
	Told      Step          `json:"told,omitzero"`       // the last rung that asked to tell people; Do is empty while none did
	ToldAt    time.Time     `json:"told_at,omitzero"`    // when it did

	// What a diagnosis named last; empty while none did. Its lines are the first of Evidence.
	Cause        Cause  `json:"cause,omitempty"`
	CauseSummary string `json:"cause_summary,omitempty"` // the cause in one sentence
	Fix          string `json:"fix,omitempty"`           // commands to paste; what only a person can do is a comment
}

// CauseText returns the cause for people, its sentence with its code: "The deploy hook failed
// (hook_failed)". It is empty while none is known.
func (i Incident) CauseText() string {
	if i.Cause == "" || i.CauseSummary == "" {
		return string(i.Cause)
	}
	return strings.TrimSuffix(i.CauseSummary, ".") + " (" + string(i.Cause) + ")"
}

// Open reports whether the incident is pending or firing.
func (i Incident) Open() bool { return i.State == StatePending || i.State == StateFiring }

// Evidence is a line that shows what was claimed, and where it is from. Output marks what a
// command wrote: it is redacted, told to people, and left out where reading is open to all.
type Evidence struct {
	Source string `json:"source"`
	Line   string `json:"line"`
	Output bool   `json:"output,omitempty"`
}

// TransitionKind says what changed about an incident.
type TransitionKind string

// The kinds of transitions.
const (
	TransitionPending  TransitionKind = "pending"
	TransitionFiring   TransitionKind = "firing"
	TransitionResolved TransitionKind = "resolved"
	TransitionDropped  TransitionKind = "dropped" // pending, but the condition cleared before its time
	TransitionStep     TransitionKind = "step"    // a rung of the ladder is due
	TransitionChanged  TransitionKind = "changed" // firing and told before: it concerns others now, or has another cause
)

// Transition is a change of an incident, or a step of its ladder that is due.
type Transition struct {
	Kind     TransitionKind
	Time     time.Time
	Incident Incident
	Step     Step // of TransitionStep
}

// StepKind says what a rung of a ladder does: notify people, or one of the actions.
type StepKind string

// StepNotify tells people. Every other step is an [ActionKind].
const StepNotify StepKind = "notify"

// Step is one rung of a rule's ladder.
type Step struct {
	Do       StepKind      `json:"do"`
	After    time.Duration `json:"after,omitempty"` // since the incident fired
	When     string        `json:"when,omitempty"`  // a CEL condition that has to hold too; empty: none
	Severity Severity      `json:"severity,omitempty"`
}
