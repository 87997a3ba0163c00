package store

import "time"

// Exercise is the last time that a receiver took a test message, or a drill from its beginning
// to its end.
type Exercise struct {
	Kind     string    `json:"kind"` // test or drill
	Receiver string    `json:"receiver"`
	Time     time.Time `json:"time"`
}

// SaveExercise keeps an exercise in place of the one before it of the same kind.
func (s *Store) SaveExercise(e Exercise) error {
	return s.put(bucketExercises, e.Kind+"/"+e.Receiver, e)
}

// Exercises returns what is kept, one of each kind for each receiver.
func (s *Store) Exercises() ([]Exercise, error) {
	var all []Exercise
	err := s.each(bucketExercises, false, func(key string, value []byte) (bool, error) {
		var e Exercise
		if err := decode(bucketExercises, key, value, &e); err != nil {
			return false, err
		}
		all = append(all, e)
		return true, nil
	})
	return all, err
}
