package remediate_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/renew"
)

// The limits of Let's Encrypt that the faults run into, and those of the configuration.
const (
	perSet       = 5 // certificates of exactly the same names
	perSetPeriod = 7 * 24 * time.Hour
	perSetKept   = 2 // of these, for people; one near the end of what is served
	failedMost   = 5 // validations of a name in an hour
	hourlyMost   = 2 // actions, by configuration
	letsEncrypt  = "https://acme-v02.api.letsencrypt.org/directory"
)

// shops is a house with some certificates, of which rules want renewals all the time. Its CA is a
// program: it writes down each order, and fails it or issues, as the fault of the moment has it.
type shops struct {
	t      *testing.T
	dir    string
	random *rand.Rand
	life   time.Duration // of each version

	mu      sync.Mutex
	members map[string]*member
	journal *ramJournal
	store   *ramLedger

	r    *remediate.Remediator
	stop func()
}

// member is one of the certificates, as its source and its CA know it.
type member struct {
	name    string
	leaf    certmedic.CertFacts
	issued  []certmedic.Issued
	orders  []time.Time
	granted []time.Time // of orders, those that ended in a certificate
	failed  []time.Time // and those that did not
}

func newShops(t *testing.T, seed uint64, life time.Duration) *shops {
	s := &shops{t: t, dir: t.TempDir(), life: life, random: rand.New(rand.NewPCG(seed, 6)), members: map[string]*member{}}
	for i := range 3 {
		m := &member{name: fmt.Sprintf("shop-%d", i)}
		s.members[m.name] = m
		m.issue(time.Now().Add(-30*24*time.Hour), 90*24*time.Hour)
		// The CA of this house: an order is a line, and the file "fails" is why it comes to nothing.
		program := fmt.Sprintf("#!/bin/sh\ncd %s\necho order >>%[2]s.orders\nif [ -s %[2]s.fails ]; then . ./%[2]s.fails; fi\n: >%[2]s.issued\n", s.dir, m.name)
		s.write(m.name+".sh", program, 0o755)
		s.write(m.name+".fails", "", 0o600)
	}
	s.lose()
	return s
}

func (s *shops) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

// issue gives the certificate a new version. It begins an hour before it is issued, as those of
// Let's Encrypt do.
func (m *member) issue(now time.Time, life time.Duration) {
	version := certmedic.Fingerprint(fmt.Sprintf("%s-%04d-%048d", m.name, len(m.issued), 0))
	names := []string{m.name + ".example.com"}
	m.leaf = certmedic.CertFacts{SHA256: version, DNSNames: names, NotBefore: now.Add(-time.Hour).Truncate(time.Second), NotAfter: now.Add(life)}
	m.issued = append(m.issued, certmedic.Issued{Version: version, NotBefore: m.leaf.NotBefore, Names: names})
}

// look sees every version served as soon as it is stored. What the CA did since the last look it
// did just now: after every program there is one.
func (s *shops) look(_ context.Context, certificate string) (remediate.Sight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, now := s.members[certificate], time.Now()
	lines, err := os.ReadFile(filepath.Join(s.dir, m.name+".orders"))
	if err != nil && !os.IsNotExist(err) {
		return remediate.Sight{}, err
	}
	new := len(lines)/len("order\n") - len(m.orders)
	m.orders = append(m.orders, slices.Repeat([]time.Time{now}, new)...)
	switch err := os.Remove(filepath.Join(s.dir, m.name+".issued")); {
	case err == nil:
		m.granted = append(m.granted, now)
		m.issue(now, s.life)
	case new > 0:
		m.failed = append(m.failed, now)
	}
	return remediate.Sight{
		Certificate: certmedic.Certificate{
			Name: m.name, Mode: certmedic.ModeAuto, Allow: []certmedic.ActionKind{certmedic.ActionRenew},
			Source: certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: s.dir, Lineage: m.name},
		},
		Stored: certmedic.Stored{
			Chain: []certmedic.CertFacts{m.leaf}, Names: m.leaf.DNSNames, Lock: certmedic.Lock{State: certmedic.LockFree},
			Directory: letsEncrypt, Issued: slices.Clone(m.issued),
		},
		Addresses: []remediate.Served{{Address: "192.0.2.1:443", Bound: true, Leaf: m.leaf.SHA256}},
	}, nil
}

func (s *shops) options(o *remediate.Options) {
	book, err := ledger.New(s.store)
	if err != nil {
		s.t.Fatal(err)
	}
	*o = remediate.Options{
		Look: s.look, Journal: s.journal, Ledger: book, Log: slog.New(slog.DiscardHandler),
		Renewal: func(c certmedic.Certificate) (renew.Way, error) {
			return renew.Way{Command: []string{filepath.Join(s.dir, c.Name+".sh")}}, nil
		},
		Frozen: func() bool { return false }, ClockDoubt: func() string { return "" }, Changed: func(certmedic.Action) {},
		RunDir: filepath.Join(s.dir, "run"), Environ: []string{"PATH=/usr/bin:/bin"},
		MaxPerHour: hourlyMost, MaxConcurrent: 2, CommandTimeout: time.Minute,
	}
}

// start starts certmedic with the state that there is.
func (s *shops) start() {
	var o remediate.Options
	s.options(&o)
	s.r = remediate.New(o)
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.r.Run(ctx) }()
	synctest.Wait() // it has begun
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("the remediator ended with %v", err)
		}
	}
}

// lose loses the state folder.
func (s *shops) lose() {
	s.journal = &ramJournal{actions: map[string]certmedic.Action{}}
	s.store = &ramLedger{entries: map[string]ledger.Entry{}}
}

