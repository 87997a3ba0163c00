package ledger

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
)

// Store keeps entries by key. What it was told is on disk when it returns.
type Store interface {
	Ledger() (map[string]Entry, error)
	SaveLedger(entries map[string]Entry) error
	DropLedger(keys []string) error
}

// Book is the ledger of this host. Its methods may be called from any goroutine.
type Book struct {
	store Store

	mu      sync.Mutex
	entries map[string]Entry
	counted *total // nil: to be counted again
	closed  error  // why it cannot be read; then nothing may be ordered
}

// Closed returns a book that allows no order and takes no entry, because the one in its place
// cannot be read: what was spent is not known.
func Closed(why error) *Book { return &Book{closed: why} }

// total is what a book's entries are, and come to.
type total struct {
	entries []Entry
	tally   tally
}

// New returns the book that a store keeps.
func New(store Store) (*Book, error) {
	entries, err := store.Ledger()
	if err != nil {
		return nil, fmt.Errorf("reading the ledger: %w", err)
	}
	return &Book{store: store, entries: entries}, nil
}

// Ask says whether an order may be placed now.
func (b *Book) Ask(now time.Time, o Order) Decision {
	if b.closed != nil {
		return Decision{Reason: Paused, Detail: b.closed.Error()}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.withLocked(now, o)
	return allows(now, all.entries, all.tally, o)
}

// Balance returns what is left of every limit that an order counts for; nothing where no limits of
// the CA are known.
func (b *Book) Balance(now time.Time, o Order) []Remaining {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.withLocked(now, o).tally.balance(now, o)
}

// Spend writes an entry down. It is on disk when Spend returns; with an error nothing was written,
// and no order must be placed. No CA is left alone for longer than entries are kept, whatever it
// asked for, unless it is to be for good.
func (b *Book) Spend(e Entry) error {
	if b.closed != nil {
		return b.closed
	}
	e.Names = Normal(e.Names)
	if !e.Until.IsZero() {
		e.Until = earlier(e.Until, e.Time.Add(keepFor))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writeLocked([]Entry{e})
}

// Take asks whether an order may be placed, and where it may writes that down as [Book.Spend] does,
// with nobody in between: two that ask for the last one at a time do not both get it.
func (b *Book) Take(now time.Time, o Order) (Decision, error) {
	if b.closed != nil {
		return b.Ask(now, o), nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.withLocked(now, o)
	d := allows(now, all.entries, all.tally, o)
	if !d.Allowed() {
		return d, nil
	}
	e := Entry{Time: now, Kind: KindOrder, Directory: o.Directory, Account: o.Account, Names: Normal(o.Names), Exempt: o.Exempt, By: o.By}
	return d, b.writeLocked([]Entry{e})
}

// Sourced is what the archive of one source holds.
type Sourced struct {
	Directory string // of the ACME CA that issued it
	Issued    []certmedic.Issued
}

// Learn enters what archives tell that is not in the book yet, and forgets what does not matter any
// more.
func (b *Book) Learn(now time.Time, all []Sourced) error {
	if b.closed != nil {
		return b.closed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var news []Entry
	for _, s := range all {
		news = append(news, b.unknownLocked(entriesOf(now, s.Directory, s.Issued))...)
	}
	if err := b.writeLocked(news); err != nil {
		return err
	}
	return b.trimLocked(now)
}

// writeLocked keeps entries, all or none.
func (b *Book) writeLocked(entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	byKey := make(map[string]Entry, len(entries))
	for _, e := range entries {
		byKey[e.key()] = e
	}
	if err := b.store.SaveLedger(byKey); err != nil {
		return fmt.Errorf("writing the ledger: %w", err)
	}
	maps.Copy(b.entries, byKey)
	b.counted = nil
	return nil
}

// trimLocked forgets what does not matter any more. Where everything seems to be long over, the
// clock may be wrong, and nothing is forgotten.
func (b *Book) trimLocked(now time.Time) error {
	var old []string
	if !slices.ContainsFunc(slices.Collect(maps.Values(b.entries)), func(e Entry) bool { return !e.over(now) }) {
		return nil
	}
	for key, e := range b.entries {
		if e.over(now) {
			old = append(old, key)
		}
	}
	if len(old) == 0 {
		return nil
	}
	if err := b.store.DropLedger(old); err != nil {
		return fmt.Errorf("trimming the ledger: %w", err)
	}
	for _, key := range old {
		delete(b.entries, key)
	}
	b.counted = nil
	return nil
}

// withLocked returns the total, with what the order's own archive adds.
func (b *Book) withLocked(now time.Time, o Order) *total {
	if b.counted == nil {
		entries := slices.Collect(maps.Values(b.entries))
		b.counted = &total{entries, newTally(entries)}
	}
	more := b.unknownLocked(entriesOf(now, o.Directory, o.Issued))
	if len(more) == 0 {
		return b.counted
	}
	entries := slices.Concat(b.counted.entries, more)
	return &total{entries, newTally(entries)}
}

// unknownLocked returns the entries that are not in the book.
func (b *Book) unknownLocked(entries []Entry) []Entry {
	return slices.DeleteFunc(entries, func(e Entry) bool {
		_, known := b.entries[e.key()]
		return known
	})
}
