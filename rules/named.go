package rules

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/hint"
)

// named is a condition that rules use by its name, so that nobody has to write CEL for what
// many want to know. It stands for an expression, and means the same.
type named struct {
	name     string
	takes    argument
	meaning  string
	example  string
	forms    []form
	accepted func() []string // the closed set of its words; nil: any
}

// form is the expression that a named condition stands for in rules about some subjects.
type form struct {
	about []certmedic.SubjectKind
	cel   string // %s stands for the argument
	share string // where the argument is a share of the lifetime; empty where it cannot be
}

// conditions lists every named condition.
func conditions() []named {
	return slices.Concat(ofDates(), ofVersions(), ofFindings(), ofReach(), ofWork(), filters(), ofFleets())
}

func about(kinds ...certmedic.SubjectKind) []certmedic.SubjectKind { return kinds }

// certificates is the form of conditions that only rules about certificates may use.
func certificates(cel string) []form {
	return []form{{about: about(certmedic.AboutCertificate), cel: cel}}
}

// belongings is the form of conditions that look at the certificate which a subject belongs
// to, to choose among subjects.
func belongings(cel string) []form {
	return []form{{about: about(certmedic.AboutCertificate, certmedic.AboutEndpoint, certmedic.AboutAddress, certmedic.AboutFile), cel: cel}}
}

func fleets(cel string) []form { return []form{{about: about(certmedic.AboutFleet), cel: cel}} }

func ofDates() []named {
	return []named{
		{name: "expired", meaning: "what is served has expired; of a file: what is in it", example: "expired", forms: []form{
			{about: about(certmedic.AboutCertificate), cel: `certificate.expired`},
			{about: about(certmedic.AboutAddress), cel: `address.expires_in <= duration("0s")`},
			{about: about(certmedic.AboutFile), cel: `file.expires_in <= duration("0s")`},
		}},
		{name: "expires_within", takes: spans, meaning: "less than this is left of what is served and ends first, or of what is in a file (a duration only); of several, all hold", example: "expires_within: 14d", forms: []form{
			{about(certmedic.AboutCertificate), `certificate.served_expires_in < %s`, `certificate.remaining_ratio < %s`},
			{about(certmedic.AboutAddress), `address.expires_in < %s`, `address.remaining_ratio < %s`},
			{about(certmedic.AboutFile), `file.expires_in < %s`, ``},
		}},
		{name: "stored_expires_within", takes: wait, meaning: "less than this is left of the stored version", example: "stored_expires_within: 14d", forms: certificates(`certificate.stored_expires_in < %s`)},
		{name: "renewal_overdue", meaning: "its renewal is overdue", example: "renewal_overdue", forms: certificates(`certificate.renewal_overdue`)},
		{name: "lifetime_over", takes: wait, meaning: "it was issued for longer than this", example: "lifetime_over: 100d", forms: belongings(`certificate.lifetime > %s`)},
	}
}

func ofVersions() []named {
	return []named{
		{name: "drift", meaning: "an address serves another version than the newest stored one", example: "drift", forms: certificates(`certificate.drift`)},
		{name: "drift_longer_than", takes: wait, meaning: "it has drifted for longer than this", example: "drift_longer_than: 10m", forms: certificates(`certificate.drift && certificate.drift_age > %s`)},
		{name: "renewed_not_served", meaning: "it drifts, and the stored version is the newer one", example: "renewed_not_served", forms: certificates(`certificate.drift && !certificate.served_newer`)},
		{name: "served_newer", meaning: "it drifts, and what is served is the newer one", example: "served_newer", forms: certificates(`certificate.drift && certificate.served_newer`)},
		{name: "split", meaning: "its addresses serve different versions", example: "split", forms: []form{
			{about: about(certmedic.AboutCertificate), cel: `certificate.split`},
			{about: about(certmedic.AboutEndpoint), cel: `endpoint.split`},
		}},
	}
}

func ofFindings() []named {
	return []named{
		{name: "finding", takes: words, accepted: findingCodes, meaning: "what is served has one of these findings; of a file: what is in it", example: "finding: [weak_key, weak_signature]", forms: []form{
			{about: about(certmedic.AboutCertificate), cel: `certificate.findings.exists(f, f in %s)`},
			{about: about(certmedic.AboutEndpoint), cel: `endpoint.findings.exists(f, f in %s)`},
			{about: about(certmedic.AboutAddress), cel: `address.findings.exists(f, f in %s)`},
			{about: about(certmedic.AboutFile), cel: `file.findings.exists(f, f in %s)`},
		}},
		{name: "stored_finding", takes: words, accepted: findingCodes, meaning: "the source, or the version in it, has one of these findings", example: "stored_finding: file_permissions", forms: certificates(`certificate.stored_findings.exists(f, f in %s)`)},
		{name: "served_bad", meaning: "something is served with a critical finding", example: "served_bad", forms: certificates(`!certificate.served_ok`)},
		{name: "stored_bad", meaning: "the stored version has a critical finding", example: "stored_bad", forms: certificates(`!certificate.stored_ok`)},
	}
}

