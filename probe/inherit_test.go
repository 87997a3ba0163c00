package probe_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe"
)

// TestInherit has a second scheduler follow the first in the middle of a round: what both have goes on as it would
// have, and what is new begins.
func TestInherit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		probed := map[string][]time.Duration{}
		start := time.Now()
		scheduler := func() *probe.Scheduler {
			return probe.NewScheduler(probe.SchedulerOptions{
				Interval: time.Minute, Concurrency: 4,
				Probe: func(context.Context, certmedic.Endpoint) certmedic.Observation { return certmedic.Observation{} },
				Sink: func(key string, _ certmedic.Observation) {
					mu.Lock()
					defer mu.Unlock()
					probed[key] = append(probed[key], time.Since(start))
				},
			})
		}
		run := func(s *probe.Scheduler, endpoints map[string]certmedic.Endpoint, d time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			s.Set(endpoints)
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		}
		endpoints := map[string]certmedic.Endpoint{"a": {Address: "a:1"}, "b": {Address: "b:1"}, "c": {Address: "c:1"}}
		first, second := scheduler(), scheduler()
		run(first, endpoints, 5*time.Minute)
		mu.Lock()
		before := maps.Clone(probed)
		clear(probed)
		mu.Unlock()
		second.Inherit(first)
		run(second, map[string]certmedic.Endpoint{"a": {Address: "a:1"}, "b": {Address: "b:2"}, "d": {Address: "d:1"}}, 70*time.Second)
		mu.Lock()
		defer mu.Unlock()
		last := before["a"][len(before["a"])-1]
		if gap := probed["a"][0] - last; gap < 53*time.Second || gap > 67*time.Second {
			t.Errorf("what both have is probed %s after it was, not about a minute", gap)
		}
		for _, key := range []string{"b", "d"} {
			if after := probed[key][0] - 5*time.Minute; after > 3*time.Second {
				t.Errorf("what is new, or changed, is probed after %s: %s", after, key)
			}
		}
		if len(probed["c"]) != 0 {
			t.Errorf("what is gone is probed: %v", probed["c"])
		}
	})
}

// TestInheritWhatWasAsked asks a scheduler that has just ended for a probe: the one that follows it makes it at once, and not when the
// next one is due.
func TestInheritWhatWasAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probed := make(chan time.Time, 100)
		scheduler := func() *probe.Scheduler {
			s := probe.NewScheduler(probe.SchedulerOptions{
				Interval: time.Hour, Concurrency: 1,
				Probe: func(context.Context, certmedic.Endpoint) certmedic.Observation { return certmedic.Observation{} },
				Sink:  func(string, certmedic.Observation) { probed <- time.Now() },
			})
			s.Set(map[string]certmedic.Endpoint{"a": {Address: "a:1"}})
			return s
		}
		run := func(s *probe.Scheduler, d time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		}
		first, second := scheduler(), scheduler()
		run(first, 3*time.Hour)
		for len(probed) > 0 {
			<-probed
		}
		first.Now("a")
		second.Inherit(first)
		began := time.Now()
		run(second, time.Second)
		if len(probed) != 1 {
			t.Fatalf("within a second it is probed %d times", len(probed))
		}
		if wait := (<-probed).Sub(began); wait > 0 {
			t.Errorf("it is probed after %s", wait)
		}
	})
}
