package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Cluster is what a member knows of its cluster.
type Cluster struct {
	Members int       // that live
	Gone    []string  // that were there within the last day, and are not
	Lost    time.Time // since when the coordinator cannot be asked; zero: it can be
}

// Cluster names who says how the cluster is.
func (e *Exporter) Cluster(state func() Cluster) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cluster = state
}

// clusterCollector writes how the cluster is at each scrape.
type clusterCollector struct {
	e                   *Exporter
	members, gone, lost *prometheus.Desc
}

func newClusterCollector(e *Exporter) clusterCollector {
	return clusterCollector{
		e:       e,
		members: prometheus.NewDesc("certmedic_cluster_members", "Live members of the cluster, as they were last seen; 1 on a single host.", nil, nil),
		gone:    prometheus.NewDesc("certmedic_member_gone", "1 for a member of the cluster that was there within the last day and is not.", []string{"member"}, nil),
		lost:    prometheus.NewDesc("certmedic_coordinator_lost_seconds", "For how long the coordinator of the cluster could not be asked; 0 if it can be.", nil, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c clusterCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.members
	descs <- c.gone
	descs <- c.lost
}

// Collect implements [prometheus.Collector].
func (c clusterCollector) Collect(series chan<- prometheus.Metric) {
	c.e.mu.Lock()
	state := c.e.cluster
	c.e.mu.Unlock()
	s := Cluster{Members: 1}
	if state != nil {
		s = state()
	}
	lost := 0.0
	if !s.Lost.IsZero() {
		lost = max(0, time.Since(s.Lost).Seconds())
	}
	series <- prometheus.MustNewConstMetric(c.members, prometheus.GaugeValue, float64(s.Members))
	series <- prometheus.MustNewConstMetric(c.lost, prometheus.GaugeValue, lost)
	for _, name := range s.Gone {
		series <- prometheus.MustNewConstMetric(c.gone, prometheus.GaugeValue, 1, name)
	}
}
