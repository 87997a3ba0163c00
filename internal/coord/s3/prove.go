package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

const (
	proofTimeout = time.Minute
	racers       = 4
	races        = 4
	clockError   = time.Minute // between two readings of the store's clock
)

// prove writes an object of its own in all the ways that have to succeed or to be refused.
func (s *store) prove(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	key := "probe/" + rand.Text()
	defer func() {
		if left := s.remove(context.WithoutCancel(ctx), key); err == nil {
			err = left
		}
	}()
	if _, err := s.Swap(ctx, key, `"00000000000000000000000000000000"`, nil); unasked(err) {
		return fmt.Errorf("trying to write: %w", err)
	} else if !errors.Is(err, coord.ErrStale) {
		return without("it writes an object that is not there, where one with an ETag shall be replaced (If-Match)", err)
	}
	first, err := s.Swap(ctx, key, "", []byte("1"))
	if err != nil {
		return fmt.Errorf("trying to write: %w", err)
	}
	if _, err := s.Swap(ctx, key, "", []byte("2")); !errors.Is(err, coord.ErrStale) {
		return without("it overwrites an object that must not exist (If-None-Match: *)", err)
	}
	second, err := s.Swap(ctx, key, first, []byte("3"))
	if err != nil {
		return without("it refuses to replace an object whose ETag is given (If-Match)", err)
	}
	if _, err := s.Swap(ctx, key, first, []byte("4")); !errors.Is(err, coord.ErrStale) {
		return without("it replaces an object that has another ETag (If-Match)", err)
	}
	if err := s.proveReading(ctx, key, second); err != nil {
		return err
	}
	return s.proveRaces(ctx, key, second)
}

// unasked reports whether an error says nothing about what the store can do: it did not answer, lets nobody in, or has no such bucket.
func unasked(err error) bool {
	return err != nil && !errors.Is(err, coord.ErrStale) && statusOf(err) != http.StatusNotImplemented
}

func without(about string, err error) error {
	return errors.Join(errors.New("the store has no conditional writes: "+about), err)
}

// proveReading checks that what was written is what is read, and that both of the store's times are of one clock.
func (s *store) proveReading(ctx context.Context, key, tag string) error {
	o, ok, err := s.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("trying to read: %w", err)
	}
	if !ok || o.Tag != tag || string(o.Value) != "3" {
		return fmt.Errorf("what was written is read as %.20q with the ETag %s, not %s", o.Value, o.Tag, tag)
	}
	if since := o.Now.Sub(o.Modified); since.Abs() > clockError {
		return fmt.Errorf("by Date and Last-Modified of one answer it was written %s ago", since)
	}
	return nil
}

// proveRaces has several write at once, for there are stores whose conditions hold only while one writes at a time.
func (s *store) proveRaces(ctx context.Context, key, tag string) error {
	for range races {
		won, err := s.race(ctx, key, tag)
		if err != nil {
			return fmt.Errorf("trying conditional writes in a race: %w", err)
		}
		if len(won) > 1 {
			return without(fmt.Sprintf("of %d writes at once upon the same ETag it took %d", racers, len(won)), nil)
		}
		if len(won) == 1 { // it may refuse all of them
			tag = won[0]
		}
	}
	return nil
}

// race returns the tags of the writes that were taken.
func (s *store) race(ctx context.Context, key, tag string) (won []string, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for range racers {
		all.Go(func() {
			next, failed := s.Swap(ctx, key, tag, nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failed == nil:
				won = append(won, next)
			case !errors.Is(failed, coord.ErrStale):
				err = failed
			}
		})
	}
	all.Wait()
	return won, err
}
