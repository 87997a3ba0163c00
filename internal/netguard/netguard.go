// Package netguard knows the addresses to which nobody may lead certmedic by naming a host
// or a URL. What connects to names that others chose calls it with the address that is
// about to be dialled: /probe, and the client for what certificates point to.
//
// It promises that no way to write an address hides it: one of IPv4 that is carried inside
// of one of IPv6 is judged as itself.
package netguard

import "net/netip"

// Sensitive reports whether an address is link-local or multicast, or one under which a
// cloud serves metadata, credentials among them, to whoever asks from this machine.
func Sensitive(address netip.Addr) bool {
	return sensitive(Inner(address)) || sensitive(address.WithZone(""))
}

func sensitive(address netip.Addr) bool {
	if address.IsLinkLocalUnicast() || address.IsMulticast() {
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

// Public reports whether an address belongs to the public internet, after the registries
// of special-purpose addresses (RFC 6890).
func Public(address netip.Addr) bool {
	address = Inner(address)
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

// Inner returns the address that packets for this one reach in the end: without a zone,
// this host for the unspecified address, and the IPv4 address that others carry inside.
func Inner(address netip.Addr) netip.Addr {
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
			return Inner(netip.AddrFrom4([4]byte(bytes[e.at : e.at+4])))
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
