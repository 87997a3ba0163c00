package store

import (
	"github.com/certmedic/certmedic/alerting"
)

// Outbox keeps what has still to be told.
type Outbox struct{ s *Store }

var _ alerting.Outbox = Outbox{}

// Outbox returns the part of the state that alerting keeps.
func (s *Store) Outbox() Outbox { return Outbox{s} }

// Put keeps an entry durably; one with the same id is replaced.
func (o Outbox) Put(e alerting.Entry) error { return o.s.put(bucketOutbox, e.ID, e) }

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

// Done forgets an entry; an unknown id is no error.
func (o Outbox) Done(id string) error { return o.s.remove(bucketOutbox, id) }