// fault has a rule find something that is wrong with what is stored now, which only another
// version can mend.
func (s *shops) fault() *member {
	m := s.members[fmt.Sprintf("shop-%d", s.random.IntN(len(s.members)))]
	s.mu.Lock()
	version := m.leaf.SHA256
	s.mu.Unlock()
	s.r.Want(m.name, []remediate.Want{{Kind: certmedic.ActionRenew, Rule: "revoked", Why: "it was revoked", Version: version}})
	return m
}

// moment says what the CA does from now on, and what becomes of certmedic.
type moment struct {
	about   string
	life    time.Duration // of new versions; 0: 90 days
	fails   bool          // half of the time the CA fails, in one way or another
	restart bool
	lose    bool // with its state folder
	people  bool // who order by hand, and force it
}

// suffer lets some faults happen, one after the other.
func (s *shops) suffer(faults int, m moment) {
	for range faults {
		shop := s.fault()
		if m.fails {
			s.write(shop.name+".fails", []string{"", "", challengeFailed, limited, "exit 1\n"}[s.random.IntN(5)], 0o600)
		}
		if m.people && s.random.IntN(10) == 0 {
			if _, err := s.r.Act(s.t.Context(), remediate.Request{Certificate: shop.name, Kind: certmedic.ActionRenew, ByHand: true, Force: true}); err != nil {
				s.t.Fatal(err)
			}
		}
		time.Sleep(time.Duration(s.random.Int64N(int64(2 * time.Hour))))
		if m.restart && s.random.IntN(4) == 0 {
			s.stop()
			if m.lose {
				s.lose()
			}
			s.start()
		}
	}
}

// TestFaultsDoNotSpendTheBudget has a thousand faults want renewals, and the CA fail, or issue what is
// found bad at once, while certmedic is restarted, or loses what it knew. No more is ordered than
// the limits of the CA and of the configuration grant; what is kept for people is left to them.
func TestFaultsDoNotSpendTheBudget(t *testing.T) {
	t.Parallel()
	faults := 50
	if os.Getenv("CERTMEDIC_CHAOS") != "" {
		faults = 1000
	}
	for i, m := range []moment{
		{about: "each new version is found bad at once, over restarts", restart: true},
		{about: "versions live for two days", restart: true, life: 48 * time.Hour},
		{about: "the CA fails half of the time, over restarts", restart: true, fails: true},
		{about: "people force renewals beside it", restart: true, people: true},
		{about: "the state folder is lost again and again", restart: true, lose: true},
	} {
		t.Run(m.about, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShops(t, uint64(i), cmp.Or(m.life, 90*24*time.Hour))
				s.start()
				began := time.Now()
				s.suffer(faults, m)
				s.stop()
				s.checkBudget(m, faults, time.Since(began))
			})
		})
	}
}

func (s *shops) checkBudget(m moment, faults int, took time.Duration) {
	s.t.Helper()
	kept := perSetKept
	switch {
	case m.people:
		kept = 0
	case m.life > 0:
		kept = 1
	}
	orders, all := 0, []time.Time{}
	for _, name := range slices.Sorted(maps.Keys(s.members)) {
		shop := s.members[name]
		orders += len(shop.orders)
		all = append(all, shop.orders...)
		if most := busiest(shop.granted, perSetPeriod/perSet); most > float64(perSet-kept) {
			s.t.Errorf("%s: at times %.2f certificates were taken out of %d, of which %d are kept", name, most, perSet, kept)
		}
		if most := busiest(shop.failed, time.Hour/failedMost); !m.lose && most > failedMost {
			s.t.Errorf("%s: at times %.2f validations failed, out of %d", name, most, failedMost)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	if n := most(all, time.Hour); !m.lose && !m.people && n > hourlyMost {
		s.t.Errorf("%d orders in an hour, the configuration grants %d", n, hourlyMost)
	}
	s.t.Logf("%d faults in %s led to %d orders", faults, took.Round(time.Hour), orders)
	if orders < len(s.members) {
		s.t.Errorf("%d orders prove nothing", orders)
	}
}

// busiest returns the most that was ever taken out of a bucket, into which one comes back every
// refill.
func busiest(times []time.Time, refill time.Duration) float64 {
	out, most := 0.0, 0.0
	for i, at := range times {
		if i > 0 {
			out = max(0, out-float64(at.Sub(times[i-1]))/float64(refill))
		}
		out++
		most = max(most, out)
	}
	return most
}

// most returns how many of the times, which are sorted, lie within a period at most.
func most(times []time.Time, period time.Duration) int {
	most, from := 0, 0
	for i, at := range times {
		for at.Sub(times[from]) >= period {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

// ramJournal is a journal in memory, which outlives certmedic until it is lost.
type ramJournal struct {
	mu      sync.Mutex
	actions map[string]certmedic.Action
}

func (j *ramJournal) Record(a certmedic.Action) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	a.Runs = slices.Clone(a.Runs)
	j.actions[a.ID] = a
	return nil
}

func (j *ramJournal) Actions(certificate string, since time.Time) ([]certmedic.Action, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []certmedic.Action
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(j.actions))) {
		if a := j.actions[id]; (certificate == "" || a.Certificate == certificate) && !a.StartedAt.Before(since) {
			all = append(all, a)
		}
	}
	return all, nil
}

// ramLedger is a store of a ledger in memory.
type ramLedger struct {
	mu      sync.Mutex
	entries map[string]ledger.Entry
}

func (l *ramLedger) Ledger() (map[string]ledger.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.entries), nil
}

func (l *ramLedger) SaveLedger(entries map[string]ledger.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.entries, entries)
	return nil
}

func (l *ramLedger) DropLedger(keys []string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		delete(l.entries, key)
	}
	return nil
}
