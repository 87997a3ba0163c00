package remediate_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/guard"
)

// plansInMemory keeps plans that wait.
type plansInMemory map[string]approval.Approval

func (p plansInMemory) SaveApproval(a approval.Approval) error { p[a.ID] = a; return nil }
func (p plansInMemory) DropApproval(id string) error           { delete(p, id); return nil }
func (p plansInMemory) Approvals() ([]approval.Approval, error) {
	return slices.Collect(maps.Values(p)), nil
}

// approving is a world in mode approve whose remediator runs.
type approving struct {
	*world
	t    *testing.T
	book *approval.Book
	r    *remediate.Remediator
}

func newApproving(t *testing.T, mode certmedic.Mode, change func(*remediate.Options)) *approving {
	t.Helper()
	w := newWorld(t)
	w.withHooks(t, loadStored())
	w.cert.Mode = mode
	book, err := approval.Open(plansInMemory{})
	if err != nil {
		t.Fatal(err)
	}
	a := &approving{world: w, t: t, book: book}
	a.r, _ = w.running(t, func(o *remediate.Options) {
		o.Approvals, o.ApprovalExpiry = book, 24*time.Hour
		if change != nil {
			change(o)
		}
	})
	return a
}

// waits returns the plan that waits, after a while.
func (a *approving) waits() approval.Approval {
	a.t.Helper()
	time.Sleep(6 * time.Minute) // as long as an idle worker waits, and longer
	plan, ok := a.book.Waits(time.Now(), shop)
	if !ok {
		a.t.Fatalf("no plan waits: %+v", a.book.List(time.Now()))
	}
	return plan
}

func (a *approving) say(id string, approve bool) {
	a.t.Helper()
	if _, err := a.book.Say(time.Now(), id, approval.Word{Approve: approve, By: "ada"}); err != nil {
		a.t.Fatal(err)
	}
	a.r.Nudge(shop)
}

func (a *approving) state(id string) approval.State {
	plan, _ := a.book.Find(time.Now(), id)
	return plan.State
}

func (a *approving) wantState(id string, want approval.State) {
	a.t.Helper()
	if got := a.state(id); got != want {
		a.t.Errorf("plan %s is %s, want %s", id, got, want)
	}
}

func TestApprovedPlanIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApproving(t, certmedic.ModeApprove, nil)
		a.r.Want(shop, drift())
		plan := a.waits()
		if again := a.waits(); again.ID != plan.ID || len(a.log(t)) != 0 {
			t.Fatalf("plan %s, then %s; ran %q", plan.ID, again.ID, a.log(t))
		}
		if len(plan.Plan.Commands) != 1 || plan.Plan.Verify == "" || plan.Hash != plan.Plan.Hash || plan.Rule != "renewed-not-served" {
			t.Errorf("people are shown %+v", plan)
		}
		first := a.actions(t)
		if len(first) != 1 || first[0].Outcome.Reason != string(guard.NeedsApproval) || !strings.Contains(first[0].Outcome.Detail, plan.ID) || first[0].ApprovedBy != "" {
			t.Fatalf("the journal has %+v, want one entry that names %s", first, plan.ID)
		}
		a.say(plan.ID, true)
		time.Sleep(10 * time.Second)
		done := a.actions(t)[0]
		wantOutcome(t, done, certmedic.OutcomeHealed)
		if done.ApprovedBy != "ada" || done.Approval != plan.ID || !a.serves(t, "stored") {
			t.Errorf("the journal has %+v", done)
		}
		a.wantState(plan.ID, approval.Used)
		a.r.Want(shop, nil)
		for _, at := range []string{"192.0.2.1:443"} { // it relapses: that needs another word
			a.write(t, "loaded/"+at, a.read(t, "old/fullchain.pem"))
		}
		a.r.Want(shop, drift())
		if next := a.waits(); next.ID == plan.ID || len(a.log(t)) != 1 {
			t.Errorf("plan %s again; ran %q", next.ID, a.log(t))
		}
	})
}

func TestApprovalOfAPlanThatChangedIsVoid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var frozen atomic.Bool
		frozen.Store(true)
		a := newApproving(t, certmedic.ModeApprove, func(o *remediate.Options) { o.Frozen = frozen.Load })
		a.r.Want(shop, drift())
		plan := a.waits()
		a.say(plan.ID, true)
		time.Sleep(time.Minute)
		if got := a.actions(t)[0].Outcome.Reason; got != string(guard.Frozen) || len(a.log(t)) != 0 {
			t.Fatalf("what was approved while everything is frozen is refused as %q; ran %q", got, a.log(t))
		}
		a.wantState(plan.ID, approval.Approved)
		a.withHooks(t, "echo another >> log; "+loadStored()) // somebody edits the hook
		frozen.Store(false)
		a.r.Nudge(shop)
		next := a.waits()
		a.wantState(plan.ID, approval.Void)
		last := a.actions(t)[0]
		if next.Replaces != plan.ID || len(a.log(t)) != 0 || !strings.Contains(last.Outcome.Detail, "replaces plan "+plan.ID) {
			t.Errorf("plan %+v waits; the journal says %q; ran %q", next, last.Outcome.Detail, a.log(t))
		}
		a.say(next.ID, true)
		time.Sleep(10 * time.Second)
		if log := a.log(t); !slices.Equal(log, []string{"0", "another"}) {
			t.Errorf("ran %q", log)
		}
	})
}

