package answer

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// holder says who listens at a port of this host, as /proc tells: programs of other users only
// to root.
func holder(address string) string {
	_, service, err := net.SplitHostPort(address)
	port, errPort := strconv.ParseUint(service, 10, 16)
	if err != nil || errPort != nil {
		return "somebody else"
	}
	var sockets []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		sockets = append(sockets, listening(table, uint16(port))...)
	}
	if len(sockets) == 0 {
		return "somebody else"
	}
	descriptors, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return "somebody else"
	}
	for _, descriptor := range descriptors {
		target, err := os.Readlink(descriptor)
		if err == nil && slices.Contains(sockets, target) {
			return program(strings.Split(descriptor, "/")[2])
		}
	}
	return "a process that this user cannot see"
}

// listening returns the sockets that listen at a port, as links to them read: "socket:[12345]".
func listening(table string, port uint16) []string {
	f, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer f.Close()
	const state = "0A" // TCP_LISTEN
	var sockets []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && fields[3] == state && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
			sockets = append(sockets, "socket:["+fields[9]+"]")
		}
	}
	return sockets
}

func program(pid string) string {
	name, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return "process " + pid
	}
	return fmt.Sprintf("%q (process %s)", strings.TrimSpace(string(name)), pid)
}
