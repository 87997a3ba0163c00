package app

import (
	"crypto/tls"
	"fmt"
	"net/http"

	"github.com/certmedic/certmedic/internal/blackbox"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/resolve"
)

// probeHandler makes /probe from the modules of a configuration.
func probeHandler(c *config.Config, r *resolve.Resolver, d *live.Dialer, roots []inspect.Roots) (http.Handler, error) {
	allow, err := blackbox.Guard(c.Probe.AllowTargets)
	if err != nil {
		return nil, fmt.Errorf("probe.allow_targets: %w", err)
	}
	modules := map[string]blackbox.Module{}
	for name, m := range c.Modules {
		if modules[name], err = module(m); err != nil {
			return nil, fmt.Errorf("modules.%s: %w", name, err)
		}
	}
	return blackbox.New(blackbox.Options{
		Modules: modules, Lookup: r.Lookup, Handshake: d.Handshake, Roots: roots, Allow: allow, Concurrency: c.Probe.Concurrency,
	}), nil
}

func module(m config.Module) (blackbox.Module, error) {
	out := blackbox.Module{Protocol: m.Protocol, Timeout: m.Timeout}
	var t *config.TLSConfig
	switch {
	case m.TCP != nil:
		t, out.PreferIP, out.Fallback = m.TCP.TLSConfig, m.TCP.PreferredIPProtocol, m.TCP.IPProtocolFallback
	case m.HTTP != nil:
		t, out.PreferIP, out.Fallback = m.HTTP.TLSConfig, m.HTTP.PreferredIPProtocol, m.HTTP.IPProtocolFallback
	default:
		out.Fallback = true
	}
	if m.Prober == "http" && out.Protocol == "" {
		out.Protocol = "https"
	}
	if t == nil {
		return out, nil
	}
	out.ServerName, out.InsecureSkipVerify = t.ServerName, t.InsecureSkipVerify
	out.MinVersion = map[string]uint16{
		"TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13,
	}[t.MinVersion]
	if t.CAFile == "" {
		return out, nil
	}
	var err error
	out.Roots, err = loadRoots([]string{t.CAFile})
	return out, err
}
