package coordtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

// World is an engine that sessions can be opened on.
type World struct {
	// Open begins a session of a member, with leases of TTL. It is closed when the test ends.
	Open func(t testing.TB, member string) coord.Engine
	// Crash ends a session as kill -9 does, without a word to the engine. Without it a session is
	// taken to end by not being used, and what only a dead member shows is not tested.
	Crash func(e coord.Engine)
	// Mend lets a session that crashed reach the engine again, as where it was cut off. It goes with Crash.
	Mend func(e coord.Engine)
	// TTL is the time to live of leases and members.
	TTL time.Duration
	// Ends is after what time without renewal a lease can be taken by others, at the latest.
	Ends time.Duration
	// Single says that the only member always wins, and that Open continues with what was kept.
	Single bool
	// Steps is how many random steps the model takes.
	Steps int
}

func (w World) crash(e coord.Engine) {
	if w.Crash != nil {
		w.Crash(e)
	}
}

// Test runs everything that coord promises against worlds that begin empty, each made by begin.
// In virtual time each part runs in a synctest bubble.
func Test(t *testing.T, virtual bool, begin func(t testing.TB) World) {
	for _, part := range []struct {
		about   string
		several bool // of members
		test    func(t *testing.T, w World)
	}{
		{"a lease is one member's at a time", true, testOneHolder},
		{"the same member again is another session", true, testSessions},
		{"tokens only grow", false, testTokens},
		{"a lease that is not renewed ends, and that is told", true, testExpiry},
		{"of many who want a lease at once one has it", true, testRush},
		{"names are told apart, and odd ones kept", false, testNames},
		{"a record is written by who knows its revision and has no lower token", false, testRecords},
		{"of many who write a record at once one does", false, testRecordRush},
		{"records are listed by their prefix", false, testList},
		{"members see each other come and go", true, testMembers},
		{"a member that is cut off is gone, and comes back", true, testLoss},
		{"a member that is alone sees itself", false, testAlone},
		{"a call ends with its context", true, testContext},
		{"whatever members do there is one holder, and no lower token is accepted", true, testModel},
		{"members that act at once are never two", true, testExclusion},
	} {
		t.Run(part.about, func(t *testing.T) {
			if !virtual {
				t.Parallel() // most of it is waiting
			}
			inTime(t, virtual, func(t *testing.T) {
				if w := begin(t); !part.several || !w.Single {
					part.test(t, w)
				}
			})
		})
	}
}

func inTime(t *testing.T, virtual bool, test func(t *testing.T)) {
	t.Helper()
	if virtual {
		synctest.Test(t, test)
		return
	}
	test(t)
}

func acquire(t *testing.T, e coord.Engine, name string) coord.Lease {
	t.Helper()
	l, err := e.Acquire(t.Context(), name)
	if err != nil {
		t.Fatalf("acquiring %q: %v", name, err)
	}
	if l.Name != name || !l.Holds(time.Now()) {
		t.Fatalf("acquiring %q gave %+v, at %s", name, l, time.Now())
	}
	return l
}

func release(t *testing.T, e coord.Engine, l coord.Lease) {
	t.Helper()
	if err := e.Release(t.Context(), l); err != nil {
		t.Fatalf("releasing %q: %v", l.Name, err)
	}
}

func refused(t *testing.T, e coord.Engine, name, holder string) {
	t.Helper()
	l, err := e.Acquire(t.Context(), name)
	if !errors.Is(err, coord.ErrHeld) || l.Member != holder {
		t.Errorf("acquiring %q, which %q holds, gave %+v, %v", name, holder, l, err)
	}
}

func lost(t *testing.T, e coord.Engine, l coord.Lease) {
	t.Helper()
	if _, err := e.Renew(t.Context(), l); !errors.Is(err, coord.ErrLost) {
		t.Errorf("renewing a lease that was lost gave %v", err)
	}
}

func testOneHolder(t *testing.T, w World) {
	a, b := w.Open(t, "a"), w.Open(t, "b")
	first := acquire(t, a, "shop")
	if first.Member != "a" || first.Token == 0 {
		t.Errorf("a's lease is %+v", first)
	}
	refused(t, b, "shop", "a")
	acquire(t, b, "blog") // another name

	again := acquire(t, a, "shop")
	renewed, err := a.Renew(t.Context(), again)
	if err != nil || again.Token != first.Token || renewed.Token != first.Token || renewed.Expires.Before(first.Expires) {
		t.Errorf("%+v acquired again is %+v and renewed %+v, %v", first, again, renewed, err)
	}
	if _, err := a.Renew(t.Context(), first); err != nil {
		t.Errorf("renewing the lease as it was before a renewal gave %v", err)
	}
	refused(t, b, "shop", "a")

	release(t, a, renewed)
	lost(t, a, renewed)
	next := acquire(t, a, "shop")
	lost(t, a, renewed) // which is another lease than the present one
	release(t, a, renewed)
	refused(t, b, "shop", "a")
	release(t, a, next)
	second := acquire(t, b, "shop")
	if second.Token <= next.Token || next.Token <= first.Token {
		t.Errorf("after the token %d come %d and %d", first.Token, next.Token, second.Token)
	}
	lost(t, a, renewed)
	release(t, a, renewed) // is no error, and takes nothing from b
	refused(t, a, "shop", "b")
	if _, err := b.Renew(t.Context(), second); err != nil {
		t.Errorf("b lost its lease to who released an earlier one: %v", err)
	}
}

