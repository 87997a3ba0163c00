// Package embedded is the coordinator of a single host: there is nobody to agree with, so it always
// wins. The app uses it where no cluster is configured, and so acts in the same way on one host and on many.
//
// Only what has to survive a restart is kept, in the state of certmedic, whose lock sees to it that
// there is one process: the token of each name, so that it is never given twice, and the records. Leases
// are in memory and cost nothing.
package embedded

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

var _ coord.Engine = (*Engine)(nil)

// Store keeps what has to survive.
type Store interface {
	// NextToken counts the token of a name up by one and returns it once that is on disk.
	NextToken(name string) (uint64, error)
	// SharedRecords returns the records that are kept.
	SharedRecords() ([]coord.Record, error)
	// SaveSharedRecord keeps a record in place of the one with its key.
	SaveSharedRecord(r coord.Record) error
}

// Engine is the session of the only member.
type Engine struct {
	store  Store
	member string
	ttl    time.Duration

	mu      sync.Mutex
	leases  map[string]uint64 // name → token
	records map[string]coord.Record
	living  []coord.Member // nobody, or this member
	joins   int            // the last one is what counts
	changed chan struct{}  // closed when that changes
}

// New reads the records and returns the session. Leases say that they last for ttl; nobody else could
// take them.
func New(store Store, member string, ttl time.Duration) (*Engine, error) {
	if err := coord.CheckName(member); err != nil {
		return nil, fmt.Errorf("naming a member: %w", err)
	}
	all, err := store.SharedRecords()
	if err != nil {
		return nil, fmt.Errorf("reading the records: %w", err)
	}
	e := &Engine{
		store: store, member: member, ttl: ttl,
		leases: map[string]uint64{}, records: map[string]coord.Record{}, changed: make(chan struct{}),
	}
	for _, r := range all {
		e.records[r.Key] = r
	}
	return e, nil
}

// Close implements [coord.Engine]; there is nothing to end.
func (e *Engine) Close() error { return nil }

func (e *Engine) lease(name string, token uint64) coord.Lease {
	return coord.Lease{Name: name, Member: e.member, Token: token, Expires: coord.Expiry(time.Now(), e.ttl)}
}

// Acquire implements [coord.Coordinator]. The only error is that of the store.
func (e *Engine) Acquire(_ context.Context, name string) (coord.Lease, error) {
	if err := coord.CheckName(name); err != nil {
		return coord.Lease{}, fmt.Errorf("acquiring a lease: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	token, held := e.leases[name]
	if !held {
		var err error
		if token, err = e.store.NextToken(name); err != nil {
			return coord.Lease{Name: name}, fmt.Errorf("acquiring the lease of %q: %w", name, err)
		}
		e.leases[name] = token
	}
	return e.lease(name, token), nil
}

// Renew implements [coord.Coordinator].
func (e *Engine) Renew(_ context.Context, l coord.Lease) (coord.Lease, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if token, held := e.leases[l.Name]; !held || token != l.Token {
		return l, fmt.Errorf("renewing the lease of %q: %w", l.Name, coord.ErrLost)
	}
	return e.lease(l.Name, l.Token), nil
}

// Release implements [coord.Coordinator].
func (e *Engine) Release(_ context.Context, l coord.Lease) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leases[l.Name] == l.Token {
		delete(e.leases, l.Name)
	}
	return nil
}

// Get implements [coord.Records].
func (e *Engine) Get(_ context.Context, key string) (coord.Record, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, ok := e.records[key]
	r.Value = slices.Clone(r.Value)
	return r, ok, nil
}

// Put implements [coord.Records].
func (e *Engine) Put(_ context.Context, key string, revision, token uint64, value []byte) (coord.Record, error) {
	if err := coord.CheckRecord(key, value); err != nil {
		return coord.Record{}, fmt.Errorf("writing a record: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.records[key]; old.Revision != revision || token < old.Token {
		return coord.Record{}, fmt.Errorf("writing the record %q: %w", key, coord.ErrStale)
	}
	r := coord.Record{Key: key, Value: slices.Clone(value), Token: token, Revision: revision + 1, Time: time.Now().UTC()}
	if err := e.store.SaveSharedRecord(r); err != nil {
		return coord.Record{}, fmt.Errorf("writing the record %q: %w", key, err)
	}
	e.records[key] = r
	r.Value = slices.Clone(value)
	return r, nil
}

// List implements [coord.Records].
func (e *Engine) List(_ context.Context, prefix string) ([]coord.Record, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []coord.Record
	for _, key := range slices.Sorted(maps.Keys(e.records)) {
		if r := e.records[key]; strings.HasPrefix(key, prefix) {
			r.Value = slices.Clone(r.Value)
			all = append(all, r)
		}
	}
	return all, nil
}
