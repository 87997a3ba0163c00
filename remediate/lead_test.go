package remediate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/fence"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/renew"
)

var errElsewhere = errors.New("another member holds the lease")

// office is a coordinator as the remediator sees it.
type office struct {
	mu      sync.Mutex
	lead    certmedic.Lead
	token   uint64
	err     error
	asked   int
	confirm func(o *office) // called at each proof, in which what is known may change
	refused []guard.Reason
}

// mine is an office where this member, m1, acts with a token.
func mine(token uint64) *office {
	return &office{lead: certmedic.Lead{Member: "m1", Mine: true, Token: token}, token: token}
}

// theirs is an office where m2 acts.
func theirs() *office { return &office{lead: certmedic.Lead{Member: "m2"}, err: errElsewhere} }

func (o *office) set(other *office) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lead, o.token, o.err = other.lead, other.token, other.err
}

func (o *office) options(at *remediate.Options) {
	at.Fences = true
	at.Lead = func(string) certmedic.Lead {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.lead
	}
	at.Confirm = func(context.Context, string) (uint64, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.asked++; o.confirm != nil {
			o.confirm(o)
		}
		return o.token, o.err
	}
	at.Refused = func(r guard.Reason) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.refused = append(o.refused, r)
	}
}

// after has the office be another one from the nth proof on.
func (o *office) after(n int, other *office) *office {
	o.confirm = func(o *office) {
		if o.asked >= n {
			o.lead, o.token, o.err = other.lead, other.token, other.err
		}
	}
	return o
}

func (w *world) raise(t *testing.T, token uint64) {
	t.Helper()
	if err := fence.Raise([]certmedic.Change{{Path: w.path("installed/x")}}, shop, token); err != nil {
		t.Fatal(err)
	}
}

// knows reports whether the installed files know exactly this token.
func (w *world) knows(token uint64) bool {
	change := []certmedic.Change{{Path: w.path("installed/x")}}
	return fence.Check(change, shop, token) == nil && (token == 0 || errors.Is(fence.Check(change, shop, token-1), fence.ErrHigher))
}

