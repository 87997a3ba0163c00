package listening

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxSockets is how many listening sockets are looked at.
const maxSockets = 200

// stateListen is TCP_LISTEN of the kernel's states.
const stateListen = "0A"

// maxLines bounds the sockets of all states that are read of one table.
const maxLines = 1_000_000

// addresses returns where this host's listening sockets are reached, in order and each
// once. The wildcards are reached through the loopback; that of IPv6 takes IPv4 too by
// default, and is left out where the one of IPv4 has the same port.
func addresses(opts Options) ([]netip.AddrPort, error) {
	own, err := ownSockets(opts)
	errs := []error{err}
	var found []netip.AddrPort
	for _, table := range []string{"tcp", "tcp6"} {
		listens, err := readTable(filepath.Join(opts.Proc, "net", table), own)
		if table == "tcp6" && errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			err = nil
		}
		errs = append(errs, err)
		found = append(found, listens...)
	}
	return reachable(found), errors.Join(errs...)
}

// readTable reads the listening sockets of a file such as /proc/net/tcp, without those
// whose inode is in skip.
func readTable(path string, skip map[string]bool) ([]netip.AddrPort, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading listening sockets: %w", err)
	}
	defer file.Close()
	return parseTable(file, path, skip)
}

func parseTable(r io.Reader, name string, skip map[string]bool) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	scanner := bufio.NewScanner(r)
	for number := 1; scanner.Scan() && number <= maxLines; number++ {
		fields := strings.Fields(scanner.Text())
		if number == 1 || len(fields) < 10 || fields[3] != stateListen || skip[fields[9]] {
			continue
		}
		address, err := parseAddress(fields[1])
		if err != nil {
			return out, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		out = append(out, address)
	}
	if err := scanner.Err(); err != nil {
		return out, fmt.Errorf("reading %s: %w", name, err)
	}
	return out, nil
}

// parseAddress reads ADDRESS:PORT in hexadecimal digits. The address is numbers of 32 bits,
// whose bytes in the host's own order are those of the network.
func parseAddress(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	number, portErr := strconv.ParseUint(port, 16, 16)
	if err != nil || portErr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", text)
	}
	for word := range slices.Chunk(raw, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	ip, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
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

// ownSockets returns the inodes of the sockets of the process to skip.
func ownSockets(opts Options) (map[string]bool, error) {
	if opts.SkipPID == 0 {
		return nil, nil
	}
	dir := filepath.Join(opts.Proc, strconv.Itoa(opts.SkipPID), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the sockets of process %d: %w", opts.SkipPID, err)
	}
	own := map[string]bool{}
	for _, entry := range entries {
		target, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue // it was closed meanwhile
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			own[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return own, nil
}
