package watchdog

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// facts builds what the rules may ask about the certificate. What cannot be said now is
// undecided, with the reason.
func (e *entry) facts(now time.Time) rules.Facts {
	f := rules.Facts{Certificate: rules.CertificateFacts{
		Name: e.cert.Name, Labels: e.cert.Labels, Watched: e.cert.Watched, Stage: e.stage(),
		Undecided: rules.Undecided{}, Incomplete: rules.Incomplete{}, Support: map[string]rules.Support{},
	}}
	for _, ep := range e.cert.Endpoints {
		f.Endpoints = append(f.Endpoints, e.endpointFacts(ep, now))
		f.Certificate.Members = append(f.Certificate.Members, e.name(ep))
	}
	f.Files = e.fileFacts(now)
	e.storedFacts(&f.Certificate, now)
	e.servedFacts(&f.Certificate, now)
	e.driftFacts(&f.Certificate, now)
	e.splitFacts(&f.Certificate, now)
	e.findingFacts(&f.Certificate, now)
	e.deniedFacts(&f.Certificate)
	e.actionFacts(&f.Certificate)
	e.rehearsalFacts(&f.Certificate)
	e.renewalFacts(&f.Certificate, now)
	e.attemptFacts(&f.Certificate)
	e.budgetFacts(&f.Certificate)
	e.approvalFacts(&f.Certificate, now)
	e.loanFacts(&f.Certificate, now)
	e.supplyFacts(&f.Certificate)
	return f
}

func undecide(u rules.Undecided, why string, names ...string) {
	for _, n := range names {
		u[n] = why
	}
}

func (e *entry) storedFacts(c *rules.CertificateFacts, now time.Time) {
	leaf, ok := e.stored.Leaf()
	if !ok {
		undecide(c.Undecided, "no stored version is known", "certificate.stored_expires_in")
		if !certmedic.HasFinding(e.stored.Findings, certmedic.FileMissing) { // what is gone is not good
			undecide(c.Undecided, "no stored version is known", "certificate.stored_ok")
		}
		leaf = e.leafOfInterest()
		c.Names, c.Issuer, c.KeyType, c.SPKI = leaf.DNSNames, leaf.Issuer, leaf.KeyType, string(leaf.SPKISHA256)
		return
	}
	c.Names, c.Issuer, c.KeyType, c.SPKI = e.stored.Names, leaf.Issuer, leaf.KeyType, string(leaf.SPKISHA256)
	c.StoredVersion = string(leaf.SHA256)
	c.StoredExpiresIn = leaf.NotAfter.Sub(now)
	c.StoredOK = !slices.ContainsFunc(e.problems, invalid)
	if e.turning {
		undecide(c.Undecided, "a date of what is stored has passed, it is being read again", "certificate.stored_ok")
	}
}

// servedFacts decides about dates from what was presented last, so that they stay decidable
// when an endpoint becomes unreachable.
func (e *entry) servedFacts(c *rules.CertificateFacts, now time.Time) {
	first := e.leafOfInterest()
	if first.SHA256 == "" || len(e.memory.Seen) == 0 && len(e.cert.Endpoints) > 0 {
		undecide(c.Undecided, "no certificate was seen yet", "certificate.served_expires_in", "certificate.remaining_ratio",
			"certificate.lifetime", "certificate.expired", "certificate.served_ok")
		return
	}
	c.Lifetime, c.RemainingRatio, c.ServedExpiresIn = first.Lifetime(), math.Inf(1), first.NotAfter.Sub(now)
	c.ServedOK = true
	var ending, expired rules.Support
	shown := e.shown()
	for _, at := range slices.Sorted(maps.Keys(shown)) {
		leaf := shown[at]
		c.RemainingRatio = min(c.RemainingRatio, leaf.RemainingRatio(now))
		c.ServedExpiresIn = min(c.ServedExpiresIn, leaf.NotAfter.Sub(now))
		line := certmedic.Evidence{Source: at, Line: fmt.Sprintf("%s until %s", leaf.SHA256.Short(), leaf.NotAfter.UTC().Format(time.RFC3339))}
		ending.Members, ending.Evidence = append(ending.Members, at), append(ending.Evidence, line)
		if now.After(leaf.NotAfter) {
			c.Expired = true
			expired.Members, expired.Evidence = append(expired.Members, at), append(expired.Evidence, line)
		}
	}
	for name, o := range e.observed {
		c.ServedOK = c.ServedOK && (e.old(name, now) != "" || !anyCritical(o))
	}
	if why := e.unseen(now); c.ServedOK && why != "" {
		undecide(c.Undecided, why, "certificate.served_ok")
	}
	for _, leaf := range e.memory.Seen {
		c.ServedVersions = append(c.ServedVersions, string(leaf.SHA256))
	}
	slices.Sort(c.ServedVersions)
	c.ServedVersions = slices.Compact(c.ServedVersions)
	c.Support["certificate.remaining_ratio"], c.Support["certificate.served_expires_in"] = ending, ending
	c.Support["certificate.expired"] = expired
}

