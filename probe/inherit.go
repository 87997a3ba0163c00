package probe

import (
	"reflect"
	"time"

	"github.com/certmedic/certmedic"
)

// due is when an endpoint would have been probed next.
type due struct {
	endpoint certmedic.Endpoint
	next     time.Time
	gap      time.Duration
}

// Inherit has the endpoints that another scheduler of the same interval probed be probed when they would have
// been there, instead of as new ones, and what it was asked for and had not begun, too. The other one has ended, and
// this one not begun.
func (s *Scheduler) Inherit(before *Scheduler) {
	before.mu.Lock()
	left, asked := before.left, before.asked
	before.left, before.asked = nil, nil
	before.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inherited, s.asked = left, append(s.asked, asked...)
}

// leave notes when each endpoint would have been probed next, for a scheduler that inherits. What was in flight
// is due at once.
func (l *loop) leave(now time.Time) {
	left := make(map[string]due, len(l.entries))
	for key, e := range l.entries {
		d := due{e.endpoint, e.next, e.gap}
		if e.cancel != nil || e.urgent {
			d.next = now
		}
		if !e.removed {
			left[key] = d
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = left
}

// inherit returns when an endpoint is due that another scheduler probed before, and then takes it as known.
func (l *loop) inherit(key string, endpoint certmedic.Endpoint) (due, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.inherited[key]
	if !ok || !reflect.DeepEqual(d.endpoint, endpoint) {
		return due{}, false
	}
	delete(l.inherited, key)
	return d, true
}

// settle forgets what another scheduler probed and nobody wants any more.
func (l *loop) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inherited = nil
}

// strangers returns how many of these endpoints no other scheduler probed before.
func (l *loop) strangers(keys []string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, key := range keys {
		if _, ok := l.inherited[key]; !ok {
			n++
		}
	}
	return n
}
