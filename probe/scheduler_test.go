package probe

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
)

// recorder notes when each key was probed.
type recorder struct {
	mu       sync.Mutex
	begun    map[string][]time.Time // by the endpoint's address, which tests make the key
	sunk     map[string]int
	inFlight int
	most     int
	perKey   map[string]int
	double   bool // whether a key was in flight twice
	take     func(address string) time.Duration
}

func newRecorder() *recorder {
	return &recorder{begun: map[string][]time.Time{}, sunk: map[string]int{}, perKey: map[string]int{}}
}

func (r *recorder) probe(ctx context.Context, e certmedic.Endpoint) certmedic.Observation {
	r.enter(e.Address, 1)
	defer r.enter(e.Address, -1)
	if r.take != nil {
		select {
		case <-time.After(r.take(e.Address)):
		case <-ctx.Done():
		}
	}
	return certmedic.Observation{Endpoint: e}
}

func (r *recorder) enter(key string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 0 {
		r.begun[key] = append(r.begun[key], time.Now())
	}
	r.inFlight += n
	r.perKey[key] += n
	r.most = max(r.most, r.inFlight)
	r.double = r.double || r.perKey[key] > 1
}

func (r *recorder) sink(key string, _ certmedic.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sunk[key]++
}

func (r *recorder) count(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.begun[key])
}

func (r *recorder) flying() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inFlight
}

// heard returns how many observations of the key reached the sink.
func (r *recorder) heard(key string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sunk[key]
}

// start runs a scheduler until the returned function is called, which waits for its end.
func (r *recorder) start(t *testing.T, interval time.Duration, concurrency int) (*Scheduler, func()) {
	t.Helper()
	s := NewScheduler(SchedulerOptions{Interval: interval, Concurrency: concurrency, Probe: r.probe, Sink: r.sink})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	return s, func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the scheduler ended with %v", err)
		}
		if r.inFlight != 0 {
			t.Errorf("%d probes outlive the scheduler", r.inFlight)
		}
	}
}

func endpoints(n int) map[string]certmedic.Endpoint {
	set := map[string]certmedic.Endpoint{}
	for i := range n {
		key := fmt.Sprintf("host-%d:443", i)
		set[key] = certmedic.Endpoint{Address: key}
	}
	return set
}

// after sleeps for the duration and until everything is at rest.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestSchedulerSpreadsAndJitters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		s, stop := r.start(t, time.Minute, 100)
		began := time.Now()
		s.Set(endpoints(1000))
		after(10 * time.Minute)
		stop()

		var firstHalf, sixth int
		periods := map[time.Duration]bool{}
		for key, times := range r.begun {
			first := times[0].Sub(began)
			if first > startWindow {
				t.Errorf("%s was probed first after %s", key, first)
			}
			if first < startWindow/2 {
				firstHalf++
			}
			if second := times[1].Sub(times[0]); second < 6*time.Second || second > time.Minute {
				t.Errorf("%s was probed again after %s", key, second)
			} else if second < 15*time.Second {
				sixth++
			}
			for i := 2; i < len(times); i++ {
				period := times[i].Sub(times[i-1])
				periods[period] = true
				if period < 54*time.Second || period > 66*time.Second {
					t.Errorf("%s: round %d came after %s", key, i, period)
				}
			}
		}
		if len(r.begun) != 1000 || len(periods) < 1000 {
			t.Errorf("%d endpoints were probed, with %d different periods", len(r.begun), len(periods))
		}
		if firstHalf < 400 || firstHalf > 600 {
			t.Errorf("%d of 1000 first probes came in the first half of their window", firstHalf)
		}
		if sixth < 100 || sixth > 240 {
			t.Errorf("%d of 1000 second probes came in the first sixth of theirs", sixth)
		}
	})
}

