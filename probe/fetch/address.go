package fetch

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

var errRefused = errors.New("addresses of this kind are not connected to")

// controlAddress refuses connections by the address that a name resolved to, immediately
// before the connection is made: a name that resolves otherwise the next time gains
// nothing.
func controlAddress(_, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connecting to %q: %w", address, err)
	}
	if Sensitive(target.Addr()) {
		return fmt.Errorf("%s: %w", target.Addr(), errRefused)
	}
	return nil
}

// Sensitive reports whether an address is link-local, multicast or unspecified, or one
// under which a cloud serves metadata, credentials among them, to whoever asks from this
// machine. An IPv4 address inside of an IPv6 one (RFC 4291, RFC 6052) is judged as itself.
func Sensitive(address netip.Addr) bool {
	address = plain(address)
	if address.IsLinkLocalUnicast() || address.IsMulticast() || address.IsUnspecified() {
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

func plain(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if netip.MustParsePrefix("64:ff9b::/96").Contains(address) {
		bytes := address.As16()
		return netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return address
}
