package guard

import (
	"time"

	"github.com/certmedic/certmedic"
)

// The reasons to refuse a rehearsal, beside those of actions.
const (
	Drifting  Reason = "drifting"   // another version than the stored one is served: running the hooks would deploy
	NotServed Reason = "not_served" // an address presents nothing already, so that a rehearsal would prove nothing
)

// Rehearse says whether something may be rehearsed now. A person overrides the mode, the freeze
// file and windows. Running hooks or reloads for a version that must not be installed, or is not
// what is served, is no rehearsal, so nobody overrides that. Down names a bound address that
// presents nothing.
func Rehearse(c Case, down string) Decision {
	for _, check := range []func(Case) Decision{rehearsable, rehearsalLed, locks, rehearsalConsent} {
		if d := check(c); !d.Allowed() {
			return d
		}
	}
	if down != "" && !c.ByHand && c.Kind == certmedic.RehearseHooks {
		return refuse(NotServed, "%s presents no certificate; what is down already is not rehearsed for", down)
	}
	return Decision{}
}

// rehearsable says whether there is something to rehearse that cannot deploy anything by itself.
func rehearsable(c Case) Decision {
	switch {
	case len(c.Stored.Chain) == 0:
		return refuse(NothingStored, "the source of %q holds no version that can be read", c.Certificate.Name)
	case c.Untrusted != nil:
		return refuse(UntrustedFile, "%v", c.Untrusted)
	case !c.Runnable:
		return refuse(NothingToRun, "%q has nothing to rehearse", c.Certificate.Name)
	case c.Kind != certmedic.RehearseHooks:
		return Decision{}
	case c.Needed || c.ServedNewer:
		return refuse(Drifting, "another version than the stored one is served, so that this would be a deployment; use redeploy")
	}
	return storedGood(c)
}

// rehearsalLed says whether this member of a cluster is the one to rehearse: challenges of two would meet in one place. A
// person may want to know whether the hooks of a member that stands by would work.
func rehearsalLed(c Case) Decision {
	if c.Kind == certmedic.RehearseHooks && c.ByHand {
		return Decision{}
	}
	return Led(c)
}

// rehearsalConsent says whether the owner wants rehearsals to begin by themselves now.
func rehearsalConsent(c Case) Decision {
	switch {
	case c.ByHand:
	case c.Certificate.Mode == certmedic.ModeObserve:
		return refuse(ModeObserve, "mode is observe")
	case c.Certificate.Mode == certmedic.ModePlan:
		return refuse(ModePlan, "mode is plan, and a rehearsal runs something for real; by hand it does")
	case c.Certificate.Mode == certmedic.ModeApprove:
		return refuse(NeedsApproval, "mode is approve, and nobody is asked about rehearsals; by hand it is done")
	case c.Frozen:
		return refuse(Frozen, "the freeze file exists")
	case !c.Opens.IsZero():
		d := refuse(OutsideWindow, "the next maintenance window opens at %s", c.Opens.UTC().Format(time.RFC3339))
		d.Retry = c.Opens
		return d
	}
	return Decision{}
}
