package listening

import (
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/certmedic/certmedic/probe/host/process"
)

// maxSockets is how many listening sockets are looked at.
const maxSockets = 200

// addresses returns where this host's listening sockets are reached, in order and each
// once. The wildcards are reached through the loopback; that of IPv6 takes IPv4 too by
// default, and is left out where the one of IPv4 has the same port.
func addresses(opts Options) ([]netip.AddrPort, error) {
	var own map[uint64]bool
	var errs []error
	if opts.SkipPID != 0 {
		sockets, err := process.SocketsOf(opts.Proc, opts.SkipPID)
		own, errs = sockets, append(errs, err)
	}
	var found []netip.AddrPort
	for _, table := range []string{"tcp", "tcp6"} {
		listens, err := process.ReadSockets(filepath.Join(opts.Proc, "net", table))
		if table == "tcp6" && errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			err = nil
		}
		errs = append(errs, err)
		for _, l := range listens {
			if !own[l.Inode] {
				found = append(found, l.Address)
			}
		}
	}
	return reachable(found), errors.Join(errs...)
}

// reachable turns listening addresses into ones to connect to.
func reachable(listens []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	for _, l := range listens {
		switch {
		case l.Addr() == netip.IPv4Unspecified():
			l = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), l.Port())
		case l.Addr() == netip.IPv6Unspecified():
			if slices.Contains(listens, netip.AddrPortFrom(netip.IPv4Unspecified(), l.Port())) {
				continue
			}
			l = netip.AddrPortFrom(netip.IPv6Loopback(), l.Port())
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b netip.AddrPort) int {
		if a.Port() != b.Port() {
			return int(a.Port()) - int(b.Port())
		}
		return a.Addr().Compare(b.Addr())
	})
	return slices.Compact(out)
}
