// Package approval keeps the plans that wait for a person, and what people said of them. The
// remediator asks and uses up what was approved, the app hands on what people say, and the watchdog
// makes a fact of what waits.
//
// An approval is for one plan, by its hash, for one use, until it expires, and by a named person.
// What [Book] was told is on disk when it returns, so that it holds over restarts; where that
// cannot be written, nobody was asked and nothing is approved.
package approval

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// State says what became of a plan.
type State string

// The states of a plan.
const (
	Pending   State = "pending"   // nobody said anything about it yet
	Approved  State = "approved"  // it may be carried out, once
	Rejected  State = "rejected"  // nobody is asked about it again for a day
	Used      State = "used"      // it was approved, and was begun
	Void      State = "void"      // it would do something else by now
	Withdrawn State = "withdrawn" // nothing asks for it any more
	Expired   State = "expired"   // nobody approved it in time, or it could not be begun in time
	Shown     State = "shown"     // mode plan: it is shown and never carried out
)

// Approval is a plan and what people said of it.
type Approval struct {
	ID          string               `json:"id"` // to be read out and typed: "bodig-rusam"
	Certificate string               `json:"certificate"`
	Kind        certmedic.ActionKind `json:"action"`
	Hash        string               `json:"hash"` // of the plan, see [deploy.Plan.Seal]
	Plan        deploy.Plan          `json:"plan"`
	Rule        string               `json:"rule"` // that wants it
	Why         string               `json:"why"`
	State       State                `json:"state"`
	Created     time.Time            `json:"created"`
	Expires     time.Time            `json:"expires"`
	By          string               `json:"by,omitempty"` // who approved or rejected it
	At          time.Time            `json:"at,omitzero"`  // when its state changed last
	Reason      string               `json:"reason,omitempty"`
	Replaces    string               `json:"replaces,omitempty"` // the ID of the one that became void for this one
}

// now returns the approval as it is at a moment.
func (a Approval) now(t time.Time) Approval {
	if !t.Before(a.Expires) && (a.State == Pending || a.State == Approved || a.State == Shown) {
		a.State, a.At = Expired, a.Expires
	}
	return a
}

// waits reports whether people can still say something about it.
func (a Approval) waits() bool { return a.State == Pending }

// Word is what a person says of a plan.
type Word struct {
	Approve bool // else it is a rejection
	By      string
	Reason  string
}
