package rules

import (
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/certmedic/certmedic"
)

// What people were told of an incident is told again when it concerns others than it did, or
// for another cause: a minute after the last time, then after two, four, and so on up to ten.
// So a fleet that breaks host by host is one message that is brought up to date now and then. The
// first cause that is found is told at once: people have just been called, and do not know it.
const (
	retellFirst   = time.Minute
	retellMost    = 10 * time.Minute
	retellDoubled = 4 // doubling so often goes beyond the most
)

// Shown is what people were told last of an incident.
type Shown struct {
	What  string          `json:"what"`            // a hash of it
	Cause certmedic.Cause `json:"cause,omitempty"` // that a diagnosis named
	At    time.Time       `json:"at"`              // when
	Times int             `json:"times"`           // how often it was told again
}

// retell emits a change of an incident that people were told of and that looks different now,
// once it is time to say so.
func (ev *evaluation) retell(in Instance) Instance {
	if in.ToldAt.IsZero() {
		return in
	}
	what := appearance(in.Incident)
	if in.Shown.At.Before(in.ToldAt) { // a rung has just told it
		in.Shown = Shown{What: what, Cause: in.Cause, At: in.ToldAt, Times: in.Shown.Times}
	}
	if in.Shown.What == what && in.Shown.Cause == in.Cause {
		return in
	}
	if in.Shown.Cause == "" && in.Cause != "" {
		in.Shown.What, in.Shown.Cause = what, in.Cause
		ev.emit(certmedic.TransitionChanged, in.Incident, certmedic.Step{})
		return in
	}
	due := in.Shown.At.Add(min(retellMost, retellFirst<<min(in.Shown.Times, retellDoubled)))
	if ev.now.Before(due) {
		ev.wake(due)
		return in
	}
	in.Shown = Shown{What: what, Cause: in.Cause, At: ev.now, Times: in.Shown.Times + 1}
	ev.emit(certmedic.TransitionChanged, in.Incident, certmedic.Step{})
	return in
}

// appearance is what makes an incident look different to people.
func appearance(in certmedic.Incident) string {
	h := fnv.New64a()
	for _, m := range slices.Sorted(slices.Values(in.Members)) {
		h.Write([]byte(m + "\x00"))
	}
	return strconv.FormatUint(h.Sum64(), 16)
}
