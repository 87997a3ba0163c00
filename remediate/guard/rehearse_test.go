package guard_test

import (
	"errors"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/guard"
)

func TestRehearse(t *testing.T) {
	renewal := func(change func(*guard.Case)) func(*guard.Case) {
		return func(c *guard.Case) { c.Kind = certmedic.RehearseRenewal; change(c) }
	}
	drifts := func(c *guard.Case) { c.Needed = true }
	for _, tt := range []struct {
		about  string
		change func(*guard.Case)
		down   string
		want   guard.Reason
		byHand guard.Reason
	}{
		{"nothing stands against it", func(*guard.Case) {}, "", guard.None, guard.None},
		{"nothing is stored", func(c *guard.Case) { c.Stored.Chain = nil }, "", guard.NothingStored, guard.NothingStored},
		{"others may write a hook", func(c *guard.Case) { c.Untrusted = errors.New("x") }, "", guard.UntrustedFile, guard.UntrustedFile},
		{"there is nothing to run", func(c *guard.Case) { c.Runnable = false }, "", guard.NothingToRun, guard.NothingToRun},
		{"it would deploy", drifts, "", guard.Drifting, guard.Drifting},
		{"it would deploy an older version", func(c *guard.Case) { c.ServedNewer = true }, "", guard.Drifting, guard.Drifting},
		{"a renewal deploys nothing", renewal(drifts), "", guard.None, guard.None},
		{"the stored version is bad", problem, "", guard.StoredInvalid, guard.StoredInvalid},
		{"which is why it is renewed", renewal(problem), "", guard.None, guard.None},
		{"its key is denied", denied, "", guard.KeyDenied, guard.KeyDenied},
		{"it has ended", storedUntil(-time.Minute), "", guard.StoredInvalid, guard.StoredInvalid},
		{"certbot is at work", locked(certmedic.LockHeld), "", guard.Deploying, guard.Deploying},
		{"maybe certbot is at work", locked(certmedic.LockUnknown), "", guard.LockUnknown, guard.LockUnknown},
		{"its owner did not opt in", mode(certmedic.ModeObserve), "", guard.ModeObserve, guard.None},
		{"mode plan shows, and a rehearsal cannot be shown", mode(certmedic.ModePlan), "", guard.ModePlan, guard.None},
		{"mode approve asks, and nobody is asked about rehearsals", mode(certmedic.ModeApprove), "", guard.NeedsApproval, guard.None},
		{"everything is frozen", func(c *guard.Case) { c.Frozen = true }, "", guard.Frozen, guard.None},
		{"no window is open", opens(time.Hour), "", guard.OutsideWindow, guard.None},
		{"something is down already", func(*guard.Case) {}, "192.0.2.1:443", guard.NotServed, guard.None},
		{"which a renewal may mend", renewal(func(*guard.Case) {}), "192.0.2.1:443", guard.None, guard.None},
	} {
		for _, byHand := range []bool{false, true} {
			c := allowed()
			c.Kind, c.Needed, c.ByHand = certmedic.RehearseHooks, false, byHand
			tt.change(&c)
			want := tt.want
			if byHand {
				want = tt.byHand
			}
			d := guard.Rehearse(c, tt.down)
			if d.Reason != want || (d.Detail == "") != (want == guard.None) {
				t.Errorf("%s (by hand: %t): %+v, want %q", tt.about, byHand, d, want)
			}
		}
	}
}

// TestRehearsalsAreLed has one member of a cluster rehearse, as challenges of two would meet; people may try hooks anywhere.
func TestRehearsalsAreLed(t *testing.T) {
	for _, row := range []struct {
		about  string
		kind   certmedic.ActionKind
		lead   certmedic.Lead
		byHand bool
		want   guard.Reason
	}{
		{"this member acts", certmedic.RehearseRenewal, certmedic.Lead{Mine: true}, false, guard.None},
		{"another one does", certmedic.RehearseRenewal, certmedic.Lead{Member: "m2"}, false, guard.NotLeader},
		{"another one does, and a person asks", certmedic.RehearseRenewal, certmedic.Lead{Member: "m2"}, true, guard.NotLeader},
		{"another one runs the hooks on schedule", certmedic.RehearseHooks, certmedic.Lead{Member: "m2"}, false, guard.NotLeader},
		{"a person tries the hooks of a member that stands by", certmedic.RehearseHooks, certmedic.Lead{Member: "m2"}, true, guard.None},
		{"nobody can be asked", certmedic.RehearseRenewal, certmedic.Lead{Lost: now.Add(-time.Hour)}, false, guard.CoordinatorLost},
	} {
		c := allowed()
		c.Kind, c.Needed, c.ByHand, c.Lead = row.kind, false, row.byHand, &row.lead
		if d := guard.Rehearse(c, ""); d.Reason != row.want {
			t.Errorf("%s: %+v, want %q", row.about, d, row.want)
		}
	}
}
