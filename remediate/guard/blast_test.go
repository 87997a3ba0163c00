package guard_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/guard"
)

func TestMostUnproven(t *testing.T) {
	for _, row := range []struct {
		share        float64
		certificates int
		want         int
	}{
		{0.2, 0, 3}, {0.2, 1, 3}, {0.2, 15, 3}, {0.2, 19, 3}, {0.2, 20, 4}, {0.2, 100, 20}, {1, 10, 10}, {0.001, 1000, 3}, {0, 1000, 3},
	} {
		if got := guard.MostUnproven(row.share, row.certificates); got != row.want {
			t.Errorf("%v of %d certificates are %d, want %d", row.share, row.certificates, got, row.want)
		}
	}
}

func TestReach(t *testing.T) {
	running := func(minute int) certmedic.Action {
		a := did(minute, certmedic.OutcomeRunning)
		a.EndedAt = time.Time{}
		return a
	}
	rehearsed := failed(50)
	rehearsed.Kind = certmedic.RehearseHooks
	for _, row := range []struct {
		about   string
		journal []certmedic.Action // in the order of events; asked at minute 60, for the certificate x
		want    guard.Blast
	}{
		{"nothing was done", nil, guard.Blast{}},
		{"one is at work", []certmedic.Action{running(50)}, guard.Blast{Unproven: 1, Running: 1}},
		{"one is at work for hours", []certmedic.Action{running(-200)}, guard.Blast{Unproven: 1, Running: 1}},
		{"whatever did not heal is not proven", []certmedic.Action{
			of("a", failed(10)), of("b", did(11, certmedic.OutcomePutBack)), of("c", did(12, certmedic.OutcomeUnverified)),
		}, guard.Blast{Unproven: 3}},
		{"a certificate counts once", []certmedic.Action{failed(10), failed(20), failed(30)}, guard.Blast{Unproven: 1}},
		{"what heals frees its place", []certmedic.Action{failed(10), healed(20)}, guard.Blast{Proven: true}},
		{"what fails after it healed takes one", []certmedic.Action{healed(10), failed(20)}, guard.Blast{Unproven: 1, Proven: true}},
		{"an hour ago still counts", []certmedic.Action{failed(0)}, guard.Blast{Unproven: 1}},
		{"more than an hour ago does not", []certmedic.Action{failed(-1), of("b", healed(-1))}, guard.Blast{}},
		{"one's own place does not stand in one's way", []certmedic.Action{of("x", failed(10)), of("b", failed(11))}, guard.Blast{Unproven: 1}},
		{"one's own cure proves something", []certmedic.Action{of("x", healed(10))}, guard.Blast{Proven: true}},
		{"what was refused or planned was not done", []certmedic.Action{refused(10, guard.Frozen), did(11, certmedic.OutcomePlanned)}, guard.Blast{}},
		{"a rehearsal moves nothing", []certmedic.Action{rehearsed}, guard.Blast{}},
	} {
		if got := guard.Reach(newestFirst(row.journal), "x", now.Add(time.Hour)); got != row.want {
			t.Errorf("%s: %+v, want %+v", row.about, got, row.want)
		}
	}
}

func TestBlastRadius(t *testing.T) {
	for _, row := range []struct {
		about string
		blast guard.Blast
		want  guard.Reason
	}{
		{"no limit is set", guard.Blast{Unproven: 100, Running: 10, Waiting: 100}, guard.None},
		{"there is a place", guard.Blast{Unproven: 2, Running: 2, Waiting: 3, Most: 3}, guard.None},
		{"there is none", guard.Blast{Unproven: 3, Proven: true, Most: 3}, guard.BlastRadius},
		{"many wait, and the first one goes", guard.Blast{Waiting: 4, Most: 3}, guard.None},
		{"many wait for the one that is at work", guard.Blast{Unproven: 1, Running: 1, Waiting: 4, Most: 3}, guard.BlastRadius},
		{"it failed, so that another one goes", guard.Blast{Unproven: 1, Waiting: 4, Most: 3}, guard.None},
		{"it healed, so that the others go", guard.Blast{Unproven: 1, Running: 1, Proven: true, Waiting: 4, Most: 3}, guard.None},
		{"few wait, and go together", guard.Blast{Unproven: 1, Running: 1, Waiting: 3, Most: 3}, guard.None},
	} {
		c := allowed()
		c.Blast = row.blast
		if d := guard.Decide(c); d.Reason != row.want {
			t.Errorf("%s: %q (%s), want %q", row.about, d.Reason, d.Detail, row.want)
		}
		c.ByHand = true
		if d := guard.Decide(c); !d.Allowed() {
			t.Errorf("%s: a person is refused: %q", row.about, d.Reason)
		}
	}
}

