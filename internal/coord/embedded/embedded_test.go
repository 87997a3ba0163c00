package embedded_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
	"github.com/certmedic/certmedic/internal/coord/embedded"
	"github.com/certmedic/certmedic/internal/store"
)

func TestEmbedded(t *testing.T) {
	coordtest.Test(t, true, func(t testing.TB) coordtest.World {
		state, err := store.Open(filepath.Join(t.TempDir(), "state"), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = state.Close() })
		return coordtest.World{
			Open: func(t testing.TB, member string) coord.Engine {
				e, err := embedded.New(state, member, 10*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				return e
			},
			TTL: 10 * time.Second, Ends: 10 * time.Second, Single: true,
		}
	})
}

// failing is a store that cannot write.
type failing struct{ err error }

func (f failing) NextToken(string) (uint64, error)       { return 0, f.err }
func (f failing) SharedRecords() ([]coord.Record, error) { return nil, nil }
func (f failing) SaveSharedRecord(coord.Record) error    { return f.err }

func TestNothingIsGivenThatIsNotKept(t *testing.T) {
	full := errors.New("the disk is full")
	e, err := embedded.New(failing{full}, "a", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := e.Acquire(t.Context(), "shop"); !errors.Is(err, full) || l.Token != 0 {
		t.Errorf("without a disk there is the lease %+v, %v", l, err)
	}
	if _, err := e.Put(t.Context(), "order", 0, 1, nil); !errors.Is(err, full) {
		t.Errorf("without a disk a record is written: %v", err)
	}
	if _, ok, _ := e.Get(t.Context(), "order"); ok {
		t.Error("a record that was not kept is there")
	}
}
