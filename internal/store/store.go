// Package store keeps certmedic's state in one bbolt file in the state folder: what the
// rules remember, the journal of actions, which addresses are bound to a certificate, which
// versions it had, what was spent of the limits of CAs, and what has still to be told.
//
// It has one writer at a time, held off by a file lock; every write is on disk when it
// returns, so it survives kill -9. Values are JSON, so that a newer certmedic can read what
// an older one wrote. The app opens it; the verbs see it through interfaces of their own.
package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/certmedic/certmedic/internal/ownership"
)

// FileName is the name of the state file within the state folder.
const FileName = "certmedic.db"

// version of the layout; a file with a higher one is refused.
const version = 1

// ErrBusy says that another certmedic holds the state.
var ErrBusy = errors.New("another certmedic holds the state")

// The buckets. Keys sort the way they are read.
const (
	bucketMeta       = "meta"
	bucketRules      = "rules"      // certificate → rules.State
	bucketIncidents  = "incidents"  // time of the end, id → certmedic.Incident
	bucketActions    = "actions"    // id (sorts by time) → certmedic.Action
	bucketMemory     = "memory"     // certificate → Memory
	bucketOutbox     = "outbox"     // id → alerting.Entry
	bucketDeliveries = "deliveries" // receiver, conversation → alerting.Delivery
	bucketSilences   = "silences"   // id → silence.Silence
	bucketAcks       = "acks"       // conversation → alerting.Ack
	bucketRenewal    = "renewal"    // certificate → Renewal
	bucketLedger     = "ledger"     // key → ledger.Entry
	bucketLoans      = "loans"      // certificate → rollback.Loan
	bucketApprovals  = "approvals"  // id → approval.Approval
	bucketRehearsals = "rehearsals" // id (sorts by time) → certmedic.Action
	bucketExercises  = "exercises"  // kind, receiver → Exercise
	bucketTokens     = "tokens"     // name of a lease → its last token, big endian
	bucketShared     = "shared"     // key → coord.Record, where there is only one member
)

func buckets() []string {
	return []string{bucketMeta, bucketRules, bucketIncidents, bucketActions, bucketMemory, bucketOutbox, bucketDeliveries, bucketSilences, bucketAcks, bucketRenewal, bucketLedger, bucketLoans, bucketApprovals, bucketRehearsals, bucketExercises, bucketTokens, bucketShared}
}

// Store is the open state. It is safe for concurrent use.
type Store struct {
	db *bbolt.DB

	mu      sync.Mutex
	trouble error     // of the last write
	since   time.Time // when writes began to fail; zero while they succeed
}

// Open opens the state in dir for writing, and creates both (the folder 0700). It waits up
// to wait for another certmedic to let go of it and then returns [ErrBusy].
func Open(dir string, wait time.Duration) (*Store, error) {
	if err := prepareFolder(dir); err != nil {
		return nil, err
	}
	return open(dir, &bbolt.Options{Timeout: wait}, (*Store).prepare)
}

// OpenRead opens existing state for reading only. It waits up to wait for a writer to let
// go of it and then returns [ErrBusy]; without state the error wraps fs.ErrNotExist.
func OpenRead(dir string, wait time.Duration) (*Store, error) {
	if _, err := os.Stat(filepath.Join(dir, FileName)); err != nil {
		return nil, fmt.Errorf("opening the state: %w", err)
	}
	return open(dir, &bbolt.Options{Timeout: wait, ReadOnly: true}, func(s *Store) error { return s.db.View(checkVersion) })
}

// prepareFolder creates the state folder, or closes an existing one to others. A folder that
// others may replace, or that is open and holds something else than state, is refused and
// left as it is: it may be a folder that others need.
func prepareFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the state folder: %w", err)
	}
	ours := len(entries) == 0 || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == FileName })
	if info, err := os.Stat(dir); err == nil && !ours && info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("the state folder %q holds other files, is open to others and has no %s: name a folder for certmedic alone, or close this one with mode 0700", dir, FileName)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("creating the state folder: %w", err)
	}
	if err := ownership.Check(filepath.Dir(filepath.Clean(dir))); err != nil {
		return fmt.Errorf("checking the parents of the state folder: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("closing the state folder to others: %w", err)
	}
	return nil
}

