package rules

import (
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/certmedic/certmedic"
)

// variable is one name that a condition may use. Each is declared to CEL by its full
// name ("certificate.drift"), so that an unknown one is an error when rules are loaded.
type variable struct {
	name    string
	about   certmedic.SubjectKind // the level that it belongs to
	typ     *cel.Type
	value   func(s *subject) ref.Val // nil: nobody supplies it
	index   int                      // among the variables of its level
	unknown *types.Unknown           // stands for it where it is undecided
}

// variables lists every name that a condition may use.
func variables() []variable {
	all := slices.Concat(ofCertificates(), ofEndpoints(), ofAddresses(), ofFiles(), ofTheFleet())
	next := map[certmedic.SubjectKind]int{}
	for i := range all {
		v := &all[i]
		v.index, v.unknown = next[v.about], types.NewUnknown(1, types.NewAttributeTrail(v.name))
		next[v.about]++
	}
	return all
}

// lists are the type of variables with words, table that of variables with labels.
func lists() *cel.Type { return cel.ListType(cel.StringType) }
func table() *cel.Type { return cel.MapType(cel.StringType, cel.StringType) }

func ofCertificates() []variable {
	asWords := givingWords()
	cert := func(name string, typ *cel.Type, value func(c *CertificateFacts) ref.Val) variable {
		return variable{name: "certificate." + name, about: certmedic.AboutCertificate, typ: typ, value: func(s *subject) ref.Val { return value(&s.facts.Certificate) }}
	}
	return []variable{
		cert("name", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.Name) }),
		cert("labels", table(), func(c *CertificateFacts) ref.Val { return asLabels(c.Labels) }),
		cert("watched", cel.BoolType, func(c *CertificateFacts) ref.Val { return asFlag(c.Watched) }),
		cert("stage", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(string(c.Stage)) }),
		cert("drift", cel.BoolType, func(c *CertificateFacts) ref.Val { return asFlag(c.Drift) }),
		cert("drift_age", cel.DurationType, func(c *CertificateFacts) ref.Val { return asSpan(c.DriftAge) }),
		cert("served_newer", cel.BoolType, func(c *CertificateFacts) ref.Val { return asFlag(c.ServedNewer) }),
		cert("split", cel.BoolType, func(c *CertificateFacts) ref.Val { return asFlag(c.Split) }),
		cert("stored_version", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.StoredVersion) }),
		cert("served_versions", lists(), func(c *CertificateFacts) ref.Val { return asWords(c.ServedVersions) }),
		cert("names", lists(), func(c *CertificateFacts) ref.Val { return asWords(c.Names) }),
		cert("issuer", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.Issuer) }),
		cert("key_type", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.KeyType) }),
		cert("spki_sha256", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.SPKI) }),
		cert("expired", cel.BoolType, func(c *CertificateFacts) ref.Val { return asFlag(c.Expired) }),
		cert("lifetime", cel.DurationType, func(c *CertificateFacts) ref.Val { return asSpan(c.Lifetime) }),
		cert("remaining_ratio", cel.DoubleType, func(c *CertificateFacts) ref.Val { return asFraction(c.RemainingRatio) }),
		cert("served_expires_in", cel.DurationType, func(c *CertificateFacts) ref.Val { return asSpan(c.ServedExpiresIn) }),
		cert("stored_expires_in", cel.DurationType, func(c *CertificateFacts) ref.Val { return asSpan(c.StoredExpiresIn) }),
		cert("served_ok", cel.BoolType, func(c *CertificateFacts) ref.Val { return asFlag(c.ServedOK) }),
		cert("stored_ok", cel.BoolType, func(c *CertificateFacts) ref.Val { return asFlag(c.StoredOK) }),
		cert("findings", lists(), func(c *CertificateFacts) ref.Val { return asWords(c.Findings) }),
		cert("stored_findings", lists(), func(c *CertificateFacts) ref.Val { return asWords(c.StoredFindings) }),
		cert("tls_versions", lists(), func(c *CertificateFacts) ref.Val { return asWords(c.TLSVersions) }),
		cert("members", lists(), func(c *CertificateFacts) ref.Val { return asWords(c.Members) }),
		cert("renewal_overdue", cel.BoolType, func(c *CertificateFacts) ref.Val { return asFlag(c.RenewalOverdue) }),
		cert("renewal_due_in", cel.DurationType, func(c *CertificateFacts) ref.Val { return asSpan(c.RenewalDueIn) }),
		cert("renewal_basis", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.RenewalBasis) }),
		cert("renewal_age", cel.DurationType, func(c *CertificateFacts) ref.Val { return known(c.RenewalAge, asSpan) }),
		cert("ari_starts_in", cel.DurationType, func(c *CertificateFacts) ref.Val { return known(c.ARIStartsIn, asSpan) }),
		cert("ari_ends_in", cel.DurationType, func(c *CertificateFacts) ref.Val { return known(c.ARIEndsIn, asSpan) }),
		cert("renew_in", cel.DurationType, func(c *CertificateFacts) ref.Val { return known(c.RenewIn, asSpan) }),
		cert("renewal_log", cel.StringType, func(c *CertificateFacts) ref.Val { return known(c.RenewalLog, asText) }),
		cert("hook_exit_code", cel.IntType, func(c *CertificateFacts) ref.Val { return asNumber(c.HookExitCode) }),
		cert("remediation", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.Remediation) }),
		cert("refusal", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.Refusal) }),
		cert("rehearsal", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.Rehearsal) }),
		cert("approval", cel.StringType, func(c *CertificateFacts) ref.Val { return asText(c.Approval) }),
		cert("loan", cel.BoolType, func(c *CertificateFacts) ref.Val { return known(c.Loan, asFlag) }),
		cert("loan_ends_in", cel.DurationType, func(c *CertificateFacts) ref.Val { return known(c.LoanEndsIn, asSpan) }),
		cert("loan_count", cel.IntType, func(c *CertificateFacts) ref.Val { return known(c.LoanCount, asNumber) }),
		cert("key_denied", cel.BoolType, func(c *CertificateFacts) ref.Val { return known(c.KeyDenied, asFlag) }),
		cert("shared_failing", cel.BoolType, func(c *CertificateFacts) ref.Val { return known(c.SharedFailing, asFlag) }),
		cert("unpublished", cel.BoolType, func(c *CertificateFacts) ref.Val { return known(c.Unpublished, asFlag) }),
		cert("standby_unfit", cel.BoolType, func(c *CertificateFacts) ref.Val { return known(c.StandbyUnfit, asFlag) }),
		cert("budget_remaining", cel.IntType, func(c *CertificateFacts) ref.Val { return known(c.BudgetRemaining, asNumber) }),
		cert("nodes_behind", cel.IntType, func(c *CertificateFacts) ref.Val { return asNumber(c.NodesBehind) }),
	}
}

