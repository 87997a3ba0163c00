package watchdog

import (
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// spot is where one kind of handshake is made.
type spot struct {
	endpoint, address string
	variant           certmedic.Variant
}

// maxSamples is how many of the last probes of a spot are remembered.
const maxSamples = 10

// track is what the last probes of a spot saw there. It is what tells an address behind which
// nodes alternate from one that changed.
type track struct {
	samples []sample // at most [maxSamples], oldest first
	version certmedic.Fingerprint
	since   time.Time // since when the version was presented, as far as this process saw
}

// sample is what one probe saw. Without a version nothing was presented.
type sample struct {
	at      time.Time
	version certmedic.Fingerprint
}

// take takes what one more probe saw; one that was taken before is passed over.
func (t *track) take(s sample) {
	if n := len(t.samples); n > 0 && !s.at.After(t.samples[n-1].at) {
		return
	}
	if len(t.samples) == maxSamples {
		t.samples = slices.Delete(t.samples, 0, 1)
	}
	t.samples = append(t.samples, s)
	if s.version != "" && s.version != t.version {
		t.version, t.since = s.version, s.at
	}
}

// from returns the samples that were taken after a time.
func (t *track) from(settled time.Time) []sample {
	i := slices.IndexFunc(t.samples, func(s sample) bool { return s.at.After(settled) })
	if i < 0 {
		return nil
	}
	return t.samples[i:]
}

// alternates reports whether a version came back after another one was presented in its place.
// A version that replaces another, once, is no more than a change.
func alternates(samples []sample) bool {
	left := map[certmedic.Fingerprint]bool{}
	var last certmedic.Fingerprint
	for _, s := range samples {
		if s.version == "" || s.version == last {
			continue
		}
		if left[s.version] {
			return true
		}
		left[last], last = true, s.version
	}
	return false
}

// sample remembers what a probe of an endpoint saw. Of what is only watched nothing is, as there
// may be a million of it.
func (e *entry) sample(name string, o certmedic.Observation) {
	if e.cert.Watched || slices.ContainsFunc(o.Addresses, func(a certmedic.AddressObservation) bool { return a.Stage == certmedic.ProbeResolve }) {
		return
	}
	maps.DeleteFunc(e.tracks, func(s spot, _ *track) bool {
		return s.endpoint == name && !slices.ContainsFunc(o.Addresses, func(a certmedic.AddressObservation) bool { return a.Address == s.address })
	})
	for _, a := range o.Addresses {
		at := spot{name, a.Address, a.Variant}
		if e.tracks[at] == nil {
			put(&e.tracks, at, &track{})
		}
		leaf, _ := a.Leaf()
		e.tracks[at].take(sample{o.Time, leaf.SHA256})
	}
}

// inheritTracks takes over what another entry remembers of an endpoint.
func (e *entry) inheritTracks(old *entry, ep certmedic.Endpoint) {
	for at, t := range old.tracks {
		if at.endpoint != old.name(ep) {
			continue
		}
		again := *t
		again.samples = slices.Clone(t.samples)
		at.endpoint = e.name(ep)
		put(&e.tracks, at, &again)
	}
}

// settled returns since when it is not certmedic itself that moves versions: the stored version is the
// same since then, and no action is at work.
func (e *entry) settled(now time.Time) time.Time {
	since := e.changed
	for _, a := range []*certmedic.Action{e.action, e.ran} {
		switch {
		case a == nil || a.Outcome.Kind == certmedic.OutcomeRefused || a.Outcome.Kind == certmedic.OutcomePlanned:
		case a.EndedAt.IsZero():
			return now
		case a.EndedAt.After(since):
			since = a.EndedAt
		}
	}
	return since
}
