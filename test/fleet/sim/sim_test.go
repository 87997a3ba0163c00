package sim

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// members is how many share the endpoints at first.
const members = 10

// How many endpoints there are: in make test, and in make bench.
const (
	sample = 20_000
	all    = 1_000_000
)

// longest is the longest time between two probes of an endpoint: a round may come up to a tenth later.
const longest = interval + interval/10

// bound is by how much a share may be off the average.
const bound = 0.05

func TestMembersShareEndpoints(t *testing.T) {
	endpoints := sample
	if os.Getenv("CERTMEDIC_BENCH") != "" {
		endpoints = all
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, endpoints)
		empty := heap()
		w.phase(2*lease+2*interval, func() {
			for range members {
				w.join()
			}
		})
		t.Logf("%d endpoints over %d members", endpoints, members)
		w.even()
		w.quiet()
		used := float64(heap() - empty)
		t.Logf("a member has %.1f MB, %.0f bytes for an endpoint", used/members/1e6, used/float64(endpoints))
		w.joining()
		w.losing()
		runtime.KeepAlive(w)
	})
}

// even wants the shares to be of the same size.
func (w *world) even() {
	w.t.Helper()
	off := w.imbalance()
	w.t.Logf("a share is at most %.1f %% off the average", 100*off)
	if off > bound {
		w.t.Errorf("a share is %.1f %% off the average", 100*off)
	}
}

// quiet lets two intervals pass in which nothing happens.
func (w *world) quiet() {
	before := processor()
	s := w.phase(2*interval, func() {})
	took := processor() - before
	if len(s.moved) > 0 {
		w.t.Errorf("while nothing happened endpoints moved: %v", s.moved)
	}
	if rounds := float64(s.probes) / float64(len(w.keys)); rounds < 1.9 || rounds > 2.1 || s.stayed > longest || w.oldest() > longest {
		w.t.Errorf("in two intervals each endpoint was probed %.2f times, one not for %s", rounds, max(s.stayed, w.oldest()))
	}
	w.t.Logf("a member takes %.2f %% of a processor for probes that cost nothing, %.1f µs for each",
		100*took.Seconds()/(2*interval).Seconds()/members, float64(took.Microseconds())/float64(s.probes))
}

// joining has a further member join: it takes its share, and nobody else is disturbed.
func (w *world) joining() {
	var newcomer *member
	s := w.phase(2*lease+2*interval, func() { newcomer = w.join() })
	share := int(newcomer.share.Load())
	w.t.Logf("a further member took %.2f %% of all, and nothing else moved", 100*float64(share)/float64(len(w.keys)))
	if len(s.moved) != 1 || s.moved[newcomer.number] != share {
		w.t.Errorf("as %s took a share of %d, by the member that has them now moved %v", newcomer.name, share, s.moved)
	}
	if s.stayed > longest || w.oldest() > longest {
		w.t.Errorf("as %s joined an endpoint was not probed for %s", newcomer.name, max(s.stayed, w.oldest()))
	}
	w.even()
}

// losing has a member die: its share is probed again within the lease and an interval.
func (w *world) losing() {
	victim := w.members[3]
	share := int(victim.share.Load())
	s := w.phase(2*lease+2*interval, func() { w.lose(victim) })
	moved := 0
	for _, n := range s.moved {
		moved += n
	}
	w.t.Logf("%.1f s after a member was lost the last endpoint of its share was probed again: %.2f of the lease and an interval",
		s.settled.Seconds(), s.settled.Seconds()/(lease+interval).Seconds())
	if moved != share || len(s.moved) != len(w.members)-1 {
		w.t.Errorf("as %s was lost, with a share of %d, by the member that has them now moved %v", victim.name, share, s.moved)
	}
	if s.settled > lease+interval || s.stayed > longest || w.oldest() > longest {
		w.t.Errorf("%s after %s was lost an endpoint of its share was probed again, and others were not for %s", s.settled, victim.name, max(s.stayed, w.oldest()))
	}
	w.even()
}

// heap returns how many bytes are in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// processor returns how much time of processors this process took.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
