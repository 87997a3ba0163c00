package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Reason is the code of a decision.
type Reason string

// The reasons against an order. All but [Paused] go away by themselves.
const (
	None        Reason = ""
	Paused      Reason = "paused"         // the CA wants a person to act
	RetryAfter  Reason = "retry_after"    // the CA asked to be left alone for some time
	Backoff     Reason = "ca_backoff"     // the last order failed a short time ago
	RateLimited Reason = "rate_limited"   // nothing is left of a limit
	Reserved    Reason = "budget_reserve" // what is left is for people
)

// Decision is the answer to whether an order may be placed. Retry says when it may be, as far as it
// is known now; zero where that takes a person.
type Decision struct {
	Reason  Reason
	Detail  string
	Retry   time.Time
	Balance []Remaining // before the order
}

// Allowed reports whether the order may be placed.
func (d Decision) Allowed() bool { return d.Reason == None }

// dire is how long before the end of what is served automation may spend all but the last.
const dire = 24 * time.Hour

// Allows says whether an order may be placed now. What the CA asked for comes first, then patience,
// then its limits. People do not wait after failures, and may spend the reserve.
func Allows(now time.Time, entries []Entry, o Order) Decision {
	entries = withIssued(now, entries, o)
	return allows(now, entries, newTally(entries), o)
}

func allows(now time.Time, entries []Entry, t tally, o Order) Decision {
	d := paused(now, entries, o)
	if d.Allowed() && o.By != ByPerson {
		d = backoff(now, entries, o)
	}
	balance := t.balance(now, o)
	if d.Allowed() {
		d = affordable(now, balance, o)
	}
	d.Balance = balance
	return d
}

// paused obeys what the CA asked for, about the account or about a name of the order. A
// certificate that was issued since shows that a pause without end is over.
func paused(now time.Time, entries []Entry, o Order) Decision {
	var worst Decision
	for _, e := range entries {
		switch {
		case e.Kind != KindPause || host(e.Directory) != host(o.Directory) || !sameAccount(e.Account, o.Account) || !concerns(e, o.Names):
		case e.Until.IsZero() && !lifted(e, entries):
			return Decision{Reason: Paused, Detail: "the CA has paused the account for these names until a person lifts that: " + e.Detail}
		case e.Until.After(now) && e.Until.After(worst.Retry):
			worst = Decision{Reason: RetryAfter, Retry: e.Until, Detail: fmt.Sprintf("the CA asked to be left alone until %s: %s", clock(e.Until), e.Detail)}
		}
	}
	return worst
}

// concerns reports whether a pause is about some of the names.
func concerns(e Entry, names []string) bool {
	return len(e.Names) == 0 || slices.ContainsFunc(Normal(names), func(name string) bool { return slices.Contains(Normal(e.Names), name) })
}

// lifted reports whether a certificate was issued after a pause that concerned it.
func lifted(pause Entry, entries []Entry) bool {
	return slices.ContainsFunc(entries, func(e Entry) bool {
		return e.Kind == KindCertificate && e.Time.After(pause.Time) && host(e.Directory) == host(pause.Directory) && concerns(pause, e.Names)
	})
}

// backoff waits after failures in a row.
func backoff(now time.Time, entries []Entry, o Order) Decision {
	failures, last := failed(entries, o)
	if failures == 0 {
		return Decision{}
	}
	seed := last.hash() // the same after a restart
	until := last.Time.Add(Pause(failures, rand.New(rand.NewPCG(seed, uint64(failures)))))
	if last.Time.After(now) || !until.After(now) {
		return Decision{}
	}
	return Decision{Reason: Backoff, Retry: until, Detail: fmt.Sprintf("%d orders in a row failed, the next one is at %s", failures, clock(until))}
}

// failed counts the failures since the last certificate of exactly these names.
func failed(entries []Entry, o Order) (failures int, last Entry) {
	want := Entry{Directory: o.Directory, Names: o.Names}.thread()
	entries = slices.SortedStableFunc(slices.Values(entries), func(a, b Entry) int { return a.Time.Compare(b.Time) })
	for _, e := range entries {
		switch {
		case e.Kind == KindCertificate && e.thread() == want:
			failures = 0
		case (e.Kind == KindFailedValidation || e.Kind == KindFailure) && e.thread() == want:
			failures, last = failures+1, e
		}
	}
	return failures, last
}

// Pause returns how long to wait after so many failures in a row: a minute, ten, a hundred, then a
// day, each half longer or shorter at random.
func Pause(failures int, random *rand.Rand) time.Duration {
	pause := 24 * time.Hour
	switch {
	case failures <= 1:
		pause = time.Minute
	case failures == 2:
		pause = 10 * time.Minute
	case failures == 3:
		pause = 100 * time.Minute
	}
	return pause/2 + time.Duration(random.Int64N(int64(pause)))
}

// affordable refuses what is not left, and what is left for people. The limit that takes longest to
// come back tells.
func affordable(now time.Time, balance []Remaining, o Order) Decision {
	var worst Decision
	for _, r := range balance {
		keep := reserve(now, r, o)
		if r.Left > keep {
			continue
		}
		d := Decision{Reason: Reserved, Retry: now.Add(r.bucket.leftIn(keep + 1))}
		if r.Left == 0 {
			d.Reason = RateLimited
		}
		d.Detail = fmt.Sprintf("%s, %d are kept; it may go on at %s", r, keep, clock(d.Retry))
		if d.Retry.After(worst.Retry) {
			worst = d
		}
	}
	return worst
}

// reserve returns how many an order must leave. Near the end of what is served automation leaves one.
func reserve(now time.Time, r Remaining, o Order) int64 {
	switch {
	case o.By == ByPerson && !o.Keep:
		return 0
	case !o.Expires.IsZero() && o.Expires.Sub(now) <= dire:
		return 1
	default:
		return r.bucket.reserve
	}
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