// shown returns the leaves that clients see, by place; without endpoints the stored one.
func (e *entry) shown() map[string]certmedic.CertFacts {
	if len(e.memory.Seen) > 0 {
		shown := make(map[string]certmedic.CertFacts, len(e.memory.Seen))
		for at, leaf := range e.memory.Seen {
			shown[spoken(at)] = leaf
		}
		return shown
	}
	leaf, _ := e.stored.Leaf()
	return map[string]certmedic.CertFacts{e.storedAt(): leaf}
}

// spoken renders a place for people: the endpoint, and the address where it says more.
func spoken(at string) string {
	endpoint, address, _ := strings.Cut(at, "|")
	if endpoint == address {
		return endpoint
	}
	return endpoint + " at " + address
}

func anyCritical(o certmedic.Observation) bool {
	for _, a := range o.Addresses {
		if slices.ContainsFunc(a.Findings, critical) {
			return true
		}
	}
	return false
}

func critical(f certmedic.Finding) bool { return f.Severity == certmedic.SeverityCritical }

// invalid reports whether clients refuse what has the finding already, not only soon.
func invalid(f certmedic.Finding) bool { return critical(f) && f.Code != certmedic.Expiring }

func (e *entry) driftFacts(c *rules.CertificateFacts, now time.Time) {
	leaf, ok := e.stored.Leaf()
	switch {
	case e.cert.Source.Kind == certmedic.SourceNone || len(e.cert.Endpoints) == 0:
		return // there is nothing to drift from, or nowhere to do so
	case !ok:
		undecide(c.Undecided, "nothing stored is known", "certificate.drift", "certificate.drift_age")
		return
	case e.deploying():
		undecide(c.Undecided, "certbot is at work", "certificate.drift", "certificate.drift_age")
		return
	}
	var support rules.Support
	for at, since := range e.drifting {
		if e.stale(at, now) {
			continue
		}
		c.Drift = true
		c.ServedNewer = c.ServedNewer || newer(e.memory.Seen[at], leaf)
		c.DriftAge = max(c.DriftAge, now.Sub(since))
		support.Members = append(support.Members, spoken(at))
		support.Evidence = append(support.Evidence, certmedic.Evidence{Source: spoken(at), Line: driftLine(e.memory.Seen[at], leaf) + e.stranger(at)})
	}
	slices.SortFunc(support.Evidence, func(a, b certmedic.Evidence) int { return strings.Compare(a.Source, b.Source) })
	if a := e.action; c.Drift && a != nil && a.Version == leaf.SHA256 && a.Outcome.Detail != "" {
		line := strings.ReplaceAll(string(a.Outcome.Kind), "_", " ") + ": " + a.Outcome.Detail
		support.Evidence = append(support.Evidence, certmedic.Evidence{Source: string(a.Kind), Line: line})
	}
	c.Support["certificate.drift"] = support
	if why := e.unseen(now); !c.Drift && why != "" {
		undecide(c.Undecided, why, "certificate.drift", "certificate.drift_age")
	}
}

// splitFacts says whether clients get different versions now, and where. Those who serve
// another version than the stored one, or than the one that was issued last, are its members.
func (e *entry) splitFacts(c *rules.CertificateFacts, now time.Time) {
	served := e.served(now)
	newest, stored := e.stored.Leaf()
	for _, at := range slices.Sorted(maps.Keys(served)) {
		if leaf := served[at]; !stored && (leaf.NotBefore.After(newest.NotBefore) || leaf.NotBefore.Equal(newest.NotBefore) && leaf.SHA256 > newest.SHA256) {
			newest = leaf
		}
	}
	var support rules.Support
	for _, at := range slices.Sorted(maps.Keys(served)) {
		if leaf := served[at]; leaf.SHA256 != newest.SHA256 {
			support.Members = append(support.Members, spoken(at))
			support.Evidence = append(support.Evidence, certmedic.Evidence{Source: spoken(at), Line: "serves " + leaf.SHA256.Short() + " until " + day(leaf.NotAfter)})
		}
	}
	c.Split = len(support.Members) > 0 && len(support.Members) < len(served)
	c.Support["certificate.split"] = support
	for name, o := range e.observed {
		c.Split = c.Split || e.old(name, now) == "" && certmedic.HasFinding(o.Findings, certmedic.SplitServing)
	}
	if why := e.unseen(now); !c.Split && why != "" {
		undecide(c.Undecided, why, "certificate.split")
	}
	if e.deploying() {
		undecide(c.Undecided, "certbot is at work", "certificate.split")
	}
}

