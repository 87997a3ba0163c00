package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	loadTimeout  = time.Minute      // of one load
	maxLoads     = 4                // at the same time, because each may hold a large document
	minFreshness = time.Minute      // of what was loaded, whatever it says itself
	retrySoon    = 10 * time.Second // after a caller who did not wait for the end of a load
	maxUnused    = 24 * time.Hour   // before something is dropped
	clockSkew    = 5 * time.Minute  // by which two callers' clocks may differ
	entrySize    = 512              // bytes that an entry takes besides its value
)

var errClosed = errors.New("the cache is closed")

// Load makes the value for a key and says until when it is fresh. With an error it may
// return a value too, from an earlier time: it is kept where the cache has none.
type Load[T any] func(ctx context.Context) (*T, time.Time, error)

// Kept is what a cache has for a key.
type Kept[T any] struct {
	Value *T        // the last that was loaded, even where Err is not nil; nil: none yet
	Err   error     // why there is none, or no fresher one
	Until time.Time // when it is loaded again, if it is wanted then
}

// Cache keeps values by key while they are fresh and used, within a bound on their size.
// Many who want the same value cause one load. A failed load is repeated after a minute,
// then after two, up to an hour. Any number of goroutines may share one.
type Cache[T any] struct {
	maxSize  int
	sizeOf   func(*T) int
	lifetime context.Context // of the loads
	end      context.CancelFunc
	slots    chan struct{}
	loads    sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry[T]
	size    int
	swept   time.Time
}

type entry[T any] struct {
	kept     Kept[T]
	last     time.Time // when it was loaded last, or failed to be; zero: never
	failures int
	loading  chan struct{} // closed when the load ends; nil: none is under way
	used     time.Time
}

// NewCache returns an empty cache for values of at most maxSize bytes together, sizeOf
// telling the bytes of one. End it with Close.
func NewCache[T any](maxSize int, sizeOf func(*T) int) *Cache[T] {
	lifetime, end := context.WithCancel(context.Background())
	return &Cache[T]{
		maxSize: maxSize, sizeOf: sizeOf, lifetime: lifetime, end: end,
		slots: make(chan struct{}, maxLoads), entries: map[string]*entry[T]{},
	}
}

// Close ends the loads that are under way and waits for them. Nothing is loaded later.
func (c *Cache[T]) Close() {
	c.mu.Lock()
	c.end()
	c.mu.Unlock()
	c.loads.Wait()
}

// Get returns what there is for the key at that time, and loads it where it is neither
// fresh nor failed just now. A load goes on, for others and for later, when ctx ends
// before it.
func (c *Cache[T]) Get(ctx context.Context, key string, now time.Time, load Load[T]) Kept[T] {
	e, kept, loading := c.enter(key, now, load)
	if loading == nil {
		return kept
	}
	select {
	case <-loading:
		c.mu.Lock()
		defer c.mu.Unlock()
		return e.kept
	case <-ctx.Done():
		kept.Err = fmt.Errorf("it is still being fetched: %w", ctx.Err())
		kept.Until = now.Add(retrySoon)
		return kept
	}
}

// enter returns the entry of the key, and what to wait for, if anything.
func (c *Cache[T]) enter(key string, now time.Time, load Load[T]) (*entry[T], Kept[T], <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		e = &entry[T]{}
		c.entries[key] = e
		c.size += entrySize
	}
	e.used = now
	switch {
	case e.rests(now):
		return e, e.kept, nil
	case e.loading != nil:
	case c.lifetime.Err() != nil:
		return e, Kept[T]{Value: e.kept.Value, Err: errClosed, Until: now}, nil
	default:
		e.loading = make(chan struct{})
		c.loads.Go(func() { c.load(e, now, load) })
	}
	return e, e.kept, e.loading
}

// rests reports whether there is nothing to load now. A clock that was set back does not
// make anything rest for longer.
func (e *entry[T]) rests(now time.Time) bool {
	return !e.last.IsZero() && now.Before(e.kept.Until) && now.After(e.last.Add(-clockSkew))
}

func (c *Cache[T]) load(e *entry[T], now time.Time, load Load[T]) {
	value, fresh, err := c.run(load)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(e.loading)
	e.loading = nil
	if c.lifetime.Err() != nil && err != nil {
		e.kept.Err, e.kept.Until = err, now
		return
	}
	e.last = now
	e.kept.Err = err
	if err != nil {
		e.failures++
		e.kept.Until = now.Add(pause(e.failures))
	} else {
		e.failures = 0
		e.kept.Until = later(fresh, now.Add(minFreshness))
	}
	if value != nil && (err == nil || e.kept.Value == nil) {
		c.size += c.bytes(value) - c.bytes(e.kept.Value)
		e.kept.Value = value
	}
	c.shrink(e, now)
}

func (c *Cache[T]) run(load Load[T]) (*T, time.Time, error) {
	ctx, cancel := context.WithTimeout(c.lifetime, loadTimeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
		return load(ctx)
	case <-ctx.Done():
		return nil, time.Time{}, fmt.Errorf("waiting for other fetches: %w", ctx.Err())
	}
}

func (c *Cache[T]) bytes(value *T) int {
	if value == nil {
		return 0
	}
	return c.sizeOf(value)
}

// shrink drops what was not used for long, now and then, and the least recently used
// values while there are too many.
func (c *Cache[T]) shrink(spared *entry[T], now time.Time) {
	if now.Sub(c.swept).Abs() > time.Hour {
		c.swept = now
		for key, e := range c.entries {
			if e != spared && e.loading == nil && now.Sub(e.used) > maxUnused {
				c.drop(key)
			}
		}
	}
	for c.size > c.maxSize {
		oldest := ""
		for key, e := range c.entries {
			if e != spared && e.loading == nil && (oldest == "" || e.used.Before(c.entries[oldest].used)) {
				oldest = key
			}
		}
		if oldest == "" {
			return
		}
		c.drop(oldest)
	}
}

func (c *Cache[T]) drop(key string) {
	c.size -= entrySize + c.bytes(c.entries[key].kept.Value)
	delete(c.entries, key)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
