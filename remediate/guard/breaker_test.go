package guard_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/guard"
)

// did is an action of the certificate shop that began at a minute and took ten seconds.
func did(minute int, outcome certmedic.OutcomeKind) certmedic.Action {
	at := now.Add(time.Duration(minute) * time.Minute)
	return certmedic.Action{
		Certificate: "shop", Kind: certmedic.ActionRedeploy, Version: "new", StartedAt: at, EndedAt: at.Add(10 * time.Second),
		Outcome: certmedic.Outcome{Kind: outcome},
	}
}

func healed(minute int) certmedic.Action { return did(minute, certmedic.OutcomeHealed) }
func failed(minute int) certmedic.Action { return did(minute, certmedic.OutcomeFailed) }

func refused(minute int, why guard.Reason) certmedic.Action {
	a := did(minute, certmedic.OutcomeRefused)
	a.Outcome.Reason, a.EndedAt = string(why), a.StartedAt
	return a
}

func of(certificate string, a certmedic.Action) certmedic.Action {
	a.Certificate = certificate
	return a
}

func version(v certmedic.Fingerprint, a certmedic.Action) certmedic.Action {
	a.Version = v
	return a
}

// newestFirst puts a journal that is written in the order of events as it is read.
func newestFirst(all []certmedic.Action) []certmedic.Action {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

// TestRelapses tells what happened in minutes, and asks at the last one, when something is
// needed again, until when the breaker is open.
func TestRelapses(t *testing.T) {
	three := []certmedic.Action{healed(0), healed(10), healed(20)}
	open := refused(30, guard.BreakerOpen)
	for _, row := range []struct {
		about   string
		journal []certmedic.Action
		at      int
		count   int
		until   int // the minute, 0: it is closed
	}{
		{"nothing was done yet", nil, 10, 0, 0},
		{"the first relapse", []certmedic.Action{healed(0)}, 10, 1, 0},
		{"the second", []certmedic.Action{healed(0), healed(10)}, 20, 2, 0},
		{"the third opens it for an hour", three, 30, 3, 90},
		{"an hour after it healed is a relapse", three[:1], 60, 1, 0},
		{"more than an hour after is none", three[:1], 61, 0, 0},
		{"a cure that held for an hour makes those before it forgotten", three, 81, 0, 0},
		{"it opened when that was first found, also over a restart", append(slices.Clone(three), open, refused(50, guard.BreakerOpen)), 60, 3, 90},
		{"it is half open after the hour", append(slices.Clone(three), open), 90, 3, 90},
		{"the trial relapses: two hours", append(slices.Clone(three), open, healed(90)), 100, 4, 220},
		{"the next one: four", append(slices.Clone(three), open, healed(90), refused(100, guard.BreakerOpen), healed(220)), 230, 5, 470},
		{"a trial that does not heal opens it again, from its end on", append(slices.Clone(three), open, failed(90)), 91, 4, 210},
		{"a trial whose cure holds for an hour closes it", append(slices.Clone(three), open, healed(90)), 151, 0, 0},
		{"failures between do not hide a relapse", []certmedic.Action{healed(0), failed(5), failed(6), healed(10), healed(20)}, 30, 3, 90},
		{"failures alone are no relapse", []certmedic.Action{failed(0), failed(1), failed(2), failed(3)}, 4, 0, 0},
		{"what was refused for another reason is no relapse, and no trial", []certmedic.Action{healed(0), refused(5, guard.Frozen), healed(10)}, 80, 0, 0},
		{"another version has its own", []certmedic.Action{version("old", healed(0)), version("old", healed(10)), healed(20)}, 30, 1, 0},
		{"so has another certificate", []certmedic.Action{of("b", healed(0)), of("b", healed(10)), healed(20)}, 30, 1, 0},
		{"what is at work says nothing yet", append(slices.Clone(three[:2]), did(20, certmedic.OutcomeRunning)), 20, 2, 0},
	} {
		t.Run(row.about, func(t *testing.T) {
			at := now.Add(time.Duration(row.at) * time.Minute)
			b := guard.Relapses(newestFirst(row.journal), "shop", "new", at)
			wantBreaker(t, b, row.count, row.until)
		})
	}
}

// wantBreaker compares to the minute: actions take a while.
func wantBreaker(t *testing.T, b guard.Breaker, count, until int) {
	t.Helper()
	got := 0
	if !b.Until.IsZero() {
		got = int(b.Until.Sub(now) / time.Minute)
	}
	if b.Count != count || got != until {
		t.Errorf("%d in a row and open until minute %d, want %d and %d", b.Count, got, count, until)
	}
}

// TestBreakerStopsAtADay lets a cure relapse for a month: trials come ever less often, but at
// least once a day.
func TestBreakerStopsAtADay(t *testing.T) {
	var journal []certmedic.Action
	var waits []string
	for minute := 0; minute < 30*24*60; minute++ {
		at := now.Add(time.Duration(minute) * time.Minute)
		b := guard.Relapses(newestFirst(journal), "shop", "new", at)
		switch last := len(journal) - 1; {
		case !b.Open(at):
			journal = append(journal, healed(minute))
		case journal[last].Outcome.Kind == certmedic.OutcomeHealed:
			waits = append(waits, fmt.Sprint(b.Until.Sub(at)))
			journal = append(journal, refused(minute, guard.BreakerOpen))
		}
	}
	want := []string{"1h0m0s", "2h0m0s", "4h0m0s", "8h0m0s", "16h0m0s", "24h0m0s", "24h0m0s"}
	if len(waits) < 30 || !slices.Equal(waits[:len(want)], want) || waits[len(waits)-1] != "24h0m0s" {
		t.Errorf("it was open for %q", waits)
	}
}

func TestFailures(t *testing.T) {
	row := func(n int, kind certmedic.OutcomeKind) (all []certmedic.Action) {
		for i := range n {
			all = append(all, of(fmt.Sprint("c", i), did(i, kind)))
		}
		return all
	}
	five := row(5, certmedic.OutcomeFailed)
	for _, row := range []struct {
		about   string
		journal []certmedic.Action
		at      int
		count   int
		until   int
	}{
		{"nothing was done yet", nil, 0, 0, 0},
		{"four certificates in a row", five[:4], 5, 4, 0},
		{"the fifth opens it for a quarter of an hour, from the end of its action on", five, 5, 5, 19},
		{"what could not be verified did not heal", row(5, certmedic.OutcomeUnverified), 5, 5, 19},
		{"nor did what was put back", row(5, certmedic.OutcomePutBack), 5, 5, 19},
		{"what was refused was not tried", row(5, certmedic.OutcomeRefused), 5, 0, 0},
		{"one that heals between begins the row anew", append(append(slices.Clone(five[:4]), of("x", healed(4))), five[4]), 5, 1, 0},
		{"one that heals at last closes it", append(slices.Clone(five), of("x", healed(20))), 21, 0, 0},
		{"a trial that does not heal opens it again", append(slices.Clone(five), of("c1", failed(20))), 21, 5, 35},
		{"six attempts for one certificate are its own affair", []certmedic.Action{failed(0), failed(0), failed(1), failed(1), failed(2), failed(4)}, 5, 1, 0},
		{"what is more than an hour ago does not count", five, 63, 2, 0},
	} {
		t.Run(row.about, func(t *testing.T) {
			at := now.Add(time.Duration(row.at) * time.Minute)
			wantBreaker(t, guard.Failures(newestFirst(row.journal), "another", at), row.count, row.until)
			if row.until > 0 {
				wantBreaker(t, guard.Failures(newestFirst(row.journal), "c3", at), row.count, row.until+1)
			}
		})
	}
}

func TestBreakerStates(t *testing.T) {
	for _, row := range []struct {
		about          string
		b              guard.Breaker
		open, halfOpen bool
	}{
		{"closed", guard.Breaker{Count: 2}, false, false},
		{"open", guard.Breaker{Count: 3, Until: now.Add(time.Second)}, true, false},
		{"half open from its moment on", guard.Breaker{Count: 3, Until: now}, false, true},
	} {
		if row.b.Open(now) != row.open || row.b.HalfOpen(now) != row.halfOpen {
			t.Errorf("%s: open %t, half open %t", row.about, row.b.Open(now), row.b.HalfOpen(now))
		}
	}
}
