// Package gauges turns the observations of one-shot checks into certmedic_* series, in
// the names and meanings that the daemon's own /metrics has for watched endpoints. The
// check command's text for Prometheus and the /probe page call it.
//
// It promises that the series of a certificate exist whatever is wrong with it, and valid
// labels whatever a certificate or a server says.
package gauges

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/redact"
)

// Gauges are the series of any number of observations. As a collector it is unchecked,
// since only the series of variants have a label of that name.
type Gauges struct {
	series map[string]prometheus.Metric // by name and labels; the last of equal ones counts
}

// New returns gauges without series, registered with the registerer.
func New(r prometheus.Registerer) *Gauges {
	g := &Gauges{series: map[string]prometheus.Metric{}}
	r.MustRegister(g)
	return g
}

// Describe describes nothing, see [prometheus.Collector].
func (g *Gauges) Describe(chan<- *prometheus.Desc) {}

// Collect hands on the series, see [prometheus.Collector].
func (g *Gauges) Collect(to chan<- prometheus.Metric) {
	for _, m := range g.series {
		to <- m
	}
}

// Add sets the series of an endpoint's addresses as of now. Findings of the endpoint as a
// whole count for each of its addresses.
func (g *Gauges) Add(endpoint string, addresses []certmedic.AddressObservation, findings []certmedic.Finding, now time.Time) {
	for i := range addresses {
		a := &addresses[i]
		at := place{{"certificate", ""}, {"endpoint", endpoint}, {"address", a.Address}}
		if a.Variant != certmedic.VariantUsual {
			at = append(at, pair{"variant", string(a.Variant)})
		}
		fine := a.Reached() && certmedic.StatusOf(a.Findings...) != certmedic.StatusCritical
		g.set("certmedic_probe_success", "1 if a certificate was presented in which nothing critical was found.", bit(fine), at)
		if leaf, ok := a.Leaf(); ok {
			g.set("certmedic_served_not_after_timestamp_seconds", "End of the leaf that is served, in unix seconds.", float64(leaf.NotAfter.Unix()), at)
			g.set("certmedic_served_not_before_timestamp_seconds", "Beginning of the leaf that is served, in unix seconds.", float64(leaf.NotBefore.Unix()), at)
			g.set("certmedic_served_lifetime_remaining_ratio", "Share of the lifetime of the leaf that is served that is left; negative once it has ended.", leaf.RemainingRatio(now), at)
		}
		for _, list := range [][]certmedic.Finding{a.Findings, findings} {
			for _, f := range list {
				g.set("certmedic_finding", "1 for each finding, by code.", 1, append(at[:len(at):len(at)], pair{"code", string(f.Code)}))
			}
		}
	}
}

type pair struct{ name, value string }

// place is the labels of a series.
type place []pair

func (g *Gauges) set(name, help string, value float64, at place) {
	key := name
	var names, values []string
	for _, p := range at {
		names = append(names, p.name)
		values = append(values, redact.Label(p.value))
		key += "\x00" + p.name + "\x00" + p.value
	}
	desc := prometheus.NewDesc(name, help, names, nil)
	g.series[key] = prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, values...)
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
