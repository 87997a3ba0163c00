package approval_test

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deploy"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// disk keeps approvals over the restarts of a test.
type disk struct {
	kept map[string]approval.Approval
	full bool
}

func (d *disk) SaveApproval(a approval.Approval) error {
	if d.full {
		return errors.New("no space left on device")
	}
	d.kept[a.ID] = a
	return nil
}

func (d *disk) Approvals() ([]approval.Approval, error) {
	return slices.Collect(maps.Values(d.kept)), nil
}

func (d *disk) DropApproval(id string) error { delete(d.kept, id); return nil }

// desk is a book that is opened anew before each use, as if certmedic were restarted.
type desk struct {
	t *testing.T
	d *disk
}

func newDesk(t *testing.T) *desk {
	return &desk{t, &disk{kept: map[string]approval.Approval{}}}
}

func (d *desk) book() *approval.Book {
	d.t.Helper()
	b, err := approval.Open(d.d)
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

func draft(hash string) approval.Approval {
	return approval.Approval{
		Certificate: "shop", Kind: certmedic.ActionRedeploy, State: approval.Pending, Rule: "renewed-not-served", Plan: deploy.Plan{Hash: hash},
	}
}

// ask asks about a plan after so long, to be answered within a day.
func (d *desk) ask(after time.Duration, hash string) approval.Approval {
	d.t.Helper()
	a, err := d.book().Ask(start.Add(after), draft(hash), day)
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

func (d *desk) say(after time.Duration, id string, approve bool) error {
	_, err := d.book().Say(start.Add(after), id, approval.Word{Approve: approve, By: "ada", Reason: "because"})
	return err
}

// said returns what is in force for a plan after so long; empty: nothing.
func (d *desk) said(after time.Duration, hash string) approval.State {
	a, ok := d.book().Said(start.Add(after), "shop", certmedic.ActionRedeploy, hash)
	if !ok {
		return ""
	}
	if a.By != "ada" {
		d.t.Errorf("it was said by %q", a.By)
	}
	return a.State
}

func (d *desk) waiting(after time.Duration) string {
	a, _ := d.book().Waits(start.Add(after), "shop")
	return a.ID
}

func want[T comparable](t *testing.T, about string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", about, got, want)
	}
}

func wantError(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("the error is %v, want one that says %q", err, words)
	}
}

func TestAnApprovalIsForOnePlanAndOneUse(t *testing.T) {
	d := newDesk(t)
	a := d.ask(0, "h1")
	want(t, "what waits", d.waiting(time.Hour), a.ID)
	want(t, "asked again, it is the same", d.ask(time.Hour, "h1").ID, a.ID)
	want(t, "before anybody said anything", d.said(time.Hour, "h1"), "")
	if err := d.say(time.Hour, strings.ToUpper(a.ID)+"\n", true); err != nil {
		t.Fatal(err)
	}
	want(t, "the plan that was approved", d.said(2*time.Hour, "h1"), approval.Approved)
	want(t, "another plan", d.said(2*time.Hour, "h2"), "")
	want(t, "nothing waits", d.waiting(2*time.Hour), "")
	wantError(t, d.say(2*time.Hour, a.ID, true), "was approved by ada already")
	if err := d.book().Use(start.Add(2*time.Hour), a.ID); err != nil {
		t.Fatal(err)
	}
	want(t, "once it is used", d.said(2*time.Hour, "h1"), "")
	wantError(t, d.book().Use(start.Add(2*time.Hour), a.ID), "not approved any more")
	wantError(t, d.say(2*time.Hour, a.ID, true), "an approval is for one time")
	if next := d.ask(3*time.Hour, "h1"); next.ID == a.ID || next.State != approval.Pending {
		t.Errorf("once it is used the same plan needs another approval, not %+v", next)
	}
}

func TestAChangedPlanIsAnother(t *testing.T) {
	d := newDesk(t)
	a := d.ask(0, "h1")
	if err := d.say(time.Minute, a.ID, true); err != nil {
		t.Fatal(err)
	}
	next := d.ask(time.Hour, "h2")
	want(t, "what it replaces", next.Replaces, a.ID)
	want(t, "the approval of the old plan", d.said(time.Hour, "h1"), "")
	wantError(t, d.book().Use(start.Add(time.Hour), a.ID), "not approved any more")
	wantError(t, d.say(time.Hour, a.ID, true), "void since")
	other := draft("h1")
	other.Kind = certmedic.ActionRenew
	if _, err := d.book().Ask(start.Add(2*time.Hour), other, day); err != nil {
		t.Fatal(err)
	}
	want(t, "an action of another kind leaves it alone", d.waiting(2*time.Hour), next.ID)
}

