package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/coord"
)

// silentEngine is a coordinator that answers nobody.
type silentEngine struct{ coord.Engine }

var errBroken = errors.New("no answer")

func (silentEngine) Acquire(_ context.Context, name string) (coord.Lease, error) {
	return coord.Lease{Name: name}, errBroken
}

func (silentEngine) Close() error { return nil }

// newMember is a member of a cluster of these, whose coordinator is an engine.
func newMember(e coord.Engine, name string, members ...string) *cluster {
	c := &cluster{
		engine: e, self: coord.Member{Name: name}, ttl: 10 * time.Second, setting: &config.Cluster{Member: name, Emergency: "5%"},
		moved: func(string) {}, joined: func() {}, log: slog.New(slog.DiscardHandler),
		own: map[string]bool{}, last: map[string]coord.Lease{}, gained: map[string]time.Time{}, holders: map[string]string{}, left: map[string]time.Time{},
	}
	c.keeper = coord.NewKeeper(attentive{e, c}, c.ttl, c.changed)
	for _, m := range members {
		c.members = append(c.members, coord.Member{Name: m})
	}
	return c
}

// kept runs the keeper for a while.
func (c *cluster) kept(t *testing.T, d time.Duration, names ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c.end = cancel
	ended := make(chan struct{})
	c.want(names, map[string]bool{"own": true})
	go func() { c.keeper.Run(ctx); close(ended) }()
	time.Sleep(d)
	synctest.Wait()
	t.Cleanup(func() { cancel(); <-ended })
}

// TestEmergency has three members that cannot ask: they renew what ends soon after each other, each in a turn of its own.
func TestEmergency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"m1", "m2", "m3"}
		now := time.Now()
		leaf := certmedic.CertFacts{NotBefore: now.Add(-60 * 24 * time.Hour), NotAfter: now.Add(30 * 24 * time.Hour)}
		from := leaf.NotAfter.Add(-leaf.Lifetime() / 20)
		var turns []time.Duration
		for _, name := range names {
			c := newMember(silentEngine{}, name, names...)
			if at := c.Emergency("shop", leaf); !at.IsZero() {
				t.Errorf("%s would renew at %s while nobody said that the coordinator is lost", name, at)
			}
			c.kept(t, time.Second, "shop")
			turns = append(turns, c.Emergency("shop", leaf).Sub(from))
			short := certmedic.CertFacts{NotBefore: now.Add(-95 * time.Minute), NotAfter: now.Add(5 * time.Minute)}
			if wait := time.Until(c.Emergency("shop", short)); wait < 18*time.Second || wait > 20*time.Second+3*time.Minute {
				t.Errorf("%s renews what is at its end already after %s: not before it is sure, and soon then", name, wait)
			}
			if at := c.Emergency("shop", certmedic.CertFacts{}); !at.IsZero() {
				t.Errorf("%s would order what was never issued at %s", name, at)
			}
		}
		slices.Sort(turns)
		if want := []time.Duration{0, emergencyGap, 2 * emergencyGap}; !slices.Equal(turns, want) {
			t.Errorf("the turns of three members are %v, want %v", turns, want)
		}
	})
}

// TestWhoSpeaksAlone has a member that cannot ask: it tells people once a lease has passed, and acts for nothing but its own.
func TestWhoSpeaksAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMember(silentEngine{}, "m1", "m1", "m2")
		c.kept(t, time.Second, "shop")
		if c.Speaks("shop") {
			t.Error("it speaks at once")
		}
		if l := c.Lead("shop"); l.Mine || !l.Lost.IsZero() {
			t.Errorf("after a second it says %+v", l)
		}
		if l := c.Lead("own"); !l.Mine || !l.Lost.IsZero() {
			t.Errorf("it does not act for its own copy: %+v", l)
		}
		if token, err := c.Confirm(t.Context(), "own"); err != nil || token != 0 {
			t.Errorf("for its own copy it has the token %d, %v", token, err)
		}
		if _, err := c.Confirm(t.Context(), "shop"); !errors.Is(err, errBroken) {
			t.Errorf("it proves with %v", err)
		}
		time.Sleep(c.ttl)
		if l := c.Lead("shop"); l.Mine || l.Lost.IsZero() {
			t.Errorf("after a lease it says %+v", l)
		}
		if !c.Speaks("shop") {
			t.Error("nobody speaks")
		}
	})
}

// TestGone remembers for a day who left.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMember(silentEngine{}, "m1")
		of := func(names ...string) (all []coord.Member) {
			for _, name := range names {
				all = append(all, coord.Member{Name: name})
			}
			return all
		}
		c.living(of("m1", "m2", "m3"))
		c.living(of("m1", "m3"))
		time.Sleep(23 * time.Hour)
		if gone := c.Gone(time.Now()); len(gone) != 1 || gone["m2"] == "" {
			t.Errorf("gone are %v", gone)
		}
		c.living(of("m2", "m3")) // it is itself here, whatever it is told
		if gone := c.Gone(time.Now()); len(gone) != 0 || len(c.Members()) != 3 {
			t.Errorf("gone are %v, there are %v", gone, c.Members())
		}
		c.living(of("m1"))
		time.Sleep(25 * time.Hour)
		if gone := c.Gone(time.Now()); len(gone) != 0 {
			t.Errorf("after a day gone are %v", gone)
		}
	})
}

