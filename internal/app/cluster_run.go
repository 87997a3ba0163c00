package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

// enterEvery is how often joining is tried again.
const enterEvery = 5 * time.Second

func compareNames(a, b string) int { return strings.Compare(a, b) }

// start joins the cluster, follows who else is in it, and begins to hold leases, until stop.
func (c *cluster) start() {
	if c.keeper == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.end = cancel
	c.tasks.Go(func() { c.keeper.Run(ctx) })
	c.tasks.Go(func() { _ = c.engine.Watch(ctx, c.living) }) // it ends with ctx alone
	c.tasks.Go(func() {
		_ = coord.Enter(ctx, c.engine, c.self, min(enterEvery, c.ttl)) // it ends with ctx alone
	})
}

// living takes which members live.
func (c *cluster) living(members []coord.Member) {
	c.mu.Lock()
	changed := !slices.EqualFunc(c.members, members, coord.Member.Equal)
	c.noteLeft(members, time.Now())
	c.members = slices.Clone(members)
	c.mu.Unlock()
	if changed {
		if err := c.remember(namesOf(members)); err != nil {
			c.log.Error("remembering who is in the cluster", "err", err)
		}
		c.log.Info("members of the cluster", "members", strings.Join(namesOf(members), ", "))
		if sentence := c.doubled(); sentence != "" {
			c.log.Error("members of the cluster", "but", sentence)
		}
		c.joined()
	}
}

// stop gives up the leases and leaves the cluster. Nobody acts any more by then. Without the coordinator it takes some
// ten seconds at most.
func (c *cluster) stop() error {
	if c.end != nil {
		c.end()
	} else {
		c.release()
	}
	c.tasks.Wait()
	if err := c.engine.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// release gives up what was taken without a keeper, by a command where no daemon runs. It does not wait long for it:
// leases end by themselves.
func (c *cluster) release() {
	ctx, cancel := context.WithTimeout(context.Background(), confirmTimeout)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.last {
		if err := c.engine.Release(ctx, l); err != nil {
			c.log.Warn("giving up a lease", "for", l.Name, "err", err)
		}
	}
}

// attend keeps the lease of a certificate while a command acts for it without the daemon, until end. It returns once it is known who
// has it, or that nobody can be asked.
func (c *cluster) attend(ctx context.Context, certificate string) (end func()) {
	if c.keeper == nil {
		return func() {}
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.keeper.Want([]string{certificate})
	c.tasks.Go(func() { c.keeper.Run(life) })
	ctx, enough := context.WithTimeout(ctx, attendTimeout)
	defer enough()
	for ctx.Err() == nil && !c.knows(certificate) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return func() { cancel(); c.tasks.Wait() }
}

// attendTimeout is a little more than what a coordinator may take to answer.
const attendTimeout = 7 * time.Second

// knows reports whether it is known who acts for a certificate, or that nobody can be asked.
func (c *cluster) knows(certificate string) bool {
	_, held := c.keeper.Held(certificate, time.Now())
	_, why := c.Lost()
	c.mu.Lock()
	defer c.mu.Unlock()
	return held || why != nil || c.holders[certificate] != "" || c.own[certificate]
}

// goneFor is how long a member that left is remembered.
const goneFor = 24 * time.Hour

// Gone returns the members that were there within the last day and are not, with when they were seen last.
func (c *cluster) Gone(now time.Time) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := map[string]string{}
	for name, last := range c.left {
		if now.Sub(last) > goneFor {
			delete(c.left, name)
			continue
		}
		gone[name] = "it was in the cluster until " + last.UTC().Format(time.RFC3339)
	}
	return gone
}

// noteLeft remembers who left since members were seen last.
func (c *cluster) noteLeft(members []coord.Member, now time.Time) {
	for _, m := range members {
		delete(c.left, m.Name)
	}
	for _, before := range c.members {
		if !slices.ContainsFunc(members, func(m coord.Member) bool { return m.Name == before.Name }) && before.Name != c.self.Name {
			c.left[before.Name] = now
		}
	}
}
