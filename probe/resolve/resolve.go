package resolve

import (
	"context"
	"net/netip"
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
}

// Lookup returns the addresses of a host, IPv4 before IPv6, each once and in the order
// in which they were told. An IP address is its own answer. When one family fails, the
// other's addresses are returned. The error is an [*Error], or that of a server in
// Servers that is not an address.
func (r *Resolver) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{address.Unmap()}, nil
	}
	name := canonical(host)
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, &Error{Host: host, Reason: ReasonNXDomain, Detail: "it is not a domain name"}
	}
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
	return s.lookup(ctx, host)
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
	s.servers = nil
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
func (s settings) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	var worst *Error
	for _, name := range s.candidates(host) {
		addresses, err := s.bothFamilies(ctx, name)
		if err == nil {
			return tidy(addresses), nil
		}
		worst = worse(worst, err)
		if ctx.Err() != nil {
			break
		}
	}
	worst.Host = host
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

type answer struct {
	addresses []netip.Addr
	err       *Error
}

// bothFamilies asks for A and AAAA records at once.
func (s settings) bothFamilies(ctx context.Context, name string) ([]netip.Addr, *Error) {
	six := make(chan answer, 1)
	go func() { six <- s.ask(ctx, name, dns.TypeAAAA) }()
	a, aaaa := s.ask(ctx, name, dns.TypeA), <-six
	addresses := append(a.addresses, aaaa.addresses...)
	if len(addresses) > 0 {
		return addresses, nil
	}
	return nil, worse(a.err, aaaa.err)
}

// ask goes through the servers until one of them knows.
func (s settings) ask(ctx context.Context, name string, kind uint16) answer {
	var worst *Error
	for range s.attempts {
		for _, server := range s.servers {
			got := s.askServer(ctx, server, name, kind)
			if got.err == nil || got.err.Reason == ReasonNXDomain || got.err.Reason == ReasonNoData {
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
