package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/embedded"
	"github.com/certmedic/certmedic/internal/shard"
)

// cluster is what this member shares with the others of its cluster, or, on a single host, what
// stands in for that. It outlives generations.
type cluster struct {
	engine  coord.Engine
	self    coord.Member
	ttl     time.Duration   // of leases
	setting *config.Cluster // nil on a single host, as is keeper
	keeper  *coord.Keeper
	moved   func(certificate string) // told who acts for a certificate may have changed; returns soon
	joined  func()                   // told that members came or went; returns soon
	memory  memory                   // outlives this process
	log     *slog.Logger

	end   context.CancelFunc // of run
	tasks sync.WaitGroup

	mu      sync.Mutex
	own     map[string]bool        // certificates that each member acts for by itself
	last    map[string]coord.Lease // held now, or last and by nobody since as far as is known
	gained  map[string]time.Time   // when those were gained
	holders map[string]string      // who else was seen to hold a lease
	members []coord.Member         // as they were last seen
	left    map[string]time.Time   // members that are not there any more, and since when
	known   []string               // who was there when members were seen last, maybe by an earlier process; nil: nobody ever was
}

const (
	// leaseTime is how long a lease says that it lasts on a single host.
	leaseTime = 10 * time.Second
	// confirmTimeout bounds how long it is waited for the proof that this member may act.
	confirmTimeout = 5 * time.Second
	// voice is the lease of the one member that tells people. No certificate has such a name.
	voice = "~alerting"
)

// openCluster makes what the configuration asks for. It asks nobody yet: a coordinator that cannot be
// reached is no reason not to watch.
func (a *App) openCluster() error {
	c := &cluster{
		ttl: leaseTime, setting: a.config.Cluster, moved: a.leadMoved, joined: a.membersMoved, log: a.o.Log,
		own: map[string]bool{}, last: map[string]coord.Lease{}, gained: map[string]time.Time{}, holders: map[string]string{}, left: map[string]time.Time{},
	}
	a.cluster, a.nodes, a.loans = c, a.newNodeBook(), newLoanBook(a.store, c, a.o.Log)
	if c.setting == nil {
		c.self = coord.Member{Name: certmedic.LocalHost, Started: time.Now().UTC()}
		var err error
		if c.engine, err = embedded.New(a.store, certmedic.LocalHost, leaseTime); err != nil {
			return fmt.Errorf("opening the coordinator: %w", err)
		}
		return nil
	}
	c.self = coord.Member{Name: c.setting.Member, Address: string(c.setting.Address), Started: time.Now().UTC()}
	c.ttl, c.memory = c.setting.Lease, a.store
	if err := c.recall(); err != nil {
		return err
	}
	c.engine = coord.NewLate(c.open, c.ttl/2)
	c.keeper = coord.NewKeeper(attentive{c.engine, c}, c.ttl, c.changed)
	return nil
}

// shares reports whether other members look after a certificate, too.
func (c *cluster) shares(certificate string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keeper != nil && !c.own[certificate]
}

// attentive is a coordinator of which is noted who holds what.
type attentive struct {
	coord.Coordinator
	c *cluster
}

// Acquire implements [coord.Coordinator].
func (t attentive) Acquire(ctx context.Context, name string) (coord.Lease, error) {
	l, err := t.Coordinator.Acquire(ctx, name)
	if errors.Is(err, coord.ErrHeld) {
		t.c.heldBy(name, l.Member)
	}
	return l, err
}

// heldBy notes that another session holds a lease: what this one held before counts no more.
func (c *cluster) heldBy(name, member string) {
	c.mu.Lock()
	known := c.holders[name] == member
	c.holders[name] = member
	delete(c.last, name)
	c.mu.Unlock()
	if !known {
		c.moved(name)
	}
}

// changed notes that a lease was gained, or lost.
func (c *cluster) changed(l coord.Lease, held bool) {
	c.mu.Lock()
	if held {
		c.last[l.Name], c.gained[l.Name] = l, time.Now()
		delete(c.holders, l.Name)
	}
	c.mu.Unlock()
	if held {
		c.log.Info("this member acts", "for", l.Name, "token", l.Token)
	} else {
		c.log.Info("this member acts no more", "for", l.Name, "token", l.Token)
	}
	c.moved(l.Name)
}

// want says for which certificates this member would act: for some by a lease, for its own by itself.
func (c *cluster) want(leased []string, own map[string]bool) {
	if c.keeper == nil {
		return
	}
	c.mu.Lock()
	c.own = own
	for name := range c.last {
		if name != voice && !slices.Contains(leased, name) {
			delete(c.last, name)
		}
	}
	c.mu.Unlock()
	if !c.setting.Shard {
		leased = append(slices.Clone(leased), voice)
	}
	c.keeper.Want(leased)
}

