package ledger

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// Limit names a limit of a CA.
type Limit string

// The limits, as Let's Encrypt has them.
const (
	NewOrders         Limit = "new_orders"                 // per account
	PerDomain         Limit = "certificates_per_domain"    // per registered domain
	PerExactSet       Limit = "certificates_per_exact_set" // per exact set of names
	FailedValidations Limit = "failed_validations"         // per name and account
)

// Limits lists the limits.
func Limits() []Limit { return []Limit{NewOrders, PerDomain, PerExactSet, FailedValidations} }

// terms are those of a limit: a bucket of so many, to which one comes back every refill. Of them
// automation leaves some to people.
type terms struct {
	capacity int64
	refill   time.Duration
	reserve  int64
}

const week = 7 * 24 * time.Hour

// termsOf returns the terms of a CA's limits, by the URL of its directory; nil where none are
// known. Those of Let's Encrypt are as it tells at letsencrypt.org/docs/rate-limits, which rounds
// what comes back up to whole minutes and hours; of its staging the smallest that it ever told.
func termsOf(directory string) map[Limit]terms {
	switch host(directory) {
	case "acme-v02.api.letsencrypt.org":
		return map[Limit]terms{
			NewOrders:         {300, 36 * time.Second, 30},
			PerDomain:         {50, 202 * time.Minute, 5},
			PerExactSet:       {5, 34 * time.Hour, 2},
			FailedValidations: {5, 12 * time.Minute, 1},
		}
	case "acme-staging-v02.api.letsencrypt.org":
		return map[Limit]terms{
			NewOrders:         {1500, 3 * time.Hour / 1500, 150},
			PerDomain:         {30000, week / 30000, 3000},
			PerExactSet:       {30000, week / 30000, 3000},
			FailedValidations: {60, time.Minute, 6},
		}
	default:
		return nil
	}
}

// host returns what tells CAs apart: the host of the directory's URL, or what there is instead.
func host(directory string) string {
	u, err := url.Parse(directory)
	if err != nil || u.Hostname() == "" {
		return directory
	}
	return strings.ToLower(u.Hostname())
}

// registered returns what a name counts under for [PerDomain]: its registered domain, the address
// for IPv4 and the network of 64 bits for IPv6.
func registered(name string) string {
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Is6() {
			return netip.PrefixFrom(ip, 64).Masked().String()
		}
		return ip.String()
	}
	name = strings.TrimPrefix(name, "*.")
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return name // it is a public suffix itself
	}
	return domain
}
