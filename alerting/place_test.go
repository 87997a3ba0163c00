package alerting

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

type nobody struct{}

func (nobody) Notify(context.Context, Notification) (bool, error) { return false, nil }

// TestWhatIsReplacedLeavesTheOutboxLast shows that whatever stage an event is replaced in, the newer
// one is to be kept before it is taken out: else a kill between the two loses both.
func TestWhatIsReplacedLeavesTheOutboxLast(t *testing.T) {
	for _, tt := range []struct {
		about string
		stage int // of the pipeline, in which the newer event is found
	}{
		{"while it waits for others", 1},
		{"while it waits for its turn", 3},
	} {
		a, err := New(Options{Receivers: map[string]Notifier{"ops": nobody{}}})
		if err != nil {
			t.Fatal(err)
		}
		q := a.queues["ops"]
		tell := func(at time.Time) *slot {
			e := Event{Kind: KindFiring, Time: at, Incident: certmedic.Incident{ID: "i", DedupKey: "c"}}
			s := &slot{entry: newEntry("ops", e)}
			a.enqueue(q, Item{Event: e, slot: s})
			return s
		}
		now := time.Now()
		older := tell(now.Add(-time.Minute))
		b, _ := q.take()
		newer := tell(now)
		if _, err := a.pipeline("ops")[tt.stage].Exec(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if want := []chore{{older, false}, {newer, false}, {older, true}}; !slices.Equal(a.keeper.queue, want) {
			t.Errorf("%s: %+v is done, want %+v", tt.about, a.keeper.queue, want)
		}
	}
}
