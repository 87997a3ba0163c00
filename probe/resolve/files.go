package resolve

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// cached is a file's parsed content, read again when the file has changed.
type cached[T any] struct {
	mu    sync.Mutex
	known bool
	mtime time.Time
	size  int64
	value T
}

// maxFile bounds what is read of a hosts file or resolv.conf.
const maxFile = 4 << 20

// get returns the parsed content. A file that is missing or cannot be read counts as
// empty, as it does for the C library.
func (c *cached[T]) get(path string, parse func([]byte) T) T {
	c.mu.Lock()
	defer c.mu.Unlock()
	var mtime time.Time
	var size int64
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() <= maxFile {
		mtime, size = info.ModTime(), info.Size()
	}
	if c.known && c.mtime.Equal(mtime) && c.size == size {
		return c.value
	}
	var content []byte
	if !mtime.IsZero() {
		content, _ = os.ReadFile(path)
	}
	c.known, c.mtime, c.size, c.value = true, mtime, size, parse(content)
	return c.value
}

// parseHosts reads hosts(5): an address and its names on each line.
func parseHosts(content []byte) map[string][]netip.Addr {
	hosts := map[string][]netip.Addr{}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		address, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		for _, name := range fields[1:] {
			name = canonical(name)
			hosts[name] = append(hosts[name], address)
		}
	}
	return hosts
}

// settings are what resolv.conf says, as far as it is obeyed.
type settings struct {
	servers  []string
	trusted  bool // what the servers say of DNSSEC may be believed
	search   []string
	ndots    int
	attempts int
	timeout  time.Duration
}

// parseResolvConf reads resolv.conf(5). Without servers it is the local one, as for the
// C library.
func parseResolvConf(content []byte) settings {
	config, err := dns.ClientConfigFromReader(bytes.NewReader(content))
	if err != nil {
		config = &dns.ClientConfig{Ndots: 1, Attempts: 2, Timeout: 5}
	}
	s := settings{search: config.Search, ndots: config.Ndots, attempts: config.Attempts, timeout: time.Duration(config.Timeout) * time.Second}
	for _, server := range config.Servers {
		s.servers = append(s.servers, net.JoinHostPort(server, "53"))
	}
	if len(s.servers) == 0 {
		s.servers = []string{"127.0.0.1:53"}
	}
	s.trusted = trustsAD(content)
	return s
}

// trustsAD reports whether resolv.conf has the option trust-ad: the administrator's word
// that the servers validate, and that nobody is on the way to them.
func trustsAD(content []byte) bool {
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 0 && fields[0] == "options" && slices.Contains(fields[1:], "trust-ad") {
			return true
		}
	}
	return false
}

// believes reports whether the server's word on DNSSEC counts. Nobody sits between us
// and a server on this host.
func (s settings) believes(server string) bool {
	address, err := netip.ParseAddrPort(server)
	return s.trusted || err == nil && address.Addr().IsLoopback()
}

// whom tells the answers of one set of servers from those of another, so that none is
// used again once they have changed.
func (s settings) whom() string {
	whom := strings.Join(s.servers, " ")
	if s.trusted {
		whom += " trusted"
	}
	return whom
}

// withPort adds the port of DNS to a server that is given without one.
func withPort(server string) (string, error) {
	if _, err := netip.ParseAddrPort(server); err == nil {
		return server, nil
	}
	address, err := netip.ParseAddr(strings.Trim(server, "[]"))
	if err != nil {
		return "", fmt.Errorf("DNS server %q is neither an IP address nor ip:port", server)
	}
	return netip.AddrPortFrom(address, 53).String(), nil
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
