package store

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/certmedic/certmedic/remediate/ledger"
)

var _ ledger.Store = (*Store)(nil)

// Ledger returns what was spent of the limits of CAs, by key.
func (s *Store) Ledger() (map[string]ledger.Entry, error) {
	all := map[string]ledger.Entry{}
	err := s.each(bucketLedger, false, func(key string, value []byte) (bool, error) {
		var e ledger.Entry
		err := decode(bucketLedger, key, value, &e)
		all[key] = e
		return true, err
	})
	return all, err
}

// SaveLedger keeps entries of the ledger, by key: all of them or, with an error, none.
func (s *Store) SaveLedger(entries map[string]ledger.Entry) error {
	err := s.update(func(tx *bbolt.Tx) error {
		for key, e := range entries {
			data, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("encoding %q: %w", key, err)
			}
			if err := tx.Bucket([]byte(bucketLedger)).Put([]byte(key), data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", bucketLedger, err)
	}
	return nil
}

// DropLedger forgets entries of the ledger; a key that is not there is no error.
func (s *Store) DropLedger(keys []string) error {
	err := s.update(func(tx *bbolt.Tx) error {
		for _, key := range keys {
			if err := tx.Bucket([]byte(bucketLedger)).Delete([]byte(key)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing from %s: %w", bucketLedger, err)
	}
	return nil
}