// Lead says who acts for a certificate, as far as is known now. It asks nobody.
func (c *cluster) Lead(certificate string) certmedic.Lead {
	mine := certmedic.Lead{Member: c.self.Name, Mine: true}
	if c.keeper == nil {
		return mine
	}
	mine.Lost, _ = c.Lost()
	l, held := c.keeper.Held(certificate, time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own[certificate] {
		mine.Lost = time.Time{} // nobody has to be asked
		return mine
	}
	if !held && !mine.Lost.IsZero() {
		l, held = c.last[certificate]
	}
	if !held {
		if c.end != nil && time.Since(mine.Lost) < c.ttl { // a short failure changes nothing for who follows
			mine.Lost = time.Time{}
		}
		return certmedic.Lead{Member: c.holders[certificate], Lost: mine.Lost}
	}
	mine.Token, mine.Since = l.Token, c.gained[certificate]
	return mine
}

// Confirm proves, just before something is changed, that this member acts for a certificate, and
// returns the token to do it with: 0 for a certificate that each member acts for by itself. Where this member does not hold the lease, and nobody
// else does, it takes it. [coord.ErrHeld] and [coord.ErrLost] say that another member acts; any other error that nobody can be asked.
func (c *cluster) Confirm(ctx context.Context, certificate string) (token uint64, err error) {
	c.mu.Lock()
	own := c.own[certificate]
	c.mu.Unlock()
	if own {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	l, err := c.confirm(ctx, certificate)
	if err != nil {
		return 0, fmt.Errorf("proving who acts for %q: %w", certificate, err)
	}
	return l.Token, nil
}

func (c *cluster) confirm(ctx context.Context, certificate string) (coord.Lease, error) {
	if c.keeper == nil {
		return c.engine.Acquire(ctx, certificate)
	}
	if _, held := c.keeper.Held(certificate, time.Now()); held {
		return c.keeper.Confirm(ctx, certificate)
	}
	l, err := attentive{c.engine, c}.Acquire(ctx, certificate) // the keeper finds it held, and keeps it
	if err == nil {
		c.mu.Lock()
		c.last[certificate] = l
		c.mu.Unlock()
	}
	return l, err
}

// Records returns what the members share: under "nodes/CERTIFICATE" what is known of its nodes,
// under "orders/CERTIFICATE" what was last ordered, and under "deliveries/" what was told to whom.
func (c *cluster) Records() coord.Records { return c.engine }

// Speaks reports whether this member is the one that tells people about a certificate; of the fleet
// where it is empty. Where members share out what is watched each speaks of its share. While the
// coordinator cannot be asked for longer than a lease all speak: better twice than never.
func (c *cluster) Speaks(string) bool {
	if c.keeper == nil || c.setting.Shard {
		return true
	}
	now := time.Now()
	if _, held := c.keeper.Held(voice, now); held {
		return true
	}
	since, why := c.Lost()
	if why == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, last := c.last[voice]
	return last || now.Sub(since) >= c.ttl
}

// Members returns the living members, by name, as they were last seen; never empty.
func (c *cluster) Members() []coord.Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, known := slices.BinarySearchFunc(c.members, c.self.Name, func(m coord.Member, name string) int {
		return compareNames(m.Name, name)
	})
	if known {
		return slices.Clone(c.members)
	}
	return slices.Insert(slices.Clone(c.members), at, c.self)
}

// Lost returns since when the coordinator cannot be asked, and why; nil while it can.
func (c *cluster) Lost() (since time.Time, why error) {
	if c.keeper == nil {
		return time.Time{}, nil
	}
	return c.keeper.Trouble()
}

// The times by which members come after each other while the coordinator cannot be asked.
const (
	emergencyGap   = 10 * time.Minute
	emergencyShare = 100 // of the life of a version, where that is less
)

// Emergency returns from when a version may be renewed by this member although the coordinator cannot be asked:
// little is left of its life, and the members before this one had their time. Zero: not at all.
func (c *cluster) Emergency(certificate string, leaf certmedic.CertFacts) time.Time {
	since, why := c.Lost()
	share, err := 0.0, error(nil)
	if why != nil {
		share, err = c.setting.Emergency.Fraction()
	}
	if why == nil || err != nil || leaf.NotAfter.IsZero() {
		return time.Time{}
	}
	life := leaf.Lifetime()
	from := leaf.NotAfter.Add(-time.Duration(share * float64(life)))
	if sure := since.Add(2 * c.ttl); from.Before(sure) { // it is no short failure, and no lease stands any more
		from = sure
	}
	return from.Add(time.Duration(c.rank(certificate)) * min(emergencyGap, life/emergencyShare))
}

// rank returns how many of the members that were last seen come before this one.
func (c *cluster) rank(certificate string) int {
	names := c.rivals()
	for before := range names {
		owner := shard.Of(names).Owner(certificate)
		if owner == c.self.Name {
			return before
		}
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == owner })
	}
	return 0
}

func namesOf(members []coord.Member) []string {
	names := make([]string, 0, len(members))
	for _, m := range members {
		names = append(names, m.Name)
	}
	return names
}
