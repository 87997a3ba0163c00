package coordtest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/certmedic/certmedic/internal/coord"
)

func testRecords(t *testing.T, w World) {
	e := w.Open(t, "a")
	if r, ok, err := e.Get(t.Context(), "order"); err != nil || ok {
		t.Fatalf("a record that was never written is %+v, %v", r, err)
	}
	var revision, before uint64
	for _, row := range []struct {
		about    string
		revision func() uint64
		token    uint64
		value    string
		ok       bool
	}{
		{"a revision of a record that is not there", func() uint64 { return 1 }, 5, "x", false},
		{"the first write", func() uint64 { return 0 }, 5, "intent", true},
		{"a first write again", func() uint64 { return 0 }, 5, "x", false},
		{"a later write with the same token", func() uint64 { return revision }, 5, "order", true},
		{"a write upon an earlier revision", func() uint64 { return before }, 5, "x", false},
		{"a revision that is not there yet", func() uint64 { return revision + 1 }, 9, "x", false},
		{"a lower token", func() uint64 { return revision }, 4, "x", false},
		{"a higher token", func() uint64 { return revision }, 7, "", true},
		{"the token that was the highest before", func() uint64 { return revision }, 5, "x", false},
	} {
		r, err := e.Put(t.Context(), "order", row.revision(), row.token, []byte(row.value))
		if !row.ok {
			if !errors.Is(err, coord.ErrStale) {
				t.Errorf("%s gave %v", row.about, err)
			}
			continue
		}
		if err != nil || r.Revision <= revision || r.Key != "order" || r.Token != row.token || string(r.Value) != row.value {
			t.Fatalf("%s gave %+v, %v", row.about, r, err)
		}
		revision, before = r.Revision, revision
		got, ok, err := e.Get(t.Context(), "order")
		if err != nil || !ok || got.Revision != r.Revision || got.Token != r.Token || string(got.Value) != row.value || !got.Time.Equal(r.Time) || got.Time.IsZero() {
			t.Errorf("after %s there is %+v, %v, want %+v", row.about, got, err, r)
		}
	}
	again := w.Open(t, "a")
	if got, ok, err := again.Get(t.Context(), "order"); err != nil || !ok || got.Revision != revision || got.Token != 7 {
		t.Errorf("another session sees %+v, %v", got, err)
	}
}

func testRecordRush(t *testing.T, w World) {
	engines := []coord.Engine{w.Open(t, "a")}
	for _, member := range []string{"b", "c", "d"} {
		if !w.Single {
			engines = append(engines, w.Open(t, member))
		}
	}
	revision := uint64(0)
	for range 5 {
		var mu sync.Mutex
		var all sync.WaitGroup
		var written []coord.Record
		for i := range 8 {
			all.Go(func() {
				r, err := engines[i%len(engines)].Put(t.Context(), "order", revision, 1, []byte{byte(i)})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					written = append(written, r)
				} else if !errors.Is(err, coord.ErrStale) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		got, _, err := engines[0].Get(t.Context(), "order")
		if err != nil || len(written) != 1 || got.Revision != written[0].Revision || !slices.Equal(got.Value, written[0].Value) {
			t.Fatalf("%d of 8 wrote: %+v; there is %+v, %v", len(written), written, got, err)
		}
		revision = got.Revision
	}
}

func testList(t *testing.T, w World) {
	e := w.Open(t, "a")
	for _, key := range []string{"order/shop", "order/blog", "orders", "order", "spent"} {
		if _, err := e.Put(t.Context(), key, 0, 3, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string][]string{
		"":        {"order", "order/blog", "order/shop", "orders", "spent"},
		"order/":  {"order/blog", "order/shop"},
		"order":   {"order", "order/blog", "order/shop", "orders"},
		"nothing": nil,
	} {
		all, err := e.List(t.Context(), prefix)
		var keys []string
		for _, r := range all {
			keys = append(keys, r.Key)
			if string(r.Value) != r.Key || r.Token != 3 || r.Revision == 0 {
				t.Errorf("the record %q is listed as %+v", r.Key, r)
			}
		}
		if err != nil || !slices.Equal(keys, want) {
			t.Errorf("below %q there are %q, %v, want %q", prefix, keys, err, want)
		}
	}
}
