// Package guard decides whether an action may be taken now. It is pure: the remediator
// hands it what is known, it answers with a decision and its reason, and does nothing.
//
// Safety comes before healing: whatever is in doubt is a refusal, and a refusal always has
// a reason code that people and metrics see.
package guard

import (
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
)

// Reason is the code of a decision.
type Reason string

// The reasons to refuse. Those for which [Reason.Waits] holds go away by themselves.
const (
	None            Reason = ""
	NoNeed          Reason = "no_need"            // the newest stored version is served already
	ServedNewer     Reason = "served_newer"       // what is served was issued after the stored version
	NothingStored   Reason = "nothing_stored"     // the source holds no version
	StoredInvalid   Reason = "stored_invalid"     // the stored version must not be installed
	Deploying       Reason = "deploying"          // certbot or a hook of it is at work
	Settling        Reason = "settling"           // a deployment has just ended, and may still take effect by itself
	LockUnknown     Reason = "lock_unknown"       // whether a deployment is under way could not be asked
	NotBound        Reason = "not_bound"          // no address is known to serve this certificate
	ModeObserve     Reason = "mode_observe"       // the owner did not opt in
	ModePlan        Reason = "mode_plan"          // shown only
	NeedsApproval   Reason = "needs_approval"     // mode approve
	NotAllowed      Reason = "not_allowed"        // this action is not in `allow`
	Frozen          Reason = "frozen"             // the freeze file exists
	Backoff         Reason = "backoff"            // the last attempt failed a short time ago
	Exhausted       Reason = "attempts_exhausted" // gave up until something changes
	HourlyBudget    Reason = "hourly_budget"      // max_actions_per_hour is spent
	NothingToRun    Reason = "nothing_to_run"     // there is no hook and no deploy step
	UntrustedFile   Reason = "untrusted_file"     // others may write what would be run
	UnsupportedKind Reason = "unsupported"        // this action is not there in this version
)

// Waits reports whether the obstacle goes away with time, so that asking again is worth it.
func (r Reason) Waits() bool {
	switch r {
	case Deploying, Settling, LockUnknown, Frozen, Backoff, HourlyBudget, NotBound, NothingStored, StoredInvalid, UntrustedFile, NothingToRun:
		return true
	}
	return false
}

// MaxAttempts bounds how often the same cure is tried for the same version.
const MaxAttempts = 6

// The back-off after a failed attempt, and how much of a version's life must be left.
const (
	firstBackoff     = 5 * time.Second
	maxBackoff       = 5 * time.Minute
	minRemaining     = 24 * time.Hour
	minRemainingDire = time.Hour // where what is served is already invalid
)

// Case is everything that a decision depends on.
type Case struct {
	Now         time.Time
	Certificate certmedic.Certificate
	Kind        certmedic.ActionKind
	ByHand      bool // a person asked: overrides mode, allow, back-off and budgets, never validation
	Force       bool // by hand: act even where nothing needs it

	Stored     certmedic.Stored
	Problems   []certmedic.Finding // critical findings of the stored version
	Needed     bool                // a bound address serves another version than the stored one
	Bound      bool                // at least one address is bound to the certificate
	ServedDire bool                // something that is served is already invalid

	ServedNewer bool  // a bound address serves a version that was issued after the stored one
	Runnable    bool  // there is something to run
	Untrusted   error // why what would be run cannot be trusted

	Frozen          bool
	MaxPerHour      int
	ActionsLastHour int
	Settles         time.Time // until then what was deployed may take effect by itself
	Attempts        int       // earlier attempts of the same cure that did not heal
	LastAttempt     time.Time
}

// Decision is the answer. Retry says when asking again is worth it; zero means that only
// a change of the case is.
type Decision struct {
	Reason Reason
	Detail string
	Retry  time.Time
}

// Allowed reports whether the action may be taken.
func (d Decision) Allowed() bool { return d.Reason == None }

// Decide says whether the action may be taken now. The order matters: what makes the
// action pointless comes first, then what makes it wrong, then what its owner did not
// allow, then what asks for patience.
func Decide(c Case) Decision {
	for _, check := range []func(Case) Decision{need, validity, locks, consent, patience} {
		if d := check(c); !d.Allowed() {
			return d
		}
	}
	return Decision{}
}

func refuse(r Reason, format string, args ...any) Decision {
	return Decision{Reason: r, Detail: fmt.Sprintf(format, args...)}
}

