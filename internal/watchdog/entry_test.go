package watchdog

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/rules"
)

// An address that presented a certificate once stays decidable by the clock: after a
// restart, and while its name does not resolve.
func TestDatesOnceSeenStayDecidable(t *testing.T) {
	ep := certmedic.Endpoint{Address: "shop.example.com:443"}
	cert := certmedic.Certificate{Name: "shop", Source: certmedic.Source{Kind: certmedic.SourceFiles}, Endpoints: []certmedic.Endpoint{ep}}
	now := time.Now()
	leaf := certmedic.CertFacts{SHA256: "aa", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	before := newEntry(&cert, store.Memory{}, rules.State{})
	if !before.see(certmedic.Observation{Endpoint: ep, Time: now, Addresses: []certmedic.AddressObservation{
		{Address: "192.0.2.1:443", Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{leaf}},
		{Address: "192.0.2.2:443", Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{leaf}},
	}}) {
		t.Fatal("a leaf that is new is nothing to remember")
	}

	after := newEntry(&cert, before.memory, rules.State{})
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
	if gone := newEntry(&cert, after.memory, rules.State{}); len(gone.memory.Seen) != 0 {
		t.Error("an endpoint that left the configuration is still remembered")
	}
}

// A copy that holds the stored version while the old one is served says that the service has
// not loaded it; the files themselves are looked at, whoever wrote them.
func TestInstalledCopiesAreStageDeployed(t *testing.T) {
	root := mint.Must(mint.NewCA("root"))
	fresh, old := mint.Must(root.Leaf(mint.Leaf{Names: []string{"shop.test"}})), mint.Must(root.Leaf(mint.Leaf{Names: []string{"shop.test"}}))
	path := filepath.Join(t.TempDir(), "fullchain.pem")
	ep := certmedic.Endpoint{Address: "192.0.2.1:443"}
	cert := certmedic.Certificate{Name: "shop", Endpoints: []certmedic.Endpoint{ep}, Destinations: []certmedic.Destination{{
		Files: []certmedic.InstalledFile{{From: certmedic.PartFullchain, To: path}, {From: certmedic.PartPrivkey, To: "/nowhere"}},
	}}}
	w := New(Options{Certificates: []certmedic.Certificate{cert}})
	e := w.entries["shop"]
	e.hold(certmedic.Stored{Chain: []certmedic.CertFacts{inspect.Facts(fresh.Cert)}}, nil, time.Now())
	e.see(certmedic.Observation{Endpoint: ep, Time: time.Now(), Addresses: []certmedic.AddressObservation{
		{Address: ep.Address, Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{inspect.Facts(old.Cert)}},
	}})
	for _, tt := range []struct {
		about string
		pair  *mint.Pair
		want  certmedic.Stage
	}{
		{"there is no copy", nil, certmedic.StageStored},
		{"the copy is the old one", &old, certmedic.StageStored},
		{"the copy is the new one", &fresh, certmedic.StageDeployed},
	} {
		if tt.pair != nil {
			if err := os.WriteFile(path, tt.pair.FullchainPEM(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		e.copies = w.copies(cert)
		if got := e.stage(); got != tt.want {
			t.Errorf("%s: stage %q, want %q", tt.about, got, tt.want)
		}
	}
}

// What is not seen now may hide a finding: after a restart, and while an address is down.
func TestFindingsAreIncompleteWhileSomethingIsUnseen(t *testing.T) {
	ep := certmedic.Endpoint{Address: "192.0.2.1:443"}
	e := newEntry(&certmedic.Certificate{Name: "shop", Endpoints: []certmedic.Endpoint{ep}}, store.Memory{}, rules.State{})
	incomplete := func() string { return e.facts(time.Now()).Certificate.Incomplete["certificate.findings"] }
	if incomplete() == "" {
		t.Error("before the first probe")
	}
	up := certmedic.AddressObservation{Address: ep.Address, Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{{SHA256: "aa"}}}
	e.see(certmedic.Observation{Endpoint: ep, Time: time.Now(), Addresses: []certmedic.AddressObservation{up}})
	if why := incomplete(); why != "" {
		t.Errorf("while everything is seen: %q", why)
	}
	down := certmedic.AddressObservation{Address: ep.Address, Stage: certmedic.ProbeConnect, Error: &certmedic.ProbeError{Reason: certmedic.Unreachable}}
	e.see(certmedic.Observation{Endpoint: ep, Time: time.Now(), Addresses: []certmedic.AddressObservation{down}})
	if incomplete() == "" {
		t.Error("while the address is down")
	}
}

// A stored version that does not cover what clients ask for must not be installed; whether
// it covers an address that names no name is not asked.
func TestStoredVersionMustCoverTheNamesOfItsEndpoints(t *testing.T) {
	leaf := mint.Must(mint.Must(mint.NewCA("root")).Leaf(mint.Leaf{Names: []string{"shop.test"}})).Cert
	tests := []struct {
		about string
		ep    certmedic.Endpoint
		want  int
	}{
		{"the host of the address", certmedic.Endpoint{Address: "shop.test:443"}, 0},
		{"another host", certmedic.Endpoint{Address: "else.test:443"}, 1},
		{"the server name", certmedic.Endpoint{Address: "192.0.2.1:443", ServerName: "shop.test"}, 0},
		{"another server name", certmedic.Endpoint{Address: "shop.test:443", ServerName: "else.test"}, 1},
		{"an address alone", certmedic.Endpoint{Address: "192.0.2.1:443"}, 0},
		{"this host", certmedic.Endpoint{Address: "localhost:443"}, 0},
	}
	for _, tt := range tests {
		found := uncovered(certmedic.Certificate{Endpoints: []certmedic.Endpoint{tt.ep}}, leaf)
		if len(found) != tt.want || tt.want == 1 && found[0].Code != certmedic.NameMismatch {
			t.Errorf("%s: %v", tt.about, found)
		}
	}
}
