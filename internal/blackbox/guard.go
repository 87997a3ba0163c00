package blackbox

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/certmedic/certmedic/internal/netguard"
)

// Guard returns the check of who may be probed, for [Options.Allow]. With an empty list
// these are all but link-local and multicast addresses and those under which clouds serve
// the secrets of a machine. Otherwise they are the list's: host names ("*.example.com" for
// those below a domain), IP addresses, and networks in CIDR form. The addresses that are
// refused by default are refused then too, also behind a listed name, unless the very
// address is listed.
//
// The check is made with the address that is dialled, so that a name that changes its
// address between two lookups gains nothing, however the name is written.
func Guard(allowTargets []string) (func(host string, address netip.Addr) error, error) {
	return guard(allowTargets, false)
}

// GuardPublic is [Guard] that also refuses addresses which are not of the public
// internet, loopback and private networks above all, unless the address or a network
// around it is listed. A listed name does not open them.
func GuardPublic(allowTargets []string) (func(host string, address netip.Addr) error, error) {
	return guard(allowTargets, true)
}

func guard(allowTargets []string, public bool) (func(host string, address netip.Addr) error, error) {
	list := &allowed{}
	for _, entry := range allowTargets {
		if err := list.add(entry); err != nil {
			return nil, err
		}
	}
	all := len(allowTargets) == 0
	return func(host string, address netip.Addr) error {
		inner := netguard.Inner(address)
		switch {
		case list.addresses[inner]:
			return nil
		case netguard.Sensitive(address):
			return fmt.Errorf("%s is a link-local, multicast or metadata address, which is not probed", inner)
		case list.network(inner) || list.network(address.WithZone("")):
			return nil
		case public && !netguard.Public(address):
			return fmt.Errorf("%s is not an address of the public internet", inner)
		case all || list.host(host):
			return nil
		default:
			return fmt.Errorf("%q at %s is not among the allowed targets", host, inner)
		}
	}, nil
}

// allowed is a list of targets that may be probed.
type allowed struct {
	hosts     map[string]bool
	domains   []string // ".example.com"
	networks  []netip.Prefix
	addresses map[netip.Addr]bool
}

func (l *allowed) add(entry string) error {
	if l.hosts == nil {
		l.hosts, l.addresses = map[string]bool{}, map[netip.Addr]bool{}
	}
	name := strings.ToLower(strings.TrimSuffix(entry, "."))
	if address, err := netip.ParseAddr(name); err == nil {
		l.addresses[netguard.Inner(address)] = true
		return nil
	}
	if strings.Contains(name, "/") {
		network, err := netip.ParsePrefix(name)
		if err != nil {
			return fmt.Errorf("allowed target %q is not a network such as 192.0.2.0/24", entry)
		}
		l.networks = append(l.networks, unmapped(network.Masked()))
		return nil
	}
	domain, below := strings.CutPrefix(name, "*.")
	if domain == "" || strings.ContainsAny(domain, "*: ") {
		return fmt.Errorf("allowed target %q is neither a host, nor *.domain, nor an address, nor a network", entry)
	}
	if below {
		l.domains = append(l.domains, "."+domain)
		return nil
	}
	l.hosts[name] = true
	return nil
}

func (l *allowed) host(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if l.hosts[host] {
		return true
	}
	for _, domain := range l.domains {
		if strings.HasSuffix(host, domain) && host != domain {
			return true
		}
	}
	return false
}

func (l *allowed) network(address netip.Addr) bool {
	for _, network := range l.networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// unmapped returns the IPv4 network inside of a mapped one.
func unmapped(network netip.Prefix) netip.Prefix {
	if network.Addr().Is4In6() && network.Bits() >= 96 {
		return netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	return network
}
