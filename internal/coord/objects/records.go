package objects

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

// record is what the object of a record holds.
type record struct {
	Revision uint64    `json:"revision"`
	Token    uint64    `json:"token"`
	Value    []byte    `json:"value"`
	Time     time.Time `json:"time"`
	Write    string    `json:"write"` // names this very write, so that it is known again where the answer to it was lost
}

func (r record) of(key string) coord.Record {
	return coord.Record{Key: key, Value: r.Value, Token: r.Token, Revision: r.Revision, Time: r.Time}
}

// Get implements [coord.Records].
func (e *Engine) Get(ctx context.Context, key string) (coord.Record, bool, error) {
	if err := coord.CheckName(key); err != nil {
		return coord.Record{}, false, fmt.Errorf("reading a record: %w", err)
	}
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	var r record
	_, ok, err := e.read(ctx, recordPrefix+key, &r)
	if err != nil || !ok {
		return coord.Record{}, false, err
	}
	return r.of(key), true, nil
}

// Put implements [coord.Records].
func (e *Engine) Put(ctx context.Context, key string, revision, token uint64, value []byte) (coord.Record, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	r, err := e.put(ctx, key, revision, record{Token: token, Value: value})
	if err != nil {
		return coord.Record{}, fmt.Errorf("writing the record %q: %w", key, err)
	}
	return r.of(key), nil
}

func (e *Engine) put(ctx context.Context, key string, revision uint64, r record) (record, error) {
	if err := coord.CheckRecord(key, r.Value); err != nil {
		return r, err
	}
	var old record
	o, _, err := e.read(ctx, recordPrefix+key, &old)
	if err != nil {
		return r, err
	}
	if old.Revision != revision || r.Token < old.Token {
		return r, coord.ErrStale
	}
	r.Revision, r.Time, r.Write = revision+1, o.Now, rand.Text()
	_, err = e.swap(ctx, recordPrefix+key, o.Tag, r)
	if !errors.Is(err, coord.ErrStale) {
		return r, err
	}
	var found record
	if _, _, again := e.read(ctx, recordPrefix+key, &found); again != nil {
		return r, again
	}
	if found.Write != r.Write {
		return r, err
	}
	return r, nil // a store's client that tried twice was refused the second time
}

// List implements [coord.Records].
func (e *Engine) List(ctx context.Context, prefix string) ([]coord.Record, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	var mu sync.Mutex
	var all []coord.Record
	err := e.readAll(ctx, recordPrefix+prefix, func(ctx context.Context, key string) error {
		var r record
		_, ok, err := e.read(ctx, key, &r)
		if err != nil || !ok {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r.of(strings.TrimPrefix(key, recordPrefix)))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the records below %q: %w", prefix, err)
	}
	slices.SortFunc(all, func(a, b coord.Record) int { return cmp.Compare(a.Key, b.Key) })
	return all, nil
}
