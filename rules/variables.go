package rules

import (
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
	strings := cel.ListType(cel.StringType)
	labels := cel.MapType(cel.StringType, cel.StringType)
	cert := func(name string, typ *cel.Type, value func(c *CertificateFacts) any) variable {
		return variable{"certificate." + name, certmedic.AboutCertificate, typ, func(s subject) any { return value(&s.facts.Certificate) }}
	}
	endpoint := func(name string, typ *cel.Type, value func(e *EndpointFacts) any) variable {
		return variable{"endpoint." + name, certmedic.AboutEndpoint, typ, func(s subject) any { return value(s.endpoint) }}
	}
	address := func(name string, typ *cel.Type, value func(a *AddressFacts) any) variable {
		return variable{"address." + name, certmedic.AboutAddress, typ, func(s subject) any { return value(s.address) }}
	}
	return []variable{
		cert("name", cel.StringType, func(c *CertificateFacts) any { return c.Name }),
		cert("labels", labels, func(c *CertificateFacts) any { return c.Labels }),
		cert("stage", cel.StringType, func(c *CertificateFacts) any { return string(c.Stage) }),
		cert("drift", cel.BoolType, func(c *CertificateFacts) any { return c.Drift }),
		cert("drift_age", cel.DurationType, func(c *CertificateFacts) any { return c.DriftAge }),
		cert("expired", cel.BoolType, func(c *CertificateFacts) any { return c.Expired }),
		cert("served_ok", cel.BoolType, func(c *CertificateFacts) any { return c.ServedOK }),
		cert("stored_ok", cel.BoolType, func(c *CertificateFacts) any { return c.StoredOK }),
		cert("names", strings, func(c *CertificateFacts) any { return c.Names }),
		cert("issuer", cel.StringType, func(c *CertificateFacts) any { return c.Issuer }),
		cert("key_type", cel.StringType, func(c *CertificateFacts) any { return c.KeyType }),
		cert("lifetime", cel.DurationType, func(c *CertificateFacts) any { return c.Lifetime }),
		cert("remaining_ratio", cel.DoubleType, func(c *CertificateFacts) any { return c.RemainingRatio }),
		cert("served_expires_in", cel.DurationType, func(c *CertificateFacts) any { return c.ServedExpiresIn }),
		cert("stored_expires_in", cel.DurationType, func(c *CertificateFacts) any { return c.StoredExpiresIn }),
		cert("renewal_overdue", cel.BoolType, func(c *CertificateFacts) any { return c.RenewalOverdue }),
		cert("renewal_age", cel.DurationType, func(c *CertificateFacts) any { return c.RenewalAge }),
		cert("hook_exit_code", cel.IntType, func(c *CertificateFacts) any { return c.HookExitCode }),
		cert("remediation", cel.StringType, func(c *CertificateFacts) any { return c.Remediation }),
		cert("findings", strings, func(c *CertificateFacts) any { return c.Findings }),
		cert("stored_findings", strings, func(c *CertificateFacts) any { return c.StoredFindings }),
		cert("served_newer", cel.BoolType, func(c *CertificateFacts) any { return c.ServedNewer }),
		cert("members", strings, func(c *CertificateFacts) any { return c.Members }),

		endpoint("address", cel.StringType, func(e *EndpointFacts) any { return e.Address }),
		endpoint("protocol", cel.StringType, func(e *EndpointFacts) any { return e.Protocol }),
		endpoint("labels", labels, func(e *EndpointFacts) any { return e.Labels }),
		endpoint("reachable", cel.BoolType, func(e *EndpointFacts) any { return e.Reachable }),
		endpoint("split", cel.BoolType, func(e *EndpointFacts) any { return e.Split }),

		address("ip", cel.StringType, func(a *AddressFacts) any { return a.IP }),
		address("reachable", cel.BoolType, func(a *AddressFacts) any { return a.Reachable }),
		address("findings", strings, func(a *AddressFacts) any { return a.Findings }),
		address("served_sha256", cel.StringType, func(a *AddressFacts) any { return a.ServedSHA256 }),
		address("expires_in", cel.DurationType, func(a *AddressFacts) any { return a.ExpiresIn }),
		address("remaining_ratio", cel.DoubleType, func(a *AddressFacts) any { return a.RemainingRatio }),
		address("tls_version", cel.StringType, func(a *AddressFacts) any { return a.TLSVersion }),
	}
}

// visible lists the variables that a rule about the given kind may use: those of its own
// level and of the levels above it.
func visible(about certmedic.SubjectKind) []variable {
	depth := map[certmedic.SubjectKind]int{
		certmedic.AboutCertificate: 1, certmedic.AboutEndpoint: 2, certmedic.AboutAddress: 3,
	}
	var seen []variable
	for _, v := range variables() {
		if depth[v.about] <= depth[about] {
			seen = append(seen, v)
		}
	}
	return seen
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
	if a.subject.undecided(name) != "" {
		return types.NewUnknown(1, types.NewAttributeTrail(name)), true
	}
	return v.value(a.subject), true
}

// Parent implements CEL's activation; there is none.
func (a *activation) Parent() cel.Activation { return nil }
