package rules

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/certmedic/certmedic"
)

// variable is one name that a condition may use. Each is declared to CEL by its full
// name ("certificate.drift"), so that an unknown one is an error when rules are loaded.
type variable struct {
	name  string
	about certmedic.SubjectKind // the level that it belongs to
	typ   *cel.Type
	value func(s subject) any
}

// variables lists every name that a condition may use.
func variables() []variable {
	return slices.Concat(ofCertificates(), ofEndpoints(), ofAddresses(), ofFiles(), ofTheFleet())
}

// lists are the type of variables with words, table that of variables with labels.
func lists() *cel.Type { return cel.ListType(cel.StringType) }
func table() *cel.Type { return cel.MapType(cel.StringType, cel.StringType) }

func ofCertificates() []variable {
	cert := func(name string, typ *cel.Type, value func(c *CertificateFacts) any) variable {
		return variable{"certificate." + name, certmedic.AboutCertificate, typ, func(s subject) any { return value(&s.facts.Certificate) }}
	}
	return []variable{
		cert("name", cel.StringType, func(c *CertificateFacts) any { return c.Name }),
		cert("labels", table(), func(c *CertificateFacts) any { return c.Labels }),
		cert("watched", cel.BoolType, func(c *CertificateFacts) any { return c.Watched }),
		cert("stage", cel.StringType, func(c *CertificateFacts) any { return string(c.Stage) }),
		cert("drift", cel.BoolType, func(c *CertificateFacts) any { return c.Drift }),
		cert("drift_age", cel.DurationType, func(c *CertificateFacts) any { return c.DriftAge }),
		cert("served_newer", cel.BoolType, func(c *CertificateFacts) any { return c.ServedNewer }),
		cert("split", cel.BoolType, func(c *CertificateFacts) any { return c.Split }),
		cert("stored_version", cel.StringType, func(c *CertificateFacts) any { return c.StoredVersion }),
		cert("served_versions", lists(), func(c *CertificateFacts) any { return c.ServedVersions }),
		cert("names", lists(), func(c *CertificateFacts) any { return c.Names }),
		cert("issuer", cel.StringType, func(c *CertificateFacts) any { return c.Issuer }),
		cert("key_type", cel.StringType, func(c *CertificateFacts) any { return c.KeyType }),
		cert("spki_sha256", cel.StringType, func(c *CertificateFacts) any { return c.SPKI }),
		cert("expired", cel.BoolType, func(c *CertificateFacts) any { return c.Expired }),
		cert("lifetime", cel.DurationType, func(c *CertificateFacts) any { return c.Lifetime }),
		cert("remaining_ratio", cel.DoubleType, func(c *CertificateFacts) any { return c.RemainingRatio }),
		cert("served_expires_in", cel.DurationType, func(c *CertificateFacts) any { return c.ServedExpiresIn }),
		cert("stored_expires_in", cel.DurationType, func(c *CertificateFacts) any { return c.StoredExpiresIn }),
		cert("served_ok", cel.BoolType, func(c *CertificateFacts) any { return c.ServedOK }),
		cert("stored_ok", cel.BoolType, func(c *CertificateFacts) any { return c.StoredOK }),
		cert("findings", lists(), func(c *CertificateFacts) any { return c.Findings }),
		cert("stored_findings", lists(), func(c *CertificateFacts) any { return c.StoredFindings }),
		cert("tls_versions", lists(), func(c *CertificateFacts) any { return c.TLSVersions }),
		cert("members", lists(), func(c *CertificateFacts) any { return c.Members }),
		cert("renewal_overdue", cel.BoolType, func(c *CertificateFacts) any { return c.RenewalOverdue }),
		cert("renewal_due_in", cel.DurationType, func(c *CertificateFacts) any { return c.RenewalDueIn }),
		cert("renewal_basis", cel.StringType, func(c *CertificateFacts) any { return c.RenewalBasis }),
		cert("renewal_age", cel.DurationType, func(c *CertificateFacts) any { return known(c.RenewalAge) }),
		cert("ari_starts_in", cel.DurationType, func(c *CertificateFacts) any { return known(c.ARIStartsIn) }),
		cert("ari_ends_in", cel.DurationType, func(c *CertificateFacts) any { return known(c.ARIEndsIn) }),
		cert("renewal_log", cel.StringType, func(c *CertificateFacts) any { return known(c.RenewalLog) }),
		cert("hook_exit_code", cel.IntType, func(c *CertificateFacts) any { return c.HookExitCode }),
		cert("remediation", cel.StringType, func(c *CertificateFacts) any { return c.Remediation }),
		cert("refusal", cel.StringType, func(c *CertificateFacts) any { return c.Refusal }),
		cert("loan", cel.BoolType, func(c *CertificateFacts) any { return known(c.Loan) }),
		cert("loan_ends_in", cel.DurationType, func(c *CertificateFacts) any { return known(c.LoanEndsIn) }),
		cert("key_denied", cel.BoolType, func(c *CertificateFacts) any { return known(c.KeyDenied) }),
		cert("budget_remaining", cel.IntType, func(c *CertificateFacts) any { return known(c.BudgetRemaining) }),
	}
}

