package watchdog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/rules"
)

// An observation that says what the last one said is not judged again, and nothing that may
// change a judgement is taken for such a one.
func TestQuiet(t *testing.T) {
	ep := certmedic.Endpoint{Address: "192.0.2.1:443", Protocol: "tls"}
	cert := certmedic.Certificate{Name: "shop", Endpoints: []certmedic.Endpoint{ep}}
	began := time.Now()
	observe := func(after time.Duration) certmedic.Observation {
		return certmedic.Observation{Endpoint: ep, Time: began.Add(after), Addresses: []certmedic.AddressObservation{{
			Address: "192.0.2.1:443", Stage: certmedic.ProbeDone,
			TLS:      &certmedic.TLSFacts{Version: "TLS 1.3"},
			Chain:    []certmedic.CertFacts{{SHA256: "aa"}, {SHA256: "bb"}},
			Findings: []certmedic.Finding{certmedic.NewFinding(certmedic.NoSCT, "none")},
		}}}
	}
	for _, tt := range []struct {
		about string
		entry func(e *entry)
		next  func(o *certmedic.Observation)
		want  bool
	}{
		{"the same again", nil, nil, true},
		{"another group of key exchange", nil, func(o *certmedic.Observation) { o.Addresses[0].TLS.Group = "X25519" }, true},
		{"another version of TLS", nil, func(o *certmedic.Observation) { o.Addresses[0].TLS.Version = "TLS 1.2" }, false},
		{"no TLS", nil, func(o *certmedic.Observation) { o.Addresses[0].TLS = nil }, false},
		{"another leaf", nil, func(o *certmedic.Observation) { o.Addresses[0].Chain[0].SHA256 = "cc" }, false},
		{"a shorter chain", nil, func(o *certmedic.Observation) { o.Addresses[0].Chain = o.Addresses[0].Chain[:1] }, false},
		{"a finding that is gone", nil, func(o *certmedic.Observation) { o.Addresses[0].Findings = nil }, false},
		{"a finding of the endpoint", nil, func(o *certmedic.Observation) {
			o.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.SplitServing, "")}
		}, false},
		{"an error", nil, func(o *certmedic.Observation) {
			o.Addresses[0].Error = &certmedic.ProbeError{Reason: certmedic.Timeout}
		}, false},
		{"another address", nil, func(o *certmedic.Observation) { o.Addresses[0].Address = "192.0.2.2:443" }, false},
		{"one address more", nil, func(o *certmedic.Observation) { o.Addresses = append(o.Addresses, o.Addresses[0]) }, false},
		{"a rule has something to say", func(e *entry) { e.calm = false }, nil, false},
		{"the last judgement was long ago", func(e *entry) { e.judged = began.Add(-judgeEvery) }, nil, false},
		{"a new version is awaited", func(e *entry) { e.memory.Awaited = true }, nil, false},
		{"the version changed between the two", func(e *entry) { e.changed = began.Add(time.Second / 2) }, nil, false},
		{"the endpoint was never observed", func(e *entry) { clear(e.observed) }, nil, false},
		{"the address drifts", func(e *entry) { e.drifting = map[string]time.Time{"a|b": began} }, nil, false},
	} {
		e := newEntry(&cert, store.Memory{}, rules.State{})
		e.see(observe(0))
		e.calm, e.judged = true, began
		if tt.entry != nil {
			tt.entry(e)
		}
		next := observe(time.Second)
		if tt.next != nil {
			tt.next(&next)
		}
		if got := e.quiet(next, next.Time); got != tt.want {
			t.Errorf("%s: quiet is %v, want %v", tt.about, got, tt.want)
		}
	}
}
