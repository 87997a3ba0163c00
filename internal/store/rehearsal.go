package store

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
)

// Rehearsals keeps rehearsals, in the form of actions and apart from them.
type Rehearsals struct{ s *Store }

var _ remediate.Journal = Rehearsals{}

// Rehearsals returns the part of the state that holds rehearsals.
func (s *Store) Rehearsals() Rehearsals { return Rehearsals{s} }

// Record writes a rehearsal down; one with the same ID is replaced.
func (r Rehearsals) Record(a certmedic.Action) error { return r.s.put(bucketRehearsals, a.ID, a) }

// Actions returns the rehearsals of a certificate, or of all when it is "", that started at or
// after since, newest first.
func (r Rehearsals) Actions(certificate string, since time.Time) ([]certmedic.Action, error) {
	return r.s.actions(bucketRehearsals, certificate, since)
}
