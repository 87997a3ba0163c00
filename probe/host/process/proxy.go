package process

import (
	"net/netip"
	"slices"
	"strings"
)

// Behind returns the processes that answer for a proxy of docker's, which holds a published port
// on the host and passes connections on into a container's network. Of other processes, and
// where the container is not found, it returns none.
func (t Table) Behind(p Process) []Process {
	if p.Name != "docker-proxy" {
		return nil
	}
	address, err := netip.ParseAddrPort(flagOf(p.Argv, "-container-ip") + ":" + flagOf(p.Argv, "-container-port"))
	net := t.hosts[address.Addr()]
	if err != nil || net == 0 {
		return nil
	}
	network := flagOf(p.Argv, "-proto")
	if network == "" {
		network = "tcp"
	}
	return t.ListeningIn(net, network, address)
}

func flagOf(argv []string, name string) string {
	at := slices.Index(argv, name)
	if at < 0 || at+1 >= len(argv) {
		return ""
	}
	return argv[at+1]
}

// localAddresses reads the addresses of a network namespace from its table of routes,
// /proc/net/fib_trie: each is followed by a line "/32 host LOCAL". Those of the loopback are
// left out: every namespace has them.
func localAddresses(trie string) []netip.Addr {
	var out []netip.Addr
	var last string
	for line := range strings.Lines(trie) {
		line = strings.TrimSpace(line)
		if address, ok := strings.CutPrefix(line, "|-- "); ok {
			last = address
			continue
		}
		address, err := netip.ParseAddr(last)
		if line == "/32 host LOCAL" && err == nil && !address.IsLoopback() && !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	return out
}