func ofReach() []named {
	return []named{
		{name: "unreachable", meaning: "it presents no certificate", example: "unreachable", forms: []form{
			{about: about(certmedic.AboutEndpoint), cel: `!endpoint.reachable`},
			{about: about(certmedic.AboutAddress), cel: `!address.reachable`},
		}},
		{name: "vanished", meaning: "its name no longer resolves", example: "vanished", forms: []form{{about: about(certmedic.AboutEndpoint), cel: `endpoint.vanished`}}},
		{name: "missed_rounds", takes: number, meaning: "it was probed last at least so many intervals ago; of the fleet: its slowest endpoint was", example: "missed_rounds: 5", forms: []form{
			{about: about(certmedic.AboutEndpoint), cel: `endpoint.missed_rounds >= %s.0`},
			{about: about(certmedic.AboutFleet), cel: `fleet.missed_rounds >= %s.0`},
		}},
		{name: "tls_version", takes: words, accepted: tlsVersions, meaning: "it speaks one of these versions of TLS", example: `tls_version: ["TLS 1.0", "TLS 1.1"]`, forms: []form{
			{about: about(certmedic.AboutCertificate), cel: `certificate.tls_versions.exists(v, v in %s)`},
			{about: about(certmedic.AboutAddress), cel: `address.tls_version in %s`},
		}},
	}
}

func ofWork() []named {
	return []named{
		{name: "deploying", meaning: "certbot, or a hook that it runs, is at work", example: "deploying", forms: certificates(`certificate.stage == "deploying"`)},
		{name: "hook_failed", meaning: "a deploy hook failed when certmedic ran it", example: "hook_failed", forms: certificates(`certificate.hook_exit_code != 0`)},
		{name: "gave_up", meaning: "certmedic could not heal it, and stopped trying", example: "gave_up", forms: certificates(`certificate.remediation == "gave_up"`)},
		{name: "refused", meaning: "a guard refused what certmedic wanted to do last", example: "refused", forms: certificates(`certificate.refusal != ""`)},
		{name: "awaits_approval", meaning: "a plan waits for a person's approval", example: "awaits_approval", forms: certificates(`certificate.approval != ""`)},
		{name: "rolled_back", meaning: "a version that was rolled back to is served", example: "rolled_back", forms: certificates(`certificate.loan`)},
		{name: "key_denied", meaning: "its key is on the deny list", example: "key_denied", forms: certificates(`certificate.key_denied`)},
		{name: "budget_below", takes: number, meaning: "the CA grants fewer certificates than this", example: "budget_below: 2", forms: certificates(`certificate.budget_remaining < %s`)},
	}
}

// filters are the conditions that choose among subjects.
func filters() []named {
	return []named{
		{name: "certificate", takes: globs, meaning: "certmedic's own name for it; * stands for anything", example: "certificate: shop-*", forms: belongings(`certificate.name%s`)},
		{name: "name", takes: globs, meaning: "one of its DNS names; * stands for anything", example: `name: "*.example.com"`, forms: belongings(`certificate.names.exists(n, n%s)`)},
		{name: "issuer", takes: patterns, meaning: "its issuer's common name, or the whole name, in full (regular expression)", example: `issuer: "R1[01]"`, forms: belongings(`certificate.issuer.matches(%s)`)},
		{name: "not_issuer", takes: patterns, meaning: "its issuer is none of these", example: `not_issuer: ["R1.", "E."]`, forms: belongings(`!certificate.issuer.matches(%s)`)},
		{name: "key_type", takes: keyTypes, meaning: "the type of its key", example: "key_type: [rsa1024, rsa2048]", forms: belongings(`certificate.key_type in %s`)},
		{name: "label", takes: labels, meaning: "it has these labels, any of a label's values where there are several; without a value: the label is there", example: "label: {team: payments}", forms: []form{
			{about: about(certmedic.AboutCertificate, certmedic.AboutFile), cel: `certificate.labels`},
			{about: about(certmedic.AboutEndpoint, certmedic.AboutAddress), cel: `certificate.labels endpoint.labels`},
		}},
		{name: "watched", meaning: "it is only watched: there is nothing that certmedic could mend", example: "watched", forms: belongings(`certificate.watched`)},
	}
}

