package fetch

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/certmedic/certmedic/internal/netguard"
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

// Sensitive reports whether a [Client] refuses an address: one that [netguard.Sensitive]
// names, or an unspecified one, under which no document is served.
func Sensitive(address netip.Addr) bool {
	return netguard.Sensitive(address) || address.Unmap().IsUnspecified()
}
