// Package rollout decides which hosts get a new version next: one first, then waves. The
// remediator asks it after every change, and carries out what it says.
//
// It is pure: all that it knows is a [Plan] and a [Record], which the caller keeps durably and by
// which a roll-out is gone on with after a restart. It promises that never more hosts than allowed
// are at work at once, that no wave begins after a failure beyond what is tolerated, and that every
// host has exactly one result.
package rollout

import (
	"fmt"
	"slices"
)

// State says how far one host came.
type State string

// The states of a host. All but the first two are its result, until it is retried.
const (
	NotBegun    State = "not_begun"
	Running     State = "running"
	Done        State = "done"     // deployed, and seen served there
	PutBack     State = "put_back" // failed, and as it was before
	Failed      State = "failed"
	Unreachable State = "unreachable" // nothing was done; it is retried later and holds nobody up
)

// failed reports whether the new version did harm, or could have.
func (s State) failed() bool { return s == PutBack || s == Failed }

func (s State) final() bool { return s != NotBegun && s != Running }

// Plan says how a version gets to the hosts.
type Plan struct {
	Hosts     []string // in the order in which they get it
	Canaries  int      // how many have to be done before anybody else begins; 0: one
	Wave      int      // size of a wave in percent of all hosts, at least one host; 0: 25
	Parallel  int      // how many hosts are at work at once; 0: 5
	Tolerated int      // percent of all hosts that may fail before no further wave begins; 0: none
}

// Check says what is wrong with a plan.
func (p Plan) Check() error {
	switch {
	case len(p.Hosts) == 0:
		return fmt.Errorf("the roll-out has no hosts")
	case p.Canaries < 0 || p.Parallel < 0:
		return fmt.Errorf("a roll-out cannot have fewer than no hosts at a time")
	case p.Wave < 0 || p.Wave > 100 || p.Tolerated < 0 || p.Tolerated > 100:
		return fmt.Errorf("the shares of a roll-out are from 0 to 100 percent")
	}
	for i, h := range p.Hosts {
		if slices.Contains(p.Hosts[:i], h) {
			return fmt.Errorf("the roll-out has the host %q twice", h)
		}
	}
	return nil
}

// Progress is what is recorded of one host.
type Progress struct {
	State   State `json:"state"`
	Wave    int   `json:"wave"`              // 0 is that of the canaries
	Retried bool  `json:"retried,omitempty"` // it was unreachable before
}

// Record is what is recorded of the hosts that have a wave by now.
type Record map[string]Progress

// Step is what is to be done next.
type Step struct {
	Wave   int
	Joined []string // hosts that belong to this wave from now on: to be recorded, not begun
	Begin  []string // hosts to begin with now, of those that have a wave; to be recorded as running first
	Over   bool     // nothing runs and nothing more will be begun, but for hosts that are retried
	Why    string   // why hosts are left out; empty where none is
}

// Next decides what is to be done. It changes nothing: the caller enters the hosts that joined and
// those that begin, and then the result of each.
func (p Plan) Next(r Record) Step {
	step := Step{Wave: max(0, p.lastWave(r)), Why: p.stopped(r)}
	stopped := step.Why != ""
	if !stopped && p.settled(r, step.Wave) {
		if p.proven(r) && len(p.waiting(r)) > 0 {
			step.Wave++
		}
		step.Joined = p.join(r, step.Wave)
	}
	step.Begin = p.begin(r, step.Joined, stopped)
	step.Over = len(step.Begin) == 0 && p.count(r, Running) == 0
	if len(p.waiting(r))+p.count(r, NotBegun) == 0 {
		step.Why = ""
	}
	return step
}

