package probe

import (
	"container/heap"
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
)

// The first probes of new endpoints are spread over this time, and of very many over a
// longer one, so that they come at no more than this rate.
const (
	startWindow = 2 * time.Second
	startRate   = 500 // a second
)

// slowAfter is how long a probe takes at least to be called slow. Slow probes have slots of
// their own, so that endpoints that stall do not keep the others waiting.
const slowAfter = time.Second

// jitter is the share by which each round may come earlier or later.
const jitter = 0.1

// SchedulerOptions say what a [Scheduler] does. All fields are required.
type SchedulerOptions struct {
	Interval    time.Duration // between the starts of two probes of one endpoint
	Concurrency int           // how many probes may be in flight; as many again may wait for endpoints that stall

	// Probe makes one observation. It has to return soon after its context ends.
	Probe func(context.Context, certmedic.Endpoint) certmedic.Observation

	// Sink takes the observations. It is called by many goroutines, but never by two at
	// once for the same key.
	Sink func(key string, o certmedic.Observation)
}

// Scheduler probes a changing set of endpoints at an interval. A single loop decides
// and a bounded number of goroutines probe. Endpoints that stall have slots of their own,
// so that they delay each other, and nobody else. Its methods may be called by any
// goroutine, Set and Now also before Run.
type Scheduler struct {
	options SchedulerOptions
	wake    chan struct{} // holds one token when there are requests
	done    chan *entry   // probes that have ended

	mu     sync.Mutex
	wanted map[string]certmedic.Endpoint // what Set was given last; nil when the loop has taken it
	asked  []string                      // what Now was given since the loop has looked

	inherited map[string]due // of another scheduler, by key, what is not taken up yet
	left      map[string]due // of this one, once it has ended
}

// NewScheduler returns a scheduler that does nothing before [Scheduler.Run].
func NewScheduler(options SchedulerOptions) *Scheduler {
	return &Scheduler{options: options, wake: make(chan struct{}, 1), done: make(chan *entry)}
}

// Set replaces the endpoints to probe, by key. New and changed ones are probed within
// two seconds (sooner with a shorter interval) and then once per interval; those that
// are gone are probed no more, and what is in flight for them is cut short and dropped.
func (s *Scheduler) Set(endpoints map[string]certmedic.Endpoint) {
	wanted := make(map[string]certmedic.Endpoint, len(endpoints))
	for key, endpoint := range endpoints {
		wanted[key] = endpoint
	}
	s.mu.Lock()
	s.wanted = wanted
	s.mu.Unlock()
	s.rouse()
}

// Now asks for a probe of each key at once, before all that are merely due. Where one is
// in flight, exactly one more follows it, however often it is asked for. Unknown keys
// are passed over.
func (s *Scheduler) Now(keys ...string) {
	s.mu.Lock()
	s.asked = append(s.asked, keys...)
	s.mu.Unlock()
	s.rouse()
}

func (s *Scheduler) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// requests takes what Set and Now have left.
func (s *Scheduler) requests() (map[string]certmedic.Endpoint, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted, asked := s.wanted, s.asked
	s.wanted, s.asked = nil, nil
	return wanted, asked
}

// Run probes until ctx ends, then ends the probes in flight, waits for them and returns
// nil. It returns an error at once when an option is missing. It is called once.
func (s *Scheduler) Run(ctx context.Context) error {
	o := s.options
	if o.Interval <= 0 || o.Concurrency <= 0 || o.Probe == nil || o.Sink == nil {
		return errors.New("scheduling probes: interval, concurrency, probe and sink are all required")
	}
	l := &loop{Scheduler: s, ctx: ctx, entries: map[string]*entry{}}
	defer l.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(l.dispatch(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
			wanted, asked := s.requests()
			l.set(wanted, time.Now())
			l.ask(asked)
		case e := <-s.done:
			l.ended(e)
		case <-timer.C:
		}
	}
}

// loop is the state of one Run. Only its goroutine touches it.
type loop struct {
	*Scheduler
	ctx      context.Context
	entries  map[string]*entry
	lanes    [2]lane  // of the fast and the slow entries
	flying   []flight // what was launched in the fast lane, oldest first
	inFlight int
}

// flight is a probe that was launched.
type flight struct {
	*entry
	began time.Time
}

// The lanes.
const (
	fast = iota
	slow
)

// lane is a queue with the number of its entries that are in flight.
type lane struct {
	queue
	inFlight int
}

// entry is an endpoint with its schedule.
type entry struct {
	key      string
	endpoint certmedic.Endpoint
	next     time.Time
	gap      time.Duration // to the round after the first, 0 later
	urgent   bool          // asked for by Now
	lane     int           // whose slot it has or waits for; changes only while it is in no queue
	began    time.Time     // of the probe in flight
	removed  bool
	cancel   context.CancelFunc // ends the probe in flight; nil when there is none
	index    int                // in the queue; -1 when not in it
}

func (l *loop) set(wanted map[string]certmedic.Endpoint, now time.Time) {
	if wanted == nil {
		return
	}
	for key, e := range l.entries {
		if _, ok := wanted[key]; !ok {
			l.remove(e)
		}
	}
	fresh := l.fresh(wanted)
	strangers := l.strangers(fresh)
	for _, key := range fresh {
		e := l.entries[key]
		if e == nil {
			e = &entry{key: key, index: -1}
			l.entries[key] = e
		}
		if e.cancel != nil {
			e.cancel() // what it observes is of the past
		}
		e.endpoint, e.removed = wanted[key], false
		if d, ok := l.inherit(key, e.endpoint); ok {
			e.next, e.gap = d.next, d.gap
		} else {
			e.next, e.gap = l.start(key, strangers, now)
		}
		l.enqueue(e)
	}
	l.settle()
}

