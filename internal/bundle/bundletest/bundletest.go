// Package bundletest checks that a store keeps what package bundle relies on. Tests of each store
// call [Test]; those of whatever publishes and consumes use [Memory].
package bundletest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/certmedic/certmedic/internal/bundle"
)

// Test runs every check against a store, each below a prefix of its own.
func Test(t *testing.T, store bundle.Store) {
	t.Run("what is created can be read, once and unchanged", func(t *testing.T) { testCreate(t, store) })
	t.Run("a swap needs the tag of what is there", func(t *testing.T) { testSwap(t, store) })
	t.Run("of many who swap at once one wins each time", func(t *testing.T) { testRace(t, store) })
	t.Run("of many who create at once one wins", func(t *testing.T) { testCreateRace(t, store) })
	t.Run("listings are those of a folder, removals of one object", func(t *testing.T) { testList(t, store) })
	t.Run("keys with signs that need escaping stay apart", func(t *testing.T) { testKeys(t, store) })
	t.Run("what is too large is refused", func(t *testing.T) { testBounds(t, store) })
}

func testCreate(t *testing.T, store bundle.Store) {
	ctx := t.Context()
	if _, err := store.Get(ctx, "create/none", ""); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	must(t, store.Create(ctx, "create/a/b", []byte("one")))
	if err := store.Create(ctx, "create/a/b", []byte("two")); !errors.Is(err, bundle.ErrConflict) {
		t.Errorf("created twice: %v", err)
	}
	got := get(t, store, "create/a/b")
	if string(got.Data) != "one" {
		t.Errorf("it holds %q", got.Data)
	}
	if _, err := store.Get(ctx, "create/a/b", got.Tag); !errors.Is(err, bundle.ErrUnchanged) {
		t.Errorf("asked again with its tag: %v", err)
	}
	if _, err := store.Get(ctx, "create/a/b", "another"); err != nil {
		t.Errorf("asked again with another tag: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if o, err := store.Get(canceled, "create/a/b", ""); err == nil && string(o.Data) != "one" {
		t.Errorf("after its context ended, it holds %q", o.Data)
	}
}

func testSwap(t *testing.T, store bundle.Store) {
	ctx := t.Context()
	const key = "swap/current.json"
	if err := store.Swap(ctx, key, "1-0123456789abcdef", []byte("x")); !errors.Is(err, bundle.ErrConflict) {
		t.Errorf("a tag where nothing is: %v", err)
	}
	if _, err := store.Get(ctx, key, ""); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("after a swap that was refused: %v", err)
	}
	must(t, store.Swap(ctx, key, "", []byte("0")))
	if err := store.Swap(ctx, key, "", []byte("x")); !errors.Is(err, bundle.ErrConflict) {
		t.Errorf("no tag where something is: %v", err)
	}
	var tags []string
	for i := range 50 { // more than a store may keep generations
		o := get(t, store, key)
		if string(o.Data) != strconv.Itoa(i) || slices.Contains(tags, o.Tag) {
			t.Fatalf("swap %d: it holds %q with tag %q", i, o.Data, o.Tag)
		}
		tags = append(tags, o.Tag)
		must(t, store.Swap(ctx, key, o.Tag, []byte(strconv.Itoa(i+1))))
		for _, old := range []string{o.Tag, tags[0]} {
			if err := store.Swap(ctx, key, old, []byte("x")); !errors.Is(err, bundle.ErrConflict) {
				t.Fatalf("swap %d with an old tag: %v", i, err)
			}
		}
	}
}

