package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// authority grants orders as Let's Encrypt says that it does, in a way of its own: each limit is a
// number of tokens that grows with time.
type authority struct {
	tokens  map[string]float64
	updated map[string]time.Time
	granted map[string][]time.Time
}

func newAuthority() *authority {
	return &authority{map[string]float64{}, map[string]time.Time{}, map[string][]time.Time{}}
}

// rule is a limit as the CA states it: so many in a period, over which they come back evenly.
type rule struct {
	key    string
	most   float64
	period time.Duration
}

// rulesFor returns what an order is held against.
func rulesFor(o Order, domain string) []rule {
	all := []rule{{"orders", 300, 3 * time.Hour}, {"set " + set(o.Names), 5, 7 * day}}
	if o.Exempt == ExemptFromNone {
		all = append(all, rule{"domain " + domain, 50, 7 * day})
	}
	if o.Exempt == ExemptARI {
		all = nil
	}
	for _, name := range o.Names {
		all = append(all, rule{"failed " + name, 5, time.Hour})
	}
	return all
}

func (a *authority) left(now time.Time, r rule) float64 {
	had, ok := a.tokens[r.key]
	if !ok {
		return r.most
	}
	return min(r.most, had+r.most*now.Sub(a.updated[r.key]).Seconds()/r.period.Seconds())
}

// place tries an order, and reports whether the CA takes it. One that fails is not issued.
func (a *authority) place(now time.Time, o Order, domain string, fails bool) bool {
	for _, r := range rulesFor(o, domain) {
		if a.left(now, r) < 1 {
			return false
		}
	}
	for _, r := range rulesFor(o, domain) {
		failure := len(r.key) > 6 && r.key[:6] == "failed"
		if r.key != "orders" && failure != fails {
			continue
		}
		a.tokens[r.key] = a.left(now, r) - 1
		a.updated[r.key] = now
		a.granted[r.key] = append(a.granted[r.key], now)
	}
	return true
}

// kept is a store in memory that can be lost.
type kept struct {
	entries map[string]Entry
	broken  error
}

func (k *kept) Ledger() (map[string]Entry, error) {
	all := map[string]Entry{}
	for key, e := range k.entries {
		all[key] = e
	}
	return all, k.broken
}

func (k *kept) SaveLedger(entries map[string]Entry) error {
	if k.broken != nil {
		return k.broken
	}
	for key, e := range entries {
		k.entries[key] = e
	}
	return nil
}

func (k *kept) DropLedger(keys []string) error {
	for _, key := range keys {
		delete(k.entries, key)
	}
	return k.broken
}

// machine is one with some lineages, on which certbot, certmedic and people order.
type machine struct {
	t        *testing.T
	ca       *authority
	book     *Book
	store    *kept
	now      time.Time
	archives map[string][]certmedic.Issued
	random   *rand.Rand
	made     int
	windows  bool // some orders replace within the CA's window
}

const domain = "example.com"

// order has somebody order, by the book unless it is certbot, which keeps none.
func (m *machine) order(by Spender, name string, fails, crash bool) {
	o := Order{Directory: production, Names: []string{name}, By: by, Issued: m.archives[name]}
	if len(m.archives[name]) > 0 {
		o.Exempt = ExemptRenewal
		if m.windows && m.random.IntN(20) == 0 {
			o.Exempt = ExemptARI
		}
	}
	entry := Entry{Time: m.now, Kind: KindOrder, Directory: production, Names: o.Names, Exempt: o.Exempt, By: by}
	if by != ByCertbot {
		if d := m.book.Ask(m.now, o); !d.Allowed() {
			if !d.Retry.After(m.now) {
				m.t.Fatalf("refused with %q, to be tried again at %s, now it is %s", d.Reason, d.Retry, m.now)
			}
			return
		}
		must(m.t, m.book.Spend(entry))
	}
	if !m.ca.place(m.now, o, domain, fails) {
		if by != ByCertbot {
			m.t.Errorf("at %s the CA refuses an order of %s for %s that the ledger allowed", m.now, by, name)
		}
		return
	}
	if fails && by != ByCertbot {
		entry.Kind = KindFailedValidation
		must(m.t, m.book.Spend(entry))
		return
	}
	if fails || crash && by != ByCertbot {
		return // its certificate is lost
	}
	m.made++
	m.archives[name] = append(m.archives[name], certmedic.Issued{
		Version: certmedic.Fingerprint(fmt.Sprint(m.made)), NotBefore: m.now.Add(-time.Hour).Truncate(time.Second), Names: o.Names,
	})
	m.archives[name] = m.archives[name][max(0, len(m.archives[name])-20):]
	if by != ByCertbot && m.random.IntN(10) > 0 { // else it crashed once the certificate was stored
		entry.Kind, entry.Version = KindCertificate, certmedic.Fingerprint(fmt.Sprint(m.made))
		must(m.t, m.book.Spend(entry))
	}
}

