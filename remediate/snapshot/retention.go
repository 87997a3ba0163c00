package snapshot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// How much is kept: the newest of each certificate, and for how long what has expired.
const (
	keepNewest  = 5
	keepExpired = 7 * 24 * time.Hour
)

// Sweep removes what a killed process left half-done, every snapshot of a denied key or of
// one that nothing tells any more, and what is too old: of each certificate the newest five stay, and always the newest that is still
// valid; what has expired goes seven days later. Call it at the start and now and then.
func (s *Store) Sweep(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, errDenied := s.forgetKeys(s.o.Denied)
	names, _, errNames := subfolders(s.o.Dir)
	errs := []error{errDenied, errNames}
	for _, name := range names {
		parent := filepath.Join(s.o.Dir, name)
		_, left, err := subfolders(parent)
		errs = append(errs, err)
		for _, l := range left {
			errs = append(errs, os.RemoveAll(filepath.Join(parent, l)))
		}
		errs = append(errs, s.retire(name, now))
		_ = os.Remove(parent) // only where it is empty
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clearing up kept versions: %w", err)
	}
	return nil
}

// retire removes what is too old of the certificate in a folder.
func (s *Store) retire(name string, now time.Time) error {
	all, err := s.list(name)
	errs := []error{err}
	for _, old := range outdated(all, now) {
		errs = append(errs, remove(filepath.Join(s.o.Dir, name, string(old.Version))))
	}
	return errors.Join(errs...)
}

// outdated returns which of a certificate's snapshots, newest first, need not be kept. A broken
// one is no use, but is shown for as long as the version would be kept.
func outdated(all []Snapshot, now time.Time) []Snapshot {
	var old []Snapshot
	kept, valid := 0, false
	for _, s := range all {
		end := s.Taken
		leaf, ok := s.Leaf()
		if ok {
			end = leaf.NotAfter
		}
		fine := !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter)
		switch {
		case now.Sub(end) > keepExpired:
			old = append(old, s)
		case s.Broken != "":
		case kept < keepNewest || fine && !valid:
			kept++
			valid = valid || fine
		default:
			old = append(old, s)
		}
	}
	return old
}

// ForgetKey removes every snapshot of a key, and returns which they were. One that is so broken
// that nothing tells its key is removed, too: it can be of no use any more. The files are
// removed, not overwritten: what a disk or a backup keeps of them is out of reach.
func (s *Store) ForgetKey(spki certmedic.Fingerprint) ([]Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forgetKeys(func(key certmedic.Fingerprint) bool { return key == spki })
}

// OfKey returns the snapshots that [Store.ForgetKey] would remove.
func (s *Store) OfKey(spki certmedic.Fingerprint) ([]Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []Snapshot
	err := s.each(func(dir string, kept Snapshot) error {
		if keys := keysOf(dir); len(keys) == 0 || slices.Contains(keys, spki) {
			found = append(found, kept)
		}
		return nil
	})
	return found, err
}

func (s *Store) forgetKeys(denied func(certmedic.Fingerprint) bool) ([]Snapshot, error) {
	var gone []Snapshot
	err := s.each(func(dir string, kept Snapshot) error {
		if keys := keysOf(dir); len(keys) > 0 && !slices.ContainsFunc(keys, denied) {
			return nil
		}
		if err := remove(dir); err != nil {
			return err
		}
		gone = append(gone, kept)
		return nil
	})
	return gone, err
}

// each calls do for every snapshot of every certificate, whatever it says of the others.
func (s *Store) each(do func(dir string, kept Snapshot) error) error {
	names, _, err := subfolders(s.o.Dir)
	errs := []error{err}
	for _, name := range names {
		all, err := s.list(name)
		errs = append(errs, err)
		for _, kept := range all {
			errs = append(errs, do(filepath.Join(s.o.Dir, name, string(kept.Version)), kept))
		}
	}
	return errors.Join(errs...)
}
