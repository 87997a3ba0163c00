package watchdog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
)

// lookers bounds how many endpoints are probed at a time for one look.
const lookers = 16

// Look reads a certificate's source and probes its endpoints now, takes both into the
// picture, and returns what was seen. The remediator asks before it acts and to verify.
func (w *Watchdog) Look(ctx context.Context, certificate string) (remediate.Sight, error) {
	w.mu.Lock()
	e, ok := w.entries[certificate]
	w.mu.Unlock()
	if !ok {
		return remediate.Sight{}, fmt.Errorf("there is no certificate %q", certificate)
	}
	content := w.o.Reader.Settle(ctx, e.cert.Source, time.Now)
	copies := w.copies(*e.cert)
	observations := w.probeAll(ctx, e.cert.Endpoints)
	if err := ctx.Err(); err != nil {
		return remediate.Sight{}, err
	}
	w.mu.Lock()
	e.copies = copies
	w.holdLocked(e, content)
	w.mu.Unlock()
	for _, o := range observations {
		w.Observed(key(certificate, e.name(o.Endpoint)), o)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.placed(e, e.sight(observations)), nil
}

func (w *Watchdog) probeAll(ctx context.Context, endpoints []certmedic.Endpoint) []certmedic.Observation {
	observations := make([]certmedic.Observation, len(endpoints))
	slots := make(chan struct{}, lookers)
	var group sync.WaitGroup
	for i, ep := range endpoints {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			observations[i] = w.o.Probe(ctx, ep)
		})
	}
	group.Wait()
	return observations
}

// sight describes the certificate as the remediator needs it.
func (e *entry) sight(observations []certmedic.Observation) remediate.Sight {
	s := remediate.Sight{Certificate: *e.cert, Stored: *e.stored, Since: e.changed, Problems: e.problems}
	stored, _ := e.stored.Leaf()
	for _, o := range observations {
		for _, a := range e.speaking(o.Addresses) {
			served := remediate.Served{
				Address: spoken(place(e.name(o.Endpoint), a.Address)),
				At:      a.Address,
				Bound:   e.bound(o.Endpoint, a.Address),
				Dire:    slices.ContainsFunc(a.Findings, invalid),
			}
			if a.HTTP != nil {
				served.HTTPStatus = a.HTTP.Status
			}
			if leaf, ok := a.Leaf(); ok {
				served.Leaf = leaf.SHA256
				served.Newer = newer(leaf, stored)
				served.Dire = served.Dire || e.keyDenied(leaf)
			} else if a.Error != nil {
				served.Detail = a.Error.Detail
			}
			s.Addresses = append(s.Addresses, served)
		}
	}
	return s
}
