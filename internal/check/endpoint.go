package check

import (
	"context"
	"time"

	"github.com/certmedic/certmedic/probe"
)

func (c *Checker) checkEndpoint(ctx context.Context, target Target) Result {
	endpoint := target.Endpoint
	endpoint.ServerName = c.Name
	prober := probe.Prober{
		Lookup: c.Lookup, Handshake: c.Handshake, Roots: c.Roots, At: c.At,
		Timeout: c.Timeout, Warn: c.Warn, Crit: c.Crit, Override: c.Override,
	}
	o := prober.Probe(ctx, endpoint)
	result := newResult(target.Text, o.Addresses...)
	result.Time = o.Time.UTC().Truncate(time.Millisecond)
	result.Findings = append(result.Findings, o.Findings...)
	return result
}
