package store

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/embedded"
)

var _ embedded.Store = (*Store)(nil)

// NextToken counts the token of a lease up by one and returns it, from 1 on. No token is given twice for
// a name.
func (s *Store) NextToken(name string) (token uint64, err error) {
	err = s.update(func(tx *bbolt.Tx) error {
		tokens := tx.Bucket([]byte(bucketTokens))
		if last := tokens.Get([]byte(name)); len(last) == 8 {
			token = binary.BigEndian.Uint64(last)
		} else if last != nil {
			return fmt.Errorf("what is kept is no token: %x", last)
		}
		token++
		return tokens.Put([]byte(name), binary.BigEndian.AppendUint64(nil, token))
	})
	if err != nil {
		return 0, fmt.Errorf("counting the token of %q up: %w", name, err)
	}
	return token, nil
}

// SharedRecords returns the records that members share, where this host is the only one.
func (s *Store) SharedRecords() ([]coord.Record, error) {
	var all []coord.Record
	err := s.each(bucketShared, false, func(key string, value []byte) (bool, error) {
		var r coord.Record
		err := decode(bucketShared, key, value, &r)
		all = append(all, r)
		return true, err
	})
	return all, err
}

// SaveSharedRecord keeps a record in place of the one with its key.
func (s *Store) SaveSharedRecord(r coord.Record) error { return s.put(bucketShared, r.Key, r) }
