package app

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/shard"
)

// How long a member that starts waits to learn who else is there, and how long the others have to be the same before
// what is watched is shared out anew.
const (
	settleMembers = 5 * time.Second
	restMembers   = time.Second
)

// settle waits until it is known who else is in the cluster, where they share out what is watched: so that a member that joins does not
// begin with everything. Without the coordinator it does.
func (c *cluster) settle(ctx context.Context) {
	if c.setting == nil || !c.setting.Shard {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleMembers)
	defer cancel()
	for {
		c.mu.Lock()
		joined := slices.Contains(namesOf(c.members), c.self.Name)
		c.mu.Unlock()
		if joined {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// mine says what of everything this member watches: all of it, or its share of what is kept elsewhere. What is
// kept on its own disk is every member's own.
func (c *cluster) mine() func(certmedic.Certificate) bool {
	if c == nil || c.setting == nil || !c.setting.Shard {
		return func(certmedic.Certificate) bool { return true }
	}
	members, self := shard.Of(namesOf(c.Members())), c.self.Name
	return func(cert certmedic.Certificate) bool {
		return cert.Source.Kind != certmedic.SourceNone && (cert.Watched || ownCopy(cert)) || members.Owner(cert.Name) == self
	}
}

// share returns what a generation watches of everything.
func (g *generation) share(all []certmedic.Certificate) []certmedic.Certificate {
	mine := g.mine()
	return slices.DeleteFunc(all, func(c certmedic.Certificate) bool { return !mine(c) })
}

// membersMoved notes that members came or went.
func (a *App) membersMoved() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.memberChange = time.Now()
}

// reshare replaces the generation by one that watches this member's share, where members came or went and it has
// changed by that. It waits until they rest, and while an action is at work.
func (a *App) reshare() error {
	a.mu.Lock()
	changed := a.memberChange
	a.mu.Unlock()
	if changed.IsZero() || time.Since(changed) < restMembers || a.cluster.setting == nil || !a.cluster.setting.Shard {
		return nil
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	g := a.generation()
	if g.acting() {
		return nil
	}
	a.mu.Lock()
	if a.memberChange.Equal(changed) {
		a.memberChange = time.Time{}
	}
	a.mu.Unlock()
	next := g.successor(g.saw())
	if reflect.DeepEqual(next.certificates, g.certificates) {
		return a.tell(notWatched, nil)
	}
	a.o.Log.Info("the share of what is watched changed", "certificates", len(next.certificates))
	return a.tell(notWatched, a.replace(next))
}