func TestApproval(t *testing.T) {
	approved := func(c *guard.Case) { c.Approval = guard.Approval{By: "ada"} }
	for _, row := range []struct {
		about  string
		change func(*guard.Case)
		want   guard.Reason
	}{
		{"nobody said anything", func(*guard.Case) {}, guard.NeedsApproval},
		{"it is approved", approved, guard.None},
		{"it was rejected", func(c *guard.Case) { c.Approval = guard.Approval{Rejected: "ada", Again: now.Add(time.Hour)} }, guard.Rejected},
		{"approved, and frozen", func(c *guard.Case) { approved(c); c.Frozen = true }, guard.Frozen},
		{"approved, outside the windows", func(c *guard.Case) { approved(c); c.Opens = now.Add(time.Hour) }, guard.OutsideWindow},
		{"approved, with a doubtful clock", func(c *guard.Case) { approved(c); doubtful(c) }, guard.ClockDoubt},
		{"approved, right after a failure", func(c *guard.Case) { approved(c); tried(1, time.Second)(c) }, guard.Backoff},
		{"approved, while too much is not proven", func(c *guard.Case) { approved(c); c.Blast = guard.Blast{Unproven: 3, Most: 3} }, guard.BlastRadius},
		{"approved, and not allowed", func(c *guard.Case) { approved(c); c.Certificate.Allow = nil }, guard.NotAllowed},
		{"approved, and the mode is plan by now", func(c *guard.Case) { approved(c); c.Certificate.Mode = certmedic.ModePlan }, guard.ModePlan},
		{"nobody is asked before a deployment has settled", func(c *guard.Case) { c.Settles = now.Add(time.Second) }, guard.Settling},
		{"nobody is asked about what would not be tried", tried(guard.MaxAttempts, time.Hour), guard.Exhausted},
		{"people are asked beside the freeze file", func(c *guard.Case) { c.Frozen = true }, guard.NeedsApproval},
	} {
		c := allowed()
		c.Certificate.Mode = certmedic.ModeApprove
		row.change(&c)
		if d := guard.Decide(c); d.Reason != row.want {
			t.Errorf("%s: %q (%s), want %q", row.about, d.Reason, d.Detail, row.want)
		}
	}
	c := allowed()
	c.Certificate.Mode, c.Approval = certmedic.ModeApprove, guard.Approval{Rejected: "ada", Again: now.Add(time.Hour)}
	if d := guard.Decide(c); !d.Retry.Equal(c.Approval.Again) {
		t.Errorf("a rejected plan is asked about again at %s, want %s", d.Retry, c.Approval.Again)
	}
}

// TestCanary lets 20 certificates drift at once, whose cures take five minutes each, and follows them
// on a clock of its own: the first goes alone, and then no more than may be unproven at a time.
func TestCanary(t *testing.T) {
	const certificates, most = 20, 4
	var journal []certmedic.Action // newest first
	begun := map[string]int{}      // index from the end
	most2, alone := 0, 0
	for minute := 0; minute < 120; minute++ {
		at := now.Add(time.Duration(minute) * time.Minute)
		running := 0
		for i := range journal {
			a := &journal[i]
			if a.Outcome.Kind == certmedic.OutcomeRunning && at.Sub(a.StartedAt) >= 5*time.Minute {
				a.Outcome.Kind, a.EndedAt = certmedic.OutcomeHealed, at
			}
			if a.Outcome.Kind == certmedic.OutcomeRunning {
				running++
			}
		}
		for i := range certificates {
			name := fmt.Sprint("c", i)
			if _, ok := begun[name]; ok {
				continue
			}
			c := allowed()
			c.Now, c.MaxPerHour = at, 0
			c.Blast = guard.Reach(journal, name, at)
			c.Blast.Most, c.Blast.Waiting = most, certificates-len(begun)
			if guard.Decide(c).Allowed() {
				begun[name], running = minute, running+1
				journal = append([]certmedic.Action{of(name, certmedic.Action{StartedAt: at, Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRunning}})}, journal...)
			}
		}
		if minute < 5 {
			alone = max(alone, running)
		}
		most2 = max(most2, running)
	}
	if alone != 1 || most2 != most || len(begun) != certificates {
		t.Errorf("%d went first, then %d at a time, %d of %d in all", alone, most2, len(begun), certificates)
	}
}