// notes is what outlives a process.
type notes struct{ records []coord.Record }

func (k *notes) SharedRecords() ([]coord.Record, error) { return k.records, nil }

func (k *notes) SaveSharedRecord(r coord.Record) error {
	k.records = []coord.Record{r}
	return nil
}

// TestTurnsAfterRestarts has all members restart while nobody can be asked: each still has a turn of its own, as it knows from before
// who else is there.
func TestTurnsAfterRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"m1", "m2", "m3"}
		now := time.Now()
		leaf := certmedic.CertFacts{NotBefore: now.Add(-89 * 24 * time.Hour), NotAfter: now.Add(24 * time.Hour)}
		var turns []time.Duration
		for _, name := range names {
			before := newMember(silentEngine{}, name)
			before.memory = &notes{}
			before.living([]coord.Member{{Name: "m1"}, {Name: "m2"}, {Name: "m3"}})
			began := time.Now()
			c := newMember(silentEngine{}, name)
			c.memory = before.memory
			if err := c.recall(); err != nil {
				t.Fatal(err)
			}
			c.kept(t, time.Second, "shop")
			if n := len(c.Members()); n != 1 {
				t.Errorf("%s says that %d members live, and was told of none", name, n)
			}
			turns = append(turns, c.Emergency("shop", leaf).Sub(began)-2*c.ttl)
		}
		slices.Sort(turns)
		if want := []time.Duration{0, emergencyGap, 2 * emergencyGap}; !slices.Equal(turns, want) {
			t.Errorf("the turns of three members are %v, want %v", turns, want)
		}
	})
}

// heldEngine is a coordinator that grants each lease for its time, as a session does.
type heldEngine struct {
	silentEngine
	mu    sync.Mutex
	until time.Time
	token uint64
	ttl   time.Duration
	over  bool // it was released
}

func (e *heldEngine) Acquire(_ context.Context, name string) (coord.Lease, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !time.Now().Before(e.until) {
		e.token++
	}
	e.until = time.Now().Add(e.ttl)
	return coord.Lease{Name: name, Member: "m1", Token: e.token, Expires: coord.Expiry(time.Now(), e.ttl)}, nil
}

func (e *heldEngine) Renew(ctx context.Context, l coord.Lease) (coord.Lease, error) {
	if !l.Holds(time.Now()) {
		return l, coord.ErrLost
	}
	return e.Acquire(ctx, l.Name)
}

func (e *heldEngine) Release(context.Context, coord.Lease) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	return nil
}

// TestAttend keeps a lease for longer than it lasts while a command acts without the daemon, and gives it up then.
func TestAttend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &heldEngine{ttl: 10 * time.Second}
		c := newMember(e, "m1")
		end := c.attend(t.Context(), "shop")
		first, err := c.Confirm(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		if l := c.Lead("shop"); !l.Mine || l.Token != first {
			t.Errorf("it acts as %+v", l)
		}
		time.Sleep(time.Minute)
		if token, err := c.Confirm(t.Context(), "shop"); err != nil || token != first {
			t.Errorf("after a minute it acts with %d, %v, and began with %d", token, err, first)
		}
		end()
		if !e.over {
			t.Error("the lease is not given up")
		}
	})
}

// TestAttendAlone has a command act without the daemon where nobody can be asked: people who insist do not wait for a lease to pass.
func TestAttendAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newMember(silentEngine{}, "m1")
		began := time.Now()
		defer c.attend(t.Context(), "shop")()
		if l := c.Lead("shop"); l.Mine || l.Lost.IsZero() || time.Since(began) > time.Second {
			t.Errorf("after %s it says %+v", time.Since(began), l)
		}
	})
}

// TestNameUsedTwice has another process begin later with this member's name: that is said. This member before its restart is no other one.
func TestNameUsedTwice(t *testing.T) {
	began := time.Now()
	for _, row := range []struct {
		about string
		seen  coord.Member
		says  bool
	}{
		{"itself", coord.Member{Name: "m1", Started: began}, false},
		{"itself before a restart", coord.Member{Name: "m1", Started: began.Add(-time.Minute)}, false},
		{"another member that began later", coord.Member{Name: "m2", Started: began.Add(time.Minute)}, false},
		{"another process with its name", coord.Member{Name: "m1", Started: began.Add(time.Minute)}, true},
	} {
		c := newMember(silentEngine{}, "m1")
		c.self.Started = began
		c.living([]coord.Member{row.seen})
		if said := c.doubled(); (said != "") != row.says {
			t.Errorf("%s: %q", row.about, said)
		}
	}
}
