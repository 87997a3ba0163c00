package records

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/miekg/dns"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/resolve"
)

// dane compares what is served with the host's TLSA records, where DNSSEC vouches for
// them, and reports whether they vouch for it. A host without such records has no DANE,
// and nothing is wrong with that.
func (c *check) dane(ctx context.Context) (findings []certmedic.Finding, vouched bool) {
	bases, signed := c.bases(ctx)
	for _, base := range bases {
		owner := fmt.Sprintf("_%d._%s.%s", c.Port, cmp.Or(c.Transport, "tcp"), base)
		answer, err := c.ask(ctx, owner, dns.TypeTLSA)
		if err != nil {
			return lookupFailed(owner, signed, err), false
		}
		if answer.Authenticated && len(answer.Records) > 0 {
			return c.compare(owner, base, answer.Records)
		}
	}
	return nil, false
}

// bases returns the names below which TLSA records are looked for (RFC 7671, section 7):
// where the host's aliases lead, if DNSSEC vouches for the whole way, then the host
// itself. Of a host whose zone is not signed no TLSA record counts, and none is asked
// for. Signed says that DNSSEC vouches for the host's addresses.
func (c *check) bases(ctx context.Context) (bases []string, signed bool) {
	if !inDNS(c.Host) {
		return nil, false
	}
	host := canonical(c.Host)
	answer, err := c.checker.Query(ctx, host, dns.TypeA)
	if err != nil {
		c.lastsFor(shortest)
		return nil, false
	}
	if len(answer.Aliases) == 0 {
		// Addresses may change as often as they like: the answer's TTL does not matter.
		if !answer.Authenticated {
			return nil, false
		}
		return []string{host}, true
	}
	if !answer.Authenticated {
		// The aliases may lead out of a signed zone: the host's own records still count.
		return []string{host}, false
	}
	c.lastsFor(answer.TTL)
	return []string{answer.Aliases[len(answer.Aliases)-1], host}, true
}

// lookupFailed finds TLSA records that are beyond reach for all, which a server's failure
// beside addresses that DNSSEC vouches for is a sign of: signatures have expired, or the
// name server chokes on the type. Mail servers that heed DANE then keep mail waiting
// (RFC 7672, section 2.1.1). Other errors may be those of our own network.
func lookupFailed(owner string, signed bool, err error) []certmedic.Finding {
	var failure *resolve.Error
	if !signed || !errors.As(err, &failure) || failure.Reason != resolve.ReasonServFail {
		return nil
	}
	detail := fmt.Sprintf("the TLSA records of %q cannot be looked up (SERVFAIL), although the host's addresses can and are signed: "+
		"mail servers that heed DANE deliver nothing; check the zone's DNSSEC signatures and its name servers", owner)
	return []certmedic.Finding{certmedic.NewFinding(certmedic.DNSFailed, detail)}
}

// compare finds what is served to be none of what the records pin. One that matches is
// enough; those that nobody can use are left aside (RFC 7671, section 4.1).
func (c *check) compare(owner, base string, records []dns.RR) (findings []certmedic.Finding, vouched bool) {
	pins := c.pins(records)
	s := served{Query: c.Query, names: append([]string{base, c.Host}, c.Names...)}
	matched, hint := len(pins) == 0, ""
	for _, p := range pins {
		ok, why := s.match(p)
		matched = matched || ok
		vouched = vouched || ok && p.vouches()
		hint = cmp.Or(hint, why)
	}
	if matched {
		return nil, vouched
	}
	if hint == "" {
		hint = fmt.Sprintf("publish \"3 1 1 %s\" for the key that is served, or serve the certificate that they are for", leafPin(c.Presented[0]))
	}
	detail := fmt.Sprintf("no TLSA record of %q (%s) matches what is served: %s", owner, listPins(pins), hint)
	return []certmedic.Finding{certmedic.NewFinding(certmedic.DANEMismatch, detail)}, false
}

// maxPins bounds how many records are compared.
const maxPins = 64

// smtpPort is where mail servers talk to each other; RFC 7672 is about that alone.
const smtpPort = 25

// pins returns the records that can be used. Mail servers cannot use those of usage 0
// and 1, as they have no authorities in common (RFC 7672, section 3.1.3).
func (c *check) pins(records []dns.RR) []pin {
	var pins []pin
	for _, record := range records {
		p, ok := parsePin(record)
		if !ok || c.Port == smtpPort && !p.vouches() || len(pins) == maxPins {
			continue
		}
		pins = append(pins, p)
	}
	return pins
}