func TestApprovalsExpire(t *testing.T) {
	d := newDesk(t)
	a := d.ask(0, "h1")
	want(t, "a moment before", d.waiting(day-1), a.ID)
	want(t, "then", d.waiting(day), "")
	wantError(t, d.say(day, a.ID, true), "expired at 2026-03-02T12:00:00Z")
	b := d.ask(day, "h1")
	if b.ID == a.ID {
		t.Error("it is asked about again under the same name")
	}
	if err := d.say(day+time.Hour, b.ID, true); err != nil {
		t.Fatal(err)
	}
	want(t, "approved, a moment before", d.said(2*day-1, "h1"), approval.Approved)
	want(t, "approved, then", d.said(2*day, "h1"), "")
	wantError(t, d.book().Use(start.Add(2*day), b.ID), "not approved any more")
}

func TestNobodyIsAskedAboutARejectedPlanForADay(t *testing.T) {
	d := newDesk(t)
	a := d.ask(0, "h1")
	if err := d.say(time.Hour, a.ID, false); err != nil {
		t.Fatal(err)
	}
	want(t, "the plan", d.said(day, "h1"), approval.Rejected)
	want(t, "a plan that changed", d.said(day, "h2"), "")
	want(t, "a day after", d.said(day+time.Hour, "h1"), "")
	if err := d.say(2*time.Hour, a.ID, true); err != nil {
		t.Errorf("nobody may change their mind: %v", err)
	}
	want(t, "with another mind", d.said(2*time.Hour, "h1"), approval.Approved)
	if err := d.say(3*time.Hour, a.ID, false); err != nil {
		t.Errorf("nobody may take an approval back: %v", err)
	}
	wantError(t, d.say(25*time.Hour, a.ID, true), "expired")
}

func TestWhatNothingAsksForComesBackUnderItsName(t *testing.T) {
	d := newDesk(t)
	a := d.ask(0, "h1")
	withdraw := func(kind certmedic.ActionKind) {
		err := d.book().Withdraw(start.Add(time.Hour), "shop", func(k certmedic.ActionKind) bool { return k == kind })
		if err != nil {
			t.Fatal(err)
		}
	}
	withdraw(certmedic.ActionRenew)
	want(t, "another kind", d.waiting(time.Hour), a.ID)
	withdraw(certmedic.ActionRedeploy)
	want(t, "withdrawn", d.waiting(time.Hour), "")
	wantError(t, d.say(time.Hour, a.ID, true), "nothing asks for it any more")
	want(t, "asked again", d.ask(2*time.Hour, "h1").ID, a.ID)
	want(t, "it waits", d.waiting(2*time.Hour), a.ID)
	withdraw(certmedic.ActionRedeploy)
	b := d.ask(2*time.Hour, "h2")
	d.ask(3*time.Hour, "h1")
	want(t, "one plan of a kind at a time", d.waiting(3*time.Hour), a.ID)
	wantError(t, d.say(3*time.Hour, b.ID, true), "void since")
}

func TestShownPlansCannotBeApproved(t *testing.T) {
	d := newDesk(t)
	shown := draft("h1")
	shown.State = approval.Shown
	a, err := d.book().Ask(start, shown, day)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "nobody is waited for", d.waiting(0), "")
	wantError(t, d.say(0, a.ID, true), "the mode of \"shop\" is plan")
	if b := d.ask(time.Hour, "h1"); b.ID == a.ID {
		t.Error("a plan that was shown waits under the same name")
	}
}

func TestWhatIsNotOnDiskWasNotSaid(t *testing.T) {
	d := newDesk(t)
	a := d.ask(0, "h1")
	b := d.book()
	d.d.full = true
	_, err := b.Say(start, a.ID, approval.Word{Approve: true, By: "ada"})
	wantError(t, err, "no space")
	if _, ok := b.Said(start, "shop", certmedic.ActionRedeploy, "h1"); ok {
		t.Error("it is approved although that is not on disk")
	}
	_, err = b.Ask(start, draft("h2"), day)
	wantError(t, err, "no space")
	d.d.full = false
	if err := d.say(0, a.ID, true); err != nil {
		t.Fatal(err)
	}
	b = d.book()
	d.d.full = true
	wantError(t, b.Use(start, a.ID), "no space")
}

func TestListIsWhatWaitsAndThenTheNewest(t *testing.T) {
	d := newDesk(t)
	old := d.ask(0, "h1")
	waits := d.ask(time.Hour, "h2")
	other := draft("h3")
	other.Certificate = "blog"
	last, err := d.book().Ask(start.Add(2*time.Hour), other, day)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.say(3*time.Hour, last.ID, false); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range d.book().List(start.Add(3 * time.Hour)) {
		got = append(got, a.ID)
	}
	if !slices.Equal(got, []string{waits.ID, last.ID, old.ID}) {
		t.Errorf("listed %q, want %q", got, []string{waits.ID, last.ID, old.ID})
	}
	d.ask(10*day, "h4")
	if kept := len(d.d.kept); kept != 1 {
		t.Errorf("%d are kept, want the one that waits", kept)
	}
}

func TestIDsCanBeReadOut(t *testing.T) {
	d := newDesk(t)
	for i := range 100 {
		if id := d.ask(0, string(rune('a'+i))).ID; !regexp.MustCompile(`^([b-z][aiou]){2}[b-z]-([b-z][aiou]){2}[b-z]$`).MatchString(id) {
			t.Fatalf("an ID is %q", id)
		}
	}
}
