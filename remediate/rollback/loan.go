package rollback

import (
	"time"

	"github.com/certmedic/certmedic"
)

// How long a loan stands at most, and how long before the end of what is lent it ends.
const (
	longestLoan = 30 * 24 * time.Hour
	maxMargin   = 24 * time.Hour
	minMargin   = time.Hour
	marginShare = 10 // of the lifetime
)

// Deadline returns until when a version may be lent from now on: a day, or a tenth of its
// lifetime, before it ends, and no longer than 30 days. Where less than twice that is left, it
// is half of what is left, but always an hour before the end: the deadline of what ends within
// the hour is past.
func Deadline(leaf certmedic.CertFacts, now time.Time) time.Time {
	margin := min(maxMargin, leaf.Lifetime()/marginShare, leaf.NotAfter.Sub(now)/2)
	until := leaf.NotAfter.Add(-max(minMargin, margin))
	if longest := now.Add(longestLoan); until.After(longest) {
		until = longest
	}
	return until
}

// Left returns how long the loan may stand; negative once its deadline is past.
func (l Loan) Left(now time.Time) time.Duration { return l.Until.Sub(now) }

// Overdue reports whether the deadline is past.
func (l Loan) Overdue(now time.Time) bool { return !now.Before(l.Until) }

// RepaidBy reports whether a version that is served everywhere is better than what is lent:
// neither that nor what was left, and issued after it.
func (l Loan) RepaidBy(leaf certmedic.CertFacts) bool {
	return leaf.SHA256 != "" && leaf.SHA256 != l.Version && leaf.SHA256 != l.Instead && leaf.NotBefore.After(l.NotBefore)
}
