package store

import (
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/certmedic/certmedic/alerting"
)

// Outbox keeps what has still to be told.
type Outbox struct{ s *Store }

var _ alerting.Outbox = Outbox{}

// Outbox returns the part of the state that alerting keeps.
func (s *Store) Outbox() Outbox { return Outbox{s} }

// Put keeps entries durably, in one step; one with the same id is replaced.
func (o Outbox) Put(entries ...alerting.Entry) error {
	values := make([][]byte, 0, len(entries))
	for _, e := range entries {
		value, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encoding %s %q: %w", bucketOutbox, e.ID, err)
		}
		values = append(values, value)
	}
	err := o.s.update(func(tx *bbolt.Tx) error {
		for i, e := range entries {
			if err := tx.Bucket([]byte(bucketOutbox)).Put([]byte(e.ID), values[i]); err != nil {
				return fmt.Errorf("%q: %w", e.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", bucketOutbox, err)
	}
	return nil
}

// Pending returns all entries that are not done.
func (o Outbox) Pending() ([]alerting.Entry, error) {
	entries := []alerting.Entry{}
	err := o.s.each(bucketOutbox, false, func(key string, value []byte) (bool, error) {
		var e alerting.Entry
		err := decode(bucketOutbox, key, value, &e)
		entries = append(entries, e)
		return true, err
	})
	return entries, err
}

// Deliveries returns what was told, of every conversation that goes on.
func (o Outbox) Deliveries() ([]alerting.Delivery, error) {
	all := []alerting.Delivery{}
	err := o.s.each(bucketDeliveries, false, func(key string, value []byte) (bool, error) {
		var d alerting.Delivery
		err := decode(bucketDeliveries, key, value, &d)
		all = append(all, d)
		return true, err
	})
	return all, err
}

// Settle keeps a delivery, or forgets it where it is over, and forgets entries, in one step.
func (o Outbox) Settle(d alerting.Delivery, done []string) error {
	value, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encoding a delivery: %w", err)
	}
	err = o.s.update(func(tx *bbolt.Tx) error {
		key := []byte(d.Receiver + "\x00" + d.Conversation)
		deliveries := tx.Bucket([]byte(bucketDeliveries))
		if d.Over() {
			err = deliveries.Delete(key)
		} else {
			err = deliveries.Put(key, value)
		}
		for _, id := range done {
			err = errors.Join(err, tx.Bucket([]byte(bucketOutbox)).Delete([]byte(id)))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("writing a delivery to %q: %w", d.Receiver, err)
	}
	return nil
}

// Done forgets entries, in one step; an unknown id is no error.
func (o Outbox) Done(ids ...string) error {
	err := o.s.update(func(tx *bbolt.Tx) error {
		for _, id := range ids {
			if err := tx.Bucket([]byte(bucketOutbox)).Delete([]byte(id)); err != nil {
				return fmt.Errorf("%q: %w", id, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing from %s: %w", bucketOutbox, err)
	}
	return nil
}
