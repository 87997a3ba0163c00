package store

import "github.com/certmedic/certmedic/alerting/silence"

// SaveSilence keeps a silence.
func (s *Store) SaveSilence(one silence.Silence) error { return s.put(bucketSilences, one.ID, one) }

// ForgetSilence removes a silence; one that is not there is no error.
func (s *Store) ForgetSilence(id string) error { return s.remove(bucketSilences, id) }

// Silences returns all silences, also those that have ended.
func (s *Store) Silences() ([]silence.Silence, error) {
	var all []silence.Silence
	err := s.each(bucketSilences, false, func(key string, value []byte) (bool, error) {
		var one silence.Silence
		err := decode(bucketSilences, key, value, &one)
		all = append(all, one)
		return true, err
	})
	return all, err
}