// open opens the file, has it checked and reads all of it once, so that damage is an error
// here and not a crash later. Damage can show as a fault in mapped memory; then the database
// is given up as it is, locks and all, and the process had better end.
func open(dir string, o *bbolt.Options, check func(*Store) error) (s *Store, err error) {
	name := filepath.Join(dir, FileName)
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("opening the state: %q is no regular file", name)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if damage := recover(); damage != nil {
			s, err = nil, fmt.Errorf("opening the state: %q is damaged (%v): move it away and start again; what it remembered is lost", name, damage)
		}
	}()
	db, err := bbolt.Open(name, 0o600, o)
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("opening the state in %q: %w", dir, ErrBusy)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the state in %q: %w", dir, err)
	}
	s = &Store{db: db}
	if err := errors.Join(check(s), s.readAll()); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the state in %q: %w", dir, err), s.Close())
	}
	return s, nil
}

// readAll touches everything that is kept.
func (s *Store) readAll() error {
	for _, bucket := range buckets() {
		if err := s.each(bucket, false, func(string, []byte) (bool, error) { return true, nil }); err != nil {
			return err
		}
	}
	return nil
}

// prepare creates the buckets and checks the layout's version.
func (s *Store) prepare() error {
	return s.update(func(tx *bbolt.Tx) error {
		for _, name := range buckets() {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		if err := checkVersion(tx); err != nil {
			return err
		}
		return tx.Bucket([]byte(bucketMeta)).Put([]byte("version"), binary.BigEndian.AppendUint64(nil, version))
	})
}

// checkVersion refuses a layout that this certmedic does not know. State without a version
// is new.
func checkVersion(tx *bbolt.Tx) error {
	meta := tx.Bucket([]byte(bucketMeta))
	if meta == nil {
		return nil
	}
	v := meta.Get([]byte("version"))
	switch {
	case v == nil:
		return nil
	case len(v) != 8:
		return fmt.Errorf("the version of its layout is broken: %x", v)
	}
	if got := binary.BigEndian.Uint64(v); got > version {
		return fmt.Errorf("it was written by a newer certmedic (layout %d, this one knows %d)", got, version)
	}
	return nil
}

// Close lets go of the state.
func (s *Store) Close() error { return s.db.Close() }

// update writes, and remembers whether that was possible.
func (s *Store) update(f func(tx *bbolt.Tx) error) error {
	err := s.db.Update(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.trouble = err; {
	case err == nil:
		s.since = time.Time{}
	case s.since.IsZero():
		s.since = time.Now()
	}
	return err
}

// Trouble returns why the last write failed, and since when writes do; nil while they succeed.
func (s *Store) Trouble() (since time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since, s.trouble
}

// Touch writes the time, which shows whether anything can be written. It takes a page of its
// own, as every write does, so that a full disk is noticed.
func (s *Store) Touch(now time.Time) error {
	return s.put(bucketMeta, "touched", now.UTC())
}

// put writes a value under a key.
func (s *Store) put(bucket, key string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding %s %q: %w", bucket, key, err)
	}
	err = s.update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), data) })
	if err != nil {
		return fmt.Errorf("writing %s %q: %w", bucket, key, err)
	}
	return nil
}

// remove deletes a key; one that is not there is no error.
func (s *Store) remove(bucket, key string) error {
	err := s.update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Delete([]byte(key)) })
	if err != nil {
		return fmt.Errorf("removing %s %q: %w", bucket, key, err)
	}
	return nil
}

// each calls f with every key and value of a bucket, in order, or in reverse; f returns
// false to stop.
func (s *Store) each(bucket string, reverse bool, f func(key string, value []byte) (bool, error)) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		if b == nil {
			return nil
		}
		c := b.Cursor()
		first, next := c.First, c.Next
		if reverse {
			first, next = c.Last, c.Prev
		}
		for k, v := first(); k != nil; k, v = next() {
			more, err := f(string(k), v)
			if err != nil || !more {
				return err
			}
		}
		return nil
	})
}

// decode reads a stored value; a broken one is an error that names it.
func decode(bucket, key string, data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading %s %q from the state: %w", bucket, key, err)
	}
	return nil
}

// trim removes the oldest entries of a bucket beyond the newest keep.
func (s *Store) trim(bucket string, keep int) error {
	return s.update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		excess := b.Stats().KeyN - keep
		c := b.Cursor()
		for k, _ := c.First(); k != nil && excess > 0; k, _ = c.Next() {
			if err := c.Delete(); err != nil {
				return err
			}
			excess--
		}
		return nil
	})
}
