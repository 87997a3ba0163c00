// Package gauges turns the observations of one-shot checks into certmedic_* series, in
// the names and meanings that the daemon's own /metrics has for watched endpoints. The
// check command's text for Prometheus and the /probe page call it.
//
// It promises that the series of a certificate exist whatever is wrong with it, and valid
// labels whatever a certificate or a server says.
package gauges

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certmedic/certmedic"
)

// Gauges are the series of any number of observations.
type Gauges struct {
	success, notAfter, notBefore, remaining, finding *prometheus.GaugeVec
}

// New returns gauges without series, registered with the registerer.
func New(r prometheus.Registerer) *Gauges {
	g := &Gauges{
		success:   vec("certmedic_probe_success", "1 if a certificate was presented in which nothing critical was found."),
		notAfter:  vec("certmedic_served_not_after_timestamp_seconds", "End of the leaf that is served, in unix seconds."),
		notBefore: vec("certmedic_served_not_before_timestamp_seconds", "Beginning of the leaf that is served, in unix seconds."),
		remaining: vec("certmedic_served_lifetime_remaining_ratio", "Share of the lifetime of the leaf that is served that is left; negative once it has ended."),
		finding:   vec("certmedic_finding", "1 for each finding, by code.", "code"),
	}
	r.MustRegister(g.success, g.notAfter, g.notBefore, g.remaining, g.finding)
	return g
}

func vec(name, help string, more ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, append([]string{"certificate", "endpoint", "address"}, more...))
}

// Add sets the series of an endpoint's addresses as of now. Findings of the endpoint as a
// whole count for each of its addresses.
func (g *Gauges) Add(endpoint string, addresses []certmedic.AddressObservation, findings []certmedic.Finding, now time.Time) {
	for i := range addresses {
		a := &addresses[i]
		labels := []string{"", valid(endpoint), valid(a.Address)}
		g.success.WithLabelValues(labels...).Set(bit(a.Reached() && certmedic.StatusOf(a.Findings...) != certmedic.StatusCritical))
		if leaf, ok := a.Leaf(); ok {
			g.notAfter.WithLabelValues(labels...).Set(float64(leaf.NotAfter.Unix()))
			g.notBefore.WithLabelValues(labels...).Set(float64(leaf.NotBefore.Unix()))
			g.remaining.WithLabelValues(labels...).Set(leaf.RemainingRatio(now))
		}
		for _, f := range a.Findings {
			g.finding.WithLabelValues(append(labels, string(f.Code))...).Set(1)
		}
		for _, f := range findings {
			g.finding.WithLabelValues(append(labels, string(f.Code))...).Set(1)
		}
	}
}

// valid returns the text as a label's value, which has to be UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