func ofEndpoints() []variable {
	endpoint := func(name string, typ *cel.Type, value func(e *EndpointFacts) any) variable {
		return variable{"endpoint." + name, certmedic.AboutEndpoint, typ, func(s subject) any { return value(s.endpoint) }}
	}
	return []variable{
		endpoint("address", cel.StringType, func(e *EndpointFacts) any { return e.Address }),
		endpoint("protocol", cel.StringType, func(e *EndpointFacts) any { return e.Protocol }),
		endpoint("labels", table(), func(e *EndpointFacts) any { return e.Labels }),
		endpoint("reachable", cel.BoolType, func(e *EndpointFacts) any { return e.Reachable }),
		endpoint("vanished", cel.BoolType, func(e *EndpointFacts) any { return e.Vanished }),
		endpoint("split", cel.BoolType, func(e *EndpointFacts) any { return e.Split }),
		endpoint("missed_rounds", cel.DoubleType, func(e *EndpointFacts) any { return e.MissedRounds }),
		endpoint("findings", lists(), func(e *EndpointFacts) any { return e.Findings }),
	}
}

func ofAddresses() []variable {
	address := func(name string, typ *cel.Type, value func(a *AddressFacts) any) variable {
		return variable{"address." + name, certmedic.AboutAddress, typ, func(s subject) any { return value(s.address) }}
	}
	return []variable{
		address("ip", cel.StringType, func(a *AddressFacts) any { return a.IP }),
		address("reachable", cel.BoolType, func(a *AddressFacts) any { return a.Reachable }),
		address("findings", lists(), func(a *AddressFacts) any { return a.Findings }),
		address("served_sha256", cel.StringType, func(a *AddressFacts) any { return a.ServedSHA256 }),
		address("expires_in", cel.DurationType, func(a *AddressFacts) any { return a.ExpiresIn }),
		address("remaining_ratio", cel.DoubleType, func(a *AddressFacts) any { return a.RemainingRatio }),
		address("tls_version", cel.StringType, func(a *AddressFacts) any { return a.TLSVersion }),
	}
}

func ofFiles() []variable {
	file := func(name string, typ *cel.Type, value func(f *FileFacts) any) variable {
		return variable{"file." + name, certmedic.AboutFile, typ, func(s subject) any { return value(s.file) }}
	}
	return []variable{
		file("path", cel.StringType, func(f *FileFacts) any { return f.Path }),
		file("mode", cel.StringType, func(f *FileFacts) any { return f.Mode }),
		file("expires_in", cel.DurationType, func(f *FileFacts) any { return f.ExpiresIn }),
		file("findings", lists(), func(f *FileFacts) any { return f.Findings }),
	}
}

func ofTheFleet() []variable {
	fleet := func(name string, typ *cel.Type, value func(f *FleetFacts) any) variable {
		return variable{"fleet." + name, certmedic.AboutFleet, typ, func(s subject) any { return value(s.facts.Fleet) }}
	}
	return []variable{
		fleet("certificates", cel.IntType, func(f *FleetFacts) any { return f.Certificates }),
		fleet("endpoints", cel.IntType, func(f *FleetFacts) any { return f.Endpoints }),
		fleet("last_round_age", cel.DurationType, func(f *FleetFacts) any { return f.LastRoundAge }),
		fleet("missed_rounds", cel.DoubleType, func(f *FleetFacts) any { return f.MissedRounds }),
		fleet("queue_age", cel.DurationType, func(f *FleetFacts) any { return f.QueueAge }),
		fleet("rule_errors", lists(), func(f *FleetFacts) any { return f.RuleErrors }),
		fleet("degraded", lists(), func(f *FleetFacts) any { return f.Degraded }),
		fleet("failing_receivers", lists(), func(f *FleetFacts) any { return f.FailingReceivers }),
		fleet("clock_skew", cel.DurationType, func(f *FleetFacts) any { return known(f.ClockSkew) }),
	}
}

// known returns what a pointer points to; nil, which is undecided, where nobody supplies it.
func known[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
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

// activation answers CEL's questions for one subject. An undecided variable becomes an
// unknown, which CEL carries through && and || with three-valued logic.
type activation struct {
	byName  map[string]variable
	subject subject
}

// ResolveName implements CEL's activation.
func (a *activation) ResolveName(name string) (any, bool) {
	v, ok := a.byName[name]
	if !ok {
		return nil, false
	}
	value := v.value(a.subject)
	if value == nil || a.subject.undecided(name) != "" {
		return types.NewUnknown(1, types.NewAttributeTrail(name)), true
	}
	return value, true
}

// Parent implements CEL's activation; there is none.
func (a *activation) Parent() cel.Activation { return nil }
