// Package guard decides whether an action may be taken now. It is pure: the remediator
// hands it what is known, it answers with a decision and its reason, and does nothing.
//
// Safety comes before healing: whatever is in doubt is a refusal, and a refusal always has
// a reason code that people and metrics see.
package guard

import (
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/rollback"
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
	KeyDenied       Reason = "key_denied"         // the stored version's key is on the deny list
	Deploying       Reason = "deploying"          // certbot or a hook of it is at work
	Settling        Reason = "settling"           // a deployment has just ended, and may still take effect by itself
	LockUnknown     Reason = "lock_unknown"       // whether a deployment is under way could not be asked
	NotBound        Reason = "not_bound"          // no address is known to serve this certificate
	ModeObserve     Reason = "mode_observe"       // the owner did not opt in
	ModePlan        Reason = "mode_plan"          // shown only
	NeedsApproval   Reason = "needs_approval"     // mode approve, and nobody said anything about this plan
	Rejected        Reason = "rejected"           // mode approve, and a person rejected this plan
	NotAllowed      Reason = "not_allowed"        // this action is not in `allow`
	Frozen          Reason = "frozen"             // the freeze file exists
	Backoff         Reason = "backoff"            // the last attempt failed a short time ago
	Exhausted       Reason = "attempts_exhausted" // gave up until something changes
	HourlyBudget    Reason = "hourly_budget"      // max_actions_per_hour is spent
	OutsideWindow   Reason = "outside_window"     // no maintenance window is open
	ClockDoubt      Reason = "clock_doubt"        // this machine's clock and the CA's disagree
	SensesDisagree  Reason = "senses_disagree"    // fewer than two of three looks saw the same
	BreakerOpen     Reason = "breaker_open"       // the cure heals and relapses
	FleetBreaker    Reason = "fleet_breaker"      // nothing that was done for any certificate healed
	BlastRadius     Reason = "blast_radius"       // too many certificates were acted for of late and are not healed yet
	NothingToRun    Reason = "nothing_to_run"     // there is no hook and no deploy step
	UntrustedFile   Reason = "untrusted_file"     // others may write what would be run
	NewerStored     Reason = "newer_stored"       // a newer valid version is stored: not renewing but serving it is the remedy
	RateLimited     Reason = "rate_limited"       // what the CA grants is spent, but for a reserve
	NoCandidate     Reason = "no_candidate"       // no older version is fit to be rolled back to
	LoanStands      Reason = "loan_stands"        // the certificate was rolled back already, and serves that
	OnLoan          Reason = "on_loan"            // it would undo a rollback
	NotLeader       Reason = "not_leader"         // another member of the cluster acts for the certificate
	CoordinatorLost Reason = "coordinator_lost"   // who acts cannot be asked, and doing it twice would do harm
	Elsewhere       Reason = "ordered_elsewhere"  // another member of the cluster ordered it, and what it ordered may yet come
	Fenced          Reason = "fenced"             // another member has been at work since
	UnsupportedKind Reason = "unsupported"        // this action is not there in this version
)

// Waits reports whether the obstacle goes away with time, so that asking again is worth it.
func (r Reason) Waits() bool {
	switch r {
	case Deploying, Settling, LockUnknown, Frozen, Backoff, HourlyBudget, RateLimited, NewerStored, NotBound, NothingStored, StoredInvalid, UntrustedFile, NothingToRun,
		OutsideWindow, ClockDoubt, SensesDisagree, BreakerOpen, FleetBreaker, BlastRadius, Rejected, NoCandidate, NotLeader, CoordinatorLost, Elsewhere, Fenced:
		return true
	}
	return false
}

