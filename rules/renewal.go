package rules

import (
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// Window is when a CA wants a version to be replaced (RFC 9773).
type Window struct {
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Chosen time.Time `json:"chosen,omitzero"` // the moment of it for a renewal by certmedic itself
}

// Renewal is what is known of when a certificate is renewed.
type Renewal struct {
	Window *Window   // of its newest version; nil where the CA says nothing
	Ages   []float64 // the share of its lifetime at which each earlier version was replaced, oldest first
}

// What a due date follows from.
const (
	BasisARI    = "ari"    // the end of the CA's window
	BasisLearnt = "learnt" // when its predecessors were replaced
	BasisShare  = "share"  // what is left of its life
)

// How late is late. certbot and others renew when a third of the life is left, or half of it
// where it is short; the CA's window lies there too. A renewal is overdue when a further
// twelfth has passed, and for those who renew long certificates by hand 21 days before the
// end. What was learnt counts once three versions were replaced, of them the last ten: a tenth
// of the life later, or half of what is then left of it. A renewal that somebody forced early
// does not make all that follow overdue.
const (
	shortLife     = 10 * 24 * time.Hour
	shareLeft     = 1.0 / 4
	shareLeftOf   = 5.0 / 12 // of a short life
	mostLeft      = 21 * 24 * time.Hour
	learntFrom    = 3
	learntOver    = 10
	learntSlack   = 0.1
	learntAtLeast = 0.6
	learntAtMost  = 0.98
)

// Due returns from when on the replacement of a version is overdue, and what that follows
// from: the end of the CA's window, unless that comes after the version's own, else the age at which its predecessors were replaced,
// else a share of its life.
func (r Renewal) Due(leaf certmedic.CertFacts) (due time.Time, basis string) {
	if w := r.Window; w != nil && w.End.After(w.Start) && !w.End.After(leaf.NotAfter) {
		return w.End, BasisARI
	}
	life := leaf.Lifetime()
	if age, ok := r.Age(); ok {
		share := min(max(age+min(learntSlack, (1-age)/2), learntAtLeast), learntAtMost)
		return leaf.NotBefore.Add(part(life, share)), BasisLearnt
	}
	left := min(part(life, shareLeft), mostLeft)
	if life < shortLife {
		left = part(life, shareLeftOf)
	}
	return leaf.NotAfter.Add(-left), BasisShare
}

// Age returns the median share of their lifetime at which the last versions were replaced,
// and whether there were enough of them to tell.
func (r Renewal) Age() (share float64, ok bool) {
	if len(r.Ages) < learntFrom {
		return 0, false
	}
	last := slices.Sorted(slices.Values(r.Ages[max(0, len(r.Ages)-learntOver):]))
	return last[len(last)/2], true
}

func part(d time.Duration, share float64) time.Duration { return time.Duration(float64(d) * share) }

// When certmedic itself renews, where the CA says nothing: at two thirds of the life, at half of
// a short one, up to a hundredth of it earlier or later so that not all ask at once.
const (
	renewAt      = 2.0 / 3
	renewShortAt = 1.0 / 2
	renewSpread  = 0.02
)

// renewLatest is the share of a version's life after which certmedic does not wait for the CA's
// moment: a window may end with the version, and an order may have to be tried again.
const renewLatest = 0.85

// Scheduled returns when certmedic itself renews a version: at the chosen moment of the CA's
// window, unless that ends after the version does, else at a share of its life. It is the same
// whenever it is asked.
func (r Renewal) Scheduled(leaf certmedic.CertFacts) time.Time {
	if w := r.Window; w != nil && !w.Chosen.IsZero() && !w.End.After(leaf.NotAfter) {
		if latest := leaf.NotBefore.Add(part(leaf.Lifetime(), renewLatest)); w.Chosen.After(latest) {
			return latest
		}
		return w.Chosen
	}
	life, share := leaf.Lifetime(), renewAt
	if life < shortLife {
		share = renewShortAt
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(leaf.SHA256)) // never fails
	share += renewSpread * (float64(h.Sum32())/math.MaxUint32 - 0.5)
	return leaf.NotBefore.Add(part(life, share))
}
