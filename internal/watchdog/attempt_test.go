package watchdog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/rules"
)

func TestAttemptOfARenewal(t *testing.T) {
	line := acmelog.Line{File: "/var/log/letsencrypt/letsencrypt.log", Number: 812, Text: "Hook 'deploy-hook' reported error code 127"}
	for _, row := range []struct {
		about     string
		attempt   *acmelog.Attempt
		deploying bool
		want      string // empty: nobody supplies it
		undecided bool
	}{
		{"a log that says nothing says nothing", nil, false, "", false},
		{"a hook failed", &acmelog.Attempt{Word: acmelog.AttemptHookFailed, At: line}, false, "hook_failed", false},
		{"another attempt is under way", &acmelog.Attempt{Word: acmelog.AttemptHookFailed, At: line}, true, "hook_failed", true},
	} {
		cert := certmedic.Certificate{Name: "shop"}
		e := newEntry(&cert, store.Memory{}, rules.State{})
		e.attempt = row.attempt
		if row.deploying {
			e.stored = &certmedic.Stored{Lock: certmedic.Lock{State: certmedic.LockHeld}}
		}
		c := e.facts(time.Now()).Certificate
		got := ""
		if c.RenewalLog != nil {
			got = *c.RenewalLog
		}
		if _, undecided := c.Undecided["certificate.renewal_log"]; got != row.want || undecided != row.undecided {
			t.Errorf("%s: %q, undecided %t", row.about, got, undecided)
		}
		if lines := c.Support["certificate.renewal_log"].Evidence; row.attempt != nil && (len(lines) != 1 || lines[0] != line.Evidence()) {
			t.Errorf("%s: the evidence is %+v", row.about, lines)
		}
	}
}

// TestAttemptIsJudgedAtOnce has the log say how renewals went.
func TestAttemptIsJudgedAtOnce(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		s.start(nil)
		s.seen()
		judged := func() time.Time {
			var at time.Time
			s.locked(func() { at = s.w.entries["shop"].judged })
			return at
		}
		before := judged()
		time.Sleep(time.Millisecond)
		a := acmelog.Attempt{Word: acmelog.AttemptFailed, Cause: certmedic.CauseRateLimited}
		s.w.Attempted("shop", &a)
		s.w.Attempted("another", &a)
		first := judged()
		if !first.After(before) {
			t.Error("a renewal that failed is not judged")
		}
		time.Sleep(time.Millisecond)
		again := a
		s.w.Attempted("shop", &again)
		if !judged().Equal(first) {
			t.Error("the same attempt is judged again")
		}
		s.w.Attempted("shop", nil)
		if judged().Equal(first) {
			t.Error("a log that ends to tell of it is not judged")
		}
	})
}
