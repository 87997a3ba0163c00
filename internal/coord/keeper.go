package coord

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	acquiring      = 8               // calls at a time for leases that others may have
	renewing       = 32              // calls at a time for leases that this member has
	releaseTimeout = 5 * time.Second // for all leases, at the end
)

// Keeper acquires and keeps leases for one member. It tries again for what others hold, renews
// what it holds every third of the time to live, and ends what it could not renew before the lease ends by its own
// clock. Its methods are safe for concurrent use.
type Keeper struct {
	coordinator Coordinator
	ttl         time.Duration
	changed     func(l Lease, held bool)

	acquires, renews chan struct{} // taken by calls
	wanted           chan struct{} // told when names changed

	telling sync.Mutex // one change at a time
	mu      sync.Mutex
	names   []string
	held    map[string]Lease
	since   time.Time // when trouble began
	trouble error
}

// NewKeeper returns a keeper for leases of a time to live, which is that of the coordinator. It calls changed,
// which may be nil, when it gained a lease and when it lost or gave one up: one call at a time, in order, from the
// goroutine that learnt of it; it should return soon, and may ask the keeper what is held.
func NewKeeper(c Coordinator, ttl time.Duration, changed func(l Lease, held bool)) *Keeper {
	if changed == nil {
		changed = func(Lease, bool) {}
	}
	return &Keeper{
		coordinator: c, ttl: ttl, changed: changed,
		acquires: make(chan struct{}, acquiring), renews: make(chan struct{}, renewing), wanted: make(chan struct{}, 1),
		held: map[string]Lease{},
	}
}

// Want says which leases to hold, in place of those before. What is not wanted any more is released. It may be called before
// [Keeper.Run] and during it.
func (k *Keeper) Want(names []string) {
	k.mu.Lock()
	k.names = names
	k.mu.Unlock()
	select {
	case k.wanted <- struct{}{}:
	default: // it was told and has not looked yet
	}
}

// Held returns the lease of a name while it is held.
func (k *Keeper) Held(name string, now time.Time) (Lease, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.held[name]
	return l, ok && l.Holds(now)
}

// Confirm asks the coordinator whether a lease is held, just before something is done under it, and renews it.
// [ErrLost] says that it is not. With any other error nothing is known: the coordinator cannot be asked.
func (k *Keeper) Confirm(ctx context.Context, name string) (Lease, error) {
	l, held := k.Held(name, time.Now())
	if !held {
		return Lease{Name: name}, ErrLost
	}
	return k.renew(ctx, l)
}

// Trouble returns why the coordinator cannot be asked, and since when; nil while it can.
func (k *Keeper) Trouble() (since time.Time, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.since, k.trouble
}

// Run keeps the leases until ctx ends. Then it releases them, for which it takes 5 s at most, and returns.
func (k *Keeper) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	terms := map[string]*term{}
	for {
		k.follow(ctx, terms, &all)
		select {
		case <-k.wanted:
		case <-ctx.Done():
			return
		}
	}
}

// term is for how long a name is wanted.
type term struct {
	end   context.CancelFunc
	ended chan struct{} // closed when its lease was released
	over  bool          // it is not wanted any more
}

// follow begins with what is wanted newly, and ends what is not wanted any more.
func (k *Keeper) follow(ctx context.Context, terms map[string]*term, all *sync.WaitGroup) {
	k.mu.Lock()
	names := k.names
	k.mu.Unlock()
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
		before := terms[name]
		if before != nil && !before.over {
			continue
		}
		its, end := context.WithCancel(ctx)
		now := &term{end: end, ended: make(chan struct{})}
		terms[name] = now
		all.Go(func() {
			defer end()
			defer close(now.ended)
			if before != nil {
				<-before.ended
			}
			k.keep(its, name)
		})
	}
	for name, t := range terms {
		switch {
		case !wanted[name] && !t.over:
			t.end()
			t.over = true
		case t.over && isClosed(t.ended):
			delete(terms, name)
		}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// keep acquires a lease and holds it, again and again.
func (k *Keeper) keep(ctx context.Context, name string) {
	for {
		l, err := k.ask(ctx, k.acquires, func(ctx context.Context) (Lease, error) { return k.coordinator.Acquire(ctx, name) })
		if err == nil {
			k.gain(l)
			k.hold(ctx, name)
		}
		if !pause(ctx, jitter(k.ttl/3)) {
			return
		}
	}
}

// hold renews a lease until it is lost, or until ctx ends, when it gives it up.
func (k *Keeper) hold(ctx context.Context, name string) {
	wait := k.ttl / 3
	for {
		l, held := k.Held(name, time.Now())
		if !held {
			k.lose(l)
			return
		}
		if !pause(ctx, min(jitter(wait), time.Until(l.Expires))) {
			k.giveUp(context.WithoutCancel(ctx), l)
			return
		}
		if !l.Holds(time.Now()) {
			continue // unless somebody confirmed it meanwhile it is lost
		}
		within, cancel := context.WithDeadline(ctx, l.Expires)
		_, err := k.renew(within, l)
		cancel()
		wait = k.ttl / 3
		if err != nil {
			wait = k.ttl / 10
		}
	}
}

// renew renews a lease, and notes what came of it.
func (k *Keeper) renew(ctx context.Context, l Lease) (Lease, error) {
	renewed, err := k.ask(ctx, k.renews, func(ctx context.Context) (Lease, error) { return k.coordinator.Renew(ctx, l) })
	if errors.Is(err, ErrLost) {
		k.lose(l)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if present := k.held[l.Name]; err == nil && present.Token == l.Token && present.Expires.Before(renewed.Expires) {
		k.held[l.Name] = renewed
	}
	return renewed, err
}

// ask calls the coordinator when there is a slot, and notes whether it answered.
func (k *Keeper) ask(ctx context.Context, slots chan struct{}, call func(ctx context.Context) (Lease, error)) (Lease, error) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return Lease{}, ctx.Err()
	}
	defer func() { <-slots }()
	l, err := call(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, ErrHeld), errors.Is(err, ErrLost):
		k.since, k.trouble = time.Time{}, nil
	case errors.Is(ctx.Err(), context.Canceled): // it was not waited for
	default:
		k.trouble = err
		if k.since.IsZero() {
			k.since = time.Now()
		}
	}
	return l, err
}

func (k *Keeper) gain(l Lease) {
	k.telling.Lock()
	defer k.telling.Unlock()
	k.mu.Lock()
	k.held[l.Name] = l
	k.mu.Unlock()
	k.changed(l, true)
}

// lose notes that a lease is not held any more, unless that was noted, or another one is held by now.
func (k *Keeper) lose(l Lease) {
	k.telling.Lock()
	defer k.telling.Unlock()
	k.mu.Lock()
	present, held := k.held[l.Name]
	held = held && present.Token == l.Token
	if held {
		delete(k.held, l.Name)
	}
	k.mu.Unlock()
	if held {
		k.changed(present, false)
	}
}

// giveUp ends a lease. Nobody acts under it any more by then.
func (k *Keeper) giveUp(ctx context.Context, l Lease) {
	k.lose(l)
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	_, _ = k.ask(ctx, k.renews, func(ctx context.Context) (Lease, error) { return l, k.coordinator.Release(ctx, l) })
}

// jitter returns d or up to a tenth less, so that members and leases do not fall into step.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(rand.Int64N(max(1, int64(d/10))))
}

// pause waits, and says whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
