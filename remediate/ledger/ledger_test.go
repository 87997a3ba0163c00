package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const (
	production = "https://acme-v02.api.letsencrypt.org/directory"
	staging    = "https://acme-staging-v02.api.letsencrypt.org/directory"
	day        = 24 * time.Hour
)

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// at returns an entry about shop.example.com, so long before noon.
func at(before time.Duration, kind Kind, change ...func(*Entry)) Entry {
	e := Entry{Time: noon().Add(-before), Kind: kind, Directory: production, Names: []string{"shop.example.com"}, By: ByCertbot}
	for _, c := range change {
		c(&e)
	}
	return e
}

func shop() Order {
	return Order{Directory: production, Names: []string{"shop.example.com"}, Exempt: ExemptRenewal, By: ByCertmedic}
}

// times returns n entries that lie so far apart, the last at noon.
func times(n int, apart time.Duration, kind Kind, change ...func(*Entry)) []Entry {
	var all []Entry
	for i := range n {
		all = append(all, at(time.Duration(i)*apart, kind, change...))
	}
	return all
}

func named(names ...string) func(*Entry)     { return func(e *Entry) { e.Names = names } }
func exempt(x Exemption) func(*Entry)        { return func(e *Entry) { e.Exempt = x } }
func account(name string) func(*Entry)       { return func(e *Entry) { e.Account = name } }
func version(v string) func(*Entry)          { return func(e *Entry) { e.Version = certmedic.Fingerprint(v) } }
func of(directory string) func(*Entry)       { return func(e *Entry) { e.Directory = directory } }
func failing(names ...string) func(*Entry)   { return func(e *Entry) { e.Failed = names } }
func until(d time.Duration) func(*Entry)     { return func(e *Entry) { e.Until = noon().Add(d) } }
func both(e Entry, more ...[]Entry) []Entry  { return append([]Entry{e}, slices.Concat(more...)...) }
func ordered(by func(*Order), o Order) Order { by(&o); return o }
func ours(e *Entry)                          { e.By = ByCertmedic }
func plain(o *Order)                         { o.Exempt = ExemptFromNone }

