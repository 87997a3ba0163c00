package scenario_test

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// The oracle says which alerts must be firing, may be firing and must not, from the truth of
// a world and from what the design promises in words. It knows nothing of rules, facts or CEL.

// truth is what may be the case about a claim: one of three things, or several where the
// promise leaves it open.
type truth uint8

const (
	good    truth = 1 << iota // it is fine, and was seen to be
	bad                       // it is not, and was seen not to be
	unknown                   // nobody can tell
)

// or returns what may be the case about one claim or the other.
func (a truth) or(b truth) truth {
	r := (a | b) & bad
	if a&b&good != 0 {
		r |= good
	}
	if a&unknown != 0 && b&(unknown|good) != 0 || b&unknown != 0 && a&(unknown|good) != 0 {
		r |= unknown
	}
	return r
}

func (a truth) not() truth { return a&unknown | a&good<<1 | a&bad>>1 }

func (a truth) and(b truth) truth { return a.not().or(b.not()).not() }

// says is bad where something that is wrong holds.
func says(wrong bool) truth {
	if wrong {
		return bad
	}
	return good
}

// alarm follows one alert through time: `hold` and `keep` are how long it takes to fire and
// to end. It keeps bounds of what the timers can show, because nobody promises what they do
// while the clock is set or the daemon is down.
type alarm struct {
	hold, keep         time.Duration
	mayFire, mustFire  bool
	last               truth
	heldMin, heldMax   time.Duration
	clearMin, clearMax time.Duration
	began              []time.Duration // when it may have begun to fire, lately
}

// passed is what happened since the last moment.
type passed struct {
	time   time.Duration
	jump   time.Duration // of the clock
	broken bool          // the clock was set, or the daemon did not run
}

// step moves the alarm on to a moment at which now is what may be seen.
func (a *alarm) step(t time.Duration, now truth, p passed) {
	steady := now == a.last && !p.broken
	if a.last&now&bad != 0 {
		a.heldMax += p.time + p.jump
	}
	if a.last&now&good != 0 {
		a.clearMax += p.time + p.jump
	}
	switch {
	case now == bad && steady:
		a.heldMin += p.time
	case now == good && steady:
		a.clearMin += p.time
	}
	if now&good != 0 {
		a.heldMin = 0
	}
	if now&bad != 0 {
		a.clearMin = 0
	}
	switch now {
	case good:
		a.heldMax = 0
	case bad:
		a.clearMax = 0
	}
	a.last = now
	a.decide(t, now)
}

func (a *alarm) decide(t time.Duration, now truth) {
	if now&bad != 0 && a.heldMax >= a.hold {
		if !a.mayFire {
			a.began = append(a.began, t)
		}
		a.mayFire = true
		a.mustFire = a.mustFire || now == bad && a.heldMin >= a.hold
	}
	if now&good != 0 && a.clearMax >= a.keep {
		a.mustFire = false
		if now == good && a.clearMin >= a.longest(t) {
			a.mayFire = false
		}
	}
}

// longest is how long it can take to end: what flaps is damped, up to an hour.
func (a *alarm) longest(t time.Duration) time.Duration {
	a.began = slices.DeleteFunc(a.began, func(b time.Duration) bool { return b < t-3*time.Hour })
	if len(a.began) >= 5 {
		return max(a.keep, time.Hour)
	}
	return a.keep
}

// claim is what the design promises to tell, in one alert for the certificate, or in one for
// each endpoint.
type claim struct {
	rule       string
	hold, keep time.Duration
	endpoints  bool
	of         func(s *senses, endpoint int) truth
}

// claims lists every alert that something in a world can be the cause of.
func claims() []claim {
	served := func(codes ...certmedic.FindingCode) func(*senses, int) truth {
		return func(s *senses, _ int) truth { return s.found(codes) }
	}
	kept := func(codes ...certmedic.FindingCode) func(*senses, int) truth {
		return func(s *senses, _ int) truth { return s.foundInSource(codes) }
	}
	return []claim{
		{rule: "renewed-not-served", hold: 2 * time.Second, keep: 2 * time.Second, of: func(s *senses, _ int) truth {
			return s.drift().and(s.servedNewer().not())
		}},
		{rule: "served-newer", hold: 10 * time.Second, of: func(s *senses, _ int) truth { return s.drift().and(s.servedNewer()) }},
		{rule: "split-serving", hold: time.Minute, of: func(s *senses, _ int) truth { return s.split().and(s.drift().not()) }},
		{rule: "hook_hung", hold: 10 * time.Minute, of: func(s *senses, _ int) truth { return says(s.source.locked) }},
		{rule: "renewal-overdue", of: func(s *senses, _ int) truth { return s.overdue() }},
		{rule: "expiry-imminent", of: func(s *senses, _ int) truth { return s.ending() }},
		{rule: "expired", of: func(s *senses, _ int) truth { return s.ended() }},
		{rule: "not-yet-valid", of: served(certmedic.NotYetValid)},
		{rule: "chain-invalid", of: func(s *senses, _ int) truth { return s.chain() }},
		{rule: "chain-expiring", of: served(certmedic.ChainExpiring)},
		{rule: "name-mismatch", of: served(certmedic.NameMismatch)},
		{rule: "revoked", of: served(certmedic.Revoked)},
		{rule: "must-staple-without-staple", of: served(certmedic.MustStapleMissing)},
		{rule: "weak-parameters", of: served(certmedic.WeakSignature)},
		{rule: "key-mismatch", of: kept(certmedic.KeyMismatch)},
		{rule: "lineage-broken", hold: 10 * time.Second, of: kept(certmedic.LineageBroken, certmedic.FileMissing)},
		{rule: "stored-invalid", hold: 10 * time.Second, of: kept(certmedic.Expired, certmedic.NotYetValid)},
		{rule: "unreachable", hold: 2 * time.Minute, keep: time.Minute, endpoints: true, of: func(s *senses, e int) truth {
			return s.silent(e, certmedic.Timeout)
		}},
		{rule: "endpoint-vanished", hold: 5 * time.Minute, keep: time.Minute, endpoints: true, of: func(s *senses, e int) truth {
			return s.silent(e, certmedic.DNSFailed)
		}},
		{rule: "probe-stale", hold: 2 * time.Minute, endpoints: true, of: (*senses).unprobed},
	}
}

// subject names an alert of a certificate, or of one of its endpoints.
type subject struct{ rule, endpoint string }

// watched is one alarm of a world, with what it is about.
type watched struct {
	alarm
	subject
	claim  claim
	target int
	wrong  bool // it was not as it had to be at the last judgement, so that one mistake counts once
}

// oracle follows all alarms of a world.
type oracle struct {
	s      *senses
	alarms []*watched
	known  map[subject]bool
}

func newOracle(s *senses) *oracle {
	o := &oracle{s: s, known: map[subject]bool{}}
	for _, c := range claims() {
		if !c.endpoints {
			o.watch(c, subject{rule: c.rule}, 0)
			continue
		}
		for e, t := range s.w.targets {
			o.watch(c, subject{c.rule, t.Address}, e)
		}
	}
	return o
}

func (o *oracle) watch(c claim, of subject, target int) {
	o.alarms = append(o.alarms, &watched{alarm: alarm{hold: c.hold, keep: c.keep, last: unknown}, subject: of, claim: c, target: target})
	o.known[of] = true
}