// Supported reports whether this version of certmedic knows how to do an action.
func Supported(kind certmedic.ActionKind) bool {
	return kind == certmedic.ActionRedeploy || kind == certmedic.ActionReload
}

func need(c Case) Decision {
	switch {
	case !Supported(c.Kind):
		return refuse(UnsupportedKind, "%s is not there in this version", c.Kind)
	case len(c.Stored.Chain) == 0:
		return refuse(NothingStored, "the source of %q holds no version that can be read", c.Certificate.Name)
	case !c.Bound && !c.Force:
		return refuse(NotBound, "no address of %q ever served a version of it, and none is declared owned; by hand, --force acts all the same", c.Certificate.Name)
	case !c.Needed && !c.Force && c.ServedNewer:
		return refuse(ServedNewer, "what is served was issued after the stored version; installing that would be a step back")
	case !c.Needed && !c.Force:
		return refuse(NoNeed, "every bound address serves the stored version")
	}
	return Decision{}
}

func validity(c Case) Decision {
	leaf := c.Stored.Chain[0]
	least := minRemaining
	if c.ServedDire {
		least = minRemainingDire
	}
	switch {
	case len(c.Problems) > 0:
		return refuse(StoredInvalid, "the stored version has a problem: %s: %s", c.Problems[0].Code, c.Problems[0].Detail)
	case leaf.NotAfter.Sub(c.Now) < least:
		return refuse(StoredInvalid, "the stored version ends at %s, less than %s from now", leaf.NotAfter.UTC().Format(time.RFC3339), least)
	case c.Untrusted != nil:
		return refuse(UntrustedFile, "%v", c.Untrusted)
	case !c.Runnable:
		return refuse(NothingToRun, "%q has no deploy hook and no deploy step for a %s", c.Certificate.Name, c.Kind)
	}
	return Decision{}
}

func locks(c Case) Decision {
	switch c.Stored.Lock.State {
	case certmedic.LockHeld:
		return refuse(Deploying, "%q is held by process %d", c.Stored.Lock.Path, c.Stored.Lock.PID)
	case certmedic.LockUnknown:
		return refuse(LockUnknown, "%q could not be asked: %s", c.Stored.Lock.Path, c.Stored.Lock.Detail)
	}
	return Decision{}
}

func consent(c Case) Decision {
	if c.ByHand {
		return Decision{}
	}
	switch {
	case c.Certificate.Mode == certmedic.ModeObserve:
		return refuse(ModeObserve, "mode is observe")
	case !c.Certificate.Allows(c.Kind):
		return refuse(NotAllowed, "%s is not allowed for %q", c.Kind, c.Certificate.Name)
	case c.Certificate.Mode == certmedic.ModePlan:
		return refuse(ModePlan, "mode is plan")
	case c.Certificate.Mode == certmedic.ModeApprove:
		return refuse(NeedsApproval, "mode is approve")
	case c.Frozen:
		return refuse(Frozen, "the freeze file exists")
	}
	return Decision{}
}

func patience(c Case) Decision {
	if c.ByHand {
		return Decision{}
	}
	if c.Now.Before(c.Settles) {
		d := refuse(Settling, "the last deployment may take effect by itself until %s", c.Settles.UTC().Format(time.RFC3339Nano))
		d.Retry = c.Settles
		return d
	}
	if c.Attempts >= MaxAttempts {
		return refuse(Exhausted, "%d attempts did not heal it; waiting for its files, its hooks or the configuration to change", c.Attempts)
	}
	if until := c.LastAttempt.Add(Delay(c.Attempts)); c.Attempts > 0 && until.After(c.Now) {
		d := refuse(Backoff, "attempt %d did not heal it, the next one is at %s", c.Attempts, until.UTC().Format(time.RFC3339))
		d.Retry = until
		return d
	}
	if c.MaxPerHour > 0 && c.ActionsLastHour >= c.MaxPerHour {
		return refuse(HourlyBudget, "%d actions in the last hour, max_actions_per_hour is %d", c.ActionsLastHour, c.MaxPerHour)
	}
	return Decision{}
}

// Delay returns how long to wait after the given number of failed attempts: 5 s, doubling
// to 5 min.
func Delay(attempts int) time.Duration {
	if attempts <= 0 {
		return 0
	}
	delay := firstBackoff
	for range attempts - 1 {
		if delay *= 2; delay >= maxBackoff {
			return maxBackoff
		}
	}
	return delay
}
