package guard_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// returnable returns a case in which nothing stands against a rollback that a rule asks for: what
// is stored has ended, and is served.
func returnable() guard.Case {
	c := allowed()
	storedUntil(-time.Hour)(&c)
	c.Kind, c.Needed, c.ServedDire = certmedic.ActionRollback, false, true
	c.Certificate.Allow = []certmedic.ActionKind{certmedic.ActionRollback}
	c.Rollback = guard.Rollback{Chosen: "old"}
	return c
}

// stored makes the stored version a good one, which is served or not.
func stored(served bool) func(*guard.Case) {
	return func(c *guard.Case) {
		storedUntil(90 * 24 * time.Hour)(c)
		c.Needed = !served
	}
}

func fine(c *guard.Case) { c.ServedDire = false }

func lends(version, instead certmedic.Fingerprint) func(*guard.Case) {
	return func(c *guard.Case) {
		c.Loan = rollback.Loan{Version: version, Instead: instead, Until: now.Add(time.Hour), Why: "it has expired", Count: 1}
	}
}

func both(changes ...func(*guard.Case)) func(*guard.Case) {
	return func(c *guard.Case) {
		for _, change := range changes {
			change(c)
		}
	}
}

func TestDecideAboutRollbacks(t *testing.T) {
	none := func(c *guard.Case) { c.Rollback = guard.Rollback{Rejected: "old: expired"} }
	silent := func(c *guard.Case) { c.ServedDire, c.Rollback.Gone = false, true }
	for _, tt := range []struct {
		about  string
		change func(*guard.Case)
		want   guard.Reason // of a rule
		byHand guard.Reason
		forced guard.Reason // by hand
	}{
		{"what is served is invalid, and nothing better is stored", func(*guard.Case) {}, guard.None, guard.None, guard.None},
		{"nothing that is served is invalid", fine, guard.NoNeed, guard.NoNeed, guard.None},
		{"nothing is served, and nothing good is stored", silent, guard.None, guard.None, guard.None},
		{"nothing is served, and what is stored is good", both(silent, stored(true)), guard.NoNeed, guard.NoNeed, guard.None},
		{"nothing is stored any more, and what is served is invalid", func(c *guard.Case) { c.Stored.Chain = nil }, guard.None, guard.None, guard.None},
		{"nothing is stored any more, and what is served is fine", both(fine, func(c *guard.Case) { c.Stored.Chain = nil }), guard.NoNeed, guard.NoNeed, guard.None},
		{"what is served was revoked, and is what is stored", stored(true), guard.None, guard.None, guard.None},
		{"a good version is stored, and not served", stored(false), guard.NewerStored, guard.NewerStored, guard.None},
		{"having that served was given up", both(stored(false), func(c *guard.Case) { c.Rollback.Stuck = true }), guard.None, guard.None, guard.None},
		{"a version is stored, and not served, whose key is denied", both(stored(false), denied), guard.None, guard.None, guard.None},
		{"the mode is observe", mode(certmedic.ModeObserve), guard.ModeObserve, guard.None, guard.None},
		{"the owner did not allow it", func(c *guard.Case) { c.Certificate.Allow = nil }, guard.NotAllowed, guard.None, guard.None},
		{"no address is bound", func(c *guard.Case) { c.Bound = false }, guard.NotBound, guard.NotBound, guard.None},
		{"no version is fit", none, guard.NoCandidate, guard.NoCandidate, guard.NoCandidate},
		{"that version is lent, and served", both(fine, lends("old", "new")), guard.LoanStands, guard.LoanStands, guard.None},
		{"that version is lent, and one address is bad again", lends("old", "new"), guard.None, guard.None, guard.None},
		{"that version is lent, and served everywhere", both(lends("old", "new"), func(c *guard.Case) { c.Rollback.Served = true }), guard.LoanStands, guard.LoanStands, guard.LoanStands},
		{"what is lent has become bad, and an older one is not", lends("lent", "new"), guard.None, guard.None, guard.None},
		{"the chosen version is served already", func(c *guard.Case) { c.Rollback.Served = true }, guard.NoNeed, guard.NoNeed, guard.NoNeed},
		{"there is no way", func(c *guard.Case) { c.Runnable = false }, guard.NothingToRun, guard.NothingToRun, guard.NothingToRun},
		{"others may write a hook", func(c *guard.Case) { c.Untrusted = errors.New("others may write it") }, guard.UntrustedFile, guard.UntrustedFile, guard.UntrustedFile},
		{"certbot is at work", locked(certmedic.LockHeld), guard.Deploying, guard.Deploying, guard.Deploying},
		{"the mode is plan", mode(certmedic.ModePlan), guard.ModePlan, guard.None, guard.None},
		{"it is frozen", func(c *guard.Case) { c.Frozen = true }, guard.Frozen, guard.None, guard.None},
		{"the clock is in doubt", doubtful, guard.ClockDoubt, guard.ClockDoubt, guard.None},
		{"the last attempt was put back a second ago", tried(1, time.Second), guard.Backoff, guard.None, guard.None},
		{"it was tried too often", tried(guard.MaxAttempts, time.Hour), guard.Exhausted, guard.None, guard.None},
	} {
		t.Run(tt.about, func(t *testing.T) {
			c := returnable()
			tt.change(&c)
			wantReason(t, c, tt.want)
			c.ByHand = true
			wantReason(t, c, tt.byHand)
			c.Force = true
			wantReason(t, c, tt.forced)
		})
	}
}

