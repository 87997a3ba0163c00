package bundle_test

import (
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/dir"
)

// BenchmarkPublish measures a publication into a local folder, synced, with its pruning.
func BenchmarkPublish(b *testing.B) {
	w := newWorld(b)
	store, err := dir.Open(b.TempDir())
	must(b, err)
	versions := []bundle.Version{w.version(b, shop), w.version(b, shop)}
	var last certmedic.Fingerprint
	for n := 0; b.Loop(); n++ {
		last = w.publish(b, store, versions[n%2], 1, last).Version
		must(b, bundle.Prune(b.Context(), store, shop, bundle.Keep))
	}
}

// BenchmarkLatest measures fetching and verifying a version, and a look at an unchanged one.
func BenchmarkLatest(b *testing.B) {
	w := newWorld(b)
	store, err := dir.Open(b.TempDir())
	must(b, err)
	w.publish(b, store, w.version(b, shop), 1, "")
	trust := w.trust()
	var known string
	b.Run("fetched", func(b *testing.B) {
		for b.Loop() {
			got, err := bundle.Latest(b.Context(), store, shop, trust)
			must(b, err)
			known = got.Tag
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		trust.Known = known
		for b.Loop() {
			if _, err := bundle.Latest(b.Context(), store, shop, trust); err == nil {
				b.Fatal("it was fetched again")
			}
		}
	})
}
