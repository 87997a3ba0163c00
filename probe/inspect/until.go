package inspect

import (
	"crypto/x509"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// until returns the first moment at which a later call would give another result, zero
// where the findings count the time and change with every call.
func (s *subject) until(findings []certmedic.Finding) time.Time {
	if slices.ContainsFunc(findings, countsTime) {
		return time.Time{}
	}
	now := s.options.Now
	var first time.Time
	for _, t := range s.changes() {
		if t.After(now) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	for _, threshold := range []Threshold{s.options.Warn, s.options.Crit} {
		reached, ok := threshold.reachedAfter(s.leaf.NotBefore, s.leaf.NotAfter)
		switch {
		case !ok:
		case !reached.After(now):
			return time.Time{}
		case reached.Before(first):
			first = reached
		}
	}
	return first.UTC()
}

// countsTime reports whether the finding's detail says how long ago or how soon.
func countsTime(f certmedic.Finding) bool {
	switch f.Code {
	case certmedic.Expired, certmedic.NotYetValid, certmedic.Expiring, certmedic.ChainExpiring:
		return true
	default:
		return false
	}
}

// changes returns when certificates that were looked at begin to be valid, and when they
// no longer are.
func (s *subject) changes() []time.Time {
	paths := append([][]*x509.Certificate{s.presented}, s.chains...)
	if s.public != nil {
		paths = append(paths, s.public.chains...)
	}
	var times []time.Time
	for _, path := range paths {
		for _, c := range path {
			times = append(times, c.NotBefore, c.NotAfter.Add(1))
		}
	}
	return times
}
