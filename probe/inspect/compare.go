package inspect

import (
	"fmt"
	"slices"

	"github.com/certmedic/certmedic"
)

// Split returns a split_serving finding when addresses of one endpoint that were asked
// the same way, for the same server name and in the same variant, serve different leaves.
// Its detail says which address serves what. Addresses that presented nothing say nothing,
// and a variant that says the same as an earlier one is not told again.
func Split(addresses []certmedic.AddressObservation) []certmedic.Finding {
	var findings []certmedic.Finding
	var told []string
	asked := map[question]bool{}
	for _, a := range addresses {
		q := questionOf(a)
		if asked[q] {
			continue
		}
		asked[q] = true
		parts := q.servedAs(addresses)
		versions := list(parts)
		if len(parts) < 2 || slices.Contains(told, versions) {
			continue
		}
		told = append(told, versions)
		detail := fmt.Sprintf("the addresses serve %d versions%s: %s", len(parts), toWhom(q.variant), versions)
		findings = append(findings, certmedic.NewFinding(certmedic.SplitServing, detail))
	}
	return findings
}

// question is how an address was asked; answers to the same one can be compared.
type question struct {
	name    string
	variant certmedic.Variant
}

func questionOf(a certmedic.AddressObservation) question { return question{a.ServerName, a.Variant} }

// toWhom says which clients get an answer, "" for the usual ones.
func toWhom(v certmedic.Variant) string {
	switch v {
	case certmedic.VariantNoSNI:
		return " to clients that send no name"
	case certmedic.VariantRSA:
		return " to clients that take RSA only"
	case certmedic.VariantECDSA:
		return " to clients that take ECDSA only"
	default:
		return ""
	}
}

// servedAs returns one phrase for each version that answers the question, in the order
// of the addresses: the version and who serves it.
func (q question) servedAs(addresses []certmedic.AddressObservation) []string {
	var leaves []certmedic.CertFacts
	by := map[certmedic.Fingerprint][]string{}
	for _, a := range addresses {
		leaf, ok := a.Leaf()
		if !ok || questionOf(a) != q {
			continue
		}
		if by[leaf.SHA256] == nil {
			leaves = append(leaves, leaf)
		}
		by[leaf.SHA256] = append(by[leaf.SHA256], a.Address)
	}
	var parts []string
	for _, leaf := range leaves {
		parts = append(parts, fmt.Sprintf("%s by %s", version(leaf), list(by[leaf.SHA256])))
	}
	return parts
}

// Drift returns one drift finding for each other leaf than the stored one that an address
// serves in its place, in the order of the addresses. The detail says which of the two is
// newer and until when each lasts. Where an address has answers with the stored leaf's
// type of key, in whatever variant, these alone are compared, else the usual answer is.
// What clients without a name get is never drift. Without a stored leaf there is none.
func Drift(addresses []certmedic.AddressObservation, stored certmedic.CertFacts) []certmedic.Finding {
	if stored.SHA256 == "" {
		return nil
	}
	var findings []certmedic.Finding
	told := map[string]bool{}
	for _, a := range addresses {
		served, ok := a.Leaf()
		if !ok || served.SHA256 == stored.SHA256 || !isCompared(a, addresses, stored) {
			continue
		}
		what := fmt.Sprintf("%s serves %s", a.Address, version(served))
		if told[what] {
			continue
		}
		told[what] = true
		detail := fmt.Sprintf("%s%s, stored is %s: %s", what, toWhom(a.Variant), version(stored), newer(served, stored))
		findings = append(findings, certmedic.NewFinding(certmedic.Drift, detail))
	}
	return findings
}

// isCompared reports whether an answer is to be compared with the stored leaf.
func isCompared(a certmedic.AddressObservation, all []certmedic.AddressObservation, stored certmedic.CertFacts) bool {
	if a.Variant == certmedic.VariantNoSNI {
		return false
	}
	return sameClass(a, stored) || a.Variant == certmedic.VariantUsual && !slices.ContainsFunc(all, func(b certmedic.AddressObservation) bool {
		return b.Address == a.Address && b.ServerName == a.ServerName && b.Variant != certmedic.VariantNoSNI && sameClass(b, stored)
	})
}

func sameClass(a certmedic.AddressObservation, stored certmedic.CertFacts) bool {
	leaf, ok := a.Leaf()
	return ok && KeyClass(leaf) == KeyClass(stored)
}

// NewerServed stands at the end of a drift finding's detail where the source is behind what
// is served.
const NewerServed = "the served one is newer"

func newer(served, stored certmedic.CertFacts) string {
	switch {
	case stored.NotBefore.After(served.NotBefore):
		return "the stored one is newer"
	case served.NotBefore.After(stored.NotBefore):
		return NewerServed
	default:
		return "both begin at the same time"
	}
}

func version(leaf certmedic.CertFacts) string {
	return fmt.Sprintf("%s (until %s)", leaf.SHA256.Short(), date(leaf.NotAfter))
}