func ofEndpoints() []variable {
	asWords := givingWords()
	endpoint := func(name string, typ *cel.Type, value func(e *EndpointFacts) ref.Val) variable {
		return variable{name: "endpoint." + name, about: certmedic.AboutEndpoint, typ: typ, value: func(s *subject) ref.Val { return value(s.endpoint) }}
	}
	return []variable{
		endpoint("address", cel.StringType, func(e *EndpointFacts) ref.Val { return asText(e.Address) }),
		endpoint("protocol", cel.StringType, func(e *EndpointFacts) ref.Val { return asText(e.Protocol) }),
		endpoint("labels", table(), func(e *EndpointFacts) ref.Val { return asLabels(e.Labels) }),
		endpoint("reachable", cel.BoolType, func(e *EndpointFacts) ref.Val { return asFlag(e.Reachable) }),
		endpoint("vanished", cel.BoolType, func(e *EndpointFacts) ref.Val { return asFlag(e.Vanished) }),
		endpoint("split", cel.BoolType, func(e *EndpointFacts) ref.Val { return asFlag(e.Split) }),
		endpoint("missed_rounds", cel.DoubleType, func(e *EndpointFacts) ref.Val { return asFraction(e.MissedRounds) }),
		endpoint("findings", lists(), func(e *EndpointFacts) ref.Val { return asWords(e.Findings) }),
	}
}

func ofAddresses() []variable {
	asWords := givingWords()
	address := func(name string, typ *cel.Type, value func(a *AddressFacts) ref.Val) variable {
		return variable{name: "address." + name, about: certmedic.AboutAddress, typ: typ, value: func(s *subject) ref.Val { return value(s.address) }}
	}
	return []variable{
		address("ip", cel.StringType, func(a *AddressFacts) ref.Val { return asText(a.IP) }),
		address("reachable", cel.BoolType, func(a *AddressFacts) ref.Val { return asFlag(a.Reachable) }),
		address("findings", lists(), func(a *AddressFacts) ref.Val { return asWords(a.Findings) }),
		address("served_sha256", cel.StringType, func(a *AddressFacts) ref.Val { return asText(a.ServedSHA256) }),
		address("expires_in", cel.DurationType, func(a *AddressFacts) ref.Val { return asSpan(a.ExpiresIn) }),
		address("remaining_ratio", cel.DoubleType, func(a *AddressFacts) ref.Val { return asFraction(a.RemainingRatio) }),
		address("tls_version", cel.StringType, func(a *AddressFacts) ref.Val { return asText(a.TLSVersion) }),
	}
}

