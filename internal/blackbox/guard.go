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
		inner := plain(address)
		switch {
		case list.addresses[inner]:
			return nil
		case sensitive(inner) || sensitive(address):
			return fmt.Errorf("%s is a link-local or metadata address, which is not probed", inner)
		case list.network(inner) || list.network(address.WithZone("")):
			return nil
		case public && !isPublic(inner):
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
		l.addresses[plain(address)] = true
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

// plain returns the address that packets for this one reach in the end: without a zone,
// this host for the unspecified address, and the IPv4 address that others carry inside.
func plain(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	switch {
	case address == netip.IPv4Unspecified():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case address == netip.IPv6Unspecified():
		return netip.IPv6Loopback()
	case address.Is4() || address.IsLoopback():
		return address
	}
	bytes := address.As16()
	for _, e := range embeddings() {
		if netip.MustParsePrefix(e.network).Contains(address) {
			return plain(netip.AddrFrom4([4]byte(bytes[e.at : e.at+4])))
		}
	}
	return address
}

// embedding is a network of IPv6 addresses that carry an IPv4 address.
type embedding struct {
	network string
	at      int // the first of the four bytes
}

func embeddings() []embedding {
	return []embedding{
		{"64:ff9b::/96", 12},    // NAT64 (RFC 6052)
		{"64:ff9b:1::/48", 12},  // NAT64 of a local network (RFC 8215), in its usual form of /96
		{"2002::/16", 2},        // 6to4 (RFC 3056)
		{"::ffff:0:0:0/96", 12}, // translated (RFC 2765)
		{"::/96", 12},           // compatible (RFC 4291, deprecated)
	}
}

// sensitive reports whether an address is link-local, or one under which a cloud serves
// metadata, credentials among them, to whoever asks from this machine.
func sensitive(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
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
		"fd00:42::42",     // Scaleway
	} {
		if address == netip.MustParseAddr(metadata) {
			return true
		}
	}
	return false
}

// isPublic reports whether an address belongs to the public internet, after the registries
// of special-purpose addresses (RFC 6890).
func isPublic(address netip.Addr) bool {
	if !address.IsGlobalUnicast() || address.IsPrivate() {
		return false
	}
	for _, network := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4", "100::/64", "2001::/32", "2001:2::/48", "2001:db8::/32", "fec0::/10",
	} {
		if netip.MustParsePrefix(network).Contains(address) {
			return false
		}
	}
	return true
}
