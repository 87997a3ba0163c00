// Package api is what the daemon and the commands say to each other: JSON over HTTP, on the
// daemon's Unix socket. The web server answers with these types, [Client] asks for them.
package api

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/rules"
)

// SocketName is the name of the daemon's socket within the state folder.
const SocketName = "certmedic.sock"

// Status is the answer to GET /api/v1/status.
type Status struct {
	Version      string           `json:"version"`
	Time         time.Time        `json:"time"`
	Running      bool             `json:"running"` // a daemon answered; else it was read from the disk
	Status       certmedic.Status `json:"status"`  // the worst of all certificates and of certmedic itself
	Mode         certmedic.Mode   `json:"mode"`    // the ceiling
	Degraded     []string         `json:"degraded"`
	Certificates []watchdog.View  `json:"certificates"`

	Fleet []certmedic.Incident `json:"fleet"` // the open incidents of certmedic itself

	Acknowledged []Acknowledgement `json:"acknowledged,omitempty"` // who looks after what fires, by the dedup_key of incidents

	Receivers []Receiver `json:"receivers,omitempty"` // of a daemon, how it gets to people

	Cluster *Cluster `json:"cluster,omitempty"` // of a daemon that is a member of one
}

// Rule is one rule in force, of the answer to GET /api/v1/rules.
type Rule struct {
	Name     string                `json:"name"`
	About    certmedic.SubjectKind `json:"about"`
	When     string                `json:"when"`
	For      time.Duration         `json:"for_ns"`
	Severity certmedic.Severity    `json:"severity"`
	Runbook  string                `json:"runbook,omitempty"`
	Ladder   []certmedic.Step      `json:"ladder"`
	Now      rules.Tally           `json:"now"` // what it says of all that is watched
}

// ActionRequest is the body of POST /api/v1/actions.
type ActionRequest struct {
	Certificate string                `json:"certificate"`
	Action      certmedic.ActionKind  `json:"action"`
	To          certmedic.Fingerprint `json:"to,omitempty"`
	Force       bool                  `json:"force,omitempty"`
	DryRun      bool                  `json:"dry_run,omitempty"`
	Plan        string                `json:"plan,omitempty"` // the hash of the plan that was looked at; nothing is done by another one
	By          string                `json:"by,omitempty"`   // the person, where no daemon runs; a daemon asks the kernel
}

// ActionAnswer is what an action came to, or for a dry run what it would do.
type ActionAnswer struct {
	Action *certmedic.Action `json:"action,omitempty"`
	Plan   *deploy.Plan      `json:"plan,omitempty"`
	Reason string            `json:"reason,omitempty"` // of a dry run: why it would be refused
	Detail string            `json:"detail,omitempty"`
}

// Problem is the body of every answer that is not a success.
type Problem struct {
	Error string `json:"error"`
}
