package check

import (
	"context"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

func (c *Checker) checkEndpoint(ctx context.Context, target Target) Result {
	endpoint := target.Endpoint
	endpoint.ServerName = c.Name
	seen := &witness{handshake: c.Handshake}
	prober := probe.Prober{
		Lookup: c.Lookup, Handshake: seen.Handshake, Roots: c.Roots,
		Timeout: c.Timeout, Warn: c.Warn, Crit: c.Crit, Override: c.Override,
	}
	o := prober.Probe(ctx, endpoint)
	if !c.At.IsZero() {
		c.judgeAgain(o.Addresses, seen)
	}
	result := newResult(target.Text, o.Addresses...)
	result.Time = o.Time.UTC().Truncate(time.Millisecond)
	result.Findings = append(result.Findings, o.Findings...)
	return result
}

// judgeAgain replaces the findings of the present time with those of another time.
func (c *Checker) judgeAgain(addresses []certmedic.AddressObservation, seen *witness) {
	for i := range addresses {
		a := &addresses[i]
		result, ok := seen.results[a.Address]
		if !ok {
			continue // refused, or not resolved: there is nothing that time changes
		}
		judged := inspect.Chain(result.Certs, c.options(a.ServerName))
		a.ChainNotAfter = judged.ChainNotAfter
		a.Findings = []certmedic.Finding{}
		if result.Err != nil {
			a.Findings = append(a.Findings, certmedic.NewFinding(result.Err.Reason, result.Err.Detail))
		}
		a.Findings = append(a.Findings, result.Findings...)
		a.Findings = append(a.Findings, judged.Findings...)
	}
}

// witness keeps what the handshakes of one target brought, because an observation has
// facts only, and chains are judged by certificates.
type witness struct {
	handshake func(context.Context, live.Request) live.Result

	mu      sync.Mutex
	results map[string]live.Result // by ip:port
}

// Handshake shakes hands and keeps the result.
func (w *witness) Handshake(ctx context.Context, request live.Request) live.Result {
	result := w.handshake(ctx, request)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.results == nil {
		w.results = map[string]live.Result{}
	}
	w.results[request.Address.String()] = result
	return result
}