// actAt acts by hand where the office says who may.
func (w *world) actAt(t *testing.T, o *office, q remediate.Request) certmedic.Action {
	t.Helper()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	q.Certificate = shop
	if q.Kind == "" {
		q.Kind = certmedic.ActionRedeploy
	}
	a, err := w.remediator(j, o.options).Act(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAFollowerDoesNothing has another member act: nothing is even looked at. When this one takes over it does what is wanted,
// under its own name and token.
func TestAFollowerDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSteps(t, "", loadInstalled(), "")
	o := theirs()
	r, _ := w.running(t, o.options)
	r.Want(shop, drift())
	waitFor(t, func() bool { r.Nudge(shop); return true })
	time.Sleep(500 * time.Millisecond)
	if n, actions := w.looked(), w.actions(t); n != 0 || len(actions) != 0 {
		t.Errorf("a follower looked %d times and did %+v", n, actions)
	}
	o.set(mine(7))
	r.Nudge(shop)
	waitFor(t, func() bool { return w.serves(t, "stored") && len(w.actions(t)) == 1 })
	waitFor(t, func() bool { return w.actions(t)[0].Outcome.Kind == certmedic.OutcomeHealed })
	if a := w.actions(t)[0]; a.Member != "m1" || a.Token != 7 || !w.knows(7) {
		t.Errorf("it acted as %q with %d", a.Member, a.Token)
	}
}

func TestByHandWhereAnotherMemberActs(t *testing.T) {
	t.Parallel()
	lost := theirs()
	lost.lead.Lost = time.Now().Add(-time.Minute)
	lost.err = errors.New("no answer")
	for _, row := range []struct {
		about string
		at    *office
		force bool
		want  certmedic.OutcomeKind
		says  string
		token uint64
	}{
		{"another one acts", theirs(), false, certmedic.OutcomeRefused, `"m2"`, 0},
		{"another one acts, and a person insists", theirs(), true, certmedic.OutcomeRefused, `"m2"`, 0},
		{"nobody has the lease any more, and a person insists", theirs().after(1, mine(9)), true, certmedic.OutcomeHealed, "", 9},
		{"nobody can be asked", lost, false, certmedic.OutcomeRefused, "cannot be asked", 0},
		{"nobody can be asked, and a person insists", lost, true, certmedic.OutcomeHealed, "", 0},
	} {
		w := newWorld(t)
		w.withSteps(t, "", loadInstalled(), "")
		a := w.actAt(t, row.at, remediate.Request{Force: row.force})
		wantOutcome(t, a, row.want, row.says)
		if a.Token != row.token || w.serves(t, "stored") != (row.want == certmedic.OutcomeHealed) {
			t.Errorf("%s: with the token %d, and %s", row.about, a.Token, a.Outcome.Detail)
		}
	}
}

// TestLostOnTheWay loses the lease at each proof, or finds a higher token: nothing of the action is left.
func TestLostOnTheWay(t *testing.T) {
	t.Parallel()
	gone := theirs()
	gone.lead.Lost = time.Now().Add(-time.Minute)
	last := mine(5)
	last.lead.Lost, last.err = time.Now().Add(-time.Minute), errors.New("no answer")
	for _, row := range []struct {
		about  string
		at     *office
		higher uint64 // that the files know
		want   guard.Reason
	}{
		{"before the intent", mine(5).after(1, theirs()), 0, guard.NotLeader},
		{"before the files are renamed", mine(5).after(2, theirs()), 0, guard.NotLeader},
		{"before that, and it has it again, so that another one may have acted in between", mine(5).after(2, mine(6)), 0, guard.NotLeader},
		{"another one was here", mine(5), 6, guard.Fenced},
		{"the same token is no higher one", mine(5), 5, guard.None},
		{"nobody can be asked any more, and it acted last", mine(5).after(2, last), 0, guard.None},
		{"nobody can be asked from the start, and it acted last", last, 0, guard.None},
		{"nobody can be asked any more, and another one had acted", mine(5).after(2, gone), 0, guard.NotLeader},
	} {
		w := newWorld(t)
		w.withSteps(t, "", loadInstalled(), "")
		if row.higher > 0 {
			w.raise(t, row.higher)
		}
		a := w.actAt(t, row.at, remediate.Request{})
		if a.Outcome.Reason != string(row.want) || (a.Outcome.Kind == certmedic.OutcomeRefused) != (row.want != guard.None) {
			t.Errorf("%s: %+v, want %q", row.about, a.Outcome, row.want)
		}
		if row.want != guard.None && (!w.installed(t, "old") || len(w.log(t)) > 0 || len(a.Changes) > 0 || !w.knows(row.higher)) {
			t.Errorf("%s: something was done: %q, %+v", row.about, w.log(t), a.Changes)
		}
		if row.want == guard.None && (!w.serves(t, "stored") || !w.knows(5)) {
			t.Errorf("%s: it is not served: %+v", row.about, a.Outcome)
		}
	}
}

// TestNothingIsPutBackOverAnother has another member install while the test of this one's version runs, which fails.
func TestNothingIsPutBackOverAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSteps(t, fmt.Sprintf("echo '{\"shop\":9}' > installed/%s; exit 1\n", fence.Name), loadInstalled(), "")
	a := w.actAt(t, mine(5), remediate.Request{})
	wantOutcome(t, a, certmedic.OutcomeFailed, "nothing is put back", "another member was here since")
	if !w.installed(t, "stored") || slices.Contains(w.log(t), "reload") {
		t.Errorf("what another member installed was changed: %q", w.log(t))
	}
	w.withSteps(t, "exit 1\n", loadInstalled(), "")
	for _, part := range []string{"fullchain.pem", "privkey.pem"} {
		w.write(t, "installed/"+part, w.read(t, "old/"+part))
	}
	wantOutcome(t, w.actAt(t, mine(10), remediate.Request{}), certmedic.OutcomePutBack)
	if !w.installed(t, "old") {
		t.Error("its own files are not put back")
	}
}

