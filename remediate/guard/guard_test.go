package guard_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/guard"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// allowed returns a case in which nothing stands against a redeployment.
func allowed() guard.Case {
	return guard.Case{
		Now: now, Kind: certmedic.ActionRedeploy,
		Certificate: certmedic.Certificate{Name: "shop", Mode: certmedic.ModeAuto, Allow: []certmedic.ActionKind{certmedic.ActionRedeploy}},
		Stored: certmedic.Stored{
			Chain: []certmedic.CertFacts{{SHA256: "new", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour)}},
			Lock:  certmedic.Lock{State: certmedic.LockFree},
		},
		Needed: true, Bound: true, Runnable: true, MaxPerHour: 10,
	}
}

func storedUntil(left time.Duration) func(*guard.Case) {
	return storedFor(90*24*time.Hour, left)
}

// storedFor makes the stored version one of a life of which so much is left.
func storedFor(life, left time.Duration) func(*guard.Case) {
	return func(c *guard.Case) {
		c.Stored.Chain[0].NotBefore, c.Stored.Chain[0].NotAfter = now.Add(left-life), now.Add(left)
	}
}

func TestHowMuchHasToBeLeft(t *testing.T) {
	for _, tt := range []struct {
		about      string
		life, left time.Duration
		want       guard.Reason
	}{
		{"a day of ninety", 90 * 24 * time.Hour, 24 * time.Hour, guard.None},
		{"not a day of ninety", 90 * 24 * time.Hour, 24*time.Hour - 1, guard.StoredInvalid},
		{"a quarter of a day", 24 * time.Hour, 6 * time.Hour, guard.None},
		{"less than that", 24 * time.Hour, 6*time.Hour - 1, guard.StoredInvalid},
		{"nothing", 24 * time.Hour, 0, guard.StoredInvalid},
	} {
		c := allowed()
		storedFor(tt.life, tt.left)(&c)
		if d := guard.Decide(c); d.Reason != tt.want {
			t.Errorf("%s: %s (%s), want %q", tt.about, d.Reason, d.Detail, tt.want)
		}
	}
}

func problem(c *guard.Case) {
	c.Problems = []certmedic.Finding{certmedic.NewFinding(certmedic.KeyMismatch, "of another key")}
}

func denied(c *guard.Case) { c.Denied = true }

func locked(state certmedic.LockState) func(*guard.Case) {
	return func(c *guard.Case) {
		c.Stored.Lock = certmedic.Lock{State: state, Path: "/etc/letsencrypt/.certbot.lock", PID: 42, Detail: "denied"}
	}
}

func tried(n int, ago time.Duration) func(*guard.Case) {
	return func(c *guard.Case) { c.Attempts, c.LastAttempt = n, now.Add(-ago) }
}

func mode(m certmedic.Mode) func(*guard.Case) {
	return func(c *guard.Case) { c.Certificate.Mode = m }
}

func opens(in time.Duration) func(*guard.Case) {
	return func(c *guard.Case) { c.Opens = now.Add(in) }
}

func doubtful(c *guard.Case) { c.ClockDoubt = "the clocks differ by 6m0s" }

func disagreeing(c *guard.Case) { c.Disagree = "no two looks saw the same at 192.0.2.1:443" }

func relapses(open time.Duration) func(*guard.Case) {
	return func(c *guard.Case) { c.Relapses = guard.Breaker{Count: 3, Until: now.Add(open)} }
}

func failures(open time.Duration) func(*guard.Case) {
	return func(c *guard.Case) { c.Failures = guard.Breaker{Count: 5, Until: now.Add(open)} }
}

