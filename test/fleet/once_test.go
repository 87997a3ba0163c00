package fleet_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const (
	onceLease    = 3 * time.Second
	oncePatience = 2 * time.Minute // on a slow machine; what it took is told
	onceLife     = 90 * 24 * time.Hour
)

// oncePoint is where the member that orders is struck: at the nth request of that kind.
type oncePoint struct {
	at  string
	nth int
	all bool // the processes that it started are struck, too, as when its host dies
}

func (p oncePoint) String() string {
	who := "the daemon"
	if p.all {
		who = "the host"
	}
	return fmt.Sprintf("%s %s %d", who, p.at, p.nth)
}

// TestIssuedOnce kills the member that has a certificate issued, at each request to the CA: one certificate is issued all the same, another
// member finishes within a lease, a round and what the rest of the order takes, and the one that was killed follows when it comes back. With
// CERTMEDIC_CHAOS=1 it does so at every point.
func TestIssuedOnce(t *testing.T) {
	t.Parallel()
	b := newOnceBasis(t, onceLife)
	first := b.world(t, "first")
	quiet := first.issue(nil)
	t.Logf("without a strike: issued and published after %s", quiet.Round(100*time.Millisecond))
	first.settled("without a strike", 1)
	points := first.pointsOf()
	t.Logf("an issuance asks the CA %d times: %q", len(points)/2, first.points)
	if os.Getenv("CERTMEDIC_CHAOS") == "" {
		points = sampled(points)
	}
	for i, p := range points {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			b.world(t, fmt.Sprintf("kill%d", i)).killedAt(p)
		})
	}
}

// pointsOf returns every point of an issuance, each twice.
func (w *onceWorld) pointsOf() (all []oncePoint) {
	seen := map[string]int{}
	for _, at := range w.points {
		seen[at]++
		if strings.Contains(at, "my-order") || strings.Contains(at, "authZ") || strings.Contains(at, "nonce") || seen[at] > 3 {
			continue // as often as the CA lets one wait
		}
		all = append(all, oncePoint{at, seen[at], true}, oncePoint{at, seen[at], false})
	}
	return all
}

// sampled returns the points at which something is begun or decided, and by turns some of the others.
func sampled(points []oncePoint) []oncePoint {
	telling := []oncePoint{{"after order-plz", 1, true}, {"before finalize-order", 1, true}, {"after finalize-order", 1, true}, {"after finalize-order", 1, false}}
	seed := uint64(time.Now().Unix() / 86400)
	rest := slices.DeleteFunc(slices.Clone(points), func(p oncePoint) bool { return slices.Contains(telling, p) })
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return append(telling, rest[:min(2, len(rest))]...)
}

// issue starts all members, strikes the one that orders where strike says so, and returns how long it took from then, or from the
// start, until a version was published.
func (w *onceWorld) issue(strike func(point string) bool) time.Duration {
	w.t.Helper()
	begun := time.Now()
	var mu sync.Mutex
	struck := false
	w.mu.Lock()
	w.strike = func(point string) {
		mu.Lock()
		defer mu.Unlock()
		if !struck && strike != nil && strike(point) {
			struck, begun = true, time.Now()
		}
	}
	w.mu.Unlock()
	for _, m := range w.members {
		w.start(m)
	}
	w.await("a version is published", func() bool { _, ok := w.published(); return ok })
	mu.Lock()
	defer mu.Unlock()
	if strike != nil && !struck {
		w.t.Errorf("nobody was struck")
	}
	return time.Since(begun)
}

// killedAt kills the member that orders at a point.
func (w *onceWorld) killedAt(p oncePoint) {
	var victim *onceMember
	n := 0
	took := w.issue(func(point string) bool {
		if point != p.at {
			return false
		}
		if n++; n != p.nth {
			return false
		}
		if victim = w.actor(); victim == nil {
			w.t.Errorf("%s: nobody orders", p)
			return false
		}
		victim.kill(p.all)
		return true
	})
	if victim == nil {
		return
	}
	w.t.Logf("%s: published %s after the kill", p, took.Round(100*time.Millisecond))
	w.start(victim)
	w.settled(p.String(), 1)
}

