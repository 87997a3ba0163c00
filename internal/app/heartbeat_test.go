package app

import (
	"errors"
	"testing"
	"time"
)

func TestBlind(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, row := range []struct {
		about string
		work  work
		want  string
	}{
		{"all is well", work{judged: ago(15 * time.Second), round: ago(time.Minute), period: time.Minute}, ""},
		{"it has just begun", work{round: now, period: time.Minute}, "nothing was judged yet"},
		{"the rules are not asked any more", work{judged: ago(61 * time.Second), round: now, period: time.Minute}, "nothing was judged since 2026-03-01T11:58:59Z"},
		{"rounds are not complete", work{judged: now, round: ago(301 * time.Second), period: time.Minute}, "not every endpoint was probed since 2026-03-01T11:54:59Z"},
		{"there is nothing to probe", work{judged: now, round: ago(24 * time.Hour)}, ""},
		{"a part has ended", work{judged: now, round: now, ended: errors.New("probing: no")}, "a part has ended: probing: no"},
	} {
		if got := row.work.blind(now); got != row.want {
			t.Errorf("%s: %q, want %q", row.about, got, row.want)
		}
	}
}
