package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Remaining is what is left of one limit.
type Remaining struct {
	Limit Limit     `json:"limit"`
	Key   string    `json:"key"`           // a registered domain, names with commas between them, or a name; empty for [NewOrders]
	Left  int64     `json:"left"`          // 0 or more
	Next  time.Time `json:"next,omitzero"` // when there is one more; zero where all of it is left

	bucket bucket
}

// Of returns how much there is where nothing was spent; 0 where that is not known, as of what was
// read from JSON.
func (r Remaining) Of() int64 { return r.bucket.capacity }

// String tells what is left for people, and of many names the first.
func (r Remaining) String() string {
	what := fmt.Sprintf("%d of %d left of %s", r.Left, r.bucket.capacity, r.Limit)
	first, more, many := strings.Cut(r.Key, ",")
	switch {
	case r.Key == "":
		return what
	case many:
		return fmt.Sprintf("%s for %q and %d more", what, first, 1+strings.Count(more, ","))
	default:
		return fmt.Sprintf("%s for %q", what, first)
	}
}

// Balance returns what is left of every limit that an order counts for; nothing where no limits of
// the CA are known.
func Balance(now time.Time, entries []Entry, o Order) []Remaining {
	return newTally(withIssued(now, entries, o)).balance(now, o)
}

// withIssued adds to entries what the order's own archive tells.
func withIssued(now time.Time, entries []Entry, o Order) []Entry {
	return slices.Concat(entries, entriesOf(now, o.Directory, o.Issued))
}

// bucket is one that is filled again all the time. What is spent makes a debt, as long as it takes
// to be full again.
type bucket struct {
	terms
	debt time.Duration
}

// leftIn returns how long it takes until so many are left.
func (b bucket) leftIn(tokens int64) time.Duration {
	return b.debt - time.Duration(b.capacity-tokens)*b.refill
}

// left returns how many are.
func (b bucket) left() int64 {
	refilling := (b.debt + b.refill - 1) / b.refill
	return b.capacity - int64(refilling)
}

// spent returns what is left of a bucket after what was spent at some times, in order. It was
// empty at the beginning of what is kept. What lies in the future, by a clock that was wrong, was
// spent now.
func spent(t terms, times []time.Time, now time.Time) bucket {
	whole := time.Duration(t.capacity) * t.refill
	last := now.Add(-keepFor)
	b := bucket{terms: t, debt: whole}
	for _, at := range times {
		if at = earlier(at, now); at.Before(last) {
			continue
		}
		// The CA granted it, so that there was one, whatever this ledger thinks.
		b.debt = min(max(0, b.debt-at.Sub(last))+t.refill, whole)
		last = at
	}
	b.debt = max(0, b.debt-now.Sub(last))
	return b
}

// purse is what one limit of one CA is counted by.
type purse struct {
	ca    string
	limit Limit
	key   string
}

// charge is something that was spent. An account that is not known is any.
type charge struct {
	at      time.Time
	account string
}

// tally is what entries come to.
type tally map[purse][]charge

// settleWithin is how long an order may take to end.
const settleWithin = 24 * time.Hour

// newTally counts entries. An order that is not known to have ended counts as a certificate too.
func newTally(entries []Entry) tally {
	t := tally{}
	entries = slices.SortedStableFunc(slices.Values(entries), func(a, b Entry) int { return a.Time.Compare(b.Time) })
	open := map[string][]Entry{} // orders by CA and names
	for _, e := range entries {
		if e.Kind == KindOrder {
			open[e.thread()] = append(open[e.thread()], e)
			t.order(e)
		}
	}
	counted := map[string]bool{}
	for _, e := range entries {
		switch e.Kind {
		case KindFailedValidation, KindFailure:
			settle(open, e)
			t.failed(e)
		case KindCertificate:
			if e.Version != "" && counted[string(e.Version)] {
				continue
			}
			counted[string(e.Version)] = true
			t.issued(open, e)
		}
	}
	for _, orders := range open {
		for _, e := range orders {
			t.certificate(e)
		}
	}
	for _, charges := range t {
		slices.SortStableFunc(charges, func(a, b charge) int { return a.at.Compare(b.at) })
	}
	return t
}

