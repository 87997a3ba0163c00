package resolve

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Resolver looks up hosts. The zero Resolver does as the system is configured to; its
// files are read again when they change. Any number of goroutines may share one, by
// pointer.
type Resolver struct {
	Servers    []string      // ip or ip:port, asked in this order; empty: those of ResolvConf
	HostsFile  string        // empty is /etc/hosts
	ResolvConf string        // empty is /etc/resolv.conf
	Timeout    time.Duration // of one question to one server; 0: as ResolvConf says
	Attempts   int           // rounds through the servers; 0: as ResolvConf says

	hosts cached[map[string][]netip.Addr]
	conf  cached[settings]
	cache cache
}

// Lookup returns the addresses of a host, IPv4 before IPv6, each once and in the order
// in which they were told. An IP address is its own answer, an international name is
// looked up in its xn-- form. When one family fails, the other's addresses are returned.
// The error is an [*Error], or that of a server in Servers that is not an address.
func (r *Resolver) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address.Unmap()}, nil
	}
	ascii, bad := toName(host)
	if bad != nil {
		return nil, bad
	}
	name := canonical(ascii)
	known := r.hosts.get(or(r.HostsFile, "/etc/hosts"), parseHosts)[name]
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return loopback(known), nil
	}
	if len(known) > 0 {
		return tidy(known), nil
	}
	s, err := r.settings()
	if err != nil {
		return nil, err
	}
	addresses, failure := r.lookup(ctx, s, ascii)
	if failure != nil {
		return nil, failure.about(host)
	}
	return addresses, nil
}

// settings returns what is asked, and how: the Resolver's own fields before those of
// resolv.conf.
func (r *Resolver) settings() (settings, error) {
	s := r.conf.get(or(r.ResolvConf, "/etc/resolv.conf"), parseResolvConf)
	if r.Timeout > 0 {
		s.timeout = r.Timeout
	}
	if r.Attempts > 0 {
		s.attempts = r.Attempts
	}
	if len(r.Servers) == 0 {
		return s, nil
	}
	s.servers, s.trusted = nil, true
	for _, server := range r.Servers {
		address, err := withPort(server)
		if err != nil {
			return s, err
		}
		s.servers = append(s.servers, address)
	}
	return s, nil
}

// lookup tries the names that the search list gives, until one has addresses.
func (r *Resolver) lookup(ctx context.Context, s settings, host string) ([]netip.Addr, *Error) {
	var worst *Error
	for _, name := range s.candidates(host) {
		addresses, err := r.bothFamilies(ctx, s, dns.CanonicalName(name))
		if err == nil {
			return tidy(addresses), nil
		}
		worst = worse(worst, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, worst
}

// candidates returns the absolute names to try, after resolv.conf(5): a name with at
// least ndots dots as it is first, any other through the search list first.
func (s settings) candidates(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	var searched []string
	for _, domain := range s.search {
		name := host + "." + dns.Fqdn(domain)
		if _, ok := dns.IsDomainName(name); ok && domain != "." {
			searched = append(searched, name)
		}
	}
	if strings.Count(host, ".") >= s.ndots {
		return append([]string{host + "."}, searched...)
	}
	return append(searched, host+".")
}

// answer is what came of a question. An answer that is empty has an error as well, which
// says why.
type answer struct {
	Answer
	err *Error
}

// bothFamilies asks for A and AAAA records at once.
func (r *Resolver) bothFamilies(ctx context.Context, s settings, name string) ([]netip.Addr, *Error) {
	six := make(chan answer, 1)
	go func() { six <- r.ask(ctx, s, question{name: name, kind: dns.TypeAAAA}) }()
	a, aaaa := r.ask(ctx, s, question{name: name, kind: dns.TypeA}), <-six
	addresses := addressesIn(slices.Concat(a.Records, aaaa.Records))
	if len(addresses) > 0 {
		return addresses, nil
	}
	return nil, worse(a.err, aaaa.err)
}

// ask returns the answer that is kept, or asks.
func (r *Resolver) ask(ctx context.Context, s settings, q question) answer {
	q.whom = s.whom()
	return r.cache.get(ctx, q, func() answer { return s.ask(ctx, q) })
}

// ask goes through the servers until one of them knows.
func (s settings) ask(ctx context.Context, q question) answer {
	var worst *Error
	for range s.attempts {
		for _, server := range s.servers {
			got := s.askServer(ctx, server, q)
			if got.err == nil || got.err.Empty() {
				return got
			}
			worst = worse(worst, got.err)
			if ctx.Err() != nil {
				return answer{err: worst}
			}
		}
	}
	return answer{err: worst}
}

func addressesIn(records []dns.RR) []netip.Addr {
	var addresses []netip.Addr
	for _, record := range records {
		var ip net.IP
		switch record := record.(type) {
		case *dns.A:
			ip = record.A
		case *dns.AAAA:
			ip = record.AAAA
		}
		if address, ok := netip.AddrFromSlice(ip); ok {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

func loopback(known []netip.Addr) []netip.Addr {
	var addresses []netip.Addr
	for _, a := range known {
		if a.IsLoopback() {
			addresses = append(addresses, a)
		}
	}
	if len(addresses) == 0 {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return tidy(addresses)
}

// tidy puts IPv4 before IPv6 and keeps each address once.
func tidy(addresses []netip.Addr) []netip.Addr {
	seen := map[netip.Addr]bool{}
	var four, six []netip.Addr
	for _, a := range addresses {
		a = a.Unmap()
		if seen[a] {
			continue
		}
		seen[a] = true
		if a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	return append(four, six...)
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
