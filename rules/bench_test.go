package rules

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// BenchmarkEvaluate100k judges 100,000 certificates, each with one endpoint of one address,
// by 25 typical rules: what a round costs after the probes. One in a hundred has something
// wrong, and state of it.
func BenchmarkEvaluate100k(b *testing.B) {
	const subjects = 100_000
	source, err := os.ReadFile("testdata/typical.yml")
	if err != nil {
		b.Fatal(err)
	}
	loaded, err := Load("typical.yml", source, 2*time.Second)
	if err != nil {
		b.Fatal(err)
	}
	engine, now := New(loaded), start()
	facts, states := make([]Facts, subjects), make([]State, subjects)
	for i := range facts {
		facts[i] = typical(i, i%100 == 0)
		states[i] = engine.Evaluate(now, facts[i], State{}).State
	}
	now = now.Add(time.Minute)
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		for i := range facts {
			engine.Evaluate(now, facts[i], states[i])
		}
	}
	spent := processorTime(b) - before
	b.ReportMetric(spent.Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*subjects*len(loaded)), "cpu-ns/rule")
}

// processorTime is what the process has used of the processors, collecting garbage included:
// on a busy machine it says more than the clock.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// typical returns the facts of a certificate as the watchdog gives them, fine or not.
func typical(i int, bad bool) Facts {
	const day = 24 * time.Hour
	left := time.Duration(40+i%40) * day
	name := fmt.Sprintf("host%d.example.com", i)
	at := name + ":443"
	c := CertificateFacts{
		Name: name, Labels: map[string]string{"team": "web"}, Stage: certmedic.StageServed,
		StoredVersion: "aa", ServedVersions: []string{"aa"}, Names: []string{name, "www." + name}, Issuer: "R11", KeyType: "ec256",
		Lifetime: 90 * day, RemainingRatio: float64(left) / float64(90*day), ServedExpiresIn: left, StoredExpiresIn: left,
		ServedOK: true, StoredOK: true, TLSVersions: []string{"TLS 1.3"}, Members: []string{at},
		RenewalDueIn: left - 20*day, RenewalBasis: BasisShare,
		Undecided: Undecided{}, Incomplete: Incomplete{}, Support: map[string]Support{},
	}
	if bad {
		c.Drift, c.Stage, c.Findings = true, certmedic.StageStored, []string{"incomplete_chain", "weak_key"}
		c.Support["certificate.drift"] = Support{Members: []string{at}}
	}
	return Facts{Certificate: c, Endpoints: []EndpointFacts{{
		Address: at, Protocol: "tls", Reachable: !bad, Undecided: Undecided{}, Support: map[string]Support{},
		Addresses: []AddressFacts{{
			IP: "192.0.2.1:443", Reachable: !bad, ServedSHA256: "aa", ExpiresIn: left, RemainingRatio: c.RemainingRatio, TLSVersion: "TLS 1.3",
			Undecided: Undecided{}, Support: map[string]Support{},
		}},
	}}}
}