func TestDecide(t *testing.T) {
	tests := []struct {
		about  string
		change func(*guard.Case)
		want   guard.Reason
		byHand guard.Reason // what is answered when a person asks the same
	}{
		{"nothing stands against it", func(*guard.Case) {}, guard.None, guard.None},
		{"a reload is known, too, if it is allowed", func(c *guard.Case) {
			c.Kind, c.Certificate.Allow = certmedic.ActionReload, []certmedic.ActionKind{certmedic.ActionReload}
		}, guard.None, guard.None},

		{"an action that nobody knows", func(c *guard.Case) { c.Kind = "restart" }, guard.UnsupportedKind, guard.UnsupportedKind},
		{"the source holds nothing", func(c *guard.Case) { c.Stored.Chain = nil }, guard.NothingStored, guard.NothingStored},
		{"no address ever served this certificate", func(c *guard.Case) { c.Bound = false }, guard.NotBound, guard.NotBound},
		{"everything serves the stored version", func(c *guard.Case) { c.Needed = false }, guard.NoNeed, guard.NoNeed},

		{"the stored version has a critical finding", problem, guard.StoredInvalid, guard.StoredInvalid},
		{"the key of the stored version is denied", denied, guard.KeyDenied, guard.KeyDenied},
		{"its key is denied, and it has a critical finding besides", func(c *guard.Case) { problem(c); denied(c) }, guard.KeyDenied, guard.KeyDenied},
		{"its key is denied, and what is served is invalid already", func(c *guard.Case) { denied(c); c.ServedDire = true }, guard.KeyDenied, guard.KeyDenied},
		{"the stored version ends in less than a day", storedUntil(24*time.Hour - time.Second), guard.StoredInvalid, guard.StoredInvalid},
		{"the stored version ends in a day", storedUntil(24 * time.Hour), guard.None, guard.None},
		{"an hour is enough where what is served is invalid already", func(c *guard.Case) {
			storedUntil(time.Hour)(c)
			c.ServedDire = true
		}, guard.None, guard.None},
		{"less than an hour is not", func(c *guard.Case) {
			storedUntil(time.Hour - time.Second)(c)
			c.ServedDire = true
		}, guard.StoredInvalid, guard.StoredInvalid},
		{"others may write a hook", func(c *guard.Case) { c.Untrusted = errors.New("open to others") }, guard.UntrustedFile, guard.UntrustedFile},
		{"there is no hook and no step", func(c *guard.Case) { c.Runnable = false }, guard.NothingToRun, guard.NothingToRun},

		{"certbot holds its lock", locked(certmedic.LockHeld), guard.Deploying, guard.Deploying},
		{"the lock cannot be asked", locked(certmedic.LockUnknown), guard.LockUnknown, guard.LockUnknown},

		{"the mode is observe", mode(certmedic.ModeObserve), guard.ModeObserve, guard.None},
		{"the mode is plan", mode(certmedic.ModePlan), guard.ModePlan, guard.None},
		{"the mode is approve", mode(certmedic.ModeApprove), guard.NeedsApproval, guard.None},
		{"the action is not in allow", func(c *guard.Case) { c.Certificate.Allow = nil }, guard.NotAllowed, guard.None},
		{"the freeze file is there", func(c *guard.Case) { c.Frozen = true }, guard.Frozen, guard.None},
		{"no maintenance window is open", opens(time.Hour), guard.OutsideWindow, guard.None},
		{"what is served is invalid already, and no window is open", func(c *guard.Case) { opens(time.Hour)(c); c.ServedDire = true }, guard.OutsideWindow, guard.None},

		{"the clock is in doubt", doubtful, guard.ClockDoubt, guard.ClockDoubt},
		{"no two looks agreed", disagreeing, guard.SensesDisagree, guard.SensesDisagree},

		{"the cure relapsed, and its breaker is open for a second", relapses(time.Second), guard.BreakerOpen, guard.None},
		{"the breaker of the cure is half open", relapses(0), guard.None, guard.None},
		{"nothing healed anywhere, and the fleet's breaker is open for a second", failures(time.Second), guard.FleetBreaker, guard.None},
		{"the fleet's breaker is half open", failures(0), guard.None, guard.None},

		{"the first failure was 4 s ago", tried(1, 4*time.Second), guard.Backoff, guard.None},
		{"the first failure was 5 s ago", tried(1, 5*time.Second), guard.None, guard.None},
		{"the third failure was 19 s ago", tried(3, 19*time.Second), guard.Backoff, guard.None},
		{"the third failure was 20 s ago", tried(3, 20*time.Second), guard.None, guard.None},
		{"as many failures as are tried at most", tried(guard.MaxAttempts, 24*time.Hour), guard.Exhausted, guard.None},
		{"this hour's actions are spent", func(c *guard.Case) { c.ActionsLastHour = 10 }, guard.HourlyBudget, guard.None},
		{"one of this hour's actions is left", func(c *guard.Case) { c.ActionsLastHour = 9 }, guard.None, guard.None},
		{"no bound means no bound", func(c *guard.Case) { c.ActionsLastHour, c.MaxPerHour = 1000, 0 }, guard.None, guard.None},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			c := allowed()
			tt.change(&c)
			wantReason(t, c, tt.want)
			c.ByHand = true
			wantReason(t, c, tt.byHand)
		})
	}
}

func wantReason(t *testing.T, c guard.Case, want guard.Reason) {
	t.Helper()
	d := guard.Decide(c)
	if d.Reason != want || d.Allowed() != (want == guard.None) {
		t.Errorf("by hand %v: %q (%s), want %q", c.ByHand, d.Reason, d.Detail, want)
	}
	if !d.Allowed() && d.Detail == "" {
		t.Errorf("by hand %v: %q has no detail", c.ByHand, d.Reason)
	}
}