// stopped says why no further wave begins; empty while it may.
func (p Plan) stopped(r Record) string {
	failed := 0
	for _, h := range p.Hosts {
		switch q := r[h]; {
		case !q.State.failed():
			continue
		case q.Wave == 0:
			return fmt.Sprintf("%q, which got it first, did not take it", h)
		}
		failed++
	}
	if failed*100 > p.Tolerated*len(p.Hosts) {
		return fmt.Sprintf("%d of %d hosts did not take it", failed, len(p.Hosts))
	}
	return ""
}

// settled reports whether every host of a wave has its result. A host that is retried is no reason
// to wait.
func (p Plan) settled(r Record, wave int) bool {
	return !slices.ContainsFunc(p.Hosts, func(h string) bool {
		q, ok := r[h]
		return ok && q.Wave == wave && !q.Retried && !q.State.final()
	})
}

// proven reports whether as many hosts are done as have to be before the first wave.
func (p Plan) proven(r Record) bool {
	return p.count(r, Done) >= p.canaries()
}

// join returns the hosts of a new wave, or those that take the place of canaries that cannot be
// reached.
func (p Plan) join(r Record, wave int) []string {
	waiting, size := p.waiting(r), (p.share()*len(p.Hosts)+99)/100
	if wave == 0 {
		size = p.canaries() - p.count(r, Done, Running, NotBegun)
	}
	return waiting[:max(0, min(size, len(waiting)))]
}

// begin returns hosts of the waves so far that have not begun, as many as may be at work.
func (p Plan) begin(r Record, joined []string, stopped bool) []string {
	room := p.parallel() - p.count(r, Running)
	if !p.proven(r) {
		room = min(room, p.canaries()-p.count(r, Done, Running))
	}
	var hosts []string
	for _, h := range p.Hosts {
		q, ok := r[h]
		ready := ok && q.State == NotBegun && !(stopped && q.Retried)
		if (ready || slices.Contains(joined, h)) && len(hosts) < room {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func (p Plan) waiting(r Record) []string {
	return slices.DeleteFunc(slices.Clone(p.Hosts), func(h string) bool {
		_, ok := r[h]
		return ok
	})
}

func (p Plan) lastWave(r Record) int {
	last := -1
	for _, h := range p.Hosts {
		if q, ok := r[h]; ok {
			last = max(last, q.Wave)
		}
	}
	return last
}

// count returns how many hosts that have a wave are in one of the states.
func (p Plan) count(r Record, states ...State) int {
	n := 0
	for _, h := range p.Hosts {
		if q, ok := r[h]; ok && slices.Contains(states, q.State) {
			n++
		}
	}
	return n
}

func (p Plan) canaries() int { return min(orUsual(p.Canaries, 1), len(p.Hosts)) }
func (p Plan) share() int    { return orUsual(p.Wave, 25) }
func (p Plan) parallel() int { return orUsual(p.Parallel, 5) }

func orUsual(n, usual int) int {
	if n == 0 {
		return usual
	}
	return n
}

// Resume returns the record with which a roll-out is gone on with after a restart: what was running
// is begun again, because the host itself knows what was left there.
func (r Record) Resume() Record {
	resumed := Record{}
	for h, q := range r {
		if q.State == Running {
			q.State = NotBegun
		}
		resumed[h] = q
	}
	return resumed
}

// Retry returns the record in which a host that was unreachable may begin again. It is the caller
// who waits before that. Others are left as they are: what failed is not tried again by itself.
func (r Record) Retry(host string) Record {
	retried := Record{}
	for h, q := range r {
		if h == host && q.State == Unreachable {
			q.State, q.Retried = NotBegun, true
		}
		retried[h] = q
	}
	return retried
}

// Result is how it stands with one host.
type Result struct {
	Host  string `json:"host"`
	State State  `json:"state"`
}

// Results returns one result for each host of the plan, in its order.
func (p Plan) Results(r Record) []Result {
	results := make([]Result, 0, len(p.Hosts))
	for _, h := range p.Hosts {
		state := NotBegun
		if q, ok := r[h]; ok {
			state = q.State
		}
		results = append(results, Result{h, state})
	}
	return results
}
