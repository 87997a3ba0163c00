// Package rollback chooses the version that a certificate is rolled back to, and knows what a
// rollback is: a loan, with a deadline. It is pure. The remediator asks it and carries out what
// it says; the app finds the candidates, among kept versions and in certbot's archive.
package rollback

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Origin says where a candidate was found.
type Origin string

// The origins of candidates.
const (
	FromSnapshot Origin = "snapshot" // kept by certmedic when it was served everywhere
	FromArchive  Origin = "archive"  // an older version in certbot's archive
)

// Candidate is an older version, with everything that is known for or against it.
type Candidate struct {
	Origin   Origin
	Stored   certmedic.Stored    // as a source would hold it, to be deployed from there
	Problems []certmedic.Finding // critical findings of its chain, its names and its key

	ChainEnds time.Time // when the best path above its leaf ends; zero: there is none, or it is not known
	Denied    bool      // its key is on the deny list
	Broken    string    // why it cannot be read; empty: it can
	Unknown   string    // why it could not be found out whether it is revoked; empty: it was, or nothing says how
	Recalled  string    // why its CA wants it gone: its window moved earlier than it was, or has an explanation
}

// Leaf returns the facts of the candidate's leaf, and whether there are any.
func (c Candidate) Leaf() (certmedic.CertFacts, bool) { return c.Stored.Leaf() }

// Need is what a version has to meet to be rolled back to.
type Need struct {
	Now    time.Time
	Names  []string              // which have to be covered
	Bad    certmedic.Fingerprint // the version that is to be left
	Left   certmedic.Fingerprint // what a loan that stands was taken instead of; empty: none stands
	Dire   bool                  // what is served is invalid, so that a shorter rest of life is better than nothing
	Wanted certmedic.Fingerprint // by hand: the version, or a beginning of it; empty: the best
}

// Way is how a version that was chosen gets to where it is served.
type Way string

// The ways. Auto is deploy-path where a deploy step installs files, else append-only for a lineage
// of certbot's.
const (
	WayAuto       Way = "auto"
	WayDeployPath Way = "deploy-path" // by the deploy steps; the source stays as it is
	WayAppend     Way = "append-only" // as a further version in certbot's archive, then by the deploy steps, or the lineage's deploy hooks
	WayPinned     Way = "pinned"      // certbot's links lead to the older version, and certbot is kept from renewing
)

// Loan is a rollback that stands: a certificate serves an older version until something
// better is there, but not longer than its deadline.
type Loan struct {
	Certificate string                `json:"certificate"`
	Version     certmedic.Fingerprint `json:"version"` // that is lent
	Instead     certmedic.Fingerprint `json:"instead"` // the bad one that was left
	Why         string                `json:"why"`     // what was wrong with it
	Way         Way                   `json:"way"`
	Action      string                `json:"action"` // ID of the rollback in the journal
	Since       time.Time             `json:"since"`
	Until       time.Time             `json:"until"`      // the deadline: before the lent version ends
	NotBefore   time.Time             `json:"not_before"` // of the version that is lent
	Count       int                   `json:"count"`      // rollbacks in a row for one cause
	Pinned      bool                  `json:"pinned"`     // certbot is kept from renewing, until this ends
}