func ofFiles() []variable {
	asWords := givingWords()
	file := func(name string, typ *cel.Type, value func(f *FileFacts) ref.Val) variable {
		return variable{name: "file." + name, about: certmedic.AboutFile, typ: typ, value: func(s *subject) ref.Val { return value(s.file) }}
	}
	return []variable{
		file("path", cel.StringType, func(f *FileFacts) ref.Val { return asText(f.Path) }),
		file("mode", cel.StringType, func(f *FileFacts) ref.Val { return asText(f.Mode) }),
		file("expires_in", cel.DurationType, func(f *FileFacts) ref.Val { return asSpan(f.ExpiresIn) }),
		file("findings", lists(), func(f *FileFacts) ref.Val { return asWords(f.Findings) }),
	}
}

func ofTheFleet() []variable {
	asWords := givingWords()
	fleet := func(name string, typ *cel.Type, value func(f *FleetFacts) ref.Val) variable {
		return variable{name: "fleet." + name, about: certmedic.AboutFleet, typ: typ, value: func(s *subject) ref.Val { return value(s.facts.Fleet) }}
	}
	return []variable{
		fleet("certificates", cel.IntType, func(f *FleetFacts) ref.Val { return asNumber(f.Certificates) }),
		fleet("endpoints", cel.IntType, func(f *FleetFacts) ref.Val { return asNumber(f.Endpoints) }),
		fleet("last_round_age", cel.DurationType, func(f *FleetFacts) ref.Val { return asSpan(f.LastRoundAge) }),
		fleet("missed_rounds", cel.DoubleType, func(f *FleetFacts) ref.Val { return asFraction(f.MissedRounds) }),
		fleet("queue_age", cel.DurationType, func(f *FleetFacts) ref.Val { return asSpan(f.QueueAge) }),
		fleet("rule_errors", lists(), func(f *FleetFacts) ref.Val { return asWords(f.RuleErrors) }),
		fleet("degraded", lists(), func(f *FleetFacts) ref.Val { return asWords(f.Degraded) }),
		fleet("failing_receivers", lists(), func(f *FleetFacts) ref.Val { return asWords(f.FailingReceivers) }),
		fleet("state_unwritten", cel.DurationType, func(f *FleetFacts) ref.Val { return asSpan(f.StateUnwritten) }),
		fleet("coordinator_lost", cel.DurationType, func(f *FleetFacts) ref.Val { return asSpan(f.CoordinatorLost) }),
		fleet("members_gone", lists(), func(f *FleetFacts) ref.Val { return asWords(f.MembersGone) }),
		fleet("clock_skew", cel.DurationType, func(f *FleetFacts) ref.Val { return known(f.ClockSkew, asSpan) }),
	}
}

// The following give a fact to CEL.
func asText(s string) ref.Val        { return types.String(s) }
func asFlag(b bool) ref.Val          { return types.Bool(b) }
func asNumber(n int64) ref.Val       { return types.Int(n) }
func asFraction(x float64) ref.Val   { return types.Double(x) }
func asSpan(d time.Duration) ref.Val { return types.Duration{Duration: d} }
func asLabels(of map[string]string) ref.Val {
	return types.NewStringStringMap(types.DefaultTypeAdapter, of)
}

// givingWords returns a function that gives a list of words to CEL; most are empty, and
// these are all the same.
func givingWords() func([]string) ref.Val {
	none := types.NewStringList(types.DefaultTypeAdapter, nil)
	return func(list []string) ref.Val {
		if len(list) == 0 {
			return none
		}
		return types.NewStringList(types.DefaultTypeAdapter, list)
	}
}

// known gives what a pointer points to; nil, which is undecided, where nobody supplies it.
func known[T any](p *T, give func(T) ref.Val) ref.Val {
	if p == nil {
		return nil
	}
	return give(*p)
}

// visible lists the variables that a rule about the given kind may use: those of its own
// level and of the levels above it.
func visible(about certmedic.SubjectKind) []variable {
	var seen []variable
	for _, v := range variables() {
		if v.about == about || slices.Contains(above(about), v.about) {
			seen = append(seen, v)
		}
	}
	return seen
}

// above lists the levels whose variables a rule may use besides those of its own.
func above(about certmedic.SubjectKind) []certmedic.SubjectKind {
	switch about {
	case certmedic.AboutEndpoint, certmedic.AboutFile:
		return []certmedic.SubjectKind{certmedic.AboutCertificate}
	case certmedic.AboutAddress:
		return []certmedic.SubjectKind{certmedic.AboutCertificate, certmedic.AboutEndpoint}
	default:
		return nil
	}
}
