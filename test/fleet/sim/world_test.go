package sim

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
	"github.com/certmedic/certmedic/internal/shard"
	"github.com/certmedic/certmedic/probe"
)

// How the members are configured: as they are by default.
const (
	interval    = time.Minute
	lease       = 10 * time.Second
	concurrency = 256
	settle      = time.Second // how long members wait for further changes before they take their share
)

// world is a number of endpoints, the members that share them, and what is known of each endpoint.
type world struct {
	t       *testing.T
	store   coordtest.Memory
	keys    []string
	members []*member // by their numbers; those that are gone too

	last []atomic.Int64 // by endpoint, when it was probed last, in unix nanoseconds
	by   []atomic.Int32 // by endpoint, by whom
	now  tally          // of the present phase
}

// tally counts what happens in a phase.
type tally struct {
	began   time.Time
	probes  atomic.Int64
	stayed  atomic.Int64 // the longest time between two probes of an endpoint by the same member, in nanoseconds
	settled atomic.Int64 // when an endpoint was last probed by another member than before, in nanoseconds since the phase began
}

// story is what happened in a phase.
type story struct {
	stayed, settled time.Duration // as in a tally
	probes          int
	moved           map[int32]int // how many endpoints have another member at the end than at the beginning, by that
}

func newWorld(t *testing.T, endpoints int) *world {
	w := &world{t: t, keys: make([]string, endpoints), last: make([]atomic.Int64, endpoints), by: make([]atomic.Int32, endpoints)}
	for i := range w.keys {
		w.keys[i] = fmt.Sprintf("host%07d.example.com:443", i)
	}
	return w
}

// member is one certmedic, as far as this is about it.
type member struct {
	name    string
	number  int32
	engine  coord.Engine
	changes chan []string // the newest names of the living members
	share   atomic.Int64  // how many endpoints it probes
	lost    bool
	end     func()
}

// join has a further member join. It lives until the test ends, or until it is lost.
func (w *world) join() *member {
	m := &member{name: fmt.Sprintf("m%d", len(w.members)+1), number: int32(len(w.members) + 1), changes: make(chan []string, 1)}
	w.members = append(w.members, m)
	m.engine = w.store.Open(w.t, m.name, lease)
	ctx, cancel := context.WithCancel(w.t.Context())
	var parts sync.WaitGroup
	m.end = sync.OnceFunc(func() { cancel(); parts.Wait() })
	w.t.Cleanup(m.end)
	if err := m.engine.Join(ctx, coord.Member{Name: m.name, Started: time.Now()}); err != nil {
		w.t.Fatal(err)
	}
	parts.Go(func() { _ = m.engine.Watch(ctx, m.changed) })
	parts.Go(func() { w.follow(ctx, m) })
	return m
}

// lose ends a member without a word.
func (w *world) lose(m *member) {
	m.lost = true
	w.store.Crash(m.engine)
	m.end()
}

// look is a probe that costs nothing.
func look(_ context.Context, e certmedic.Endpoint) certmedic.Observation {
	return certmedic.Observation{Endpoint: e}
}

// changed leaves the names of the living members for [world.follow], in place of those that it did not take yet.
func (m *member) changed(living []coord.Member) {
	var names []string
	for _, l := range living {
		names = append(names, l.Name)
	}
	select {
	case <-m.changes:
	default:
	}
	m.changes <- names
}

// follow has a member probe its share: whenever that changes, with a scheduler that inherits from the one before.
func (w *world) follow(ctx context.Context, m *member) {
	var before *probe.Scheduler
	stop := func() {}
	defer func() { stop() }()
	for {
		names := m.rest(ctx)
		if names == nil {
			return
		}
		next := probe.NewScheduler(probe.SchedulerOptions{
			Interval: interval, Concurrency: concurrency, Probe: look, Sink: func(key string, _ certmedic.Observation) { w.seen(m, key) },
		})
		next.Set(w.shareOf(m, names))
		stop()
		if before != nil {
			next.Inherit(before)
		}
		running, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = next.Run(running) // its options are right
		}()
		before, stop = next, func() { cancel(); <-ended }
	}
}

// rest waits until the members changed and then were the same for a while. Without any it is to end.
func (m *member) rest(ctx context.Context) (names []string) {
	select {
	case names = <-m.changes:
	case <-ctx.Done():
		return nil
	}
	for {
		select {
		case names = <-m.changes:
		case <-time.After(settle):
			return names
		case <-ctx.Done():
			return nil
		}
	}
}

// shareOf returns what a member probes.
func (w *world) shareOf(m *member, names []string) map[string]certmedic.Endpoint {
	spread := shard.Of(append(names, m.name))
	mine := map[string]certmedic.Endpoint{}
	for _, key := range w.keys {
		if spread.Owner(key) == m.name {
			mine[key] = certmedic.Endpoint{Address: key, Protocol: "tls"}
		}
	}
	m.share.Store(int64(len(mine)))
	return mine
}

// seen notes a probe.
func (w *world) seen(m *member, key string) {
	i, err := strconv.Atoi(key[len("host"):len("host0000000")])
	if err != nil {
		panic(err) // keys are made above
	}
	now := time.Now()
	w.now.probes.Add(1)
	last, by := w.last[i].Swap(now.UnixNano()), w.by[i].Swap(m.number)
	switch by {
	case 0: // the first probe
	case m.number:
		raise(&w.now.stayed, now.UnixNano()-last)
	default:
		raise(&w.now.settled, int64(now.Sub(w.now.began)))
	}
}

// raise sets a maximum.
func raise(highest *atomic.Int64, value int64) {
	for {
		before := highest.Load()
		if value <= before || highest.CompareAndSwap(before, value) {
			return
		}
	}
}

// phase does something, lets time pass, and returns what happened.
func (w *world) phase(lasts time.Duration, do func()) story {
	w.now.began = time.Now()
	for _, n := range []*atomic.Int64{&w.now.probes, &w.now.stayed, &w.now.settled} {
		n.Store(0)
	}
	before := make([]int32, len(w.by))
	for i := range w.by {
		before[i] = w.by[i].Load()
	}
	do()
	time.Sleep(lasts)
	s := story{
		stayed: time.Duration(w.now.stayed.Load()), settled: time.Duration(w.now.settled.Load()),
		probes: int(w.now.probes.Load()), moved: map[int32]int{},
	}
	for i := range w.by {
		if by := w.by[i].Load(); by != before[i] && before[i] != 0 {
			s.moved[by]++
		}
	}
	return s
}

// oldest returns for how long the endpoint was not probed that was not for the longest.
func (w *world) oldest() time.Duration {
	now, longest := time.Now().UnixNano(), int64(0)
	for i := range w.last {
		longest = max(longest, now-w.last[i].Load())
	}
	return time.Duration(longest)
}

// imbalance returns by what share the member is off the average that is the furthest off.
func (w *world) imbalance() float64 {
	furthest, living := 0.0, 0
	for _, m := range w.members {
		if !m.lost {
			living++
		}
	}
	for _, m := range w.members {
		if !m.lost {
			average := float64(len(w.keys)) / float64(living)
			furthest = max(furthest, math.Abs(float64(m.share.Load())-average)/average)
		}
	}
	return furthest
}