// TestRenewedOnce kills the host that renews a certificate when its time has come, once the CA was asked to issue it: another one
// finishes the same order.
func TestRenewedOnce(t *testing.T) {
	t.Parallel()
	b := newOnceBasis(t, 40*time.Second) // renewed at half of it
	w := b.world(t, "renewed")
	w.issue(nil)
	first, _ := w.published()
	var victim *onceMember
	var struck time.Time
	var mu sync.Mutex
	w.mu.Lock()
	w.strike = func(point string) {
		mu.Lock()
		defer mu.Unlock()
		if point != "after finalize-order" || victim != nil {
			return
		}
		if victim = w.actor(); victim == nil {
			t.Error("nobody renews")
			return
		}
		struck = time.Now()
		victim.kill(true)
	}
	w.mu.Unlock()
	w.await("the next version is published", func() bool { m, ok := w.published(); return ok && m.Version != first.Version })
	mu.Lock()
	defer mu.Unlock()
	if victim == nil {
		t.Error("nobody was struck")
		return
	}
	t.Logf("the next version was published %s after the host was killed that renewed", time.Since(struck).Round(100*time.Millisecond))
	w.start(victim)
	w.settled("renewed", 2)
}

// settled waits until all members have what is published, and holds that so many certificates were issued.
func (w *onceWorld) settled(about string, issued int) {
	w.t.Helper()
	var version certmedic.Fingerprint
	w.await(about+": all members have what is published", func() bool {
		m, ok := w.published()
		version = m.Version
		return ok && !slices.ContainsFunc(w.members, func(m *onceMember) bool { m.whole(w.t); return m.stored(w.t) != version })
	})
	if ordered, got := w.counts(); got != issued {
		w.t.Errorf("%s: %d certificates were issued, by %d orders; want %d", about, got, ordered, issued)
	}
}

// TestIssuedOnceByThePaused stops the member that orders until its lease has ended, and lets it go on: another one has finished
// its order, and it publishes nothing with its token.
func TestIssuedOnceByThePaused(t *testing.T) {
	t.Parallel()
	b := newOnceBasis(t, onceLife)
	w := b.world(t, "paused")
	var victim *onceMember
	took := w.issue(func(point string) bool {
		if point != "after order-plz" {
			return false
		}
		victim = w.actor()
		if victim == nil {
			t.Error("nobody orders")
			return false
		}
		for _, pid := range append(children(victim.cmd.Process.Pid), victim.cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
		return true
	})
	if victim == nil {
		return
	}
	before, _ := w.published()
	t.Logf("%s was paused, and another one published %s later, with token %d", victim.name, took.Round(100*time.Millisecond), before.Token)
	for _, pid := range append(children(victim.cmd.Process.Pid), victim.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	w.settled("paused", 1)
	time.Sleep(2 * onceLease) // it has the time to do harm
	after, _ := w.published()
	if after.Token != before.Token || after.Version != before.Version || after.Member == victim.name {
		t.Errorf("published is %s by %s with token %d, it was %s with token %d", after.Version.Short(), after.Member, after.Token, before.Version.Short(), before.Token)
	}
	w.settled("resumed", 1)
}

// TestIssuedOnceByTheCutOff cuts the member that orders off from the coordinator: it goes on, but nothing of it counts any more.
func TestIssuedOnceByTheCutOff(t *testing.T) {
	t.Parallel()
	b := newOnceBasis(t, onceLife)
	w := b.world(t, "cut")
	var victim *onceMember
	took := w.issue(func(point string) bool {
		if point != "after order-plz" {
			return false
		}
		if victim = w.actor(); victim == nil {
			t.Error("nobody orders")
			return false
		}
		victim.line.cut(true)
		return true
	})
	if victim == nil {
		return
	}
	before, _ := w.published()
	t.Logf("%s was cut off, and %s published %s later", victim.name, before.Member, took.Round(100*time.Millisecond))
	if before.Member == victim.name {
		t.Errorf("who was cut off published")
	}
	victim.line.cut(false)
	w.settled("cut off", 1)
}