func TestRejectedPlanIsNotAskedAboutForADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApproving(t, certmedic.ModeApprove, nil)
		a.r.Want(shop, drift())
		plan := a.waits()
		a.say(plan.ID, false)
		time.Sleep(23 * time.Hour)
		if _, ok := a.book.Waits(time.Now(), shop); ok {
			t.Error("people are asked again within a day")
		}
		last := a.actions(t)
		if len(last) != 2 || last[0].Outcome.Reason != string(guard.Rejected) || !strings.Contains(last[0].Outcome.Detail, "ada") {
			t.Errorf("the journal has %+v", last)
		}
		time.Sleep(2 * time.Hour)
		if next := a.waits(); next.ID == plan.ID || len(a.log(t)) != 0 {
			t.Errorf("plan %s after a day; ran %q", next.ID, a.log(t))
		}
	})
}

func TestPlanThatExpiresIsAskedAboutAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApproving(t, certmedic.ModeApprove, nil)
		a.r.Want(shop, drift())
		plan := a.waits()
		time.Sleep(24 * time.Hour)
		next := a.waits()
		if next.ID == plan.ID {
			t.Error("a plan that has expired waits")
		}
		if got := a.actions(t); len(got) != 2 || !strings.Contains(got[0].Outcome.Detail, next.ID) {
			t.Errorf("the journal has %+v", got)
		}
		a.wantState(plan.ID, approval.Expired)
	})
}

func TestNobodyIsAskedAboutWhatNothingNeeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApproving(t, certmedic.ModeApprove, nil)
		a.r.Want(shop, drift())
		plan := a.waits()
		a.r.Want(shop, nil) // the rule has ended
		a.wantState(plan.ID, approval.Withdrawn)
		a.r.Want(shop, drift())
		if again := a.waits(); again.ID != plan.ID {
			t.Errorf("the same plan has another name, %s, want %s", again.ID, plan.ID)
		}
		a.write(t, "loaded/192.0.2.1:443", a.read(t, "stored/fullchain.pem")) // somebody else heals it
		time.Sleep(6 * time.Minute)
		a.wantState(plan.ID, approval.Withdrawn)
	})
}

func TestShownPlansAreKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newApproving(t, certmedic.ModePlan, nil)
		a.r.Want(shop, drift())
		time.Sleep(time.Hour)
		plans := a.book.List(time.Now())
		if len(plans) != 1 || plans[0].State != approval.Shown || len(plans[0].Plan.Commands) != 1 {
			t.Fatalf("kept %+v", plans)
		}
		if _, ok := a.book.Waits(time.Now(), shop); ok {
			t.Error("somebody is waited for")
		}
		if got := a.actions(t); len(got) != 1 || got[0].Outcome.Kind != certmedic.OutcomePlanned || !strings.Contains(got[0].Outcome.Detail, plans[0].ID) {
			t.Errorf("the journal has %+v", got)
		}
	})
}

// TestPlansHaveAHash shows that a plan has the same hash as long as nothing changes, and another one
// when anything does.
func TestPlansHaveAHash(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.withSteps(t, "", loadInstalled(), "")
		j, err := w.journal()
		if err != nil {
			t.Fatal(err)
		}
		hash := func(kind certmedic.ActionKind) string {
			t.Helper()
			plan, _, err := w.remediator(j, nil).Plan(context.Background(), remediate.Request{Certificate: shop, Kind: kind, ByHand: true})
			if err != nil || len(plan.Hash) != 64 || plan.Kind != kind {
				t.Fatalf("plan %+v, %v", plan, err)
			}
			return plan.Hash
		}
		first := hash(certmedic.ActionRedeploy)
		time.Sleep(time.Hour)
		if again := hash(certmedic.ActionRedeploy); again != first {
			t.Error("an hour changes the hash")
		}
		if reload := hash(certmedic.ActionReload); reload == first {
			t.Error("a reload has the hash of a redeployment")
		}
		w.cert.Destinations[0].Files[1].Mode = "0640"
		if other := hash(certmedic.ActionRedeploy); other == first {
			t.Error("another mode of a file leaves the hash as it was")
		}
	})
}

func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var counted []guard.Reason
		a := newApproving(t, certmedic.ModeAuto, func(o *remediate.Options) {
			o.Refused = func(r guard.Reason) { counted = append(counted, r) }
			o.Frozen = func() bool { return true }
		})
		a.mu.Lock()
		a.change = func(s *remediate.Sight) { s.Stored.Lock.State = certmedic.LockHeld }
		a.mu.Unlock()
		a.r.Want(shop, drift())
		time.Sleep(time.Minute)
		a.mu.Lock()
		a.change = nil
		a.mu.Unlock()
		time.Sleep(time.Hour)
		a.r.Want(shop, nil)
		synctest.Wait()
		if !slices.Equal(counted, []guard.Reason{guard.Deploying, guard.Frozen}) {
			t.Errorf("counted %q: each that says something new, also what the journal does not have", counted)
		}
	})
}
