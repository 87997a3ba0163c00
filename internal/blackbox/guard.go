package blackbox

import (
	"fmt"
	"net/netip"
	"strings"
)

// Guard returns the check of who may be probed, for [Options.Allow]. With an empty list
// these are all but link-local addresses and those under which clouds serve the secrets
// of a machine. Otherwise they are the list's: host names ("*.example.com" for those
// below a domain), IP addresses, and networks in CIDR form. The addresses that are
// refused by default are refused then too, also behind a listed name, unless the very
// address is listed.
//
// The check is made with the address that is dialled, so that a name that changes its
// address between two lookups gains nothing.
func Guard(allowTargets []string) (func(host string, address netip.Addr) error, error) {
	list := &allowed{}
	for _, entry := range allowTargets {
		if err := list.add(entry); err != nil {
			return nil, err
		}
	}
	all := len(allowTargets) == 0
	return func(host string, address netip.Addr) error {
		address = plain(address)
		switch {
		case list.addresses[address]:
			return nil
		case sensitive(address):
			return fmt.Errorf("%s is a link-local or metadata address, which is not probed", address)
		case all || list.host(host) || list.network(address):
			return nil
		default:
			return fmt.Errorf("%q at %s is not among the allowed targets", host, address)
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
		l.addresses[plain(address)] = true
		return nil
	}
	if strings.Contains(name, "/") {
		network, err := netip.ParsePrefix(name)
		if err != nil {
			return fmt.Errorf("allowed target %q is not a network such as 192.0.2.0/24", entry)
		}
		l.networks = append(l.networks, network.Masked())
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

// plain returns the address that packets for this one reach in the end: without a zone,
// and the IPv4 address inside of a mapped one (RFC 4291) or of a NAT64 one (RFC 6052).
func plain(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if netip.MustParsePrefix("64:ff9b::/96").Contains(address) {
		bytes := address.As16()
		return netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return address
}

// sensitive reports whether an address is link-local, or one under which a cloud serves
// metadata, credentials among them, to whoever asks from this machine.
func sensitive(address netip.Addr) bool {
	if address.IsLinkLocalUnicast() || address.IsLinkLocalMulticast() {
		return true
	}
	for _, metadata := range []string{
		"fd00:ec2::254",   // AWS, instance metadata
		"fd00:ec2::23",    // AWS, credentials of pods
		"fd20:ce::254",    // Google
		"100.100.100.200", // Alibaba
		"168.63.129.16",   // Azure, the host's agent
		"192.0.0.192",     // Oracle
	} {
		if address == netip.MustParseAddr(metadata) {
			return true
		}
	}
	return false
}
