package storm_test

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// scale is how much a storm is of.
type scale struct {
	seed         uint64
	certificates int
	teams        int // each with a channel and an app of Slack, and a service of PagerDuty
	kills        int
	drain        time.Duration // the most that may be left to tell after the last kill
}

// groupWait is how long both wait for what belongs together.
const groupWait = 200 * time.Millisecond

// kill is a moment to die at: after a time, or earlier with a call.
type kill struct {
	after time.Duration
	ready bool // the time begins when it is ready to work, not when it is started
	call  int  // at this call to the fakes since the start; 0: at none
	done  bool // the call is done and its answer lost, else the call is not done
}

func (k kill) String() string {
	from, call := "start", ""
	if k.ready {
		from = "ready"
	}
	if k.call > 0 {
		call = fmt.Sprintf(" or call %d done=%v", k.call, k.done)
	}
	return fmt.Sprintf("%s+%v%s", from, k.after.Truncate(time.Millisecond), call)
}

// killPoints are the moments of a storm: a quarter during the start, the others at work, and half of
// these with a call, because what was sent without an answer is hardest to know.
func (s scale) killPoints() []kill {
	dice := rand.New(rand.NewPCG(s.seed, 0))
	all := make([]kill, s.kills)
	for i := range all {
		all[i] = kill{after: time.Duration(dice.Int64N(int64(400 * time.Millisecond)))}
		if dice.IntN(4) == 0 {
			continue
		}
		all[i] = kill{after: time.Duration(dice.Int64N(int64(700 * time.Millisecond))), ready: true}
		if dice.IntN(2) == 0 {
			all[i].after, all[i].call, all[i].done = time.Second, 1+dice.IntN(40), dice.IntN(3) > 0
		}
	}
	return all
}

// certificate is one whose troubles make the storm.
type certificate struct {
	name string
	team int
	dice *rand.Rand // of what happens to it
}

func (s scale) fleet() []certificate {
	all := make([]certificate, s.certificates)
	for i := range all {
		all[i] = certificate{name: fmt.Sprintf("c%03d", i), team: i % s.teams, dice: rand.New(rand.NewPCG(s.seed, uint64(i)+1))}
	}
	return all
}

// story is what happens to a certificate from the moment that it breaks until it is mended.
type story func(w *walk)

// stories are all that can happen, the usual ones more often.
func stories() []story {
	return []story{breaks, breaks, breaks, worsens, worsens, flaps, flaps, isTakenOver, isTakenOver, isPagedAway, isSilenced, isSilenced, isUnsilenced}
}

// lasting are the stories that begin early and end when nothing is killed any more. The first
// certificates have them.
func lasting() []story { return []story{lastsTakenOver, lastsSilenced, lastsTakenOver, lastsSilenced} }