// TestForce shows that force overrides the lack of a need and doubtful senses, and no validation.
func TestForce(t *testing.T) {
	c := allowed()
	c.ByHand, c.Force, c.Needed, c.Bound = true, true, false, false
	doubtful(&c)
	disagreeing(&c)
	wantReason(t, c, guard.None)
	for _, change := range []func(*guard.Case){problem, storedUntil(time.Hour), locked(certmedic.LockHeld)} {
		bad := c
		bad.Stored.Chain = append([]certmedic.CertFacts{}, c.Stored.Chain...)
		change(&bad)
		if guard.Decide(bad).Allowed() {
			t.Errorf("force overrides validation: %+v", bad)
		}
	}
}

// TestOrder adds obstacles from the least to the most telling one: each has to be named
// before those that were there.
func TestOrder(t *testing.T) {
	steps := []struct {
		change func(*guard.Case)
		want   guard.Reason
	}{
		{func(c *guard.Case) { c.ActionsLastHour = 10 }, guard.HourlyBudget},
		{tried(1, time.Second), guard.Backoff},
		{failures(time.Minute), guard.FleetBreaker},
		{relapses(time.Minute), guard.BreakerOpen},
		{tried(guard.MaxAttempts, time.Second), guard.Exhausted},
		{func(c *guard.Case) { c.Settles = now.Add(time.Second) }, guard.Settling},
		{disagreeing, guard.SensesDisagree},
		{doubtful, guard.ClockDoubt},
		{opens(time.Hour), guard.OutsideWindow},
		{func(c *guard.Case) { c.Frozen = true }, guard.Frozen},
		{mode(certmedic.ModePlan), guard.ModePlan},
		{func(c *guard.Case) { c.Certificate.Allow = nil }, guard.NotAllowed},
		{mode(certmedic.ModeObserve), guard.ModeObserve},
		{locked(certmedic.LockUnknown), guard.LockUnknown},
		{locked(certmedic.LockHeld), guard.Deploying},
		{func(c *guard.Case) { c.Runnable = false }, guard.NothingToRun},
		{func(c *guard.Case) { c.Untrusted = errors.New("open") }, guard.UntrustedFile},
		{storedUntil(time.Minute), guard.StoredInvalid},
		{func(c *guard.Case) { c.Needed = false }, guard.NoNeed},
		{func(c *guard.Case) { c.Bound = false }, guard.NotBound},
		{func(c *guard.Case) { c.Stored.Chain = nil }, guard.NothingStored},
		{func(c *guard.Case) { c.Kind = "restart" }, guard.UnsupportedKind},
	}
	c := allowed()
	for _, step := range steps {
		step.change(&c)
		wantReason(t, c, step.want)
	}
}

func TestRetryIsWhenTheBackoffEnds(t *testing.T) {
	c := allowed()
	tried(2, 3*time.Second)(&c)
	d := guard.Decide(c)
	if want := now.Add(7 * time.Second); !d.Retry.Equal(want) || !strings.Contains(d.Detail, want.Format(time.RFC3339)) {
		t.Errorf("retry at %s (%s), want %s", d.Retry, d.Detail, want)
	}
}

// TestRetry shows that who is refused for a time is told for how long.
func TestRetry(t *testing.T) {
	for about, change := range map[string]func(*guard.Case){
		"the window": opens(time.Hour), "the breaker": relapses(time.Hour), "the fleet's breaker": failures(time.Hour),
	} {
		c := allowed()
		change(&c)
		d := guard.Decide(c)
		if want := now.Add(time.Hour); !d.Retry.Equal(want) || !strings.Contains(d.Detail, want.Format(time.RFC3339)) {
			t.Errorf("%s: retry at %s (%s), want %s", about, d.Retry, d.Detail, want)
		}
	}
}

func TestDelay(t *testing.T) {
	want := []time.Duration{0, 5, 10, 20, 40, 80, 160, 300, 300}
	for n, seconds := range want {
		if got := guard.Delay(n); got != seconds*time.Second {
			t.Errorf("after %d failures %s, want %s", n, got, seconds*time.Second)
		}
	}
	if got := guard.Delay(1 << 20); got != 5*time.Minute {
		t.Errorf("after very many failures %s", got)
	}
	if got := guard.Delay(-1); got != 0 {
		t.Errorf("after -1 failures %s", got)
	}
}

// TestWaits shows which refusals are asked about again: those that only a new configuration
// or new files end are not.
func TestWaits(t *testing.T) {
	for _, r := range []guard.Reason{
		guard.None, guard.NoNeed, guard.ModeObserve, guard.ModePlan, guard.NeedsApproval, guard.NotAllowed, guard.Exhausted, guard.UnsupportedKind,
	} {
		if r.Waits() {
			t.Errorf("%q is waited for", r)
		}
	}
	for _, r := range []guard.Reason{
		guard.Deploying, guard.LockUnknown, guard.Frozen, guard.Backoff, guard.HourlyBudget, guard.NotBound,
		guard.OutsideWindow, guard.ClockDoubt, guard.SensesDisagree, guard.BreakerOpen, guard.FleetBreaker,
	} {
		if !r.Waits() {
			t.Errorf("%q is not waited for", r)
		}
	}
}
