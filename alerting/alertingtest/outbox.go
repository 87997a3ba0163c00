// Package alertingtest checks implementations of the interfaces that package alerting
// declares, and has twins of them that live in memory, for the tests of others.
package alertingtest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// MemoryOutbox is an outbox that forgets everything with the process. The zero value is
// ready for use.
type MemoryOutbox struct {
	mu      sync.Mutex
	entries map[string]alerting.Entry
	told    map[[2]string]alerting.Delivery
}

var _ alerting.Outbox = (*MemoryOutbox)(nil)

// Put keeps the entries.
func (o *MemoryOutbox) Put(entries ...alerting.Entry) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.entries == nil {
		o.entries = map[string]alerting.Entry{}
	}
	for _, e := range entries {
		o.entries[e.ID] = e
	}
	return nil
}

// Pending returns what is kept.
func (o *MemoryOutbox) Pending() ([]alerting.Entry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Values(o.entries)), nil
}

// Done forgets the entries.
func (o *MemoryOutbox) Done(ids ...string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		delete(o.entries, id)
	}
	return nil
}

// Deliveries returns what was told.
func (o *MemoryOutbox) Deliveries() ([]alerting.Delivery, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Values(o.told)), nil
}

// Settle keeps the delivery and forgets the entries.
func (o *MemoryOutbox) Settle(d alerting.Delivery, done []string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told == nil {
		o.told = map[[2]string]alerting.Delivery{}
	}
	key := [2]string{d.Receiver, d.Conversation}
	if o.told[key] = d; d.Over() {
		delete(o.told, key)
	}
	for _, id := range done {
		delete(o.entries, id)
	}
	return nil
}

func settle(t *testing.T, o alerting.Outbox, d alerting.Delivery, done ...string) {
	t.Helper()
	if err := o.Settle(d, done); err != nil {
		t.Fatal(err)
	}
}

func wantDeliveries(t *testing.T, o alerting.Outbox, want ...alerting.Delivery) {
	t.Helper()
	got, err := o.Deliveries()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b alerting.Delivery) int { return strings.Compare(a.Receiver, b.Receiver) })
	if !reflect.DeepEqual(got, want) {
		t.Errorf("deliveries are %+v, want %+v", got, want)
	}
}

// TestOutbox checks an implementation of [alerting.Outbox]. open returns an empty outbox
// each time.
func TestOutbox(t *testing.T, open func() alerting.Outbox) {
	t.Helper()
	t.Run("a new outbox holds nothing", func(t *testing.T) { wantPending(t, open()) })
	t.Run("what was put is pending with all its fields", func(t *testing.T) {
		o := open()
		a, b := entry("a", 1), entry("b/with/slashes and blanks", 2)
		put(t, o, a, b)
		wantPending(t, o, a, b)
	})
	t.Run("putting an id again replaces it", func(t *testing.T) {
		o := open()
		newer := entry("a", 2)
		put(t, o, entry("a", 1), newer, newer)
		wantPending(t, o, newer)
	})
	t.Run("several are put, and done, at once", func(t *testing.T) {
		o := open()
		a, b, c := entry("a", 1), entry("b", 2), entry("c", 3)
		if err := o.Put(a, b, c); err != nil {
			t.Fatal(err)
		}
		wantPending(t, o, a, b, c)
		if err := o.Done("a", "unknown", "c"); err != nil {
			t.Fatal(err)
		}
		wantPending(t, o, b)
	})
	t.Run("a delivery is kept and its entries are forgotten", func(t *testing.T) {
		o := open()
		put(t, o, entry("a", 1), entry("b", 2))
		d := alerting.Delivery{Receiver: "ops", Conversation: "c/1", Told: []alerting.Event{entry("a", 1).Event}, Memory: []byte(`{"ts":"1"}`)}
		other := alerting.Delivery{Receiver: "ops/c", Conversation: "1", Ack: &alerting.Ack{By: "ann"}}
		settle(t, o, d, "a")
		settle(t, o, other)
		wantPending(t, o, entry("b", 2))
		wantDeliveries(t, o, d, other)
		d.Told = append(d.Told, entry("b", 2).Event)
		settle(t, o, d, "b", "unknown")
		wantPending(t, o)
		wantDeliveries(t, o, d, other)
		settle(t, o, alerting.Delivery{Receiver: "ops", Conversation: "c/1"})
		wantDeliveries(t, o, other)
	})
	t.Run("what is done is forgotten, once and again", func(t *testing.T) {
		o := open()
		b := entry("b", 2)
		put(t, o, entry("a", 1), b)
		for range 2 {
			if err := o.Done("a"); err != nil {
				t.Fatal(err)
			}
		}
		wantPending(t, o, b)
	})
	t.Run("an unknown id is not an error", func(t *testing.T) {
		if err := open().Done("never put"); err != nil {
			t.Error(err)
		}
	})
	t.Run("goroutines do not disturb each other", func(t *testing.T) { testParallel(t, open()) })
}

func testParallel(t *testing.T, o alerting.Outbox) {
	const n = 20
	var wg sync.WaitGroup
	var want []alerting.Entry
	for i := range n {
		e := entry(fmt.Sprint(i), i)
		if i%2 == 0 {
			want = append(want, e)
		}
		wg.Go(func() {
			put(t, o, e)
			if i%2 == 1 {
				if err := o.Done(e.ID); err != nil {
					t.Error(err)
				}
			}
			if _, err := o.Pending(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantPending(t, o, want...)
}

func entry(id string, n int) alerting.Entry {
	at := time.Date(2026, 3, 1, 0, 0, n, 0, time.UTC)
	return alerting.Entry{ID: id, Receiver: "ops", Event: alerting.Event{
		Kind: alerting.KindFiring, Time: at, Severity: certmedic.SeverityCritical,
		Incident: certmedic.Incident{
			ID: "i1", Rule: "expired", Subject: certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: "shop"},
			Severity: certmedic.SeverityWarning, State: certmedic.StateFiring, Summary: "sümmary", Reason: "reason",
			Members:  []string{"192.0.2.1:443"},
			Evidence: []certmedic.Evidence{{Source: "hook", Line: "exit 1"}},
			Episode:  "e1", DedupKey: "certmedic/shop/e1", PendingAt: at, FiringAt: at,
		},
		Step: certmedic.Step{Do: certmedic.StepNotify, After: time.Minute},
		Certificate: alerting.Facts{
			Name: "shop", Labels: map[string]string{"team": "a"}, Domains: []string{"shop.example.com"},
			NotAfter: at, Issuer: "CN=R11", Serial: "00af", SHA256: "ab",
		},
	}}
}

func put(t *testing.T, o alerting.Outbox, entries ...alerting.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := o.Put(e); err != nil {
			t.Error(err)
		}
	}
}

func wantPending(t *testing.T, o alerting.Outbox, want ...alerting.Entry) {
	t.Helper()
	got, err := o.Pending()
	if err != nil {
		t.Fatal(err)
	}
	byID := func(a, b alerting.Entry) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	}
	slices.SortFunc(got, byID)
	slices.SortFunc(want, byID)
	if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("pending\n got %+v\nwant %+v", got, want)
	}
}
