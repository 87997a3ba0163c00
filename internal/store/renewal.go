package store

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// Renewal is what a CA said about when a version of a certificate should be replaced.
type Renewal struct {
	Version     certmedic.Fingerprint `json:"version"`
	Window      *rules.Window         `json:"window,omitempty"`      // nil: it said nothing yet, or says nothing about any
	Explanation string                `json:"explanation,omitempty"` // URL of a page that tells why

	// Starts are the latest beginnings of a window that it ever gave, of this version and of
	// those before it.
	Starts map[certmedic.Fingerprint]time.Time `json:"starts,omitempty"`

	CheckAfter time.Time `json:"check_after"`        // when it is asked again
	Failures   int       `json:"failures,omitempty"` // since it answered last
	Error      string    `json:"error,omitempty"`    // of the last of them
}

// maxStarts bounds of how many versions the beginnings are kept.
const maxStarts = 12

// Begins returns the renewal with one more beginning of a window of its version.
func (r Renewal) Begins(start time.Time) Renewal {
	starts := maps.Clone(r.Starts) // others have the renewal, too
	if starts == nil {
		starts = map[certmedic.Fingerprint]time.Time{}
	}
	if start.After(starts[r.Version]) {
		starts[r.Version] = start
	}
	for len(starts) > maxStarts {
		versions := slices.Collect(maps.Keys(starts))
		delete(starts, slices.MinFunc(versions, func(a, b certmedic.Fingerprint) int { return starts[a].Compare(starts[b]) }))
	}
	r.Starts = starts
	return r
}

// SaveRenewal keeps what a CA said about a certificate.
func (s *Store) SaveRenewal(certificate string, r Renewal) error {
	return s.put(bucketRenewal, certificate, r)
}

// Renewals returns what CAs said, by certificate.
func (s *Store) Renewals() (map[string]Renewal, error) {
	all := map[string]Renewal{}
	err := s.each(bucketRenewal, false, func(key string, value []byte) (bool, error) {
		var r Renewal
		if decode(bucketRenewal, key, value, &r) == nil { // what cannot be read is asked for again
			all[key] = r
		}
		return true, nil
	})
	return all, err
}

// TrimRenewals forgets the certificates about which a CA should have been asked again before a
// time: they are gone, or have ended.
func (s *Store) TrimRenewals(before time.Time) error {
	all, err := s.Renewals()
	if err != nil {
		return fmt.Errorf("trimming the renewals: %w", err)
	}
	for certificate, r := range all {
		if !r.CheckAfter.Before(before) {
			continue
		}
		if err := s.remove(bucketRenewal, certificate); err != nil {
			return fmt.Errorf("trimming the renewals: %w", err)
		}
	}
	return nil
}