// thread tells what is about the same names at the same CA.
func (e Entry) thread() string { return host(e.Directory) + "|" + set(e.Names) }

// settle takes the last open order that an entry can be the end of, and reports whether there is
// one.
func settle(open map[string][]Entry, e Entry) (order Entry, ok bool) {
	orders := open[e.thread()]
	for i, o := range slices.Backward(orders) {
		if after := e.Time.Sub(o.Time); after >= 0 && after <= settleWithin && sameAccount(o.Account, e.Account) {
			open[e.thread()] = slices.Delete(orders, i, i+1)
			return o, true
		}
	}
	return Entry{}, false
}

func sameAccount(a, b string) bool { return a == "" || b == "" || a == b }

func (t tally) add(e Entry, limit Limit, key string) {
	p := purse{host(e.Directory), limit, key}
	t[p] = append(t[p], charge{e.Time, e.Account})
}

func (t tally) order(e Entry) {
	if e.Exempt != ExemptARI {
		t.add(e, NewOrders, "")
	}
}

// issued counts a certificate, and its order where nobody wrote that down. What an archive tells may
// be somebody else's, so that it is not taken for the end of an order.
func (t tally) issued(open map[string][]Entry, e Entry) {
	var ordered bool
	if e.By != ByCertbot {
		var o Entry
		o, ordered = settle(open, e)
		e.Exempt = cmp.Or(o.Exempt, e.Exempt)
	}
	if !ordered {
		t.order(e)
	}
	t.certificate(e)
}

func (t tally) certificate(e Entry) {
	if e.Exempt == ExemptARI {
		return
	}
	t.add(e, PerExactSet, set(e.Names))
	if e.Exempt == ExemptRenewal {
		return
	}
	for _, domain := range domains(e.Names) {
		t.add(e, PerDomain, domain)
	}
}

func (t tally) failed(e Entry) {
	if e.Kind != KindFailedValidation {
		return
	}
	names := e.Failed
	if len(names) == 0 {
		names = e.Names
	}
	for _, name := range Normal(names) {
		t.add(e, FailedValidations, name)
	}
}

// domains returns the registered domains of names, each once.
func domains(names []string) []string {
	all := make([]string, 0, len(names))
	for _, name := range Normal(names) {
		all = append(all, registered(name))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// balance returns what is left of every limit that an order counts for.
func (t tally) balance(now time.Time, o Order) []Remaining {
	known := termsOf(o.Directory)
	if known == nil {
		return nil
	}
	var all []Remaining
	look := func(limit Limit, key string) {
		times := t.times(purse{host(o.Directory), limit, key}, o.Account)
		all = append(all, remaining(limit, key, spent(known[limit], times, now), now))
	}
	if o.Exempt != ExemptARI {
		look(NewOrders, "")
		look(PerExactSet, set(o.Names))
	}
	if o.Exempt == ExemptFromNone {
		for _, domain := range domains(o.Names) {
			look(PerDomain, domain)
		}
	}
	for _, name := range Normal(o.Names) {
		look(FailedValidations, name)
	}
	return all
}

// times returns when something was spent that counts for an account.
func (t tally) times(p purse, account string) []time.Time {
	var times []time.Time
	for _, c := range t[p] {
		if p.limit == PerDomain || p.limit == PerExactSet || sameAccount(c.account, account) {
			times = append(times, c.at)
		}
	}
	return times
}

func remaining(limit Limit, key string, b bucket, now time.Time) Remaining {
	r := Remaining{Limit: limit, Key: key, Left: b.left(), bucket: b}
	if r.Left < b.capacity {
		r.Next = now.Add(b.leftIn(r.Left + 1))
	}
	return r
}