// TestNothingIsOrderedWithoutTheLease loses the lease between the intent and the order, and finds nobody to ask.
func TestNothingIsOrderedWithoutTheLease(t *testing.T) {
	t.Parallel()
	last := mine(5)
	last.lead.Lost, last.err = time.Now().Add(-time.Minute), errors.New("no answer")
	for _, row := range []struct {
		about     string
		at        *office
		emergency time.Time
		want      guard.Reason
		runs      int
	}{
		{"the lease is held", mine(5), time.Time{}, "", 1},
		{"another one has it by then", mine(5).after(2, theirs()), time.Time{}, guard.NotLeader, 0},
		{"nobody can be asked by then", mine(5).after(2, last), time.Time{}, guard.CoordinatorLost, 0},
		{"nobody can be asked", last, time.Time{}, guard.CoordinatorLost, 0},
		{"nobody can be asked, and it is not time yet", last, time.Now().Add(time.Hour), guard.CoordinatorLost, 0},
		{"nobody can be asked, and it is an emergency", last, time.Now().Add(-time.Minute), "", 1},
	} {
		w := newWorld(t)
		w.withRenewal(t, storeAndLoad())
		j, err := w.journal()
		if err != nil {
			t.Fatal(err)
		}
		r := w.remediator(j, func(o *remediate.Options) {
			row.at.options(o)
			o.Emergency = func(string, certmedic.CertFacts) time.Time { return row.emergency }
		})
		a, err := r.Act(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRenew})
		if err != nil || row.want != "" && a.Outcome.Reason != string(row.want) || w.renews(t) != row.runs {
			t.Errorf("%s: %+v, run %d times, %v", row.about, a.Outcome, w.renews(t), err)
		}
	}
}

// TestALeaseOfThisMomentIsNoReason takes the lease only with the proof, as the one of before ended meanwhile: what is known is older
// than that, so that nothing is done by it.
func TestALeaseOfThisMomentIsNoReason(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSteps(t, "", loadInstalled(), "")
	o := mine(5)
	o.confirm = func(o *office) { o.lead, o.token = certmedic.Lead{}, 9 } // the keeper has not heard of it yet
	r, _ := w.running(t, o.options)
	r.Want(shop, drift())
	waitFor(t, func() bool { o.mu.Lock(); defer o.mu.Unlock(); return slices.Contains(o.refused, guard.NotLeader) })
	if actions := w.actions(t); len(actions) != 0 || w.serves(t, "stored") {
		t.Errorf("it acted: %+v", actions)
	}
}

// TestWhatWasRenewedAloneIsDeployed has a member that was not the last one to act renew in an emergency, and then bring what it
// got to where it is served.
func TestWhatWasRenewedAloneIsDeployed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSteps(t, "", loadInstalled(), "")
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	alone := theirs()
	alone.lead.Lost, alone.err = time.Now().Add(-time.Hour), errors.New("no answer")
	r := w.remediator(j, alone.options)
	act := func() certmedic.Action {
		a, err := r.Act(t.Context(), remediate.Request{Certificate: shop, Kind: certmedic.ActionRedeploy})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := act(); a.Outcome.Reason != string(guard.CoordinatorLost) {
		t.Errorf("before that: %+v", a.Outcome)
	}
	ended := time.Now().UTC()
	err = j.Record(certmedic.Action{
		ID: "renewal", Certificate: shop, Kind: certmedic.ActionRenew, StartedAt: ended.Add(-time.Second), EndedAt: ended, Runs: []certmedic.Run{},
		Outcome: certmedic.Outcome{Kind: certmedic.OutcomeUnverified, Reason: "stored_not_served"},
	})
	if err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, act(), certmedic.OutcomeHealed)
}

// TestRehearsalsProveTheLease finds, right before one begins, that another member acts: nothing is run, and nothing recorded. A person
// may try the hooks all the same.
func TestRehearsalsProveTheLease(t *testing.T) {
	t.Parallel()
	for _, byHand := range []bool{false, true} {
		w := newWorld(t)
		w.inStep(t)
		w.withHooks(t, "")
		j, err := w.journal()
		if err != nil {
			t.Fatal(err)
		}
		o, rehearsing := mine(5).after(1, theirs()), w.rehearsing(t, renew.Around{})
		r := w.remediator(j, func(at *remediate.Options) { rehearsing(at); o.options(at) })
		a, err := r.Rehearse(t.Context(), remediate.RehearsalRequest{Certificate: shop, Kind: certmedic.RehearseHooks, ByHand: byHand})
		all, errKept := w.rehearsals(t).Actions(shop, time.Time{})
		if err := errors.Join(err, errKept); err != nil {
			t.Fatal(err)
		}
		if ran := len(w.log(t)) == 1; ran != byHand || len(all) == 1 != byHand || (a.Outcome.Kind == certmedic.OutcomeRehearsed) != byHand {
			t.Errorf("by hand %t: %+v, kept %d, hooks ran %t", byHand, a.Outcome, len(all), ran)
		}
	}
}
