package discover

import (
	"cmp"
	"net"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// probeAddress turns a listening address into one to connect to on this host; empty where
// there is none. Listens are all addresses of the service. The wildcard of IPv6 is reached
// through the loopback of its own family, because it takes no IPv4 by default, and is left
// out where the one of IPv4 is there too. A wildcard is not reached through the loopback
// where another socket has just that.
func probeAddress(listen string, listens map[string]bool) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	loopback := ""
	switch ip := net.ParseIP(host); {
	case host == "*" || host == "":
		loopback = net.JoinHostPort("127.0.0.1", port)
	case ip != nil && ip.Equal(net.IPv6unspecified):
		if listens["*:"+port] {
			return ""
		}
		loopback = net.JoinHostPort("::1", port)
	default:
		return net.JoinHostPort(host, port)
	}
	if listens[loopback] {
		return ""
	}
	return loopback
}

// ownName returns a name that a client could ask for to get a server, of those that its
// configuration has; empty where it has none.
func ownName(s conf.Server) string { return cmp.Or(plainName(s.Names), underWildcard(s.Names)) }

// plainName returns the first name that a client could ask for as it is: no wildcard,
// regular expression, variable or catch-all.
func plainName(names []string) string {
	for _, name := range names {
		name = strings.TrimPrefix(name, ".") // nginx's .example.com is example.com too
		if strings.Contains(name, ".") && !strings.ContainsAny(name, "*?~$") && net.ParseIP(name) == nil {
			return name
		}
	}
	return ""
}

// underWildcard returns a name that the first wildcard covers.
func underWildcard(names []string) string {
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, "*."); ok && !strings.ContainsAny(rest, "*?") {
			return "certmedic." + rest
		}
	}
	return ""
}
