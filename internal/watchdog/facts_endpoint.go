package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// oldAfter is how many intervals an endpoint may go without being probed before nothing is
// claimed any more about who is there and what is served. Dates stay decidable.
const oldAfter = 5

// missed returns how many intervals ago an endpoint was observed last, 0 where it never was.
func (e *entry) missed(endpoint string, now time.Time) float64 {
	o, ok := e.observed[endpoint]
	if !ok || e.interval == 0 {
		return 0
	}
	return float64(max(0, now.Sub(o.Time))) / float64(e.interval)
}

// old says why nothing can be claimed about an endpoint that was not probed for long; "" if
// it was.
func (e *entry) old(endpoint string, now time.Time) string {
	o := e.observed[endpoint]
	switch {
	case o.Time.Round(0).After(now.Round(0).Add(time.Second)): // as the wall shows; what it judged of dates may be wrong
		return endpoint + " was not probed since the clock was set back"
	case e.missed(endpoint, now) >= oldAfter:
		return fmt.Sprintf("%s was not probed since %s", endpoint, day(o.Time))
	}
	return ""
}

func (e *entry) endpointFacts(ep certmedic.Endpoint, now time.Time) rules.EndpointFacts {
	name := e.name(ep)
	f := rules.EndpointFacts{
		Address: name, Protocol: ep.Protocol, Labels: ep.Labels,
		Undecided: rules.Undecided{}, Support: map[string]rules.Support{},
	}
	o, ok := e.observed[name]
	if !ok {
		undecide(f.Undecided, name+" was not probed yet", "endpoint.reachable", "endpoint.vanished", "endpoint.split", "endpoint.findings", "endpoint.missed_rounds")
		return f
	}
	f.MissedRounds = e.missed(name, now)
	if why := e.old(name, now); why != "" {
		undecide(f.Undecided, why, "endpoint.reachable", "endpoint.vanished", "endpoint.split", "endpoint.findings",
			"address.reachable", "address.findings", "address.tls_version")
	}
	f.Vanished = e.vanished(name, o)
	f.Split = certmedic.HasFinding(o.Findings, certmedic.SplitServing)
	var support rules.Support
	for _, a := range slices.Concat(e.speaking(o.Addresses), e.unresolved(name, o)) {
		f.Addresses = append(f.Addresses, e.addressFacts(ep, a, now))
	}
	f.Findings = codes(o.Findings)
	for _, a := range o.Addresses {
		f.Findings = append(f.Findings, codes(a.Findings)...)
		f.Reachable = f.Reachable || a.Reached()
		if !a.Reached() {
			f.Incomplete = rules.Incomplete{"endpoint.findings": spokenOf(name, a) + " presents no certificate"}
		}
		if a.Error != nil {
			at := spokenOf(name, a)
			support.Members = append(support.Members, at)
			support.Evidence = append(support.Evidence, certmedic.Evidence{Source: at, Line: string(a.Error.Reason) + ": " + a.Error.Detail})
		}
	}
	slices.Sort(f.Findings)
	f.Findings = slices.Compact(f.Findings)
	f.Support["endpoint.reachable"], f.Support["endpoint.vanished"] = support, support
	last := certmedic.Evidence{Source: name, Line: "was probed last at " + day(o.Time)}
	f.Support["endpoint.missed_rounds"] = rules.Support{Members: []string{name}, Evidence: []certmedic.Evidence{last}}
	return f
}

// vanished reports whether an endpoint that presented a certificate once has a name of which
// DNS says that it is gone.
func (e *entry) vanished(name string, o certmedic.Observation) bool {
	gone := func(a certmedic.AddressObservation) bool { return a.Error != nil && a.Error.Gone }
	return slices.ContainsFunc(o.Addresses, gone) && slices.ContainsFunc(slices.Collect(maps.Keys(e.memory.Seen)), func(at string) bool {
		endpoint, _, _ := strings.Cut(at, "|")
		return endpoint == name
	})
}

// codes lists the codes of findings but those that are for information only.
func codes(findings []certmedic.Finding) []string {
	all := make([]string, 0, len(findings))
	for _, f := range findings {
		if f.Severity != certmedic.SeverityInfo {
			all = append(all, string(f.Code))
		}
	}
	return all
}

func (e *entry) addressFacts(ep certmedic.Endpoint, a certmedic.AddressObservation, now time.Time) rules.AddressFacts {
	f := rules.AddressFacts{IP: a.Address, Reachable: a.Reached(), Undecided: rules.Undecided{}, Support: map[string]rules.Support{}}
	f.Findings = codes(a.Findings)
	if !a.Reached() {
		f.Incomplete = rules.Incomplete{"address.findings": a.Address + " presents no certificate"}
	}
	if a.TLS != nil {
		f.TLSVersion = a.TLS.Version
	} else {
		undecide(f.Undecided, a.Address+" could not be reached", "address.tls_version")
	}
	leaf, ok := e.memory.Seen[place(e.name(ep), a.Address)]
	if !ok {
		undecide(f.Undecided, a.Address+" never presented a certificate", "address.served_sha256", "address.expires_in", "address.remaining_ratio")
		return f
	}
	f.ServedSHA256, f.ExpiresIn, f.RemainingRatio = string(leaf.SHA256), leaf.NotAfter.Sub(now), leaf.RemainingRatio(now)
	return f
}

// fileFacts are about the files of the version that is stored, also of those that are gone.
func (e *entry) fileFacts(now time.Time) []rules.FileFacts {
	files := make([]rules.FileFacts, 0, len(e.files))
	for _, k := range e.files {
		f := rules.FileFacts{Path: k.Path, Undecided: rules.Undecided{}, Support: map[string]rules.Support{}}
		if slices.Contains(e.stored.Kept, k) {
			f.Mode = fmt.Sprintf("%04o", k.Mode)
		}
		if leaf, ok := e.stored.Leaf(); ok && k.Leaf {
			f.ExpiresIn = leaf.NotAfter.Sub(now)
		} else {
			undecide(f.Undecided, k.Path+" holds no leaf", "file.expires_in")
		}
		for _, finding := range e.stored.Findings {
			if mentions(finding.Detail, k.Path) {
				f.Findings = append(f.Findings, string(finding.Code))
			}
		}
		files = append(files, f)
	}
	return files
}

// mentions reports whether a text names a path, and not only one that begins with it.
func mentions(text, path string) bool {
	_, rest, found := strings.Cut(text, path)
	return found && (rest == "" || strings.ContainsAny(rest[:1], " :;,\"')]"))
}
