package guard

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// Breaker stands against cures that come to nothing. It opens after Count of them; while it is
// open nothing is done. Half open it lets one trial through, which closes it or opens it again.
type Breaker struct {
	Count int       // what came to nothing in a row
	Until time.Time // when an open one is half open; zero: closed
}

// Open reports whether the breaker stands against an action now.
func (b Breaker) Open(now time.Time) bool { return now.Before(b.Until) }

// HalfOpen reports whether one trial is let through now.
func (b Breaker) HalfOpen(now time.Time) bool { return !b.Until.IsZero() && !b.Open(now) }

const (
	holds         = time.Hour // a cure has to hold for as long to count as one
	maxRelapses   = 3         // a certificate's breaker opens at so many in a row
	firstOpen     = time.Hour // and for as long at first, doubling
	longestOpen   = 24 * time.Hour
	fleetFailures = 5                // the fleet's opens when the cures of so many certificates in a row failed
	fleetWithin   = time.Hour        // in this time
	fleetOpen     = 15 * time.Minute // and for as long
	fleetLead     = time.Minute      // by which a trial of another certificate comes before one of these
)

// Acted reports whether an action in the journal did something, and has ended.
func Acted(a certmedic.Action) bool {
	switch a.Outcome.Kind {
	case certmedic.OutcomeRefused, certmedic.OutcomePlanned, certmedic.OutcomeRunning:
		return false
	}
	return true
}

// Relapses derives the breaker of a certificate's version from the journal, newest first, for
// the moment at which an action is needed again: a cure relapsed if that is within an hour
// after it healed. The third relapse in a row opens the breaker, for an hour, and each further
// one for twice as long, up to a day. So does a trial that does not heal; one whose cure holds
// for an hour closes it.
func Relapses(history []certmedic.Action, certificate string, version certmedic.Fingerprint, now time.Time) Breaker {
	var c course
	for _, a := range slices.Backward(history) {
		switch {
		case a.Certificate != certificate || a.Version != version:
		case Acted(a):
			c.needed(a.StartedAt)
			c.acted(a)
		case a.Outcome.Reason == string(BreakerOpen):
			c.needed(a.StartedAt)
		}
	}
	c.needed(now)
	if c.opened.IsZero() {
		return Breaker{Count: c.relapses}
	}
	return Breaker{Count: c.relapses, Until: c.opened.Add(openFor(c.relapses))}
}

// course is how the cures of one version went.
type course struct {
	healed   time.Time // when the last action healed; zero if it did not, or if it is known how that went on
	relapses int       // in a row
	opened   time.Time // zero while the breaker is closed, and while a trial's cure holds
}

// needed takes that an action was needed at a moment.
func (c *course) needed(at time.Time) {
	switch {
	case c.healed.IsZero():
		return
	case at.Sub(c.healed) > holds:
		c.relapses = 0
	default:
		c.relapsed(at)
	}
	c.healed = time.Time{}
}

func (c *course) relapsed(at time.Time) {
	if c.relapses++; c.relapses >= maxRelapses {
		c.opened = at
	}
}

// acted takes how an action ended. While the breaker is open that is a trial.
func (c *course) acted(a certmedic.Action) {
	switch {
	case a.Outcome.Kind == certmedic.OutcomeHealed:
		c.healed, c.opened = a.EndedAt, time.Time{}
	case !c.opened.IsZero():
		c.relapsed(a.EndedAt)
	}
}

// openFor returns how long the breaker is open after so many relapses in a row.
func openFor(relapses int) time.Duration {
	d := firstOpen
	for range relapses - maxRelapses {
		if d *= 2; d >= longestOpen {
			return longestOpen
		}
	}
	return d
}

// Failures derives the breaker of the fleet from the journal, newest first. It opens for 15 min
// when, of the actions of the last hour, the newest of five certificates did not heal, and
// nothing healed since the first of these: what is wrong then is probably not with any of
// them. Certificates are counted and not attempts, of which one with a broken hook makes six.
// For these five it is open a minute longer, so that they do not use up the trials of others.
func Failures(history []certmedic.Action, certificate string, now time.Time) Breaker {
	var last time.Time
	failed := map[string]bool{}
	for _, a := range history {
		if !Acted(a) {
			continue
		}
		if proven(a) || now.Sub(a.StartedAt) > fleetWithin {
			break
		}
		if failed[a.Certificate] = true; a.EndedAt.After(last) {
			last = a.EndedAt
		}
	}
	if len(failed) < fleetFailures {
		return Breaker{Count: len(failed)}
	}
	if failed[certificate] {
		last = last.Add(fleetLead)
	}
	return Breaker{Count: len(failed), Until: last.Add(fleetOpen)}
}

// breakers asks both.
func breakers(c Case) Decision {
	switch {
	case c.Relapses.Open(c.Now):
		d := refuse(BreakerOpen, "it was healed and relapsed %d times; the next trial is at %s", c.Relapses.Count, c.Relapses.Until.UTC().Format(time.RFC3339))
		d.Retry = c.Relapses.Until
		return d
	case c.Failures.Open(c.Now):
		d := refuse(FleetBreaker, "nothing that was done healed, for %d certificates in a row; the next trial is at %s", c.Failures.Count, c.Failures.Until.UTC().Format(time.RFC3339))
		d.Retry = c.Failures.Until
		return d
	}
	return Decision{}
}