func TestSchedulerStartsEachKeyAtItsOwnTime(t *testing.T) {
	offsets := func() map[string]time.Duration {
		found := map[string]time.Duration{}
		synctest.Test(t, func(t *testing.T) {
			r := newRecorder()
			s, stop := r.start(t, time.Minute, 10)
			began := time.Now()
			s.Set(endpoints(20))
			after(3 * time.Second)
			stop()
			for key, times := range r.begun {
				found[key] = times[0].Sub(began)
			}
		})
		return found
	}
	first, second := offsets(), offsets()
	for key, offset := range first {
		if second[key] != offset {
			t.Errorf("%s began after %s, and after %s in another run", key, offset, second[key])
		}
	}
}

func TestSchedulerCoalescesNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.take = func(string) time.Duration { return 5 * time.Second }
		s, stop := r.start(t, time.Hour, 4)
		s.Set(endpoints(1))
		const key = "host-0:443"
		after(3 * time.Second)
		if got := r.count(key); got != 1 {
			t.Fatalf("%d probes began, want 1", got)
		}
		for range 10 {
			s.Now(key, key, "unknown")
			synctest.Wait()
		}
		after(10 * time.Second)
		if got := r.count(key); got != 2 {
			t.Errorf("%d probes began after asking during the first, want exactly one more", got)
		}
		asked := time.Now()
		s.Now(key)
		after(0)
		stop()
		if got := r.begun[key]; len(got) != 3 || !got[2].Equal(asked) {
			t.Errorf("a probe was asked for at %s and began at %v", asked, got)
		}
		if r.double {
			t.Error("the key was in flight twice")
		}
	})
}

func TestSchedulerNowComesBeforeWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.take = func(string) time.Duration { return time.Second }
		s, stop := r.start(t, time.Hour, 1)
		s.Set(endpoints(100))
		after(10*time.Second + time.Millisecond) // one slot: some ninety are due and wait
		var waiting string
		for key := range endpoints(100) {
			if r.count(key) == 0 {
				waiting = key
			}
		}
		s.Now(waiting)
		after(2 * time.Second)
		if r.count(waiting) != 1 {
			t.Errorf("%s was asked for and waits behind what is due", waiting)
		}
		stop()
	})
}

func TestSchedulerChangesItsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.take = func(string) time.Duration { return 10 * time.Second }
		s, stop := r.start(t, time.Minute, 10)
		s.Set(endpoints(3))
		after(5 * time.Second) // all three are in flight
		set := endpoints(2)
		set["host-1:443"] = certmedic.Endpoint{Address: "host-1:443", ServerName: "changed"}
		s.Set(set)
		after(time.Second)
		if n := r.flying(); n != 1 && n != 2 {
			t.Errorf("%d probes are in flight after one was removed and one changed", n)
		}
		after(20 * time.Second)
		if got := r.count("host-1:443"); got != 2 {
			t.Errorf("the changed endpoint was probed %d times, want at once again", got)
		}
		after(10 * time.Minute)
		if got := r.count("host-2:443"); got != 1 || r.heard("host-2:443") != 0 {
			t.Errorf("the removed endpoint was probed %d times and heard of %d times", got, r.heard("host-2:443"))
		}
		before := r.count("host-2:443")
		s.Set(endpoints(3))
		after(3 * time.Second)
		if got := r.count("host-2:443"); got != before+1 {
			t.Errorf("the endpoint that came back was probed %d times more, want 1", got-before)
		}
		stop()
		if r.double {
			t.Error("a key was in flight twice")
		}
	})
}

func TestSchedulerRemovesAndAddsAgainDuringAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		s := NewScheduler(SchedulerOptions{
			Interval: time.Minute, Concurrency: 10, Sink: r.sink,
			Probe: func(_ context.Context, e certmedic.Endpoint) certmedic.Observation {
				r.enter(e.Address, 1)
				defer r.enter(e.Address, -1)
				time.Sleep(10 * time.Second) // slow to notice that it was cut short
				return certmedic.Observation{}
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = s.Run(ctx) }()
		s.Set(endpoints(1))
		after(3 * time.Second)
		s.Set(nil)
		synctest.Wait()
		s.Set(endpoints(1))
		after(30 * time.Second)
		cancel()
		synctest.Wait()
		if got := r.count("host-0:443"); r.double || got != 2 || r.heard("host-0:443") != 1 {
			t.Errorf("probed %d times, heard of %d times, in flight twice: %v", got, r.heard("host-0:443"), r.double)
		}
	})
}

