package resolve

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
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
	return s
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
