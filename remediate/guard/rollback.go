package guard

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Rollback is what a decision about a rollback depends on besides.
type Rollback struct {
	Chosen   certmedic.Fingerprint // the version to roll back to; empty: there is none
	Rejected string                // why no version is fit for it
	Served   bool                  // every bound address serves the chosen version
	Gone     bool                  // no bound address presents anything
	Stuck    bool                  // a redeploy of what is stored was tried until it was given up, or there is nothing to run for it
}

// askAgain is how long nobody is asked again for versions to roll back to, where there was none:
// it takes questions to CAs.
const askAgain = 5 * time.Minute

// RollbackNeed says whether a rollback would be to the point: only where something that is
// served is invalid, or nothing is served and what is stored is no remedy. What is stored and
// good is never left aside, unless having it served was tried until it was given up. It is asked
// before anybody looks for versions, and once more with everything else.
func RollbackNeed(c Case) Decision {
	switch {
	case !c.ByHand && c.Certificate.Mode == certmedic.ModeObserve:
		return refuse(ModeObserve, "mode is observe")
	case !c.ByHand && !c.Certificate.Allows(c.Kind):
		return refuse(NotAllowed, "%s is not allowed for %q", c.Kind, c.Certificate.Name)
	case !c.Bound && !c.Force:
		return refuse(NotBound, "no address of %q ever served a version of it, and none is declared owned; by hand, --force acts all the same", c.Certificate.Name)
	case c.Needed && storedGood(c).Allowed() && !c.Rollback.Stuck && !c.Force:
		return refuse(NewerStored, "a valid version that is stored is not served everywhere; a redeploy is the remedy")
	case c.ServedDire || c.Force:
		return Decision{}
	case c.Rollback.Gone && !storedGood(c).Allowed():
		return Decision{}
	case c.Loan.Version != "":
		return refuse(LoanStands, "%s is lent already, until %s, and nothing that is served is invalid", c.Loan.Version.Short(), c.Loan.Until.UTC().Format(time.RFC3339))
	}
	return refuse(NoNeed, "nothing that is served is invalid; a rollback would be a step back")
}

// rollbackValid says whether there is a version to roll back to, and a way to do it. Nobody
// overrides that.
func rollbackValid(c Case) Decision {
	switch {
	case c.Rollback.Chosen == "":
		d := refuse(NoCandidate, "there is no version of %q to roll back to: %s", c.Certificate.Name, c.Rollback.Rejected)
		d.Retry = c.Now.Add(askAgain)
		return d
	case c.Rollback.Served && c.Loan.Version == c.Rollback.Chosen:
		return refuse(LoanStands, "%s is lent already, until %s", c.Loan.Version.Short(), c.Loan.Until.UTC().Format(time.RFC3339))
	case c.Rollback.Served:
		return refuse(NoNeed, "every bound address serves %s, the version to roll back to", c.Rollback.Chosen.Short())
	case c.Untrusted != nil:
		return refuse(UntrustedFile, "%v", c.Untrusted)
	case !c.Runnable:
		return refuse(NothingToRun, "%q cannot be rolled back from here", c.Certificate.Name)
	}
	return Decision{}
}

// leftBehind says that the stored version is the one that was rolled back from: however good it
// looks where it is stored, installing it would undo the rollback. Where the loan is over and what is
// served is invalid there is nothing to undo: a redeploy is better than that. A renewal is better than
// both, so that it goes on.
func leftBehind(c Case) Decision {
	leaf := c.Stored.Chain[0]
	ended := c.Loan.Overdue(c.Now) && c.ServedDire && (c.Kind == certmedic.ActionRedeploy || c.Kind == certmedic.ActionReload)
	if c.Loan.Version == "" || c.Loan.Instead != leaf.SHA256 || ended || c.ByHand && c.Force {
		return Decision{}
	}
	return refuse(OnLoan, "the stored version, %s, is the one that was rolled back from: %s; by hand, --force acts all the same", leaf.SHA256.Short(), c.Loan.Why)
}

// pinned says that no rule has a certificate renewed which certbot is kept from renewing after several
// rollbacks for one cause: they show that a further version would be no better. After the first one,
// which the way alone may pin, rules go forward.
func pinned(c Case) Decision {
	if c.ByHand || !c.Loan.Pinned || c.Loan.Count < 2 {
		return Decision{}
	}
	return refuse(OnLoan, "after %d rollbacks for one cause certbot is kept from renewing it; a person has to look into that", c.Loan.Count)
}
