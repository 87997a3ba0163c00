package inspect

import (
	"fmt"

	"github.com/certmedic/certmedic"
)

// Split returns a split_serving finding when addresses of one endpoint that were asked
// for the same server name serve different leaves. Its detail says which address serves
// what. Addresses that presented nothing say nothing.
func Split(addresses []certmedic.AddressObservation) []certmedic.Finding {
	var findings []certmedic.Finding
	asked := map[string]bool{}
	for _, a := range addresses {
		if asked[a.ServerName] {
			continue
		}
		asked[a.ServerName] = true
		if parts := servedAs(a.ServerName, addresses); len(parts) > 1 {
			detail := fmt.Sprintf("the addresses serve %d versions: %s", len(parts), list(parts))
			findings = append(findings, certmedic.NewFinding(certmedic.SplitServing, detail))
		}
	}
	return findings
}

// servedAs returns one phrase for each version that is served for a name, in the order
// of the addresses: the version and who serves it.
func servedAs(name string, addresses []certmedic.AddressObservation) []string {
	var leaves []certmedic.CertFacts
	by := map[certmedic.Fingerprint][]string{}
	for _, a := range addresses {
		leaf, ok := a.Leaf()
		if !ok || a.ServerName != name {
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

// Drift returns one drift finding for each address that serves another leaf than the
// stored one, in the order of the addresses. The detail says which of the two is newer
// and until when each lasts. Without a stored leaf there is no drift.
func Drift(addresses []certmedic.AddressObservation, stored certmedic.CertFacts) []certmedic.Finding {
	if stored.SHA256 == "" {
		return nil
	}
	var findings []certmedic.Finding
	for _, a := range addresses {
		served, ok := a.Leaf()
		if !ok || served.SHA256 == stored.SHA256 {
			continue
		}
		detail := fmt.Sprintf("%s serves %s, stored is %s: %s", a.Address, version(served), version(stored), newer(served, stored))
		findings = append(findings, certmedic.NewFinding(certmedic.Drift, detail))
	}
	return findings
}

func newer(served, stored certmedic.CertFacts) string {
	switch {
	case stored.NotBefore.After(served.NotBefore):
		return "the stored one is newer"
	case served.NotBefore.After(stored.NotBefore):
		return "the served one is newer"
	default:
		return "both begin at the same time"
	}
}

func version(leaf certmedic.CertFacts) string {
	return fmt.Sprintf("%s (until %s)", leaf.SHA256.Short(), date(leaf.NotAfter))
}
