package app

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
)

// shared is what members know of nodes; while it is broken nobody can ask.
type shared struct {
	mu     sync.Mutex
	known  []certmedic.NodeStatus
	broken bool
	asked  []string
}

func (s *shared) Nodes(_ context.Context, certificate string) ([]certmedic.NodeStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, certificate)
	if s.broken {
		return nil, errors.New("the coordinator cannot be asked")
	}
	return slices.Clone(s.known), nil
}

func (s *shared) SaveNodes(context.Context, string, uint64, []certmedic.NodeStatus) error { return nil }

func (s *shared) set(broken bool, known ...certmedic.NodeStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.broken, s.asked = known, broken, nil
}

func TestCensus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		var changes []string
		s := &shared{}
		c := newCensus([]certmedic.Certificate{
			{Name: "shop", Nodes: []certmedic.Node{{Name: "web1", Addresses: []string{"192.0.2.1"}}, {Name: "web2", Addresses: []string{"web2.test"}}, {Name: "gone", Addresses: []string{"gone.test"}}}},
			{Name: "blog"},
		}, slog.New(slog.NewTextHandler(&said, nil)))
		c.nodes, c.changed = s, func(name string) { changes = append(changes, name) }
		c.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != "web2.test" {
				return nil, errors.New("no such host")
			}
			return []netip.Addr{netip.MustParseAddr("192.0.2.2")}, nil
		}
		if c.Nodes("shop") != nil {
			t.Error("something is known before anybody was asked")
		}
		s.set(false, certmedic.NodeStatus{Node: "web1", State: certmedic.NodeDone})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { _ = c.Run(ctx) })
		synctest.Wait()
		if got := c.Nodes("shop"); len(got) != 1 || got[0].State != certmedic.NodeDone || !slices.Equal(s.asked, []string{"shop"}) {
			t.Errorf("at the start %+v is known, asked was for %q", got, s.asked)
		}
		if got := c.Addresses("web2"); len(got) != 1 || got[0].String() != "192.0.2.2" || c.Addresses("web1") != nil || !slices.Contains(c.Addresses(certmedic.LocalHost), netip.MustParseAddr("127.0.0.1")) {
			t.Errorf("web2 is at %v, web1 also at %v, this host at %v", got, c.Addresses("web1"), c.Addresses(certmedic.LocalHost))
		}

		s.set(true)
		c.Changed("shop")
		time.Sleep(3 * censusEvery)
		synctest.Wait()
		if got := c.Nodes("shop"); len(got) != 1 {
			t.Errorf("what was known is forgotten where nobody can be asked: %+v", got)
		}
		for _, once := range []string{"the coordinator cannot be asked", "no such host"} {
			if n := strings.Count(said.String(), once); n != 1 {
				t.Errorf("the log says %d times %q", n, once)
			}
		}
		s.set(false, certmedic.NodeStatus{Node: "web1", State: certmedic.NodeFailed})
		c.Changed("shop")
		synctest.Wait()
		if got := c.Nodes("shop"); len(got) != 1 || got[0].State != certmedic.NodeFailed || !slices.Equal(changes, []string{"shop", "shop"}) {
			t.Errorf("after something was done %+v is known, and was told of %q", got, changes)
		}
		cancel()
		run.Wait()
	})
}
