package guard_test

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/guard"
)

// renewable returns a case in which nothing stands against a renewal that a rule asks for.
func renewable() guard.Case {
	c := allowed()
	c.Kind, c.Needed, c.Renewal.Asked = certmedic.ActionRenew, false, true
	c.Certificate.Allow = []certmedic.ActionKind{certmedic.ActionRenew}
	return c
}

func TestDecideAboutRenewals(t *testing.T) {
	drifts := func(c *guard.Case) { c.Needed = true }
	for _, tt := range []struct {
		about  string
		change func(*guard.Case)
		want   guard.Reason // of a rule
		byHand guard.Reason
		forced guard.Reason // by hand
	}{
		{"a rule asks for it", func(*guard.Case) {}, guard.None, guard.None, guard.None},
		{"the rule spoke of another version", func(c *guard.Case) { c.Renewal.Asked = false }, guard.NoNeed, guard.None, guard.None},
		{"the stored version is bad, which is why", problem, guard.None, guard.None, guard.None},
		{"the stored version has ended, which is why", storedUntil(-time.Hour), guard.None, guard.None, guard.None},
		{"a newer valid version is stored", drifts, guard.NewerStored, guard.NewerStored, guard.None},
		{"a newer version of a denied key is stored", func(c *guard.Case) { c.Needed, c.Denied = true, true }, guard.None, guard.None, guard.None},
		{"a newer version is stored, which ends in an hour", func(c *guard.Case) { c.Needed = true; storedUntil(time.Hour)(c) }, guard.None, guard.None, guard.None},
		{"nothing is stored", func(c *guard.Case) { c.Stored.Chain = nil }, guard.NothingStored, guard.NothingStored, guard.NothingStored},
		{"no address is bound", func(c *guard.Case) { c.Bound = false }, guard.NotBound, guard.None, guard.None},
		{"nothing was ever stored in a source of certmedic's own", func(c *guard.Case) { c.Stored.Chain, c.Renewal.Ours, c.Renewal.First = nil, true, true }, guard.None, guard.None, guard.None},
		{"nothing is stored, and something is served that drifts from that", func(c *guard.Case) {
			c.Stored.Chain, c.Needed, c.Renewal.Ours, c.Renewal.First = nil, true, true, true
		}, guard.None, guard.None, guard.None},
		{"no address is bound to a source of certmedic's own", func(c *guard.Case) { c.Bound, c.Renewal.Ours = false, true }, guard.None, guard.None, guard.None},
		{"much of its life is left", func(c *guard.Case) { c.Renewal.Early = true }, guard.None, guard.NoNeed, guard.None},
		{"much of the life of a bad version is left", func(c *guard.Case) { c.Renewal.Early = true; problem(c) }, guard.None, guard.None, guard.None},
		{"there is no way", func(c *guard.Case) { c.Runnable = false }, guard.NothingToRun, guard.NothingToRun, guard.NothingToRun},
		{"there is no way, and it was not allowed", func(c *guard.Case) { c.Runnable, c.Certificate.Allow = false, nil }, guard.NotAllowed, guard.NothingToRun, guard.NothingToRun},
		{"certbot is at work", locked(certmedic.LockHeld), guard.Deploying, guard.Deploying, guard.Deploying},
		{"the last renewal failed", func(c *guard.Case) { c.Renewal.Failed, c.Renewal.Rests = 1, now.Add(time.Second) }, guard.Backoff, guard.None, guard.None},
		{"a version was issued a short time ago", func(c *guard.Case) { c.Renewal.Rests = now.Add(time.Second) }, guard.Backoff, guard.None, guard.None},
		{"that is over", func(c *guard.Case) { c.Renewal.Failed, c.Renewal.Rests = 1, now }, guard.None, guard.None, guard.None},
		{"this hour's actions are spent", func(c *guard.Case) { c.ActionsLastHour = 10 }, guard.HourlyBudget, guard.None, guard.None},
	} {
		t.Run(tt.about, func(t *testing.T) {
			c := renewable()
			tt.change(&c)
			wantReason(t, c, tt.want)
			c.ByHand = true
			wantReason(t, c, tt.byHand)
			c.Force = true
			wantReason(t, c, tt.forced)
		})
	}
}

// TestPassing shows that what goes away by itself is waited for, so that nothing dearer is
// done meanwhile.
func TestPassing(t *testing.T) {
	for _, r := range []guard.Reason{guard.None, guard.Deploying, guard.Settling, guard.LockUnknown, guard.Frozen, guard.Backoff, guard.HourlyBudget, guard.NotBound, guard.NewerStored, guard.RateLimited} {
		if r.Passes() {
			t.Errorf("%q lets a dearer action pass", r)
		}
	}
	for _, r := range []guard.Reason{guard.NoNeed, guard.StoredInvalid, guard.KeyDenied, guard.Exhausted, guard.NotAllowed, guard.NothingToRun} {
		if !r.Passes() {
			t.Errorf("%q keeps dearer actions from their turn for ever", r)
		}
	}
}
