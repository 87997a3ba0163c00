package watchdog

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
)

// TestNodesBehind holds which nodes count as behind: those that have another version, and of which nothing
// that they serve says more.
func TestNodesBehind(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t, certmedic.Endpoint{Address: "192.0.2.1:443", ServerName: "shop.test"}, certmedic.Endpoint{Address: "192.0.2.2:443", ServerName: "shop.test"})
		var known []certmedic.NodeStatus
		s.start(func(o *Options) {
			o.Certificates[0].Destinations = []certmedic.Destination{{
				Name: "web", Hosts: []string{"one", "two", "dark"}, Files: []certmedic.InstalledFile{{From: certmedic.PartFullchain, To: "/x"}},
			}}
			o.Certificates[0].Nodes = []certmedic.Node{{Name: "one", Addresses: []string{"192.0.2.1"}}, {Name: "two"}, {Name: "dark"}}
			o.Nodes = func(string) []certmedic.NodeStatus { return known }
			o.Addresses = func(node string) []netip.Addr {
				if node == "two" {
					return []netip.Addr{netip.MustParseAddr("192.0.2.2")}
				}
				return nil
			}
		})
		s.seen()
		s.round()
		synctest.Wait()
		behind := func() (names []string, undecided string) {
			s.w.mu.Lock()
			defer s.w.mu.Unlock()
			e := s.w.entries["shop"]
			c := e.facts(time.Now()).Certificate
			s.w.nodesFacts(e, &c)
			if int(c.NodesBehind) != len(c.Support["certificate.nodes_behind"].Members) {
				t.Errorf("%d nodes are behind, which are %q", c.NodesBehind, c.Support["certificate.nodes_behind"].Members)
			}
			return c.Support["certificate.nodes_behind"].Members, c.Undecided["certificate.nodes_behind"]
		}
		want := func(when string, want ...string) {
			t.Helper()
			if got, undecided := behind(); !slices.Equal(got, want) || undecided != "" {
				t.Errorf("%s: behind are %q (undecided: %q), want %q", when, got, undecided, want)
			}
		}
		if _, undecided := behind(); undecided == "" {
			t.Error("before anything is known something is claimed")
		}
		leaf, _ := s.w.entries["shop"].stored.Leaf()
		known = []certmedic.NodeStatus{}
		want("what two serve tells, of the third nothing is known", "dark")
		known = []certmedic.NodeStatus{{Destination: "web", Node: "dark", Version: leaf.SHA256}}
		want("the third was given it")
		known = append(known, certmedic.NodeStatus{Destination: "web", Node: "two", Version: "other", State: certmedic.NodeUnreachable, Detail: "no route"})
		want("the second was given another one", "two")
		if line := s.line("two"); !strings.Contains(line, "unreachable") || !strings.Contains(line, "no route") {
			t.Errorf("the evidence is %q", line)
		}
		sight, err := s.w.LookAt(t.Context(), "shop", "two")
		if err != nil || len(sight.Addresses) != 1 || sight.Addresses[0].At != "192.0.2.2:443" || sight.Addresses[0].Node != "two" {
			t.Errorf("a look at the second shows %+v, %v", sight.Addresses, err)
		}
		if sight, err := s.w.LookAt(t.Context(), "shop", "dark"); err != nil || len(sight.Addresses) != 0 {
			t.Errorf("a look at the third shows %+v, %v", sight.Addresses, err)
		}
		s.tree.Renew("shop")
		s.w.Changed("shop")
		time.Sleep(time.Second)
		s.round()
		synctest.Wait()
		want("what the first two serve drifts, which others tell", "dark")
	})
}

// line returns the evidence of a node that is behind.
func (s *scene) line(node string) string {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	e := s.w.entries["shop"]
	c := e.facts(time.Now()).Certificate
	s.w.nodesFacts(e, &c)
	for _, evidence := range c.Support["certificate.nodes_behind"].Evidence {
		if evidence.Source == node {
			return evidence.Line
		}
	}
	return ""
}