func testSessions(t *testing.T, w World) {
	before := w.Open(t, "a")
	l := acquire(t, before, "shop")
	after := w.Open(t, "a")
	refused(t, after, "shop", "a")
	if _, err := before.Renew(t.Context(), l); err != nil {
		t.Errorf("the earlier session lost its lease: %v", err)
	}
	lost(t, after, l)
	if err := after.Release(t.Context(), l); err != nil {
		t.Errorf("releasing the lease of another session: %v", err)
	}
	refused(t, after, "shop", "a")
}

func testTokens(t *testing.T, w World) {
	var last uint64
	for round := range 4 {
		e := w.Open(t, "a")
		for range 3 {
			l := acquire(t, e, "shop")
			if l.Token <= last {
				t.Errorf("after the token %d comes %d", last, l.Token)
			}
			last = l.Token
			release(t, e, l)
		}
		l := acquire(t, e, "shop")
		last = l.Token
		switch {
		case w.Single: // the next start forgets the lease
		case round%2 == 0:
			release(t, e, l)
		default:
			w.crash(e)
			time.Sleep(w.Ends)
		}
	}
}

func testExpiry(t *testing.T, w World) {
	a, b := w.Open(t, "a"), w.Open(t, "b")
	l := acquire(t, a, "shop")
	start := time.Now()
	w.crash(a)
	for {
		next, err := b.Acquire(t.Context(), "shop")
		if err == nil {
			if l.Holds(time.Now()) || next.Token <= l.Token {
				t.Errorf("at %s b has %+v while a has %+v", time.Now(), next, l)
			}
			break
		}
		if !errors.Is(err, coord.ErrHeld) {
			t.Fatal(err)
		}
		if time.Since(start) > w.Ends {
			t.Fatalf("%s after its last renewal a lease of %s still holds", time.Since(start), w.TTL)
		}
		time.Sleep(w.TTL / 20)
	}
	lost(t, a, l)
	if w.Crash == nil {
		release(t, a, l)
		refused(t, a, "shop", "b")
	}
}

func testRush(t *testing.T, w World) {
	engines := make([]coord.Engine, 8)
	for i := range engines {
		engines[i] = w.Open(t, string(rune('a'+i)))
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	won := 0
	for _, e := range engines {
		all.Go(func() {
			_, err := e.Acquire(t.Context(), "shop")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, coord.ErrHeld) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won != 1 {
		t.Errorf("%d members have the lease", won)
	}
}

// oddNames are such as certificates, accounts and orders may have.
func oddNames() []string {
	return []string{
		"shop", "shop/", "shop/a", "*.example.com", "..", ".", "a b", "größe", "a%2Fb", "a+b", "https://ca.example/acct/1", "\\", "=", "~",
		strings.Repeat("x", coord.MaxName), strings.Repeat("x", coord.MaxName-1), strings.Repeat("ß", coord.MaxName/2),
	}
}

func testNames(t *testing.T, w World) {
	e := w.Open(t, "a")
	for _, name := range oddNames() {
		acquire(t, e, name)
		if _, err := e.Put(t.Context(), name, 0, 1, []byte(name)); err != nil {
			t.Fatalf("writing the record %q: %v", name, err)
		}
	}
	all, err := e.List(t.Context(), "")
	var keys []string
	for _, r := range all {
		keys = append(keys, r.Key)
		if string(r.Value) != r.Key {
			t.Errorf("the record %q has the value %q", r.Key, r.Value)
		}
	}
	want := slices.Sorted(slices.Values(oddNames()))
	if err != nil || !slices.Equal(keys, want) {
		t.Errorf("the records are %q, %v, want %q", keys, err, want)
	}
	for _, bad := range []string{"", "a\nb", "\xff", strings.Repeat("x", coord.MaxName+1)} {
		if _, err := e.Acquire(t.Context(), bad); err == nil {
			t.Errorf("there is a lease of the name %q", bad)
		}
		if _, err := e.Put(t.Context(), bad, 0, 0, nil); err == nil {
			t.Errorf("there is a record of the name %q", bad)
		}
	}
	if _, err := e.Put(t.Context(), "long", 0, 1, make([]byte, coord.MaxValue+1)); err == nil {
		t.Error("a value that is too long was written")
	}
}

func testAlone(t *testing.T, w World) {
	e := w.Open(t, "a")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	if err := e.Join(ctx, coord.Member{Name: "b"}); err == nil {
		t.Error("a session of a joined as b")
	}
	me := coord.Member{Name: "a", Address: "127.0.0.1:9879", Started: time.Now()}
	if err := e.Join(ctx, me); err != nil {
		t.Fatal(err)
	}
	seen := watch(t, e)
	seen.await(t, w, "a")
	if got := seen.last(); len(got) == 1 && !got[0].Equal(me) {
		t.Errorf("the member is %+v, want %+v", got[0], me)
	}
	leave()
	seen.await(t, w)
}

func testContext(t *testing.T, w World) {
	e := w.Open(t, "a")
	l := acquire(t, e, "shop")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Acquire(ctx, "blog"); !errors.Is(err, context.Canceled) {
		t.Errorf("acquiring for nobody gave %v", err)
	}
	if _, err := e.Renew(ctx, l); !errors.Is(err, context.Canceled) {
		t.Errorf("renewing for nobody gave %v", err)
	}
	if _, _, err := e.Get(ctx, "order"); !errors.Is(err, context.Canceled) {
		t.Errorf("reading for nobody gave %v", err)
	}
	if err := e.Watch(ctx, func([]coord.Member) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("watching for nobody gave %v", err)
	}
	if _, err := e.Renew(t.Context(), l); err != nil {
		t.Errorf("after that the lease is gone: %v", err)
	}
}
