package records

import (
	"context"
	"crypto/x509"
	"net/netip"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/resolve"
)

// For how long a result holds: as long as DNS allows, within these bounds. What could
// not be asked is asked again after the shortest.
const (
	shortest = time.Minute
	longest  = time.Hour
)

// Checker asks DNS about the certificates of hosts. Any number of goroutines may share
// one that is no longer changed.
type Checker struct {
	// Query asks for the records of a type of an absolute name. Required; usually that
	// of a [resolve.Resolver].
	Query func(ctx context.Context, name string, kind uint16) (resolve.Answer, error)
}

// Query is what is to be compared with DNS.
type Query struct {
	Host      string // what is connected to; for an IP address there is no DANE
	Port      uint16
	Transport string // "tcp" or "udp"; empty is tcp

	// Names are those that clients verify, usually the server name alone. Those of them
	// that the leaf covers are looked up for CAA.
	Names []string

	Presented []*x509.Certificate   // as it was presented, leaf first; empty: nothing is compared
	Paths     [][]*x509.Certificate // the paths to trusted roots, leaf first; none where it is not trusted
	Now       time.Time             // required
}

// Result is what DNS says about what is served.
type Result struct {
	Findings []certmedic.Finding // dane_mismatch, dns_failed, caa_forbids

	// Vouched says that a TLSA record of usage 2 or 3 matches: the host's owner vouches
	// for the certificate in place of a public authority. For SMTP between servers that
	// settles trust and name (RFC 7672), so that self_signed, untrusted, incomplete_chain
	// and name_mismatch do not matter there; browsers and most other clients do not look
	// at TLSA records.
	Vouched bool

	Until time.Time // the result stays the same up to then, an hour at most
}

// Check compares what the query holds with DNS. An ended context makes lookups fail,
// and then they say nothing.
func (c *Checker) Check(ctx context.Context, q Query) Result {
	k := &check{Query: q, checker: c, lasts: longest}
	var r Result
	if len(q.Presented) > 0 {
		r.Findings, r.Vouched = k.dane(ctx)
		r.Findings = append(r.Findings, k.caa(ctx)...)
	}
	r.Until = q.Now.Add(k.lasts)
	return r
}

// check is one check.
type check struct {
	Query
	checker *Checker
	lasts   time.Duration // for how long all that was learnt so far holds
}

// ask asks for records, and notes for how long their answer holds.
func (c *check) ask(ctx context.Context, name string, kind uint16) (resolve.Answer, error) {
	answer, err := c.checker.Query(ctx, name, kind)
	if err != nil {
		c.lastsFor(shortest)
		return answer, err
	}
	c.lastsFor(answer.TTL)
	return answer, nil
}

func (c *check) lastsFor(span time.Duration) { c.lasts = max(min(c.lasts, span), shortest) }

// inDNS reports whether a host is one that the DNS of the world may know: no IP address,
// no name of this host, and no short name of the local network.
func inDNS(host string) bool {
	host = canonical(host)
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	return strings.Contains(host, ".") && !strings.HasSuffix(host, ".localhost")
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
