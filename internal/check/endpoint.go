package check

import (
	"context"
	"time"
)

func (c *Checker) checkEndpoint(ctx context.Context, target Target) Result {
	endpoint := c.Endpoint
	endpoint.Address, endpoint.Protocol, endpoint.Path, endpoint.ServerName = target.Endpoint.Address, target.Endpoint.Protocol, target.Endpoint.Path, c.Name
	o := c.Probe(ctx, endpoint)
	result := newResult(target.Text, o.Addresses...)
	result.Time = o.Time.UTC().Truncate(time.Millisecond)
	result.Findings = append(result.Findings, o.Findings...)
	return result
}
