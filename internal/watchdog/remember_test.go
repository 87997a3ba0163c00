package watchdog

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/rules"
)

// kept counts what is kept, and in how many writes.
type kept struct {
	silent
	writes int
	names  map[string]bool
}

func (k *kept) SaveMemory(all map[string]store.Memory) error {
	k.writes++
	for name, m := range all {
		k.names[name] = len(m.Seen) > 0
	}
	return nil
}

// What was seen of a managed certificate is on disk at once; of all that is only watched it
// is kept together.
func TestWatchedIsKeptTogether(t *testing.T) {
	var all []certmedic.Certificate
	for i := range 10 {
		ep := certmedic.Endpoint{Address: fmt.Sprintf("192.0.2.%d:443", i+1)}
		all = append(all, certmedic.Certificate{Name: ep.Address, Watched: i > 0, Endpoints: []certmedic.Endpoint{ep}})
	}
	k := &kept{names: map[string]bool{}}
	w := New(Options{Certificates: all, Engine: rules.New(nil), State: k, Count: silent{}, Log: slog.New(slog.DiscardHandler)})
	for _, c := range all {
		w.Observed(key(c.Name, c.Name), certmedic.Observation{Endpoint: c.Endpoints[0], Time: time.Now(), Addresses: []certmedic.AddressObservation{
			{Address: c.Name, Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{{SHA256: "aa"}}},
		}})
	}
	if k.writes != 1 || !k.names[all[0].Name] {
		t.Errorf("%d writes of %v, want one of the managed certificate", k.writes, k.names)
	}
	for range 2 {
		w.saveWatched()
	}
	if k.writes != 2 || len(k.names) != len(all) {
		t.Errorf("%d writes of %d certificates, want 2 of %d", k.writes, len(k.names), len(all))
	}
}
