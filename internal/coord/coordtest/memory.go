package coordtest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/objects"
)

var _ objects.Store = (*Memory)(nil)

// Memory is a store that members of one process share. The zero value is an empty one.
type Memory struct {
	mu      sync.Mutex
	objects map[string]objects.Object
	writes  int
	fail    func(member string) error
	views   map[coord.Engine]*view
}

// Open returns a session of a member that goes to this store. It is closed when the test ends.
func (m *Memory) Open(t testing.TB, member string, ttl time.Duration) coord.Engine {
	t.Helper()
	v := &view{Memory: m, member: member}
	e, err := objects.New(v, objects.Options{Member: member, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.views == nil {
		m.views = map[coord.Engine]*view{}
	}
	m.views[e] = v
	return e
}

// Crash ends a session without a word: from now on it reaches nothing.
func (m *Memory) Crash(e coord.Engine) { m.setDead(e, true) }

// Mend has a session reach the store again.
func (m *Memory) Mend(e coord.Engine) { m.setDead(e, false) }

func (m *Memory) setDead(e coord.Engine, dead bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.views[e].dead = dead
}

// Fail has every call of a member fail for which fail returns an error; nil ends that.
func (m *Memory) Fail(fail func(member string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

// Writes returns how many writes were accepted.
func (m *Memory) Writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// Get implements [objects.Store].
func (m *Memory) Get(_ context.Context, key string) (objects.Object, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	o.Now = time.Now()
	return o, ok, nil
}

// Swap implements [objects.Store].
func (m *Memory) Swap(_ context.Context, key, tag string, value []byte) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects[key].Tag != tag {
		return "", coord.ErrStale
	}
	if m.objects == nil {
		m.objects = map[string]objects.Object{}
	}
	m.writes++
	m.objects[key] = objects.Object{Value: slices.Clone(value), Tag: strconv.Itoa(m.writes), Modified: time.Now()}
	return m.objects[key].Tag, nil
}

// List implements [objects.Store].
func (m *Memory) List(_ context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.Collect(maps.Keys(m.objects))
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) }), nil
}

// view is how one session sees the store.
type view struct {
	*Memory
	member string
	dead   bool
}

func (v *view) trouble(ctx context.Context) error {
	v.mu.Lock()
	fail, dead := v.fail, v.dead
	v.mu.Unlock()
	if dead {
		return errors.New("the session crashed")
	}
	if fail != nil {
		if err := fail(v.member); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (v *view) Get(ctx context.Context, key string) (objects.Object, bool, error) {
	if err := v.trouble(ctx); err != nil {
		return objects.Object{}, false, err
	}
	return v.Memory.Get(ctx, key)
}

func (v *view) Swap(ctx context.Context, key, tag string, value []byte) (string, error) {
	if err := v.trouble(ctx); err != nil {
		return "", err
	}
	return v.Memory.Swap(ctx, key, tag, value)
}

func (v *view) List(ctx context.Context, prefix string) ([]string, error) {
	if err := v.trouble(ctx); err != nil {
		return nil, err
	}
	return v.Memory.List(ctx, prefix)
}
