package app

import (
	"errors"
	"io/fs"
	"time"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/store"
)

// The kinds of exercises that are kept, as evidence that receivers reach people.
const (
	exerciseTest  = "test"
	exerciseDrill = "drill"
)

// ReceiverKind returns the key of a receiver's kind, such as slack.
func ReceiverKind(r config.Receiver) string { return kindOf(r) }

// tests returns which receivers took their test.
func tests(results []api.TestResult) []store.Exercise {
	var all []store.Exercise
	for _, r := range results {
		if r.Delivered {
			all = append(all, store.Exercise{Kind: exerciseTest, Receiver: r.Receiver, Time: time.Now().UTC()})
		}
	}
	return all
}

// drilled returns which receivers took all of a drill.
func drilled(d api.Drill) []store.Exercise {
	var all []store.Exercise
	for _, r := range d.Receivers {
		if r.Error == "" && !r.Began.IsZero() && !r.Ended.IsZero() {
			all = append(all, store.Exercise{Kind: exerciseDrill, Receiver: r.Receiver, Time: r.Ended.UTC()})
		}
	}
	return all
}

// exercised keeps exercises. One that cannot be kept took place all the same.
func (a *App) exercised(all []store.Exercise) {
	for _, e := range all {
		if err := a.store.SaveExercise(e); err != nil {
			a.o.Log.Warn("an exercise is not kept", "kind", e.Kind, "receiver", e.Receiver, "err", err)
			return
		}
	}
}

// withExercises adds to receivers when they last took a test, and a drill.
func withExercises(s *store.Store, all []api.Receiver) ([]api.Receiver, error) {
	kept, err := s.Exercises()
	for i := range all {
		for _, e := range kept {
			switch {
			case e.Receiver != all[i].Name:
			case e.Kind == exerciseTest:
				all[i].Tested = e.Time
			case e.Kind == exerciseDrill:
				all[i].Drilled = e.Time
			}
		}
	}
	return all, err
}

// KeepTests keeps the results of tests that were made without a daemon, where there is a state.
func KeepTests(c *config.Config, results []api.TestResult) error {
	s, err := store.OpenRead(c.StateDir, time.Second)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		return err
	}
	if s, err = store.Open(c.StateDir, time.Second); err != nil {
		return err
	}
	for _, e := range tests(results) {
		err = errors.Join(err, s.SaveExercise(e))
	}
	return errors.Join(err, s.Close())
}
