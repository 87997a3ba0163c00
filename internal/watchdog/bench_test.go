package watchdog

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/ruleset"
)

type silent struct{}

func (silent) SaveRules(map[string]rules.State) error   { return nil }
func (silent) SaveMemory(map[string]store.Memory) error { return nil }
func (silent) SaveIncident(certmedic.Incident) error    { return nil }
func (silent) Probed(certmedic.Observation)             {}
func (silent) RuleFailed(string)                        {}
func (silent) Detected(time.Duration)                   {}
func (silent) Healed(time.Duration)                     {}

// BenchmarkObserved measures what one observation of a healthy endpoint costs after the
// probe: taking it into the picture and judging it by the shipped rules.
func BenchmarkObserved(b *testing.B) {
	shipped, err := ruleset.Load(2 * time.Second)
	if err != nil {
		b.Fatal(err)
	}
	ep := certmedic.Endpoint{Address: "shop.example.com:443", Protocol: "tls"}
	w := New(Options{
		Certificates: []certmedic.Certificate{{Name: "shop", Endpoints: []certmedic.Endpoint{ep}, Mode: certmedic.ModeObserve}},
		Engine:       rules.New(shipped), State: silent{}, Count: silent{}, Log: slog.New(slog.DiscardHandler),
		ProbeNow: func(...string) {}, Want: func(string, []remediate.Want) {}, Nudge: func(string) {}, Tell: func(News) {},
	})
	w.Start(context.Background())
	now := time.Now()
	o := certmedic.Observation{Endpoint: ep, Time: now, Addresses: []certmedic.AddressObservation{{
		Address: "192.0.2.1:443", Stage: certmedic.ProbeDone,
		Chain: []certmedic.CertFacts{{SHA256: "aa", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour)}},
	}}}
	b.ReportAllocs()
	for b.Loop() {
		w.Observed(key("shop", ep.Address), o)
	}
}

// BenchmarkViews measures what it costs to look at ten thousand watched endpoints, as each
// scrape does.
func BenchmarkViews(b *testing.B) {
	var certificates []certmedic.Certificate
	for i := range 10_000 {
		ep := certmedic.Endpoint{Address: fmt.Sprintf("host%d.example.com:443", i), Protocol: "tls"}
		certificates = append(certificates, certmedic.Certificate{Name: ep.Address, Endpoints: []certmedic.Endpoint{ep}, Mode: certmedic.ModeObserve, Watched: true})
	}
	w := New(Options{Certificates: certificates, Engine: rules.New(nil), State: silent{}, Count: silent{}})
	for _, c := range certificates {
		w.Observed(key(c.Name, c.Name), certmedic.Observation{Endpoint: c.Endpoints[0], Time: time.Now(), Addresses: []certmedic.AddressObservation{{
			Address: "192.0.2.1:443", Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{{SHA256: "aa"}},
		}}})
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Views()
	}
}
