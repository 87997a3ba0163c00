package remediate

import (
	"context"
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
)

// roundGap is the time between two rounds after an action, rounds how many in a row must see
// the expected version everywhere, and samples how often each of them looks: an old worker that
// lingers takes only some of the connections.
const (
	roundGap = time.Second
	rounds   = 2
	samples  = 3
)

// verify looks, in rounds, whether every bound address serves the version that is stored.
func (r *Remediator) verify(ctx context.Context, certificate string, version certmedic.Fingerprint, window time.Duration) (ok bool, detail string) {
	return r.verifyThat(ctx, expected{certificate: certificate, version: version}, window)
}

// expected is what has to be seen after an action.
type expected struct {
	certificate string
	version     certmedic.Fingerprint
	beside      bool   // whatever version is stored
	node        string // the one whose addresses alone are looked at; empty: all
}

// verifyThat looks, in rounds, whether every bound address serves what is expected. It ends when
// enough rounds in a row saw it, or when the window has passed.
func (r *Remediator) verifyThat(ctx context.Context, e expected, window time.Duration) (ok bool, detail string) {
	deadline := time.Now().Add(window)
	for good := 0; ; {
		seen, hopeless, what := r.round(ctx, e)
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

// round is one round of verification: several looks, each of which has to see what is expected.
func (r *Remediator) round(ctx context.Context, e expected) (ok, hopeless bool, detail string) {
	for range samples {
		if ok, hopeless, detail = r.glance(ctx, e); !ok {
			return false, hopeless, detail
		}
	}
	return true, false, detail
}

// glance is one look of a round. It is hopeless where no further round can see more: nothing is
// bound, or another version is stored by now.
func (r *Remediator) glance(ctx context.Context, e expected) (ok, hopeless bool, detail string) {
	version := e.version
	sight, err := r.lookAt(ctx, e.certificate, e.node)
	if err != nil {
		return false, false, err.Error()
	}
	if leaf, ok := sight.Stored.Leaf(); ok && leaf.SHA256 != version && !e.beside {
		return false, true, fmt.Sprintf("another version, %s, is stored by now", leaf.SHA256.Short())
	}
	bound := 0
	for _, a := range sight.Addresses {
		switch {
		case !a.Bound && (e.node == "" || a.Leaf != version):
			continue
		case a.Leaf == "":
			return false, false, fmt.Sprintf("%s presented no certificate: %s", a.Address, a.Detail)
		case a.Leaf != version:
			return false, false, fmt.Sprintf("%s still serves %s", a.Address, a.Leaf.Short())
		}
		bound++
	}
	if bound == 0 {
		return false, e.node == "", "no address is bound to the certificate, so nothing shows what is served"
	}
	return true, false, fmt.Sprintf("%s is served by every bound address (%d)", version.Short(), bound)
}

// look looks at the certificate of an action, or at one node of it.
func (t *transaction) look(ctx context.Context) (Sight, error) {
	return t.r.lookAt(ctx, t.action.Certificate, t.node)
}

// lookAt looks at the addresses of one node of a certificate; at all of its addresses where none is
// named.
func (r *Remediator) lookAt(ctx context.Context, certificate, node string) (Sight, error) {
	if node != "" && r.o.LookAt != nil {
		return r.o.LookAt(ctx, certificate, node)
	}
	sight, err := r.o.Look(ctx, certificate)
	if node != "" {
		sight.Addresses = sight.at(node)
	}
	return sight, err
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
