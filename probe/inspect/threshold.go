package inspect

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// Threshold says how little time may be left before a certificate counts as expiring:
// either a share of its lifetime (0.33 is a third) or a duration, never both. The zero
// Threshold is never reached.
type Threshold struct {
	Share    float64
	Duration time.Duration
}

// ParseThreshold reads a share such as "33%", a number of days such as "14d", or a
// duration in Go's form such as "72h". A share lies between 0% and 100%; "0%" and "0"
// give a threshold that is never reached.
func ParseThreshold(s string) (Threshold, error) {
	if number, ok := strings.CutSuffix(s, "%"); ok {
		return parseShare(s, number)
	}
	if number, ok := strings.CutSuffix(s, "d"); ok {
		return parseDays(s, number)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return Threshold{}, fmt.Errorf("threshold %q is neither a share (33%%), nor days (14d), nor a duration (72h)", s)
	}
	if d < 0 {
		return Threshold{}, fmt.Errorf("threshold %q is negative", s)
	}
	return Threshold{Duration: d}, nil
}

func parseShare(whole, number string) (Threshold, error) {
	percent, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return Threshold{}, fmt.Errorf("threshold %q: %q is not a number", whole, number)
	}
	if !(percent >= 0 && percent <= 100) {
		return Threshold{}, fmt.Errorf("threshold %q is not between 0%% and 100%%", whole)
	}
	return Threshold{Share: percent / 100}, nil
}

// maxDays keeps a number of days far from the overflow of [time.Duration].
const maxDays = 36500

func parseDays(whole, number string) (Threshold, error) {
	days, err := strconv.ParseUint(number, 10, 32)
	if err != nil || days > maxDays {
		return Threshold{}, fmt.Errorf("threshold %q: %q is not a whole number of days up to %d", whole, number, maxDays)
	}
	return Threshold{Duration: time.Duration(days) * day}, nil
}

// String returns the threshold in a form that [ParseThreshold] reads.
func (t Threshold) String() string {
	if t.Share > 0 {
		return strconv.FormatFloat(t.Share*100, 'g', 6, 64) + "%"
	}
	if t.Duration > 0 && t.Duration%day == 0 {
		return fmt.Sprintf("%dd", t.Duration/day)
	}
	return t.Duration.String()
}

// Reached reports whether less time than the threshold is left for the certificate.
func (t Threshold) Reached(leaf certmedic.CertFacts, now time.Time) bool {
	if t.Share > 0 {
		return leaf.RemainingRatio(now) < t.Share
	}
	return t.Duration > 0 && leaf.NotAfter.Sub(now) < t.Duration
}

// reachedAfter returns a moment up to which the threshold is not reached, and whether it
// ever is. For a share it is a little early, because a share is rounded.
func (t Threshold) reachedAfter(notBefore, notAfter time.Time) (time.Time, bool) {
	switch {
	case t.Share > 0:
		left := time.Duration(t.Share * float64(max(0, notAfter.Sub(notBefore))))
		return notAfter.Add(-left).Add(-time.Second), true
	case t.Duration > 0:
		return notAfter.Add(1 - t.Duration), true
	default:
		return time.Time{}, false
	}
}
