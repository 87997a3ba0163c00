package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/certmedic/certmedic/internal/bundle"
)

// The proof of conditional writes: how long it may take, and who counts how far in the race.
const (
	proofTimeout = time.Minute
	racers       = 3
	laps         = 4
	mostSwaps    = 100 // that a racer tries
)

// prove writes an object of its own in all the ways that have to succeed or to fail.
func (s *Store) prove(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails, as of Go 1.24
	name := s.prefix + ".certmedic-probe/" + hex.EncodeToString(nonce[:])
	defer func() { err = errors.Join(err, s.remove(context.WithoutCancel(ctx), name)) }()
	if err := s.write(ctx, name, "", []byte("1")); err != nil && !errors.Is(err, bundle.ErrConflict) {
		return fmt.Errorf("trying whether it takes conditional writes: %w", err)
	}
	o, err := s.read(ctx, name, "")
	if err != nil {
		return fmt.Errorf("trying whether it takes conditional writes: %w", err)
	}
	for _, step := range []struct {
		about, tag, content string
		want                error
	}{
		{"it overwrites an object that must not exist (If-None-Match: *)", "", "2", bundle.ErrConflict},
		{"it refuses to replace an object whose ETag is given (If-Match)", o.Tag, "0", nil},
		{"it replaces an object that has another ETag (If-Match)", o.Tag, "3", bundle.ErrConflict},
	} {
		if err := s.write(ctx, name, step.tag, []byte(step.content)); !errors.Is(err, step.want) {
			return without(step.about, err)
		}
	}
	return s.race(ctx, name)
}

func without(about string, err error) error {
	problem := fmt.Errorf("it has no conditional writes, without which publishers would overwrite each other: %s", about)
	return errors.Join(problem, err)
}

// race counts with several writers at once, for there are stores whose conditions hold only while
// one writes at a time. The object holds 0.
func (s *Store) race(ctx context.Context, name string) error {
	var all sync.WaitGroup
	failed := make([]error, racers)
	for racer := range racers {
		all.Go(func() { failed[racer] = s.count(ctx, name) })
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("trying its conditional writes in a race: %w", err)
	}
	o, err := s.read(ctx, name, "")
	if err != nil {
		return fmt.Errorf("trying its conditional writes in a race: %w", err)
	}
	if n, err := strconv.Atoi(string(o.Data)); err != nil || n < racers*laps { // more, where an answer was lost
		return without(fmt.Sprintf("%d writes one upon the other, by %d writers at once, counted to %q", racers*laps, racers, o.Data), nil)
	}
	return nil
}

// count adds one, as many times as there are laps.
func (s *Store) count(ctx context.Context, name string) error {
	lap := 0
	for range mostSwaps {
		o, err := s.read(ctx, name, "")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(o.Data))
		if err != nil {
			return err
		}
		err = s.write(ctx, name, o.Tag, []byte(strconv.Itoa(n+1)))
		if err != nil && !errors.Is(err, bundle.ErrConflict) {
			return err
		}
		if err == nil {
			lap++
		}
		if lap == laps {
			return nil
		}
	}
	return fmt.Errorf("of %d writes only %d were taken", mostSwaps, lap)
}