// served returns the leaves that were presented at the last look, by place; not those of an
// endpoint that was not probed since the stored version changed, or not for long.
func (e *entry) served(now time.Time) map[string]certmedic.CertFacts {
	served := map[string]certmedic.CertFacts{}
	for name, o := range e.observed {
		if o.Time.Before(e.changed) || e.old(name, now) != "" {
			continue
		}
		for _, a := range e.speaking(o.Addresses) {
			if leaf, ok := a.Leaf(); ok {
				served[place(name, a.Address)] = leaf
			}
		}
	}
	return served
}

func driftLine(served, stored certmedic.CertFacts) string {
	line := fmt.Sprintf("serves %s until %s, the source holds %s until %s", served.SHA256.Short(), day(served.NotAfter), stored.SHA256.Short(), day(stored.NotAfter))
	if newer(served, stored) {
		line += "; what is served is newer than what is stored"
	}
	return line
}

// newer reports whether what is served was issued after what is stored: it begins and ends
// later. CAs date the beginning back, each in its own way.
func newer(served, stored certmedic.CertFacts) bool {
	return served.NotBefore.After(stored.NotBefore) && served.NotAfter.After(stored.NotAfter)
}

// stranger says that nothing is done about a place that was never seen to serve a version
// of this certificate.
func (e *entry) stranger(at string) string {
	if _, bound := e.memory.Bound[at]; bound {
		return "" // as nearly all are: certificates have hundreds of places
	}
	endpoint, address, _ := strings.Cut(at, "|")
	for _, ep := range e.cert.Endpoints {
		if e.name(ep) == endpoint && e.bound(ep, address) {
			return ""
		}
	}
	return "; no version of this certificate was ever seen there, so nothing is done about it"
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// unseen says why it cannot be claimed that every address serves the stored version.
func (e *entry) unseen(now time.Time) string {
	for _, ep := range e.cert.Endpoints {
		name := e.name(ep)
		o, ok := e.observed[name]
		why := e.old(name, now)
		switch {
		case why != "":
			return why
		case !ok:
			return name + " was not probed yet"
		case o.Time.Before(e.changed):
			return name + " was not probed since the version changed"
		}
		for _, a := range e.speaking(o.Addresses) {
			if !a.Reached() {
				return spoken(place(name, a.Address)) + " presents no certificate"
			}
		}
	}
	return ""
}

// findingFacts lists what was found where a certificate is served, and in its source. What
// cannot be seen now may hide a finding, so that its absence proves nothing.
func (e *entry) findingFacts(c *rules.CertificateFacts, now time.Time) {
	ofFile, ofCertificate := e.findings(), e.findings()
	if e.kept != nil {
		ofFile, ofCertificate = e.apart()
	}
	c.StoredFindings = add(c, "certificate.stored_findings", c.StoredFindings, e.storedAt(), ofFile)
	if len(e.cert.Endpoints) == 0 {
		c.Findings = add(c, "certificate.findings", c.Findings, e.storedAt(), ofCertificate)
	}
	for _, ep := range e.cert.Endpoints {
		e.presented(c, e.name(ep), now)
	}
	if len(e.stored.Chain) == 0 && e.cert.Source.Kind != certmedic.SourceNone {
		c.Incomplete["certificate.stored_findings"] = "nothing can be read of the source"
		if len(e.cert.Endpoints) == 0 {
			c.Incomplete["certificate.findings"] = "nothing can be read of the source"
		}
	}
	switch {
	case e.deploying():
		undecide(c.Undecided, "certbot is at work", "certificate.findings", "certificate.stored_findings")
	case !e.read && e.cert.Source.Kind != certmedic.SourceNone:
		undecide(c.Undecided, notRead, "certificate.stage", "certificate.stored_findings")
	}
}

// presented lists what was found at an endpoint, and the versions of TLS that it speaks.
func (e *entry) presented(c *rules.CertificateFacts, name string, now time.Time) {
	incomplete := func(why string) {
		c.Incomplete["certificate.findings"], c.Incomplete["certificate.tls_versions"] = why, why
	}
	o, ok := e.observed[name]
	if !ok {
		incomplete(name + " was not probed yet")
		return
	}
	if why := e.old(name, now); why != "" {
		incomplete(why)
		return
	}
	c.Findings = add(c, "certificate.findings", c.Findings, name, o.Findings)
	for _, a := range o.Addresses {
		at := spokenOf(name, a)
		c.Findings = add(c, "certificate.findings", c.Findings, at, a.Findings)
		if !a.Reached() {
			incomplete(at + " presents no certificate")
		}
		if a.TLS != nil {
			c.TLSVersions = back(c, "certificate.tls_versions", c.TLSVersions, a.TLS.Version, certmedic.Evidence{Source: at, Line: "speaks " + a.TLS.Version})
		}
	}
}

// notRead is why nothing can be said about a source at first.
const notRead = "the source was not read yet"

// add appends the codes of findings to a list, each once, and backs them.
func add(c *rules.CertificateFacts, variable string, codes []string, at string, findings []certmedic.Finding) []string {
	for _, f := range findings {
		if f.Severity == certmedic.SeverityInfo {
			continue
		}
		codes = back(c, variable, codes, string(f.Code), certmedic.Evidence{Source: at, Line: string(f.Code) + ": " + f.Detail})
	}
	return codes
}

// back appends a word to a list, once, and backs it by who shows it.
func back(c *rules.CertificateFacts, variable string, words []string, word string, line certmedic.Evidence) []string {
	if !slices.Contains(words, word) {
		words = append(words, word)
	}
	key := variable + ":" + word
	support := c.Support[key]
	support.Members = append(support.Members, line.Source)
	support.Evidence = append(support.Evidence, line)
	c.Support[key] = support
	return words
}

// actionFacts says how the last action for the stored version went. While one is at work
// that stays as it was: an attempt to mend ends no incident, and begins none without its
// evidence.
func (e *entry) actionFacts(c *rules.CertificateFacts) {
	leaf, ok := e.stored.Leaf()
	if !ok && e.cert.Source.Kind != certmedic.SourceNone {
		undecide(c.Undecided, "no stored version is known", "certificate.remediation", "certificate.refusal", "certificate.hook_exit_code")
		return
	}
	a := e.action
	if a == nil || a.Version != leaf.SHA256 {
		return
	}
	e.hookFacts(c, leaf.SHA256)
	if a.Outcome.Kind == certmedic.OutcomeRunning {
		undecide(c.Undecided, "an action is at work", "certificate.remediation")
		return
	}
	c.Remediation = string(a.Outcome.Kind)
	if a.Outcome.Reason == reasonExhausted {
		c.Remediation = "gave_up"
	}
	if c.Stage == certmedic.StageServed && a.Outcome.Kind != certmedic.OutcomeHealed && a.Kind != certmedic.ActionRenew {
		c.Remediation = "" // somebody else healed it
		return
	}
	if a.Outcome.Kind == certmedic.OutcomeRefused {
		c.Refusal = a.Outcome.Reason
	}
	told := rules.Support{Evidence: evidenceOf(*a)}
	c.Support["certificate.remediation"], c.Support["certificate.refusal"] = told, told
}

// hookFacts says how the commands ended that were run last for the version. A refusal, of
// which the last action may be one, runs nothing and changes nothing about that.
func (e *entry) hookFacts(c *rules.CertificateFacts, version certmedic.Fingerprint) {
	a := e.ran
	switch {
	case a == nil || a.Version != version:
		return
	case a.Outcome.Kind == certmedic.OutcomeRunning:
		undecide(c.Undecided, "an action is at work", "certificate.hook_exit_code")
		return
	case c.Stage == certmedic.StageServed && a.Outcome.Kind != certmedic.OutcomeHealed:
		return // somebody else healed it
	}
	for _, r := range a.Runs {
		if blamed(r) {
			c.HookExitCode = exitCode(r)
			break
		}
	}
	c.Support["certificate.hook_exit_code"] = rules.Support{Evidence: evidenceOf(*a)}
}

// evidenceOf returns what an action left as evidence, at least why it ended as it did.
func evidenceOf(a certmedic.Action) []certmedic.Evidence {
	if a.Outcome.Detail != "" && len(a.Outcome.Evidence) == 0 {
		return []certmedic.Evidence{{Source: string(a.Kind), Line: a.Outcome.Detail}}
	}
	return a.Outcome.Evidence
}

// reasonExhausted is the guard's code for having given up.
const reasonExhausted = "attempts_exhausted"

// blamed reports whether a command ended, and not well. One that certmedic stopped waiting
// for cannot be blamed.
func blamed(r certmedic.Run) bool {
	return r.Result != certmedic.RunRunning && r.Result != certmedic.RunCancelled && !r.Succeeded()
}

// exitCode returns a command's exit code, and -1 for one that did not exit by itself.
func exitCode(r certmedic.Run) int64 {
	if r.Result == certmedic.RunExited {
		return int64(r.ExitCode)
	}
	return -1
}