func TestBalance(t *testing.T) {
	for _, row := range []struct {
		about   string
		entries []Entry
		order   Order
		want    string // limit key=left, one more in so long
	}{
		{"nothing was spent", nil, shop(), "new_orders=300 certificates_per_exact_set shop.example.com=5 failed_validations shop.example.com=5"},
		{"another CA has limits that nobody knows", nil, Order{Directory: "https://ca.example.test/dir", Names: []string{"a.test"}}, ""},
		{
			"a certificate costs one of its names and its order; one comes back after 34 hours",
			times(1, 0, KindCertificate), shop(),
			"new_orders=299+36s certificates_per_exact_set shop.example.com=4+34h0m0s failed_validations shop.example.com=5",
		},
		{
			"after 33 hours it has not come back",
			[]Entry{at(33*time.Hour, KindCertificate)},
			shop(),
			"new_orders=300 certificates_per_exact_set shop.example.com=4+1h0m0s failed_validations shop.example.com=5",
		},
		{
			"after 34 hours it has",
			[]Entry{at(34*time.Hour, KindCertificate)},
			shop(),
			"new_orders=300 certificates_per_exact_set shop.example.com=5 failed_validations shop.example.com=5",
		},
		{
			"an order whose end is not known counts as a certificate",
			[]Entry{at(time.Hour, KindOrder)},
			shop(),
			"new_orders=300 certificates_per_exact_set shop.example.com=4+33h0m0s failed_validations shop.example.com=5",
		},
		{
			"its certificate is not counted beside it", both(at(time.Hour, KindOrder), times(1, 0, KindCertificate, ours)), shop(),
			"new_orders=300 certificates_per_exact_set shop.example.com=4+34h0m0s failed_validations shop.example.com=5",
		},
		{
			"one in the archive may be another's", both(at(time.Hour, KindOrder), times(1, 0, KindCertificate)), shop(),
			"new_orders=299+36s certificates_per_exact_set shop.example.com=3+33h0m0s failed_validations shop.example.com=5",
		},
		{
			"an order that failed is no certificate",
			[]Entry{at(time.Minute, KindOrder), at(0, KindFailure)},
			shop(),
			"new_orders=300 certificates_per_exact_set shop.example.com=5 failed_validations shop.example.com=5",
		},
		{
			"the failure of a second order says nothing of the first",
			[]Entry{at(time.Hour, KindOrder), at(time.Minute, KindOrder), at(0, KindFailure)},
			shop(),
			"new_orders=300 certificates_per_exact_set shop.example.com=4+33h0m0s failed_validations shop.example.com=5",
		},
		{
			"a failed validation counts for the name that failed",
			times(2, 0, KindFailedValidation, named("shop.example.com", "www.example.com"), failing("www.example.com")),
			ordered(func(o *Order) { o.Names = append(o.Names, "www.example.com") }, shop()),
			"new_orders=300 certificates_per_exact_set shop.example.com,www.example.com=5 failed_validations shop.example.com=5 failed_validations www.example.com=3+12m0s",
		},
		{
			"for another account it does not", times(2, 0, KindFailedValidation, account("1")), ordered(func(o *Order) { o.Account = "2" }, shop()),
			"new_orders=300 certificates_per_exact_set shop.example.com=5 failed_validations shop.example.com=5",
		},
		{
			"an order of an unknown account counts for each", times(2, 0, KindOrder), ordered(func(o *Order) { o.Account = "2" }, shop()),
			"new_orders=298+36s certificates_per_exact_set shop.example.com=3+34h0m0s failed_validations shop.example.com=5",
		},
		{
			"the same version is counted once", times(3, time.Hour, KindCertificate, version("a")), shop(),
			"new_orders=300 certificates_per_exact_set shop.example.com=4+32h0m0s failed_validations shop.example.com=5",
		},
		{
			"names are compared without order and case", times(1, 0, KindCertificate, named("b.example.com", "a.example.com")),
			ordered(func(o *Order) { o.Names = []string{"A.example.com", "b.example.com."} }, shop()),
			"new_orders=299+36s certificates_per_exact_set a.example.com,b.example.com=4+34h0m0s failed_validations a.example.com=5 failed_validations b.example.com=5",
		},
		{
			"all names of a registered domain count for it, renewals do not",
			slices.Concat(times(2, 0, KindCertificate, named("a.example.co.uk", "b.example.co.uk")), times(7, 0, KindCertificate, named("c.example.co.uk"), exempt(ExemptRenewal))),
			ordered(func(o *Order) { plain(o); o.Names = []string{"*.example.co.uk"} }, shop()),
			"new_orders=291+36s certificates_per_exact_set *.example.co.uk=5 certificates_per_domain example.co.uk=48+3h22m0s failed_validations *.example.co.uk=5",
		},
		{
			"an address counts for itself, one of IPv6 for its network", times(1, 0, KindCertificate, named("2001:db8::1")),
			ordered(func(o *Order) { plain(o); o.Names = []string{"192.0.2.1", "2001:db8::2"} }, shop()),
			"new_orders=299+36s certificates_per_exact_set 192.0.2.1,2001:db8::2=5 certificates_per_domain 192.0.2.1=50 certificates_per_domain 2001:db8::/64=49+3h22m0s failed_validations 192.0.2.1=5 failed_validations 2001:db8::2=5",
		},
		{
			"what replaces by the CA's window costs nothing",
			[]Entry{at(0, KindOrder, exempt(ExemptARI)), at(0, KindCertificate, ours)},
			shop(),
			"new_orders=300 certificates_per_exact_set shop.example.com=5 failed_validations shop.example.com=5",
		},
		{"and is subject to failed validations only", times(9, 0, KindCertificate), ordered(func(o *Order) { o.Exempt = ExemptARI }, shop()), "failed_validations shop.example.com=5"},
		{
			"staging has limits of its own", times(9, 0, KindCertificate), ordered(func(o *Order) { o.Directory = staging }, shop()),
			"new_orders=1500 certificates_per_exact_set shop.example.com=30000 failed_validations shop.example.com=60",
		},
		{
			"more than the CA can have granted makes no debt", times(9, time.Minute, KindCertificate), shop(),
			"new_orders=299+36s certificates_per_exact_set shop.example.com=0+34h0m0s failed_validations shop.example.com=5",
		},
		{
			"what a wrong clock put into the future was spent now",
			[]Entry{at(-99*day, KindCertificate)},
			shop(),
			"new_orders=299+36s certificates_per_exact_set shop.example.com=4+34h0m0s failed_validations shop.example.com=5",
		},
	} {
		if got := told(Balance(noon(), row.entries, row.order)); got != row.want {
			t.Errorf("%s:\n got %s\nwant %s", row.about, got, row.want)
		}
	}
}