// Passes reports whether a dearer action may have its turn, because waiting for this one
// gains nothing: it is pointless, it is not there, or its owner does not want it.
func (r Reason) Passes() bool {
	switch r {
	case NoNeed, ServedNewer, NothingStored, StoredInvalid, KeyDenied, ModeObserve, ModePlan, Rejected, NotAllowed, Exhausted, NothingToRun, UntrustedFile, UnsupportedKind, NoCandidate, LoanStands, OnLoan:
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
	downAgain        = 10 * time.Second // until an address that presents nothing is looked at again
	minRemaining     = 24 * time.Hour
	minRemainingDire = time.Hour // where what is served is already invalid
	minShare         = 4         // of the life of those that live no longer than that: a quarter
)

// Case is everything that a decision depends on.
type Case struct {
	Now         time.Time
	Certificate certmedic.Certificate
	Kind        certmedic.ActionKind
	ByHand      bool // a person asked: overrides mode, allow, windows, back-off, breakers and budgets, never validation
	Force       bool // by hand: act even where nothing needs it, and on doubtful senses

	Stored     certmedic.Stored
	Problems   []certmedic.Finding // critical findings of the stored version
	Denied     bool                // the stored version's key is on the deny list
	Needed     bool                // a bound address serves another version than the stored one
	Bound      bool                // at least one address is bound to the certificate
	ServedDire bool                // something that is served is already invalid

	Down        string // a bound address that presents nothing
	ServedNewer bool   // a bound address serves a version that was issued after the stored one
	Runnable    bool   // there is something to run
	Untrusted   error  // why what would be run cannot be trusted

	ClockDoubt string // why this machine's clock cannot be trusted
	Disagree   string // which address did not serve the same in two of three looks

	Frozen          bool
	Opens           time.Time // when the maintenance windows open next; zero: now, or there are none
	Relapses        Breaker   // of the certificate's version
	Failures        Breaker   // of the fleet
	Blast           Blast     // of all actions
	Approval        Approval  // of the plan, where the mode is approve
	MaxPerHour      int
	ActionsLastHour int
	Settles         time.Time // until then what was deployed may take effect by itself
	Attempts        int       // earlier attempts of the same cure that did not heal
	LastAttempt     time.Time
	Patient         bool // it is never given up: there was nobody who could have been tried

	Renewal  Renewal       // of a renewal
	Rollback Rollback      // of a rollback
	Loan     rollback.Loan // that stands; zero: none does

	Lead      *certmedic.Lead // who acts, of several members; nil: there are no others
	Emergency time.Time       // from when a renewal is tried without the coordinator; zero: not at all
	Saved     bool            // this member renewed it since the coordinator cannot be asked
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
// action pointless comes first, then whose turn it is, then what makes it wrong, then what its owner did not
// allow, then whether what is known can be trusted, then what asks for patience.
func Decide(c Case) Decision {
	for _, check := range []func(Case) Decision{need, Led, validity, locks, consent, senses, patience} {
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
	return slices.Contains(certmedic.ActionKinds(), kind)
}

func need(c Case) Decision {
	switch {
	case c.Kind == certmedic.ActionRenew:
		return renewNeed(c)
	case c.Kind == certmedic.ActionRollback:
		return RollbackNeed(c)
	case !Supported(c.Kind):
		return refuse(UnsupportedKind, "%s is not there in this version", c.Kind)
	case len(c.Stored.Chain) == 0:
		return refuse(NothingStored, "the source of %q holds no version that can be read", c.Certificate.Name)
	case !c.Bound && !c.Force:
		return refuse(NotBound, "no address of %q ever served a version of it, and none is declared owned; by hand, --force acts all the same", c.Certificate.Name)
	case !c.Needed && !c.Force && c.ServedNewer:
		return refuse(ServedNewer, "what is served was issued after the stored version; installing that would be a step back")
	case !c.Needed && !c.Force && c.Down != "":
		d := refuse(NoNeed, "%s presents nothing, so what it serves is not known", c.Down)
		d.Retry = c.Now.Add(downAgain)
		return d
	case !c.Needed && !c.Force:
		return refuse(NoNeed, "every bound address serves the stored version")
	}
	return Decision{}
}

func validity(c Case) Decision {
	if c.Kind == certmedic.ActionRollback {
		return rollbackValid(c)
	}
	if d := storedGood(c); !d.Allowed() && c.Kind != certmedic.ActionRenew {
		return d
	}
	switch {
	case c.Untrusted != nil:
		return refuse(UntrustedFile, "%v", c.Untrusted)
	case !c.Runnable && c.Kind == certmedic.ActionRenew:
		return refuse(NothingToRun, "%q cannot be renewed from here", c.Certificate.Name)
	case !c.Runnable:
		return refuse(NothingToRun, "%q has no deploy hook and no deploy step for a %s", c.Certificate.Name, c.Kind)
	}
	return Decision{}
}

// storedGood says whether the stored version is one that may be installed.
func storedGood(c Case) Decision {
	if len(c.Stored.Chain) == 0 {
		return refuse(NothingStored, "the source of %q holds no version that can be read", c.Certificate.Name)
	}
	leaf := c.Stored.Chain[0]
	least := minRemaining
	if c.ServedDire {
		least = minRemainingDire
	}
	least = min(least, leaf.Lifetime()/minShare) // of a life of hours
	switch {
	case c.Denied:
		return refuse(KeyDenied, "the key of the stored version, %s, is on the deny list: somebody else may have it; renew with a new key", leaf.SPKISHA256.Short())
	case len(c.Problems) > 0:
		return refuse(StoredInvalid, "the stored version has a problem: %s: %s", c.Problems[0].Code, c.Problems[0].Detail)
	case leaf.NotAfter.Sub(c.Now) < least:
		return refuse(StoredInvalid, "the stored version ends at %s, less than %s from now", leaf.NotAfter.UTC().Format(time.RFC3339), least)
	}
	return leftBehind(c)
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
	case c.Certificate.Mode == certmedic.ModeApprove && c.Approval.By == "":
		return unapproved(c)
	case c.Frozen:
		return refuse(Frozen, "the freeze file exists")
	case !c.Opens.IsZero():
		d := refuse(OutsideWindow, "the next maintenance window opens at %s", c.Opens.UTC().Format(time.RFC3339))
		d.Retry = c.Opens
		return d
	}
	return Decision{}
}

// senses holds for people, too: what they do not override, they cannot see better either.
func senses(c Case) Decision {
	switch {
	case c.ByHand && c.Force:
	case c.ClockDoubt != "":
		return refuse(ClockDoubt, "%s; by hand, --force acts all the same", c.ClockDoubt)
	case c.Disagree != "":
		return refuse(SensesDisagree, "%s; by hand, --force acts all the same", c.Disagree)
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
	if d := renewPatience(c); c.Kind == certmedic.ActionRenew && !d.Allowed() {
		return d
	}
	if c.Attempts >= MaxAttempts && !c.Patient {
		return refuse(Exhausted, "%d attempts did not heal it; waiting for its files, its hooks or the configuration to change", c.Attempts)
	}
	if d := breakers(c); !d.Allowed() {
		return d
	}
	if d := blast(c); !d.Allowed() {
		return d
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