// learn reads every archive.
func (m *machine) learn() {
	var all []Sourced
	for _, issued := range m.archives {
		all = append(all, Sourced{production, issued})
	}
	must(m.t, m.book.Learn(m.now, all))
}

func (m *machine) restart() {
	var err error
	m.book, err = New(m.store)
	must(m.t, err)
}

func newMachine(t *testing.T, seed uint64) *machine {
	m := &machine{
		t: t, ca: newAuthority(), store: &kept{entries: map[string]Entry{}}, now: noon(),
		archives: map[string][]certmedic.Issued{}, random: rand.New(rand.NewPCG(seed, 1)),
	}
	m.restart()
	return m
}

// TestTheCAIsNeverAskedForTooMuch plays machines on which everybody orders as often as the ledger
// lets them, with failures, crashes, restarts and certbot beside: the CA never refuses what the
// ledger allowed, and no window of any length holds more than its rule grants.
func TestTheCAIsNeverAskedForTooMuch(t *testing.T) {
	for seed := range uint64(9) {
		m := newMachine(t, seed)
		m.windows = true
		pace := []time.Duration{time.Minute, time.Hour, 12 * time.Hour}[seed%3]
		for range 400 {
			m.now = m.now.Add(time.Duration(m.random.Int64N(int64(pace))))
			by := []Spender{ByCertmedic, ByCertmedic, ByPerson, ByPerson, ByCertbot}[m.random.IntN(5)]
			name := fmt.Sprintf("%d.example.com", m.random.IntN(4))
			if m.random.IntN(8) == 0 {
				name = fmt.Sprintf("new-%d.example.com", m.random.IntN(1000))
			}
			// Of certbot's failures nothing is left that could be counted.
			m.order(by, name, by != ByCertbot && m.random.IntN(10) == 0, m.random.IntN(30) == 0)
			m.learn()
			if m.random.IntN(10) == 0 {
				m.restart()
			}
		}
		for key, times := range m.ca.granted {
			for _, r := range []rule{{"orders", 300, 3 * time.Hour}, {"set", 5, 7 * day}, {"domain", 50, 7 * day}, {"failed", 5, time.Hour}} {
				if len(key) >= len(r.key) && key[:len(r.key)] == r.key {
					checkWindows(t, key, times, r)
				}
			}
		}
		if m.made < 50 {
			t.Errorf("seed %d: %d certificates in 400 tries prove nothing", seed, m.made)
		}
	}
}

// checkWindows looks at every window between two grants.
func checkWindows(t *testing.T, key string, times []time.Time, r rule) {
	t.Helper()
	for i, from := range times {
		for j, to := range times[i:] {
			if most := r.most + r.most*to.Sub(from).Seconds()/r.period.Seconds(); float64(j+1) > most+1e-6 {
				t.Fatalf("%s: %d grants from %s to %s", key, j+1, from, to)
			}
		}
	}
}

// TestAutomationLeavesTheReserve has certmedic alone order as often as it is allowed to.
func TestAutomationLeavesTheReserve(t *testing.T) {
	for seed := range uint64(10) {
		m := newMachine(t, seed)
		names := []string{"shop.example.com"}
		for range 500 {
			m.now = m.now.Add(time.Duration(m.random.Int64N(int64(6 * time.Hour))))
			m.order(ByCertmedic, names[0], false, m.random.IntN(50) == 0)
			m.learn()
			if left := m.ca.left(m.now, rule{"set " + names[0], 5, 7 * day}); left < 2 {
				t.Fatalf("seed %d: at %s the CA has %.2f left for people", seed, m.now, left)
			}
		}
	}
}

// TestALostStateFolderDoesNotRefillTheBudget loses it before each of a thousand forced renewals in
// two weeks.
func TestALostStateFolderDoesNotRefillTheBudget(t *testing.T) {
	m := newMachine(t, 1)
	for i := range 1000 {
		m.now = m.now.Add(20 * time.Minute)
		m.store.entries = map[string]Entry{}
		m.restart()
		if i%2 == 0 {
			m.learn() // else the order tells of its own archive
		}
		m.order(ByPerson, "shop.example.com", false, false)
	}
	checkWindows(t, "the set", m.ca.granted["set shop.example.com"], rule{"", 5, 7 * day})
	if n := len(m.ca.granted["set shop.example.com"]); n < 10 || n > 15 {
		t.Errorf("%d certificates in two weeks, want five and one for each of 34 hours", n)
	}
}

// TestPause says how long is waited, and that it varies.
func TestPause(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for failures, want := range []time.Duration{time.Minute, time.Minute, 10 * time.Minute, 100 * time.Minute, day, day, day} {
		var all []time.Duration
		for range 200 {
			all = append(all, Pause(failures, random))
		}
		least, most := slices.Min(all), slices.Max(all)
		if least < want/2 || least > want*6/10 || most < want*14/10 || most > want*3/2 {
			t.Errorf("after %d failures: %s to %s, want half to one and a half times %s", failures, least, most, want)
		}
	}
}
