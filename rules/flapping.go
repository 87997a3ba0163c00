package rules

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// An incident that fires for the fifth time within an hour flaps. It then lasts until its
// condition has been clear for a minute, the next one for two, and so on up to an hour: so a
// flapping condition becomes one long incident instead of one message after the other. What
// happens to another version is another matter: each renewal may go wrong anew.
const (
	flapWindow  = time.Hour
	flapFrom    = 5
	flapLeast   = time.Minute
	flapMost    = time.Hour
	flapDoubled = 6     // doubling so often goes beyond the most
	mostFired   = 1_000 // rules and subjects that are remembered, for certificates whose endpoints come and go
)

// Fired is when the incidents of a rule and a subject fired, within the last hour.
type Fired struct {
	Rule    string            `json:"rule"`
	Subject certmedic.Subject `json:"subject"`
	Times   []time.Time       `json:"times"`             // oldest first
	Version string            `json:"version,omitempty"` // that was stored then
}

// recent returns what fired within the last hour. It changes nothing that it is given.
func recent(all []Fired, now time.Time) []Fired {
	var kept []Fired
	for _, f := range all {
		var times []time.Time
		for _, t := range f.Times {
			if now.Sub(t).Abs() <= flapWindow {
				times = append(times, t)
			}
		}
		if len(times) > 0 {
			f.Times = times
			kept = append(kept, f)
		}
	}
	return kept
}

// fired notes that an incident fires now, while a version is stored, and returns how long its condition has to be clear
// before it may end: nothing, unless it flaps.
func fired(all []Fired, in Instance, version string, now time.Time) (noted []Fired, damped time.Duration) {
	same := func(f Fired) bool { return f.Rule == in.Rule && f.Subject == in.Subject }
	i := slices.IndexFunc(all, same)
	if i < 0 {
		all = append(all, Fired{Rule: in.Rule, Subject: in.Subject})
		all = all[max(0, len(all)-mostFired):]
		i = len(all) - 1
	}
	if all[i].Version != version {
		all[i].Version, all[i].Times = version, nil
	}
	times := append(all[i].Times, now)
	all[i].Times = times[max(0, len(times)-flapFrom-flapDoubled):]
	return all, damping(len(times))
}

// damping is how long the n-th incident within the window has to be clear before it ends.
func damping(n int) time.Duration {
	if n < flapFrom {
		return 0
	}
	return min(flapLeast<<min(n-flapFrom, flapDoubled), flapMost)
}
