package remediate

import (
	"context"
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
)

// roundGap is the time between two rounds after an action, and rounds how many in a row
// must see the expected version everywhere.
const (
	roundGap = time.Second
	rounds   = 2
)

// verify looks, in rounds, whether every bound address serves the version. It ends when
// enough rounds in a row saw it, or when the window has passed.
func (r *Remediator) verify(ctx context.Context, certificate string, version certmedic.Fingerprint, window time.Duration) (ok bool, detail string) {
	deadline := time.Now().Add(window)
	for good := 0; ; {
		seen, what := r.round(ctx, certificate, version)
		if detail = what; seen {
			good++
		} else {
			good = 0
		}
		if good == rounds {
			return true, detail
		}
		if ctx.Err() != nil || good == 0 && time.Now().After(deadline) {
			return false, detail
		}
		pauseFor(ctx, roundGap)
	}
}

// round is one round of verification.
func (r *Remediator) round(ctx context.Context, certificate string, version certmedic.Fingerprint) (ok bool, detail string) {
	sight, err := r.o.Look(ctx, certificate)
	if err != nil {
		return false, err.Error()
	}
	bound := 0
	for _, a := range sight.Addresses {
		switch {
		case !a.Bound:
			continue
		case a.Leaf == "":
			return false, fmt.Sprintf("%s presented no certificate: %s", a.Address, a.Detail)
		case a.Leaf != version:
			return false, fmt.Sprintf("%s still serves %s", a.Address, a.Leaf.Short())
		}
		bound++
	}
	if bound == 0 {
		return false, "no bound address was seen"
	}
	return true, fmt.Sprintf("%s is served by every bound address (%d)", version.Short(), bound)
}

// pauseFor waits, or returns early when ctx ends.
func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
