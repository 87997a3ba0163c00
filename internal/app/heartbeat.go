package app

import (
	"fmt"
	"time"
)

const (
	blindRounds  = 5           // periods without a complete round, as in the rule watchdog-heartbeat
	judgedWithin = time.Minute // everything is judged every 15 s
)

// work is what shows whether certmedic really watches and judges.
type work struct {
	judged time.Time     // when all was judged last; zero: not yet
	round  time.Time     // when every endpoint had been probed, or certmedic started
	period time.Duration // in which that happens; 0: there is nothing to probe
	ended  error         // why a part ended that should not have
}

// blind says why certmedic does not really watch and judge, empty while it does. Who waits for
// heartbeats hears none meanwhile.
func (w work) blind(now time.Time) string {
	switch {
	case w.ended != nil:
		return fmt.Sprintf("a part has ended: %v", w.ended)
	case w.judged.IsZero():
		return "nothing was judged yet"
	case now.Sub(w.judged) > judgedWithin:
		return "nothing was judged since " + w.judged.UTC().Format(time.RFC3339)
	case w.period > 0 && now.Sub(w.round) > blindRounds*w.period:
		return "not every endpoint was probed since " + w.round.UTC().Format(time.RFC3339)
	}
	return ""
}

// blind says why there is no heartbeat of a generation.
func (a *App) blind(g *generation) func(now time.Time) string {
	since := time.Now()
	return func(now time.Time) string {
		w := work{judged: g.watchdog.Judged(), round: a.metrics.LastRound(), ended: g.failure()}
		if w.round.Before(since) {
			w.round = since
		}
		if g.probes() {
			w.period = period(g.config)
		}
		return w.blind(now)
	}
}

// failure returns why a part ended that should not have.
func (g *generation) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.errs) == 0 {
		return nil
	}
	return g.errs[0]
}

// probes reports whether there is anything to probe.
func (g *generation) probes() bool {
	for _, c := range g.certificates {
		if len(c.Endpoints) > 0 {
			return true
		}
	}
	return false
}
