package pagerduty

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	callsPerWindow = 120              // that PagerDuty takes with one routing key
	window         = time.Minute      // a sliding one
	afterThrottled = 30 * time.Second // until the next call, where PagerDuty does not say
	longestPause   = time.Hour
)

// Limits keeps the notifiers of a process together within the calls per minute that PagerDuty
// takes with one routing key. Its methods may be called by several goroutines.
type Limits struct {
	mu   sync.Mutex
	keys map[string]*calls
	none bool // nothing is too much
}

// calls are those with one routing key.
type calls struct {
	answered []time.Time // within the last window, oldest first
	underWay int
	paused   time.Time // no call before
}

// NewLimits returns the limits of a process that has called nobody yet.
func NewLimits() *Limits { return &Limits{keys: map[string]*calls{}} }

// Unlimited returns limits that nothing exceeds, for a PagerDuty that is played and never called.
func Unlimited() *Limits { return &Limits{keys: map[string]*calls{}, none: true} }

// begin takes the right to a call, which end gives back; or returns how long to wait for it.
func (l *Limits) begin(key string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.keys[key]
	if c == nil {
		c = &calls{}
		l.keys[key] = c
	}
	if now.Before(c.paused) {
		return c.paused.Sub(now)
	}
	c.answered = slices.DeleteFunc(c.answered, func(t time.Time) bool { return now.Sub(t) >= window })
	switch {
	case l.none || len(c.answered)+c.underWay < callsPerWindow:
		c.underWay++
		return 0
	case len(c.answered) == 0:
		return time.Second
	default:
		return c.answered[0].Add(window).Sub(now)
	}
}

// end counts a call from the time of its answer on, because PagerDuty saw it no later.
func (l *Limits) end(key string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.keys[key]
	c.underWay--
	c.answered = append(c.answered, now)
}

// pause keeps back all calls with a routing key, after PagerDuty said that they are too many.
// 0 means that it did not say for how long.
func (l *Limits) pause(key string, now time.Time, asked time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys[key].paused = now.Add(min(cmp.Or(asked, afterThrottled), longestPause))
}
