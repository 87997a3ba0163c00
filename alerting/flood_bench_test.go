package alerting_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/internal/store"
)

// conversations is how many are told at once by the benchmarks.
const conversations = 10_000

// BenchmarkConversations tells ten thousand conversations to a receiver that takes everything at
// once: the whole way from Tell to its delivery, with an outbox on disk, and with one in memory.
func BenchmarkConversations(b *testing.B) {
	b.Run("disk", func(b *testing.B) {
		for b.Loop() {
			s, err := store.Open(b.TempDir(), time.Second)
			if err != nil {
				b.Fatal(err)
			}
			tellAll(b, s.Outbox())
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			tellAll(b, &alertingtest.MemoryOutbox{})
		}
	})
}

func tellAll(b *testing.B, outbox alerting.Outbox) {
	b.Helper()
	delivered := make(chan struct{}, conversations)
	a, err := alerting.New(alerting.Options{
		Outbox:    outbox,
		Receivers: map[string]alerting.Notifier{"ops": alerting.NotifierFunc(func(context.Context, alerting.Notification) (bool, error) { return false, nil })},
		Settled:   func(string, alerting.Event, error) { delivered <- struct{}{} },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	began := time.Now()
	for i := range conversations {
		e := event(alerting.KindFiring, fmt.Sprint(i), certmedic.SeverityCritical)
		e.Incident.DedupKey = fmt.Sprintf("certmedic/cert-%d/e1", i)
		a.Tell(e)
	}
	told := time.Since(began)
	for range conversations {
		<-delivered
	}
	b.ReportMetric(float64(told.Microseconds())/conversations, "µs/tell")
	b.ReportMetric(float64(time.Since(began).Microseconds())/conversations, "µs/delivery")
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}