// fresh returns the keys of the endpoints that are new or changed.
func (l *loop) fresh(wanted map[string]certmedic.Endpoint) []string {
	var keys []string
	for key, endpoint := range wanted {
		e := l.entries[key]
		if e == nil || e.removed || !reflect.DeepEqual(e.endpoint, endpoint) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (l *loop) remove(e *entry) {
	if e.cancel != nil {
		e.cancel()
		e.removed = true // forgotten when its probe has ended
		return
	}
	heap.Remove(&l.lanes[e.lane].queue, e.index)
	delete(l.entries, e.key)
}

// enqueue puts the entry where it belongs, once its probe in flight has ended.
func (l *loop) enqueue(e *entry) {
	switch {
	case e.cancel != nil:
	case e.index < 0:
		heap.Push(&l.lanes[e.lane].queue, e)
	default:
		heap.Fix(&l.lanes[e.lane].queue, e.index)
	}
}

func (l *loop) ask(keys []string) {
	for _, key := range keys {
		if e := l.entries[key]; e != nil && !e.removed {
			e.urgent = true
			l.enqueue(e)
		}
	}
}

// start returns when a new endpoint, one of so many, is probed first, and how long after
// that again. Both follow from the key, so that a restart finds the same spread.
func (l *loop) start(key string, of int, now time.Time) (time.Time, time.Duration) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	sum := mix(h.Sum64())
	window := max(startWindow, time.Duration(of)*time.Second/startRate)
	first := share(uint32(sum)) * float64(min(l.options.Interval, window))
	gap := (jitter + (1-jitter)*share(uint32(sum>>32))) * float64(l.options.Interval)
	return now.Add(time.Duration(first)), time.Duration(gap)
}

// mix spreads the hashes of similar keys over all bits (the finaliser of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func share(n uint32) float64 { return float64(n) / (1 << 32) }

// dispatch starts what is due, as far as slots are free, and returns how long nothing
// else is.
func (l *loop) dispatch(now time.Time) time.Duration {
	wait := l.turnSlow(now)
	for i := range l.lanes {
		wait = min(wait, l.dispatchLane(&l.lanes[i], now))
	}
	return wait
}

func (l *loop) dispatchLane(lane *lane, now time.Time) time.Duration {
	for lane.inFlight < l.options.Concurrency && len(lane.queue) > 0 {
		e := lane.queue[0]
		if wait := e.next.Sub(now); wait > 0 && !e.urgent {
			return wait
		}
		heap.Pop(&lane.queue)
		l.launch(e, now)
	}
	return time.Hour // a request or the end of a probe comes before the next decision
}

// turnSlow gives probes that take long a slot of the slow lane, as far as there are any,
// and returns when that is to be looked at again.
func (l *loop) turnSlow(now time.Time) time.Duration {
	for len(l.flying) > 0 {
		f := l.flying[0]
		over := f.cancel == nil || !f.entry.began.Equal(f.began)
		if wait := f.began.Add(slowAfter).Sub(now); wait > 0 && !over {
			return wait
		}
		if !over {
			if l.lanes[slow].inFlight >= l.options.Concurrency {
				return time.Hour // until one of them ends
			}
			l.lanes[fast].inFlight--
			l.lanes[slow].inFlight++
			f.lane = slow
		}
		l.flying[0] = flight{}
		l.flying = l.flying[1:]
	}
	return time.Hour
}

func (l *loop) launch(e *entry, now time.Time) {
	ctx, cancel := context.WithCancel(l.ctx)
	e.cancel, e.urgent = cancel, false
	e.next, e.began = now.Add(l.gapAfter(e)), now
	l.inFlight++
	l.lanes[e.lane].inFlight++
	if e.lane == fast {
		l.flying = append(l.flying, flight{e, now})
	}
	key, endpoint := e.key, e.endpoint
	go func() {
		o := l.options.Probe(ctx, endpoint)
		if ctx.Err() == nil {
			l.options.Sink(key, o)
		}
		l.done <- e
	}()
}

func (l *loop) gapAfter(e *entry) time.Duration {
	if gap := e.gap; gap > 0 {
		e.gap = 0
		return gap
	}
	factor := 1 - jitter + 2*jitter*rand.Float64()
	return time.Duration(factor * float64(l.options.Interval))
}

func (l *loop) ended(e *entry) {
	e.cancel()
	e.cancel = nil
	l.inFlight--
	l.lanes[e.lane].inFlight--
	e.lane = fast
	if time.Since(e.began) >= slowAfter {
		e.lane = slow
	}
	if e.removed {
		delete(l.entries, e.key)
		return
	}
	l.enqueue(e)
}

// stop ends the probes in flight and waits for them.
func (l *loop) stop() {
	l.leave(time.Now())
	for _, e := range l.entries {
		if e.cancel != nil {
			e.cancel()
		}
	}
	for l.inFlight > 0 {
		l.ended(<-l.done)
	}
}

// queue is a heap of entries, urgent ones first, then by time.
type queue []*entry

// Len returns how many entries there are.
func (q queue) Len() int { return len(q) }

// Less orders urgent entries first, then by time.
func (q queue) Less(i, j int) bool {
	if q[i].urgent != q[j].urgent {
		return q[i].urgent
	}
	return q[i].next.Before(q[j].next)
}

// Swap swaps two entries.
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push adds an entry, for package heap.
func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop removes the last entry, for package heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.index = -1
	return e
}