// testRace has members count together: no increment is lost.
func testRace(t *testing.T, store bundle.Store) {
	const members, each = 4, 10
	const key = "race/current.json"
	must(t, store.Swap(t.Context(), key, "", []byte("0")))
	var all sync.WaitGroup
	for range members {
		all.Go(func() {
			for range each {
				if err := increment(t.Context(), store, key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if got := string(get(t, store, key).Data); got != strconv.Itoa(members*each) {
		t.Errorf("%d increments gave %s", members*each, got)
	}
}

func increment(ctx context.Context, store bundle.Store, key string) error {
	for range 1000 {
		o, err := store.Get(ctx, key, "")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(o.Data))
		if err != nil {
			return err
		}
		err = store.Swap(ctx, key, o.Tag, []byte(strconv.Itoa(n+1)))
		if !errors.Is(err, bundle.ErrConflict) {
			return err
		}
	}
	return errors.New("no swap won in 1000 tries")
}

func testCreateRace(t *testing.T, store bundle.Store) {
	var all sync.WaitGroup
	won := make(chan string, 8)
	for i := range cap(won) {
		all.Go(func() {
			text := strconv.Itoa(i)
			switch err := store.Create(t.Context(), "create-race/a", []byte(text)); {
			case err == nil:
				won <- text
			case !errors.Is(err, bundle.ErrConflict):
				t.Error(err)
			}
		})
	}
	all.Wait()
	close(won)
	winner := <-won
	if another, more := <-won; more {
		t.Errorf("both %s and %s won", winner, another)
	}
	if got := string(get(t, store, "create-race/a").Data); got != winner {
		t.Errorf("%q won, and it holds %q", winner, got)
	}
}

func testList(t *testing.T, store bundle.Store) {
	ctx := t.Context()
	if keys, err := store.List(ctx, "list/"); err != nil || len(keys) != 0 {
		t.Errorf("what is not there is listed as %q, %v", keys, err)
	}
	want := []string{"list/a/1x/m", "list/a/1x/n", "list/a/2x/m", "list/b/m"}
	for _, key := range append(want, "listed/m") {
		must(t, store.Create(ctx, key, []byte(key)))
	}
	wantList(t, store, "list/", want...)
	wantList(t, store, "list/a/1x/", want[:2]...)
	must(t, store.Remove(ctx, "list/a/1x/m"))
	must(t, store.Remove(ctx, "list/a/1x/m"))
	must(t, store.Remove(ctx, "list/a/none"))
	wantList(t, store, "list/", want[1:]...)
	must(t, store.Remove(ctx, "list/a/1x/n"))
	must(t, store.Create(ctx, "list/a/1x/m", []byte("again")))
	wantList(t, store, "list/a/1x/", "list/a/1x/m")
}

func wantList(t *testing.T, store bundle.Store, prefix string, want ...string) {
	t.Helper()
	got, err := store.List(t.Context(), prefix)
	must(t, err)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%q is listed as %q, want %q", prefix, got, want)
	}
}

func testKeys(t *testing.T, store bundle.Store) {
	names := []string{"*.example.com", "%2A.example.com", "a b", "a+b", "a/b", "a%2Fb", "..", "ü.example", "A", "a", "a?b=c&d", "'\"<>"}
	var keys []string
	for _, name := range names {
		key, err := bundle.Key(name, "versions", "cert.pem")
		must(t, err)
		keys = append(keys, key)
		must(t, store.Create(t.Context(), key, []byte(name)))
	}
	for i, key := range keys {
		if got := string(get(t, store, key).Data); got != names[i] {
			t.Errorf("%q holds %q, not %q", key, got, names[i])
		}
		folder, _, _ := strings.Cut(key, "/")
		wantList(t, store, folder+"/", key)
	}
	for _, key := range []string{"", "/a", "a//b", "a/", "../a", "a/../b", "a/./b", ".a", "a\nb", "ü", "a/12"} {
		if err := store.Create(t.Context(), key, []byte("x")); err == nil || errors.Is(err, bundle.ErrConflict) {
			t.Errorf("%q was taken as a key: %v", key, err)
		}
	}
}

func testBounds(t *testing.T, store bundle.Store) {
	large := bytes.Repeat([]byte("x"), bundle.MaxObject)
	must(t, store.Create(t.Context(), "bounds/a", large))
	if got := get(t, store, "bounds/a"); !bytes.Equal(got.Data, large) {
		t.Errorf("%d bytes came back as %d", len(large), len(got.Data))
	}
	if err := store.Create(t.Context(), "bounds/b", append(large, 'x')); err == nil {
		t.Error("one byte more was taken")
	}
}

func get(t *testing.T, store bundle.Store, key string) bundle.Object {
	t.Helper()
	o, err := store.Get(t.Context(), key, "")
	must(t, err)
	if o.Tag == "" {
		t.Errorf("%q has no tag", key)
	}
	return o
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Memory is a store in memory, for tests of what uses one. Its zero value is empty.
type Memory struct {
	mu      sync.Mutex
	objects map[string]bundle.Object
	swaps   int
}

// Get implements [bundle.Reader].
func (m *Memory) Get(ctx context.Context, key, known string) (bundle.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	switch {
	case ctx.Err() != nil:
		return bundle.Object{}, ctx.Err()
	case !ok:
		return bundle.Object{}, bundle.ErrNotFound
	case o.Tag == known:
		return bundle.Object{}, bundle.ErrUnchanged
	}
	return bundle.Object{Data: bytes.Clone(o.Data), Tag: o.Tag}, nil
}

// Create implements [bundle.Writer].
func (m *Memory) Create(ctx context.Context, key string, data []byte) error {
	return m.Swap(ctx, key, "", data)
}

// Swap implements [bundle.Writer].
func (m *Memory) Swap(ctx context.Context, key, tag string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(data) > bundle.MaxObject:
		return errors.New("it is too large")
	case !bundle.ValidKey(key):
		return fmt.Errorf("%q is no key", key)
	case m.objects[key].Tag != tag:
		return bundle.ErrConflict
	}
	if m.objects == nil {
		m.objects = map[string]bundle.Object{}
	}
	m.swaps++
	m.objects[key] = bundle.Object{Data: bytes.Clone(data), Tag: "tag" + strconv.Itoa(m.swaps)}
	return nil
}

// List implements [bundle.Keeper].
func (m *Memory) List(ctx context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var keys []string
	for key := range m.objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys, ctx.Err()
}

// Remove implements [bundle.Keeper].
func (m *Memory) Remove(ctx context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return ctx.Err()
}

// Set puts an object into place whatever is there, as one who tampers with a store does. Nil
// data removes it.
func (m *Memory) Set(key string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if data == nil {
		delete(m.objects, key)
		return
	}
	m.swaps++
	m.objects[key] = bundle.Object{Data: data, Tag: "tag" + strconv.Itoa(m.swaps)}
}