func ofFleets() []named {
	return []named{
		{name: "rule_errors", meaning: "a rule could not be asked about something", example: "rule_errors", forms: fleets(`size(fleet.rule_errors) > 0`)},
		{name: "degraded", meaning: "certmedic itself cannot do something", example: "degraded", forms: fleets(`size(fleet.degraded) > 0`)},
		{name: "receivers_failing", meaning: "a notification could not be delivered", example: "receivers_failing", forms: fleets(`size(fleet.failing_receivers) > 0`)},
		{name: "queue_older_than", takes: wait, meaning: "a notification has waited for longer than this", example: "queue_older_than: 5m", forms: fleets(`fleet.queue_age > %s`)},
		{name: "clock_off_by", takes: wait, meaning: "this clock and the CA's disagree by more than this", example: "clock_off_by: 5m", forms: fleets(`fleet.clock_skew > %s || fleet.clock_skew < duration("0s") - %s`)},
	}
}

// tlsVersions lists the versions of TLS that an address can be found to speak.
func tlsVersions() []string {
	var all []string
	for v := tls.VersionTLS10; v <= tls.VersionTLS13; v++ {
		all = append(all, tls.VersionName(uint16(v)))
	}
	return append(all, "SSL 3.0")
}

// form returns what the condition stands for in rules about a kind of subject.
func (c *named) form(kind certmedic.SubjectKind) (form, bool) {
	for _, f := range c.forms {
		if slices.Contains(f.about, kind) {
			return f, true
		}
	}
	return form{}, false
}

// about lists the kinds of subjects whose rules may use the condition.
func (c *named) about() []certmedic.SubjectKind {
	var all []certmedic.SubjectKind
	for _, kind := range subjectKinds() {
		if _, ok := c.form(kind); ok {
			all = append(all, kind)
		}
	}
	return all
}

// expand returns the CEL that the value of `condition` stands for; empty after a problem.
func (l *loader) expand(n ast.Node, kind certmedic.SubjectKind) string {
	if _, scalar := n.(ast.ScalarNode); scalar {
		return l.expandWord(n, kind)
	}
	entries := l.entries(n, "condition")
	if _, ok := n.(*ast.MappingNode); ok && len(entries) == 0 {
		l.problem(n, "condition names none")
	}
	before := len(l.problems)
	seen := map[string]bool{}
	var parts []string
	for _, e := range entries {
		name := l.text(e.Key)
		if seen[name] {
			l.problem(e.Key, "the key %q is given twice", name)
		}
		seen[name] = true
		if part := l.expandEntry(e, name, kind); part != "" {
			parts = append(parts, part)
		}
	}
	if len(l.problems) > before {
		return ""
	}
	return joined(parts, " && ")
}

// expandWord returns what a condition without an argument stands for.
func (l *loader) expandWord(n ast.Node, kind certmedic.SubjectKind) string {
	c, f := l.find(n, l.text(n), kind)
	if c == nil {
		return ""
	}
	if c.takes != plain {
		l.problem(n, "condition %q needs to know more, for example {%s}", c.name, c.example)
		return ""
	}
	return f.cel
}

func (l *loader) expandEntry(e *ast.MappingValueNode, name string, kind certmedic.SubjectKind) string {
	c, f := l.find(e.Key, name, kind)
	if c == nil {
		return ""
	}
	value := l.resolve(e.Value)
	if value == nil {
		l.problem(e.Key, "condition %q has no value, for example {%s}", name, c.example)
		return ""
	}
	return l.argue(c, f, value)
}

// find returns a condition by its name, and its form in rules about a kind of subject.
func (l *loader) find(n ast.Node, name string, kind certmedic.SubjectKind) (*named, form) {
	var others []string
	for i := range l.named {
		c := &l.named[i]
		f, ok := c.form(kind)
		switch {
		case c.name == name && ok:
			return c, f
		case c.name == name:
			l.problem(n, "condition %q is for rules about %s, not about %s", name, choice(c.about()), kind)
			return nil, form{}
		case ok:
			others = append(others, c.name)
		}
	}
	l.problem(n, "no condition about %s is named %q%s", kind, name, hint.OrAll(name, others))
	return nil, form{}
}

// choice lists kinds the way a sentence does.
func choice(kinds []certmedic.SubjectKind) string {
	text := ""
	for i, k := range kinds {
		switch {
		case i == 0:
		case i == len(kinds)-1:
			text += " or "
		default:
			text += ", "
		}
		text += string(k)
	}
	return text
}

// joined joins expressions, those that hold another operator in brackets.
func joined(parts []string, operator string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	all := make([]string, 0, len(parts))
	for _, p := range parts {
		if strings.Contains(p, "||") || strings.Contains(p, "&&") {
			p = fmt.Sprintf("(%s)", p)
		}
		all = append(all, p)
	}
	return strings.Join(all, operator)
}
