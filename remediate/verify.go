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
		seen, hopeless, what := r.round(ctx, certificate, version)
		if detail = what; seen {
			good++
		} else {
			good = 0
		}
		if good == rounds {
			return true, detail
		}
		if ctx.Err() != nil || hopeless || good == 0 && time.Now().After(deadline) {
			return false, detail
		}
		pauseFor(ctx, roundGap)
	}
}

// round is one round of verification. It is hopeless where no further round can see more:
// nothing is bound, or another version is stored by now.
func (r *Remediator) round(ctx context.Context, certificate string, version certmedic.Fingerprint) (ok, hopeless bool, detail string) {
	sight, err := r.o.Look(ctx, certificate)
	if err != nil {
		return false, false, err.Error()
	}
	if leaf, ok := sight.Stored.Leaf(); ok && leaf.SHA256 != version {
		return false, true, fmt.Sprintf("another version, %s, is stored by now", leaf.SHA256.Short())
	}
	bound := 0
	for _, a := range sight.Addresses {
		switch {
		case !a.Bound:
			continue
		case a.Leaf == "":
			return false, false, fmt.Sprintf("%s presented no certificate: %s", a.Address, a.Detail)
		case a.Leaf != version:
			return false, false, fmt.Sprintf("%s still serves %s", a.Address, a.Leaf.Short())
		}
		bound++
	}
	if bound == 0 {
		return false, true, "no address is bound to the certificate, so nothing shows what is served"
	}
	return true, false, fmt.Sprintf("%s is served by every bound address (%d)", version.Short(), bound)
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
