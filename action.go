package certmedic

import "time"

// Mode says how far remediation may go for a certificate.
type Mode string

// The modes, from the safest on. The effective mode is the lower of the global ceiling
// and the certificate's own.
const (
	ModeObserve Mode = "observe" // look and tell
	ModePlan    Mode = "plan"    // say and record what would be done
	ModeApprove Mode = "approve" // do it when a person approved this plan
	ModeAuto    Mode = "auto"    // do it
)

// Modes lists the modes from the safest on.
func Modes() []Mode { return []Mode{ModeObserve, ModePlan, ModeApprove, ModeAuto} }

// Lower returns the safer of two modes. A mode outside the known ones is as safe as
// observe.
func (m Mode) Lower(other Mode) Mode {
	for _, mode := range Modes() {
		if m == mode || other == mode {
			return mode
		}
	}
	return ModeObserve
}

// ActionKind names something that moves a certificate on.
type ActionKind string

// The actions, cheapest first.
const (
	ActionReload   ActionKind = "reload"
	ActionRedeploy ActionKind = "redeploy"
	ActionRollback ActionKind = "rollback"
	ActionRenew    ActionKind = "renew"
)

// The rehearsals, which are kept and shown beside actions, and move nothing on.
const (
	RehearseHooks   ActionKind = "rehearse_hooks"   // the deploy hooks, or the commands of the deploy steps, for the present version
	RehearseRenewal ActionKind = "rehearse_renewal" // an issuance at the CA's staging directory
)

// Rehearses reports whether this is a rehearsal, which is none of [ActionKinds].
func (k ActionKind) Rehearses() bool { return k == RehearseHooks || k == RehearseRenewal }

// ActionKinds lists the actions, cheapest first.
func ActionKinds() []ActionKind {
	return []ActionKind{ActionReload, ActionRedeploy, ActionRollback, ActionRenew}
}

// Action is one attempt to move a certificate on, as the journal records it.
type Action struct {
	ID          string      `json:"id"`
	Certificate string      `json:"certificate"`
	Kind        ActionKind  `json:"action"`
	Version     Fingerprint `json:"version"` // the version that shall be served afterwards
	Basis       string      `json:"basis"`   // hash of what the action would run and install; another basis is another cure
	By          string      `json:"by"`      // a rule's name, or the person who asked
	Why         string      `json:"why"`
	Attempt     int         `json:"attempt"` // counted from 1 for the same version and cause
	StartedAt   time.Time   `json:"started_at"`
	EndedAt     time.Time   `json:"ended_at,omitzero"`
	Outcome     Outcome     `json:"outcome"`
	Runs        []Run       `json:"runs"`
	Changes     []Change    `json:"changes,omitempty"`
	Locks       []string    `json:"locks,omitempty"`       // what it must not share with another action while it is at work
	Approval    string      `json:"approval,omitempty"`    // the ID of the approval that it used up
	ApprovedBy  string      `json:"approved_by,omitempty"` // who gave that

	Member string       `json:"member,omitempty"` // of the cluster, that acted
	Token  uint64       `json:"token,omitempty"`  // with which it acted
	Nodes  []NodeStatus `json:"nodes,omitempty"`  // how it went on each node of destinations on several hosts
}

// Change is a file that an action replaced, with what is needed to put it back.
type Change struct {
	Path    string `json:"path"`
	Backup  string `json:"backup,omitempty"` // copy of the old content; empty where there was no file
	Mode    uint32 `json:"mode"`             // permission bits of the old file
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Before  string `json:"before,omitempty"` // SHA-256 of the old content
	After   string `json:"after"`            // SHA-256 of the new content
	PutBack bool   `json:"put_back,omitempty"`

	// Of a symbolic link that was led to another folder: what it said and what it says now.
	// A change with LinkAfter has no content of its own.
	LinkBefore string `json:"link_before,omitempty"` // empty where there was no link
	LinkAfter  string `json:"link_after,omitempty"`
}

// OutcomeKind says how an action ended.
type OutcomeKind string

// The outcomes of actions. Exit codes are not evidence: an action healed only when the
// expected version was seen on every bound address.
const (
	OutcomeRunning    OutcomeKind = "running"    // journaled, not ended yet
	OutcomeHealed     OutcomeKind = "healed"     // verified by new handshakes
	OutcomeUnverified OutcomeKind = "unverified" // acted, but not seen on every address
	OutcomeFailed     OutcomeKind = "failed"     // a command failed and nothing was changed, or could not be put back
	OutcomePutBack    OutcomeKind = "put_back"   // a command failed, the old files are back
	OutcomeRefused    OutcomeKind = "refused"    // a guard said no, see the detail
	OutcomePlanned    OutcomeKind = "planned"    // shown only
	OutcomeRehearsed  OutcomeKind = "rehearsed"  // of a rehearsal, in which nothing failed
)

// OutcomeKinds lists the outcomes that an ended action can have; one that rehearses has
// [OutcomeRehearsed] in place of healed.
func OutcomeKinds() []OutcomeKind {
	return []OutcomeKind{OutcomeHealed, OutcomeUnverified, OutcomeFailed, OutcomePutBack, OutcomeRefused, OutcomePlanned}
}

// Outcome is how an action ended, with the reason and the evidence.
type Outcome struct {
	Kind     OutcomeKind `json:"outcome"`
	Reason   string      `json:"reason,omitempty"` // a code, such as the refusing guard's
	Detail   string      `json:"detail,omitempty"`
	Evidence []Evidence  `json:"evidence,omitempty"`
}

// RunResult says how a command ended.
type RunResult string

// The five ends of a command, and the state before any of them.
const (
	RunRunning    RunResult = "running"
	RunExited     RunResult = "exited"      // by itself, see the exit code
	RunSignaled   RunResult = "signaled"    // killed by a signal that was not ours
	RunTimedOut   RunResult = "timed_out"   // we ended it, with its process group
	RunNotStarted RunResult = "not_started" // no such program, not executable, refused
	RunCancelled  RunResult = "cancelled"   // we stopped waiting; it cannot be blamed
)

// Run is one command of an action. PID and PIDStart identify the process over a restart
// of the watchdog, so that a command that outlived us is waited for.
type Run struct {
	Name      string        `json:"name"` // the hook's path, or "web: reload"
	Argv      []string      `json:"argv"`
	Result    RunResult     `json:"result"`
	ExitCode  int           `json:"exit_code"`
	Signal    string        `json:"signal,omitempty"`
	Detail    string        `json:"detail,omitempty"`
	Stdout    string        `json:"stdout,omitempty"` // bounded and redacted
	Stderr    string        `json:"stderr,omitempty"` // bounded and redacted
	Truncated bool          `json:"truncated,omitempty"`
	StartedAt time.Time     `json:"started_at,omitzero"`
	Duration  time.Duration `json:"duration_ns"`
	PID       int           `json:"pid,omitempty"`
	PIDStart  uint64        `json:"pid_start,omitempty"` // field 22 of /proc/PID/stat, clock ticks since boot
	OutputDir string        `json:"output_dir,omitempty"`
}

// Succeeded reports whether the command ended by itself with exit code 0.
func (r Run) Succeeded() bool { return r.Result == RunExited && r.ExitCode == 0 }
