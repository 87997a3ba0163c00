package store

import (
	"encoding/json"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// How many ended incidents, actions and rehearsals are kept.
const (
	keepIncidents  = 10_000
	keepActions    = 10_000
	keepRehearsals = 20_000 // the last one of each certificate has to be among them
)

// Memory is what has to be remembered about a certificate: which addresses served a version
// of it once, which versions it had, and what each address presented last. A place is an
// endpoint's name "|" ip:port.
type Memory struct {
	Bound map[string]time.Time                `json:"bound"` // place → when it was first seen to serve a version
	Known map[certmedic.Fingerprint]time.Time `json:"known"` // version → when it was first seen
	Seen  map[string]certmedic.CertFacts      `json:"seen"`  // place → the leaf that was presented last

	Stored  certmedic.Fingerprint `json:"stored,omitempty"`  // the version that the source held last, also while it cannot be read
	Awaited bool                  `json:"awaited,omitempty"` // it is new, and was not seen everywhere yet

	Newest Version   `json:"newest,omitzero"` // the version that began last
	Ages   []float64 `json:"ages,omitempty"`  // the share of its lifetime at which each earlier version was replaced, oldest first
}

// Version is what is remembered of a version whose successor is awaited.
type Version struct {
	SHA256    certmedic.Fingerprint `json:"sha256"`
	NotBefore time.Time             `json:"not_before"`
	NotAfter  time.Time             `json:"not_after"`
}

// SaveRules keeps what the rules remember, by certificate: all of it or, with an error, none.
// What remembers nothing any more is removed.
func (s *Store) SaveRules(all map[string]rules.State) error {
	err := s.update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(bucketRules))
		for certificate, state := range all {
			if state.Empty() {
				if err := bucket.Delete([]byte(certificate)); err != nil {
					return err
				}
				continue
			}
			data, err := json.Marshal(state)
			if err != nil {
				return fmt.Errorf("encoding %q: %w", certificate, err)
			}
			if err := bucket.Put([]byte(certificate), data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", bucketRules, err)
	}
	return nil
}

// Rules returns what the rules remember, by certificate.
func (s *Store) Rules() (map[string]rules.State, error) {
	all := map[string]rules.State{}
	err := s.each(bucketRules, false, func(key string, value []byte) (bool, error) {
		var state rules.State
		err := decode(bucketRules, key, value, &state)
		all[key] = state
		return true, err
	})
	return all, err
}

// SaveMemory keeps what has to be remembered, by certificate: all of it or, with an error,
// nothing.
func (s *Store) SaveMemory(all map[string]Memory) error {
	err := s.update(func(tx *bbolt.Tx) error {
		for certificate, m := range all {
			data, err := json.Marshal(m)
			if err != nil {
				return fmt.Errorf("encoding %q: %w", certificate, err)
			}
			if err := tx.Bucket([]byte(bucketMemory)).Put([]byte(certificate), data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing %s: %w", bucketMemory, err)
	}
	return nil
}

// Memories returns what was remembered, by certificate.
func (s *Store) Memories() (map[string]Memory, error) {
	all := map[string]Memory{}
	err := s.each(bucketMemory, false, func(key string, value []byte) (bool, error) {
		var m Memory
		err := decode(bucketMemory, key, value, &m)
		all[key] = m
		return true, err
	})
	return all, err
}

// Record writes an action to the journal; one with the same ID is replaced.
func (s *Store) Record(a certmedic.Action) error { return s.put(bucketActions, a.ID, a) }

// Actions returns the actions of a certificate, or of all when it is "", that started at or
// after since, newest first.
func (s *Store) Actions(certificate string, since time.Time) ([]certmedic.Action, error) {
	return s.actions(bucketActions, certificate, since)
}

func (s *Store) actions(bucket, certificate string, since time.Time) ([]certmedic.Action, error) {
	actions := []certmedic.Action{}
	err := s.each(bucket, true, func(key string, value []byte) (bool, error) {
		var a certmedic.Action
		if err := decode(bucket, key, value, &a); err != nil {
			return false, err
		}
		if a.StartedAt.Before(since) {
			return false, nil
		}
		if certificate == "" || a.Certificate == certificate {
			actions = append(actions, a)
		}
		return true, nil
	})
	return actions, err
}

// SaveIncident keeps an incident that ended.
func (s *Store) SaveIncident(in certmedic.Incident) error {
	return s.put(bucketIncidents, fmt.Sprintf("%020d %s", in.EndedAt.UnixMilli(), in.ID), in)
}

// Incidents returns the newest ended incidents of a certificate, or of all when it is "",
// at most limit of them.
func (s *Store) Incidents(certificate string, limit int) ([]certmedic.Incident, error) {
	incidents := []certmedic.Incident{}
	err := s.each(bucketIncidents, true, func(key string, value []byte) (bool, error) {
		var in certmedic.Incident
		if err := decode(bucketIncidents, key, value, &in); err != nil {
			return false, err
		}
		if certificate == "" || in.Subject.Certificate == certificate {
			incidents = append(incidents, in)
		}
		return len(incidents) < limit, nil
	})
	return incidents, err
}

// Trim removes the oldest incidents, actions and rehearsals beyond what is kept.
func (s *Store) Trim() error {
	if err := s.trim(bucketIncidents, keepIncidents); err != nil {
		return fmt.Errorf("trimming the incidents: %w", err)
	}
	if err := s.trim(bucketActions, keepActions); err != nil {
		return fmt.Errorf("trimming the journal: %w", err)
	}
	if err := s.trim(bucketRehearsals, keepRehearsals); err != nil {
		return fmt.Errorf("trimming the rehearsals: %w", err)
	}
	return nil
}
