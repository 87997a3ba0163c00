package watchdog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/rules"
)

// An address that presented a certificate once stays decidable by the clock: after a
// restart, and while its name does not resolve.
func TestDatesOnceSeenStayDecidable(t *testing.T) {
	ep := certmedic.Endpoint{Address: "shop.example.com:443"}
	cert := certmedic.Certificate{Name: "shop", Endpoints: []certmedic.Endpoint{ep}}
	now := time.Now()
	leaf := certmedic.CertFacts{SHA256: "aa", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	before := newEntry(cert, store.Memory{}, rules.State{})
	if !before.see(certmedic.Observation{Endpoint: ep, Time: now, Addresses: []certmedic.AddressObservation{
		{Address: "192.0.2.1:443", Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{leaf}},
		{Address: "192.0.2.2:443", Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{leaf}},
	}}) {
		t.Fatal("a leaf that is new is nothing to remember")
	}

	after := newEntry(cert, before.memory, rules.State{})
	later := now.Add(2 * time.Hour)
	facts := after.facts(later).Certificate
	if !facts.Expired || facts.Undecided["certificate.expired"] != "" || len(facts.Support["certificate.expired"].Members) != 2 {
		t.Errorf("after a restart: expired %v, undecided %q, members %v", facts.Expired, facts.Undecided["certificate.expired"], facts.Support["certificate.expired"].Members)
	}
	if facts.Undecided["certificate.drift"] == "" {
		t.Error("drift is decided without a probe")
	}

	after.see(certmedic.Observation{Endpoint: ep, Time: later, Addresses: []certmedic.AddressObservation{{
		Address: ep.Address, Stage: certmedic.ProbeResolve, Error: &certmedic.ProbeError{Reason: certmedic.DNSFailed},
	}}})
	view := after.endpointView(ep)
	if len(view.Addresses) != 3 || view.Addresses[2].LastSeen == nil || view.Addresses[2].Address != "192.0.2.2:443" {
		t.Errorf("while the name does not resolve: %+v", view.Addresses)
	}
	if facts = after.facts(later).Certificate; !facts.Expired {
		t.Error("what was served is forgotten while the name does not resolve")
	}

	after.see(certmedic.Observation{Endpoint: ep, Time: later, Addresses: []certmedic.AddressObservation{
		{Address: "192.0.2.2:443", Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{leaf}},
	}})
	if len(after.memory.Seen) != 1 {
		t.Errorf("an address that is gone is still remembered: %v", after.memory.Seen)
	}

	cert.Endpoints = nil
	if gone := newEntry(cert, after.memory, rules.State{}); len(gone.memory.Seen) != 0 {
		t.Error("an endpoint that left the configuration is still remembered")
	}
}