func TestSchedulerIsNotDelayedByAStalledTenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		stalled := map[string]bool{}
		for i := range 100 {
			stalled[fmt.Sprintf("host-%d:443", i)] = true
		}
		r.take = func(key string) time.Duration {
			if stalled[key] {
				return 10 * time.Second
			}
			return 10 * time.Millisecond
		}
		s, stop := r.start(t, time.Minute, 110)
		s.Set(endpoints(1000))
		after(10 * time.Minute)
		stop()
		for key, times := range r.begun {
			for i := 2; i < len(times); i++ {
				if period := times[i].Sub(times[i-1]); !stalled[key] && period > 67*time.Second {
					t.Errorf("%s waited %s behind the stalled ones", key, period)
				}
			}
		}
		if r.most > 110 {
			t.Errorf("%d probes were in flight, the bound is 110", r.most)
		}
	})
}

func TestSchedulerLeavesNothingAfterManyStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.take = func(string) time.Duration { return 24 * time.Hour }
		const bound = 64
		s := NewScheduler(SchedulerOptions{
			Interval: time.Minute, Concurrency: bound, Sink: r.sink,
			Probe: func(ctx context.Context, e certmedic.Endpoint) certmedic.Observation {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				return r.probe(ctx, e)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		s.Set(endpoints(1000))
		total := func() (n int) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, times := range r.begun {
				n += len(times)
			}
			return n
		}
		for total() < 10_000 {
			after(10 * time.Second)
		}
		cancel()
		if err := <-ended; err != nil || r.inFlight != 0 || r.most > 2*bound {
			t.Errorf("ended with %v, %d probes left, up to %d in flight", err, r.inFlight, r.most)
		}
	}) // the bubble fails when a goroutine is left
}

func TestSchedulerWantsItsOptions(t *testing.T) {
	if err := NewScheduler(SchedulerOptions{}).Run(t.Context()); err == nil {
		t.Error("a scheduler without options ran")
	}
}

// A tenth of the endpoints never answers, and there are more of them than slots: all the
// others are probed as if those were not there.
func TestEndpointsThatStallDelayNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval, timeout, all = 20 * time.Second, 10 * time.Second, 400
		r := newRecorder()
		r.take = func(address string) time.Duration {
			var n int
			_, _ = fmt.Sscanf(address, "e%d", &n)
			if n%10 == 0 {
				return timeout
			}
			return 5 * time.Millisecond
		}
		s, stop := r.start(t, interval, 25)
		endpoints := map[string]certmedic.Endpoint{}
		for n := range all {
			key := fmt.Sprintf("e%d", n)
			endpoints[key] = certmedic.Endpoint{Address: key}
		}
		s.Set(endpoints)
		time.Sleep(10 * interval)
		stop()
		for n := range all {
			key := fmt.Sprintf("e%d", n)
			if n%10 == 0 {
				continue
			}
			begun := r.begun[key]
			for i := 1; i < len(begun); i++ {
				if gap := begun[i].Sub(begun[i-1]); gap > interval*13/10 {
					t.Fatalf("%s waited %s for its next probe", key, gap)
				}
			}
			if len(begun) < 9 {
				t.Fatalf("%s was probed %d times in 10 intervals", key, len(begun))
			}
		}
		if r.most > 50 {
			t.Errorf("%d probes were in flight, with 25 slots and as many for slow ones", r.most)
		}
	})
}

// TestSchedulerProbesWhatIsAddedSoon adds a few endpoints to very many: they do not wait as long as
// the many had to.
func TestSchedulerProbesWhatIsAddedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		s, stop := r.start(t, time.Hour, 100)
		const many = 20 * startRate
		s.Set(endpoints(many))
		after(21 * time.Second)
		s.Set(endpoints(many + 50))
		after(startWindow)
		stop()
		for i := range 50 {
			if key := fmt.Sprintf("host-%d:443", many+i); r.count(key) != 1 {
				t.Errorf("%s was probed %d times in the %s after it was added", key, r.count(key), startWindow)
			}
		}
	})
}
