package process

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

const (
	maxLines = 1_000_000 // sockets of all states that are read of one table
	maxRead  = 64 << 10  // bytes of a table that are read at once
	maxFiles = 65_536    // open files of one process that are looked at, those that were opened first
)

// Bound is a row of a table of sockets: one that waits for peers.
type Bound struct {
	Address netip.AddrPort // of IPv4 where the kernel has it mapped into IPv6
	Inode   uint64         // by which the processes that hold it are found
}

// ReadSockets reads a table of the kernel, such as /proc/net/tcp, and returns the sockets that
// wait for peers: those of TCP that listen, and those of UDP that are not connected. The file's
// name says which it has. What was read before an error is returned with it.
func ReadSockets(table string) ([]Bound, error) {
	file, err := os.Open(table)
	if err != nil {
		return nil, fmt.Errorf("reading listening sockets: %w", err)
	}
	defer file.Close()
	state := "0A" // TCP_LISTEN
	if strings.HasPrefix(filepath.Base(table), "udp") {
		state = "07" // TCP_CLOSE
	}
	return parseSockets(file, table, state)
}

func parseSockets(r io.Reader, name, state string) ([]Bound, error) {
	var out []Bound
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, maxRead), maxRead) // the kernel goes through its table anew for each read
	for number := 1; scanner.Scan() && number <= maxLines; number++ {
		fields := strings.Fields(scanner.Text())
		if number == 1 || len(fields) < 10 || fields[3] != state {
			continue
		}
		address, err := parseAddress(fields[1])
		if err != nil {
			return out, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		inode, err := strconv.ParseUint(fields[9], 10, 64)
		if err != nil {
			return out, fmt.Errorf("%s:%d: %q is not an inode", name, number, fields[9])
		}
		out = append(out, Bound{Address: address, Inode: inode})
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

// SocketsOf returns the inodes of the sockets that a process has open. The error is
// [fs.ErrPermission] where this user may not see them.
func SocketsOf(proc string, pid int) (map[uint64]bool, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid), "fd")
	names, err := openFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the sockets of process %d: %w", pid, err)
	}
	sockets := map[uint64]bool{}
	for _, name := range names {
		target, err := os.Readlink(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("reading the sockets of process %d: %w", pid, err)
		}
		if err != nil {
			continue // it was closed meanwhile
		}
		number, ok := strings.CutPrefix(target, "socket:[")
		inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
		if ok && err == nil {
			sockets[inode] = true
		}
	}
	return sockets, nil
}

// openFiles returns the names in a folder /proc/PID/fd.
func openFiles(dir string) ([]string, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(maxFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return names, nil
}

// socketsBelow reads the tables of one network namespace. A kernel without IPv6 has not all of
// them.
func socketsBelow(dir string, net uint64, holders map[uint64][]int) ([]Socket, error) {
	var out []Socket
	var errs []error
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		network, six := strings.CutSuffix(table, "6")
		found, err := ReadSockets(filepath.Join(dir, table))
		if !six || !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, s := range found {
			out = append(out, Socket{Network: network, Address: s.Address, Net: net, PIDs: holders[s.Inode]})
		}
	}
	return out, errors.Join(errs...)
}
