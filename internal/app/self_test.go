package app

import (
	"testing"
	"time"
)

// told is a CA that told the time of day, or did not.
type told struct {
	authority
	skew time.Duration
	ok   bool
}

func (c told) Skew(time.Time) (time.Duration, bool) { return c.skew, c.ok }

func TestClockDoubt(t *testing.T) {
	for _, row := range []struct {
		about string
		ca    told
		want  string
	}{
		{"no CA told the time", told{skew: time.Hour}, ""},
		{"the clocks agree", told{ok: true}, ""},
		{"five minutes are not more than five", told{skew: 5 * time.Minute, ok: true}, ""},
		{"ours is ahead", told{skew: 5*time.Minute + time.Second, ok: true}, "the clock of this machine and the CA's differ by 5m1s"},
		{"ours is behind", told{skew: -time.Hour, ok: true}, "the clock of this machine and the CA's differ by 1h0m0s"},
	} {
		g := &generation{advisor: newAdvisor(advisorOptions{CA: row.ca})}
		if got := g.clockDoubt(); got != row.want {
			t.Errorf("%s: %q, want %q", row.about, got, row.want)
		}
	}
}