func told(all []Remaining) string {
	var words []string
	for _, r := range all {
		word := strings.TrimSpace(string(r.Limit)+" "+r.Key) + fmt.Sprintf("=%d", r.Left)
		if !r.Next.IsZero() {
			word += "+" + r.Next.Sub(noon()).String()
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestAllows(t *testing.T) {
	person := func(o *Order) { o.By = ByPerson }
	spent := func(n int) []Entry { return times(n, 0, KindCertificate, exempt(ExemptRenewal)) }
	for _, row := range []struct {
		about   string
		entries []Entry
		order   Order
		want    Reason
		retry   time.Duration
		detail  string
	}{
		{"nothing was spent", nil, shop(), None, 0, ""},
		{"three of five are left", spent(2), shop(), None, 0, ""},
		{"two of five are for people", spent(3), shop(), Reserved, 34 * time.Hour, `2 of 5 left of certificates_per_exact_set for "shop.example.com", 2 are kept; it may go on at 2026-03-02T22:00:00Z`},
		{"a person may spend them", spent(3), ordered(person, shop()), None, 0, ""},
		{"near the end of what is served so may automation", spent(3), ordered(func(o *Order) { o.Expires = noon().Add(23 * time.Hour) }, shop()), None, 0, ""},
		{"and after it", spent(3), ordered(func(o *Order) { o.Expires = noon().Add(-day) }, shop()), None, 0, ""},
		{"but not two days before", spent(3), ordered(func(o *Order) { o.Expires = noon().Add(2 * day) }, shop()), Reserved, 34 * time.Hour, ""},
		{"the last one is never for automation", spent(4), ordered(func(o *Order) { o.Expires = noon().Add(-day) }, shop()), Reserved, 34 * time.Hour, "1 are kept"},
		{"a person may spend the last one", spent(4), ordered(person, shop()), None, 0, ""},
		{"nothing is left for anybody", spent(5), ordered(person, shop()), RateLimited, 34 * time.Hour, "0 of 5 left"},
		{"within the CA's window there is no such limit", spent(5), ordered(func(o *Order) { o.Exempt = ExemptARI }, shop()), None, 0, ""},
		{
			"five new sets of a domain are for people", times(45, 0, KindCertificate, named("a.example.com")), ordered(plain, shop()),
			Reserved, 202 * time.Minute, `5 of 50 left of certificates_per_domain for "example.com", 5 are kept`,
		},
		{"of two limits the one that takes longer tells", append(spent(3), times(5, 0, KindFailedValidation, named("shop.example.com", "a.test"))...), shop(), Reserved, 34 * time.Hour, "certificates_per_exact_set"},
		{"a name has failed too often", times(5, 0, KindFailedValidation, named("shop.example.com", "a.test")), ordered(person, shop()), RateLimited, 12 * time.Minute, "0 of 5 left of failed_validations"},
		{"thirty orders are for people", times(270, 0, KindOrder, named("a.test")), shop(), Reserved, 36 * time.Second, "30 of 300 left of new_orders, 30 are kept"},
		{"the CA asked for an hour", []Entry{at(time.Minute, KindPause, until(time.Hour), named())}, ordered(person, shop()), RetryAfter, time.Hour, "2026-03-01T13:00:00Z"},
		{"the hour is over", []Entry{at(time.Hour, KindPause, until(-time.Second), named())}, shop(), None, 0, ""},
		{"it asked about other names", []Entry{at(time.Minute, KindPause, until(time.Hour), named("a.test"))}, shop(), None, 0, ""},
		{"it asked another account", []Entry{at(time.Minute, KindPause, until(time.Hour), account("1"))}, ordered(func(o *Order) { o.Account = "2" }, shop()), None, 0, ""},
		{"another CA asked", []Entry{at(time.Minute, KindPause, until(time.Hour), of(staging))}, shop(), None, 0, ""},
		{"a CA whose limits nobody knows is obeyed too", []Entry{at(time.Minute, KindPause, until(time.Hour), of("https://ca.test/"))}, ordered(func(o *Order) { o.Directory = "https://ca.test/" }, shop()), RetryAfter, time.Hour, ""},
		{"the account is paused, for however long", []Entry{at(999*day, KindPause)}, shop(), Paused, 0, "until a person lifts that"},
		{"a certificate since shows that it is not", []Entry{at(2*day, KindPause), at(day, KindCertificate)}, shop(), None, 0, ""},
		{"the last order failed just now", []Entry{at(time.Second, KindFailure)}, shop(), Backoff, -time.Minute, "1 orders in a row"},
		{"a person does not wait", []Entry{at(time.Second, KindFailure)}, ordered(person, shop()), None, 0, ""},
		{"it failed two minutes ago", []Entry{at(2*time.Minute, KindFailure)}, shop(), None, 0, ""},
		{"three failed", []Entry{at(3*time.Hour, KindFailure), at(2*time.Hour, KindFailedValidation), at(49*time.Minute, KindFailure)}, shop(), Backoff, -100 * time.Minute, "3 orders in a row"},
		{"they failed before the last certificate", []Entry{at(3*time.Hour, KindFailure), at(49*time.Minute, KindFailure), at(time.Minute, KindCertificate)}, shop(), None, 0, ""},
		{"those of other names failed", []Entry{at(time.Second, KindFailure, named("a.test"))}, shop(), None, 0, ""},
		{"a failure that a wrong clock put into the future makes nobody wait", []Entry{at(-day, KindFailure)}, shop(), None, 0, ""},
	} {
		d := Allows(noon(), row.entries, row.order)
		if d.Reason != row.want || !strings.Contains(d.Detail, row.detail) {
			t.Errorf("%s: %q (%s), want %q with %q", row.about, d.Reason, d.Detail, row.want, row.detail)
			continue
		}
		in := d.Retry.Sub(noon())
		switch {
		case d.Allowed() || row.want == Paused:
			if !d.Retry.IsZero() {
				t.Errorf("%s: and yet it is to be tried again at %s", row.about, d.Retry)
			}
		case row.retry > 0 && in != row.retry:
			t.Errorf("%s: it may go on in %s, want %s", row.about, in, row.retry)
		case row.retry < 0 && (in <= 0 || in > -row.retry*3/2):
			t.Errorf("%s: it may go on in %s, want up to one and a half times %s", row.about, in, -row.retry)
		}
	}
}
