package e2e_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/approval"
)

// plans returns the plans that certmedic keeps, those that wait first.
func (w *world) plans() []approval.Approval {
	w.t.Helper()
	r := w.certmedic("plans", "--all", "--json")
	var all []approval.Approval
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil || r.Code != 0 {
		w.fatalf("certmedic plans --json: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	return all
}

// awaitPlan waits until a plan waits for a person's word.
func (w *world) awaitPlan() (waits approval.Approval) {
	w.t.Helper()
	w.await("a plan waits", patience, 100*time.Millisecond, func() bool {
		for _, a := range w.plans() {
			if a.State == approval.Pending {
				waits = a
				return true
			}
		}
		return false
	})
	return waits
}

// says has a person say something about a plan by a command, and returns what that prints.
func (w *world) says(command string) string {
	w.t.Helper()
	return w.must("USER=mallory SUDO_USER=mallory LOGNAME=mallory " + w.tools + "/certmedic --config /etc/certmedic/certmedic.yml " + command + " 2>&1")
}

func TestPlanIsApprovedThenCarriedOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook(failOnce)
	w.watch(plan{mode: certmedic.ModeApprove})
	old := w.served(domain)

	version, _ := w.renew()
	waits := w.awaitPlan()
	if waits.Kind != certmedic.ActionRedeploy || waits.Plan.Version != version || len(waits.Plan.Commands) != 1 || !strings.Contains(strings.Join(waits.Plan.Commands[0].Argv, " "), hookFile) {
		t.Errorf("the plan that waits is %+v", waits)
	}
	in := w.awaitIncident("approval-needed", certmedic.StateFiring)
	if !strings.Contains(in.Summary, waits.ID) || !strings.Contains(in.Summary, "until ") {
		t.Errorf("people are told %q, without the plan's name or its end", in.Summary)
	}
	w.stays("nothing is done before somebody says so", rounds, func() bool { _, ours := w.hookRuns(); return ours == 0 && w.served(domain) == old })

	w.restart() // it waits over that, too
	if again := w.awaitPlan(); again.ID != waits.ID {
		t.Errorf("after a restart %s waits, want %s", again.ID, waits.ID)
	}
	if said := w.says("approve " + waits.ID); !strings.Contains(said, "approved by root (uid 0") || strings.Contains(said, "mallory") {
		t.Errorf("who approves is named in %q: that is not for a client to choose", said)
	}
	w.awaitServed(version)
	healed := w.awaitHealed()
	if healed.Approval != waits.ID || !strings.HasPrefix(healed.ApprovedBy, "root (uid 0") || healed.By != "renewed-not-served" {
		t.Errorf("the journal has %+v", healed)
	}
	w.awaitIncident("approval-needed", certmedic.StateResolved)
	if r := w.certmedic("approve", waits.ID); r.Code != 1 || !strings.Contains(r.Stderr, "for one time") {
		t.Errorf("approving it again exits %d: %s", r.Code, r.Stderr)
	}
	journal := w.must("journalctl --sync; journalctl --unit certmedic --output cat")
	for _, want := range []string{"state=begun action=" + healed.ID, "state=ended action=" + healed.ID, "outcome=healed"} {
		if !strings.Contains(journal, want) {
			t.Errorf("the journal of the system does not say %q", want)
		}
	}
}

// awaitHealed waits until an action healed, and returns it.
func (w *world) awaitHealed() (healed certmedic.Action) {
	w.t.Helper()
	w.await("an action healed", patience, 100*time.Millisecond, func() bool {
		for _, a := range w.actions() {
			if a.Outcome.Kind == certmedic.OutcomeHealed {
				healed = a
				return true
			}
		}
		return false
	})
	return healed
}

func TestApprovalOfAnEditedHookIsVoid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook(failOnce)
	w.watch(plan{mode: certmedic.ModeApprove})

	version, _ := w.renew()
	waits := w.awaitPlan()
	w.must("touch /etc/certmedic/FREEZE") // so that there is time to edit the hook after the approval
	w.says("approve " + waits.ID)
	w.await("the approval waits for the freeze to end", patience, 100*time.Millisecond, func() bool {
		return strings.Contains(w.certmedic("history", name).Stdout, "the freeze file exists")
	})
	w.hook("touch /run/edited\nsystemctl reload nginx\n")
	w.must("rm /etc/certmedic/FREEZE")
	next := w.awaitPlan()
	if next.ID == waits.ID || next.Replaces != waits.ID || next.Hash == waits.Hash {
		t.Errorf("%+v waits, in place of %+v", next, waits)
	}
	if _, ours := w.hookRuns(); ours != 0 || w.served(domain) == version {
		t.Error("the edited hook was run by the approval of the one before")
	}
	if r := w.certmedic("approve", waits.ID); r.Code != 1 || !strings.Contains(r.Stderr, "void") {
		t.Errorf("approving what is void exits %d: %s", r.Code, r.Stderr)
	}
	w.says("reject " + next.ID + " --reason 'who edited it?'")
	w.stays("nothing is done by what was rejected", rounds, func() bool { _, ours := w.hookRuns(); return ours == 0 })
	w.says("approve " + next.ID) // the mind is changed
	w.awaitServed(version)
	w.awaitHealed()
}
