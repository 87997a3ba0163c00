package app

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/metrics"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// status says how the cluster is; nil on a single host.
func (c *cluster) status() *api.Cluster {
	if c.keeper == nil {
		return nil
	}
	s := &api.Cluster{Member: c.self.Name, Coordinator: c.kind(), Shard: c.setting.Shard, Speaks: c.Speaks("")}
	for _, m := range c.Members() {
		s.Members = append(s.Members, api.Member{Name: m.Name, Address: m.Address, Started: m.Started})
	}
	if since, why := c.Lost(); why != nil {
		s.Lost, s.Trouble = since.UTC(), why.Error()
	}
	return s
}

// measured says how the cluster is, for the metrics.
func (c *cluster) measured() metrics.Cluster {
	s := metrics.Cluster{Members: len(c.Members()), Gone: slices.Sorted(maps.Keys(c.Gone(time.Now())))}
	s.Lost, _ = c.Lost()
	return s
}

// kind names the coordinator.
func (c *cluster) kind() string {
	switch {
	case c.setting.Etcd != nil:
		return "etcd"
	case c.setting.S3 != nil:
		return "s3"
	}
	return "dir"
}

// degraded says that the coordinator cannot be asked; empty where it can.
func (c *cluster) degraded() string {
	since, why := c.Lost()
	if why == nil {
		return ""
	}
	return fmt.Sprintf("the coordinator of the cluster cannot be asked since %s: %v", since.UTC().Format(time.RFC3339), why)
}

// doubled says that another process that began later has this member's name; empty where none has. One that began earlier is this
// member's own, before a restart.
func (c *cluster) doubled() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.Name == c.self.Name && m.Started.After(c.self.Started) {
			return fmt.Sprintf("another member of the cluster that began at %s has the name %q, too: each needs a cluster.member of its own",
				m.Started.UTC().Format(time.RFC3339), m.Name)
		}
	}
	return ""
}

// led says of each certificate who acts for it.
func (g *generation) led(views []watchdog.View) []watchdog.View {
	if g.config.Cluster == nil {
		return views
	}
	for i := range views {
		if v := &views[i]; !v.Watched {
			l := g.leads(v.Name)
			v.Lead = &l
		}
	}
	return views
}