// TestNothingUndoesALoan shows that what was rolled back from is not installed again, however good
// it looks where it is stored, and keeps nobody from going forward.
func TestNothingUndoesALoan(t *testing.T) {
	stands := lends("old", "new")
	over := func(c *guard.Case) { c.Loan.Until = now.Add(-time.Hour) }
	dire := func(c *guard.Case) { c.ServedDire = true }
	pinned := func(count int) func(*guard.Case) {
		return func(c *guard.Case) { c.Loan.Pinned, c.Loan.Count = true, count }
	}
	for _, tt := range []struct {
		about  string
		kind   certmedic.ActionKind
		change func(*guard.Case)
		want   guard.Reason // of a rule
		byHand guard.Reason
		forced guard.Reason
	}{
		{"a redeploy of what was left", certmedic.ActionRedeploy, stands, guard.OnLoan, guard.OnLoan, guard.None},
		{"a reload that goes with it", certmedic.ActionReload, stands, guard.OnLoan, guard.OnLoan, guard.None},
		{"a redeploy of what came after it", certmedic.ActionRedeploy, lends("old", "bad"), guard.None, guard.None, guard.None},
		{"a redeploy of what came after it and is no better", certmedic.ActionRedeploy, both(lends("old", "bad"), problem), guard.StoredInvalid, guard.StoredInvalid, guard.StoredInvalid},
		{"a redeploy of what was left, once the loan is over and what is served is invalid", certmedic.ActionRedeploy, both(stands, over, dire), guard.None, guard.None, guard.None},
		{"a redeploy of what was left, once the loan is over", certmedic.ActionRedeploy, both(stands, over), guard.OnLoan, guard.OnLoan, guard.None},
		{"a redeploy of what was left, where what is served is invalid", certmedic.ActionRedeploy, both(stands, dire), guard.OnLoan, guard.OnLoan, guard.None},
		{"a renewal, to go forward, also once the loan is over", certmedic.ActionRenew, both(stands, over, dire), guard.None, guard.None, guard.None},
		{"a renewal, to go forward", certmedic.ActionRenew, stands, guard.None, guard.None, guard.None},
		{"a renewal where the way alone keeps certbot from it", certmedic.ActionRenew, both(stands, pinned(1)), guard.None, guard.None, guard.None},
		{"a renewal where certbot is kept from it after the second rollback", certmedic.ActionRenew, both(stands, pinned(2)), guard.OnLoan, guard.None, guard.None},
	} {
		t.Run(tt.about, func(t *testing.T) {
			c := allowed()
			c.Kind, c.Renewal.Asked, c.Certificate.Allow = tt.kind, true, certmedic.ActionKinds()
			tt.change(&c)
			wantReason(t, c, tt.want)
			c.ByHand = true
			wantReason(t, c, tt.byHand)
			c.Force = true
			wantReason(t, c, tt.forced)
		})
	}
}

// TestARollbackStandsInNobodysWay shows that where there is none, what is dearer has its turn, and
// that nobody is asked for versions all the time.
func TestARollbackStandsInNobodysWay(t *testing.T) {
	for _, r := range []guard.Reason{guard.NoCandidate, guard.LoanStands, guard.OnLoan} {
		if !r.Passes() {
			t.Errorf("%s keeps a renewal from having its turn", r)
		}
	}
	c := returnable()
	c.Rollback = guard.Rollback{Rejected: "aaa: expired; bbb: denied_key"}
	d := guard.Decide(c)
	if !d.Reason.Waits() || !d.Retry.After(now) {
		t.Errorf("it is not asked again later: %+v", d)
	}
	if !strings.Contains(d.Detail, "aaa: expired; bbb: denied_key") {
		t.Errorf("the detail does not say why no version is fit: %q", d.Detail)
	}
}
