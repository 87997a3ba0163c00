package alerting

import (
	"maps"
	"slices"
	"time"
)

// health is how a receiver takes what it is sent. The mutex of its queue guards it.
type health struct {
	failures int       // in a row
	refused  bool      // the last notification was rejected
	why      string    // what the last attempt came to, where it failed
	took     time.Time // when it took something last

	missed    int    // heartbeats in a row that failed
	missedWhy string // what the last came to

	stale    int    // repetitions of what fires in a row that failed
	staleWhy string // what the last came to
}

// failsFrom is how many failures in a row make a receiver one that fails.
const failsFrom = 5

// tooLong is from which pause on a receiver that asks for one counts as failing: others have to be
// told in its place.
const tooLong = time.Minute

// pauses notes that nothing is sent for a while.
func (q *queue) pauses(err error, delay time.Duration) {
	if delay <= tooLong {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failures, q.why = max(q.failures, failsFrom), clean(err.Error())
}

// failed counts a failure in a row and returns how many there were before; succeeded
// ends the row.
func (q *queue) failed(err error) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failures++
	q.why = clean(err.Error())
	return q.failures - 1
}

func (q *queue) succeeded() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failures, q.refused, q.why, q.took = 0, false, "", time.Now()
}

// rejected notes that the receiver will never take what it was sent last.
func (q *queue) rejected(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failures, q.refused, q.why = 0, true, clean(err.Error())
}

// heartbeat notes what a heartbeat came to. One that is rejected counts as many.
func (q *queue) heartbeat(retry bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err == nil:
		q.missed, q.missedWhy = 0, ""
		return
	case retry:
		q.missed++
	default:
		q.missed += failsFrom
	}
	q.missedWhy = "heartbeat: " + clean(err.Error())
}

// failing says why the receiver counts as one that does not take what it is sent.
func (q *queue) failing() (why string, fails bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.refused || q.failures >= failsFrom:
		return q.why, true
	case q.missed >= failsFrom:
		return q.missedWhy, true
	case q.stale >= failsFrom:
		return q.staleWhy, true
	}
	return "", false
}

// State is how one receiver does.
type State struct {
	Receiver string
	Oldest   time.Time // since when what it has not got waits; zero: nothing does
	Took     time.Time // when it took something last; zero: not since the start
	Failing  bool      // it does not take what it is sent
	Why      string    // what the last attempt came to; empty where it succeeded
}

// States returns how every receiver does, sorted by name.
func (a *Alerter) States() []State {
	all := make([]State, 0, len(a.queues))
	for _, name := range slices.Sorted(maps.Keys(a.queues)) {
		q := a.queues[name]
		s := State{Receiver: name, Oldest: q.oldest()}
		s.Why, s.Failing = q.failing()
		q.mu.Lock()
		s.Took = q.took
		if s.Why == "" {
			s.Why = q.why
		}
		q.mu.Unlock()
		all = append(all, s)
	}
	return all
}

// Failing returns why receivers do not take what they are sent, by the names of those that fail:
// they rejected the last notification, or did not take several in a row.
func (a *Alerter) Failing() map[string]string {
	failing := map[string]string{}
	for name, q := range a.queues {
		if why, fails := q.failing(); fails {
			failing[name] = why
		}
	}
	return failing
}
