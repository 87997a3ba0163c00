package resolve

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Answer is what DNS says about a name. It is shared with others who ask: its slices are
// not to be changed.
type Answer struct {
	// Records are those of the type that was asked for, of the name itself or of where
	// its aliases lead. There are none where the name, or the type, does not exist.
	Records []dns.RR

	// Aliases are the targets of the CNAME records that were followed, in that order, in
	// lower case and without the final dot.
	Aliases []string

	// Authenticated says that DNSSEC vouches for the whole answer, its being empty
	// included, by the word of a resolver that may be believed (RFC 4035, section 4.9.3):
	// one on this host, one of [Resolver.Servers], or any where resolv.conf has the
	// option trust-ad. Signatures are not verified here.
	Authenticated bool

	// TTL is for how long the answer may be used again, of which half a minute may have
	// passed. It is the shortest of all records of the answer; for an empty answer it is
	// that of RFC 2308, and 0 where the server does not say.
	TTL time.Duration
}

// Query asks for the records of a type (a constant of miekg/dns, such as dns.TypeTLSA)
// of a name, which is taken as absolute: neither the hosts file nor the search list have
// a part in it. That there are none is an answer, and no error. The error is an
// [*Error], or that of a server in Servers that is not an address.
func (r *Resolver) Query(ctx context.Context, name string, kind uint16) (Answer, error) {
	ascii, bad := toName(name)
	if bad != nil {
		return Answer{}, bad
	}
	s, err := r.settings()
	if err != nil {
		return Answer{}, err
	}
	got := r.ask(ctx, s, question{name: dns.CanonicalName(ascii), kind: kind, secure: true})
	if got.err != nil && !got.err.Empty() {
		return Answer{}, got.err.about(name)
	}
	return got.Answer, nil
}

// SRVTarget is where a service is to be found (RFC 2782).
type SRVTarget struct {
	Host     string // in lower case, without the final dot
	Port     uint16
	Priority uint16 // the lowest is tried first
	Weight   uint16 // of equal priority, the heavier one is chosen more often
}

// SRV returns the targets of a service, given as _service._proto.name, the preferred
// ones first. There are none where the service has no records, or a single "." that says
// it is not offered. The error is that of [Resolver.Query].
func (r *Resolver) SRV(ctx context.Context, name string) ([]SRVTarget, error) {
	got, err := r.Query(ctx, name, dns.TypeSRV)
	if err != nil {
		return nil, err
	}
	var targets []SRVTarget
	for _, record := range got.Records {
		srv, ok := record.(*dns.SRV)
		if !ok || srv.Target == "." {
			continue
		}
		targets = append(targets, SRVTarget{Host: canonical(srv.Target), Port: srv.Port, Priority: srv.Priority, Weight: srv.Weight})
	}
	slices.SortFunc(targets, func(a, b SRVTarget) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(b.Weight, a.Weight),
			strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	return targets, nil
}

const (
	maxAliases = 16         // of a chain of CNAME records that is followed
	maxTTL     = 1<<31 - 1  // seconds; what is longer counts as 0 (RFC 2181, section 8)
	noTTL      = ^uint32(0) // before any record was seen
)

// follow takes the records of the type that belong to the name out of an answer, along
// its aliases.
func follow(records []dns.RR, name string, kind uint16) Answer {
	var a Answer
	ttl := noTTL
	for range maxAliases {
		target := ""
		for _, record := range records {
			header := record.Header()
			if dns.CanonicalName(header.Name) != name {
				continue
			}
			alias, isAlias := record.(*dns.CNAME)
			switch {
			case header.Rrtype == kind:
				a.Records = append(a.Records, record)
				ttl = min(ttl, header.Ttl)
			case isAlias:
				target = dns.CanonicalName(alias.Target)
				ttl = min(ttl, header.Ttl)
			}
		}
		if len(a.Records) > 0 || target == "" {
			break
		}
		a.Aliases = append(a.Aliases, canonical(target))
		name = target
	}
	a.TTL = seconds(ttl)
	return a
}

// emptyTTL returns for how long an empty answer may be used again: the lesser of the
// TTL and the last field of the zone's SOA record (RFC 2308, section 5).
func emptyTTL(authority []dns.RR) time.Duration {
	for _, record := range authority {
		if soa, ok := record.(*dns.SOA); ok {
			return seconds(min(soa.Hdr.Ttl, soa.Minttl))
		}
	}
	return 0
}

func seconds(ttl uint32) time.Duration {
	if ttl > maxTTL {
		return 0
	}
	return time.Duration(ttl) * time.Second
}
