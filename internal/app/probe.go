package app

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/certmedic/certmedic/internal/blackbox"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/prober"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

// The shares of lifetime below which a probe finds a leaf expiring, and badly so. The
// shipped rules have thresholds of their own.
const (
	warnShare = 0.25
	critShare = 0.10
)

// listAge is how old a revocation list may be. Those who watch want to know of a revocation
// sooner than the next list is due.
const listAge = time.Hour

// probeTimeout bounds a handshake for /probe, where modules and scrapers set shorter times.
const probeTimeout = 2 * time.Minute

// newProber makes the prober of a configuration.
func newProber(c *config.Config, named map[string]module) (*prober.Prober, error) {
	p, err := prober.New(prober.Options{
		Roots: c.Probe.Roots, Timeout: c.Probe.Timeout, Resolvers: c.Probe.Resolvers,
		Warn: inspect.Threshold{Share: warnShare}, Crit: inspect.Threshold{Share: critShare},
		Revocation: c.Probe.Revocation, MaxAge: listAge, Dir: filepath.Join(c.StateDir, "crl"), AIA: c.Probe.AIA, Records: c.Probe.Records,
	})
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	p.Memory = &probe.Memory{}
	p.Modules = map[string]probe.Module{}
	for name, m := range named {
		p.Modules[name] = m.endpoint
	}
	return p, nil
}

// probeHandler makes /probe of the modules of a configuration.
func probeHandler(c *config.Config, p *prober.Prober, named map[string]module) (*blackbox.Handler, error) {
	guard := blackbox.GuardPublic
	if c.Probe.AllowPrivate {
		guard = blackbox.Guard
	}
	allow, err := guard(c.Probe.AllowTargets)
	if err != nil {
		return nil, fmt.Errorf("probe.allow_targets: %w", err)
	}
	modules := map[string]blackbox.Module{}
	for name, m := range named {
		modules[name] = m.probe
	}
	asked := *p.Prober
	asked.Handshake = (&live.Dialer{Timeout: probeTimeout, Redirect: p.Dialer.Redirect}).Handshake
	return blackbox.New(blackbox.Options{
		Modules: modules, Prober: asked, Allow: allow, Concurrency: c.Probe.Concurrency,
	}), nil
}
