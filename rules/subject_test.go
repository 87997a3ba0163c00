package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

const everyKind = `
rules:
  - {name: all-certificates, about: certificate, when: 'true', severity: info}
  - {name: all-endpoints, about: endpoint, when: 'certificate.name == "shop"', severity: info}
  - {name: all-addresses, about: address, when: 'certificate.name == "shop" && endpoint.protocol == "tls"', severity: info}
  - {name: all-files, about: file, when: 'certificate.name == "shop" && file.mode == "0640"', severity: info}
  - {name: the-fleet, about: fleet, when: fleet.certificates == 3, severity: info}
`

func everything() Facts {
	return Facts{
		Certificate: CertificateFacts{Name: "shop"},
		Endpoints: []EndpointFacts{
			{Address: "b:443", Protocol: "tls", Addresses: []AddressFacts{{IP: "10.0.0.2:443"}, {IP: "10.0.0.1:443"}}},
			{Address: "a:25", Protocol: "smtp", Addresses: []AddressFacts{{IP: "10.0.0.3:25"}}},
			{Address: "c:443", Protocol: "tls"},
		},
		Files: []FileFacts{{Path: "/etc/ssl/key.pem", Mode: "0640"}, {Path: "/etc/ssl/cert.pem", Mode: "0644"}},
	}
}

func TestEveryKindOfSubjectIsAskedAbout(t *testing.T) {
	tests := []struct {
		name  string
		facts Facts
		want  []string
	}{
		{"a certificate and what is below it, in the order of rules and facts", everything(), []string{
			"all-certificates shop", "all-endpoints b:443", "all-endpoints a:25", "all-endpoints c:443",
			"all-addresses b:443 at 10.0.0.2:443", "all-addresses b:443 at 10.0.0.1:443", "all-files /etc/ssl/key.pem",
		}},
		{"the fleet, and nothing else", Facts{Fleet: &FleetFacts{Certificates: 3}}, []string{"the-fleet the fleet"}},
		{"a certificate without anything", Facts{Certificate: CertificateFacts{Name: "shop"}}, []string{"all-certificates shop"}},
	}
	e := engine(t, everyKind)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, in := range e.Evaluate(start(), tt.facts, State{}).State.Instances {
				got = append(got, in.Rule+" "+in.Subject.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFleetHasAConversationOfItsOwn(t *testing.T) {
	got := engine(t, everyKind).Evaluate(start(), Facts{Fleet: &FleetFacts{Certificates: 3}}, State{}).State
	if in := got.Instances[0]; in.DedupKey != "certmedic/fleet/"+got.Episode || in.Subject != (certmedic.Subject{Kind: certmedic.AboutFleet}) {
		t.Errorf("key %q, subject %+v", in.DedupKey, in.Subject)
	}
}

func TestUndecidedReachesEverythingBelow(t *testing.T) {
	e := engine(t, `rules: [{name: r, about: address, severity: info, when: '!address.reachable'}]`)
	tests := []struct {
		name string
		put  func(f *Facts, u Undecided)
	}{
		{"said of the address", func(f *Facts, u Undecided) { f.Endpoints[0].Addresses[0].Undecided = u }},
		{"said of its endpoint", func(f *Facts, u Undecided) { f.Endpoints[0].Undecided = u }},
		{"said of its certificate", func(f *Facts, u Undecided) { f.Certificate.Undecided = u }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := everything()
			before := e.Evaluate(start(), f, State{})
			if len(before.State.Instances) != 3 {
				t.Fatalf("%d incidents", len(before.State.Instances))
			}
			tt.put(&f, Undecided{"address.reachable": "the route is down"})
			after := e.Evaluate(start().Add(time.Minute), f, before.State)
			if got := after.State.Instances[0].Undecided; got != "the route is down" || len(after.Transitions) != 0 {
				t.Errorf("undecided because %q, transitions %v", got, after.Transitions)
			}
		})
	}
}

func TestFactThatNobodySuppliesIsUndecided(t *testing.T) {
	e := engine(t, `rules: [{name: r, about: certificate, severity: info, when: certificate.loan}]`)
	loan := true
	first := e.Evaluate(start(), Facts{Certificate: CertificateFacts{Loan: &loan}}, State{})
	second := e.Evaluate(start().Add(time.Hour), Facts{}, first.State)
	if in := second.State.Instances[0]; in.State != certmedic.StateFiring || in.Undecided != "nothing is known of certificate.loan" {
		t.Errorf("%s, undecided because %q", in.State, in.Undecided)
	}
}

func TestSecondSubjectOfOneNameIsNone(t *testing.T) {
	e := engine(t, `rules: [{name: r, about: endpoint, severity: info, when: '!endpoint.reachable'}]`)
	f := Facts{Endpoints: []EndpointFacts{{Address: "a"}, {Address: "a"}}}
	state := State{}
	for i := range 3 {
		state = e.Evaluate(start().Add(time.Duration(i)*time.Minute), f, state).State
		if len(state.Instances) != 1 {
			t.Fatalf("%d incidents of one endpoint", len(state.Instances))
		}
	}
}

func TestSameInputGivesTheSameResult(t *testing.T) {
	var source strings.Builder
	source.WriteString("rules:\n")
	for i := range 20 {
		about := []string{"certificate", "endpoint", "address", "file"}[i%4]
		fmt.Fprintf(&source, "  - {name: r%d, about: %s, severity: info, when: 'certificate.labels.exists(k, k == \"l%d\") || certificate.name == \"shop\"'}\n", i, about, i)
	}
	e := engine(t, source.String())
	f := everything()
	f.Certificate.Labels = map[string]string{}
	for i := range 20 {
		f.Certificate.Labels[fmt.Sprint("l", i)] = "x"
	}
	open := e.Evaluate(start(), f, State{})
	gone := e.Evaluate(start().Add(time.Second), Facts{}, open.State)
	for range 50 {
		if again := e.Evaluate(start(), f, State{}); !reflect.DeepEqual(again, open) {
			t.Fatalf("got\n%+v\nthen\n%+v", open, again)
		}
		if again := e.Evaluate(start().Add(time.Second), Facts{}, open.State); !reflect.DeepEqual(again, gone) {
			t.Fatalf("got\n%+v\nthen\n%+v", gone, again)
		}
	}
}

func TestEngineIsSafeForConcurrentUse(t *testing.T) {
	e := engine(t, everyKind)
	want := e.Evaluate(start(), everything(), State{})
	done := make(chan Result)
	for range 8 {
		go func() {
			var last Result
			for range 50 {
				last = e.Evaluate(start(), everything(), State{})
			}
			done <- last
		}()
	}
	for range 8 {
		if got := <-done; !reflect.DeepEqual(got, want) {
			t.Error("another result beside others")
		}
	}
}
