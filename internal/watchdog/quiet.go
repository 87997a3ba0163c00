package watchdog

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// A fleet is healthy most of the time: nearly every observation says what the one before it
// said. Judging that again comes to nothing, so it is left to [Watchdog.judgeIdle], which
// judges everything every [judgeEvery], because time itself changes facts.

// quiet reports whether judging an observation, which [entry.see] has not taken yet, comes
// to nothing: no rule had anything to say or to wait for at the last judgement, which was
// not long ago, nothing drifts, and the observation says what the last one said, which was
// made of the version that is stored now.
func (e *entry) quiet(o certmedic.Observation, now time.Time) bool {
	if !e.calm || e.memory.Awaited || len(e.drifting) > 0 || now.Sub(e.judged) >= judgeEvery {
		return false
	}
	last, ok := e.observed[e.name(o.Endpoint)]
	return ok && !last.Time.Before(e.changed) && !o.Time.Before(e.changed) &&
		slices.Equal(last.Findings, o.Findings) && slices.EqualFunc(last.Addresses, o.Addresses, saysTheSame)
}

// saysTheSame reports whether two observations of addresses are the same for all that rules
// ask.
func saysTheSame(a, b certmedic.AddressObservation) bool {
	return a.Address == b.Address && a.Variant == b.Variant && a.Stage == b.Stage &&
		sameError(a.Error, b.Error) && sameVersion(a.TLS, b.TLS) &&
		slices.EqualFunc(a.Chain, b.Chain, sameCertificate) && slices.Equal(a.Findings, b.Findings)
}

func sameError(a, b *certmedic.ProbeError) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func sameVersion(a, b *certmedic.TLSFacts) bool {
	return a == b || a != nil && b != nil && a.Version == b.Version
}

func sameCertificate(a, b certmedic.CertFacts) bool { return a.SHA256 == b.SHA256 }
