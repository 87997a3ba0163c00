package app

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/ledger"
)

const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// renewable is what a watchdog tells of a lineage that was issued so many times, an hour apart, the
// last time now.
func renewable(name string, issued int, now time.Time) watchdog.Renewable {
	r := watchdog.Renewable{Certificate: name, Directory: letsEncrypt, Leaf: certmedic.CertFacts{DNSNames: []string{name + ".example.com"}}}
	for i := range issued {
		r.Issued = append(r.Issued, certmedic.Issued{
			Version: certmedic.Fingerprint(name + strings.Repeat("'", i)), NotBefore: now.Add(time.Duration(i-issued) * time.Hour), Names: r.Leaf.DNSNames,
		})
	}
	return r
}

// counted is what an accountant told, by certificate: the least that is left of a limit.
type counted map[string]int64

func (c counted) budgeted(certificate string, left []ledger.Remaining) {
	for _, r := range left {
		if r.Limit == ledger.PerExactSet {
			c[certificate] = r.Left
		}
	}
}

// TestALostStateFolderIsFilledFromTheArchives counts, loses the folder, and counts again.
func TestALostStateFolderIsFilledFromTheArchives(t *testing.T) {
	now := time.Now()
	sources := []watchdog.Renewable{renewable("shop", 4, now), renewable("blog", 1, now)}
	for _, about := range []string{"at first", "after its state folder was lost"} {
		state, err := store.Open(t.TempDir(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = state.Close() })
		book, err := ledger.New(state)
		if err != nil {
			t.Fatal(err)
		}
		told := counted{}
		a := accountant{Renewables: func() []watchdog.Renewable { return sources }, Budgeted: told.budgeted, Book: book, Log: slog.New(slog.DiscardHandler)}
		a.count(now)
		if told["shop"] != 1 || told["blog"] != 4 {
			t.Errorf("%s: %v are left, want 1 of the shop's and 4 of the blog's", about, told)
		}
		kept, err := state.Ledger()
		if err != nil || len(kept) != 5 {
			t.Errorf("%s: %d entries are kept, %v, want 5", about, len(kept), err)
		}
		order := ledger.Order{Directory: letsEncrypt, Names: []string{"shop.example.com"}, Exempt: ledger.ExemptRenewal, By: ledger.ByCertmedic}
		if d := book.Ask(now, order); d.Reason != ledger.Reserved {
			t.Errorf("%s: an order is answered with %q", about, d.Reason)
		}
	}
}

// forgetful is a store that keeps nothing.
type forgetful struct{}

func (forgetful) Ledger() (map[string]ledger.Entry, error) { return map[string]ledger.Entry{}, nil }
func (forgetful) SaveLedger(map[string]ledger.Entry) error { return errors.New("the disk is full") }
func (forgetful) DropLedger([]string) error                { return nil }

// TestAFullDiskDoesNotStopTheCount tells what is left all the same, and of the trouble once.
func TestAFullDiskDoesNotStopTheCount(t *testing.T) {
	now := time.Now()
	book, err := ledger.New(forgetful{})
	if err != nil {
		t.Fatal(err)
	}
	told, log := counted{}, &strings.Builder{}
	a := accountant{
		Renewables: func() []watchdog.Renewable { return []watchdog.Renewable{renewable("shop", 4, now)} },
		Budgeted:   told.budgeted, Book: book, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	for range 3 {
		a.count(now)
	}
	if told["shop"] != 1 || strings.Count(log.String(), "the disk is full") != 1 {
		t.Errorf("%v left, and the log has %s", told, log)
	}
}
