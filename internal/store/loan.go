package store

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/rollback"
)

var _ remediate.Loans = (*Store)(nil)

// Loan returns the rollback of a certificate that stands, and whether there is one.
func (s *Store) Loan(certificate string) (l rollback.Loan, stands bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(bucketLoans))
		if bucket == nil {
			return nil // older state, opened for reading only
		}
		data := bucket.Get([]byte(certificate))
		if data == nil {
			return nil
		}
		stands = true
		return json.Unmarshal(data, &l)
	})
	if err != nil {
		return rollback.Loan{}, false, fmt.Errorf("reading %s %q: %w", bucketLoans, certificate, err)
	}
	return l, stands, nil
}

// Loans returns the rollbacks that stand, by certificate.
func (s *Store) Loans() (map[string]rollback.Loan, error) {
	all := map[string]rollback.Loan{}
	err := s.each(bucketLoans, false, func(key string, value []byte) (bool, error) {
		var l rollback.Loan
		err := decode(bucketLoans, key, value, &l)
		all[key] = l
		return true, err
	})
	return all, err
}

// SaveLoan keeps a rollback that stands, in place of an earlier one of its certificate.
func (s *Store) SaveLoan(l rollback.Loan) error { return s.put(bucketLoans, l.Certificate, l) }

// DropLoan forgets the rollback of a certificate; one that is not there is no error.
func (s *Store) DropLoan(certificate string) error { return s.remove(bucketLoans, certificate) }
