// Package listening finds out which of this host's listening sockets speak TLS, and which
// leaf each of them serves. It is called by package discover. It makes handshakes only with
// addresses of this host, through the function that it is given, a bounded number of them;
// it never connects to services that would take a handshake for something to do, such as
// printers.
package listening

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
)

const (
	parallel = 16              // how many sockets are tried at a time
	timeout  = 2 * time.Second // of one handshake
)

// Options say where to look.
type Options struct {
	Proc      string   // where the kernel's tables are: /proc
	SkipPID   int      // the process whose own sockets are left out; 0: none
	Protocols []string // those that may be tried; empty: tls alone

	// Leaf makes a handshake with an endpoint and returns the leaf that was presented,
	// whether it verifies or not. An error says that the endpoint does not speak this.
	Leaf func(context.Context, certmedic.Endpoint) (Leaf, error)
}

// Leaf is the end entity's certificate that a socket serves.
type Leaf struct {
	SHA256 certmedic.Fingerprint
	Names  []string // its DNS names
}

// Socket is a listening socket that speaks TLS.
type Socket struct {
	Endpoint certmedic.Endpoint // its address is an IP address, and it has no server name
	Leaf     Leaf
}

// Find tries the listening sockets, and returns those that speak TLS by their ports. Each is
// tried with the protocol that its port is known for, and then with TLS from the first
// byte. Of more than 200 sockets, those of the lowest ports are tried. An error says what
// of the kernel's tables could not be read.
func Find(ctx context.Context, opts Options) ([]Socket, error) {
	found, err := addresses(opts)
	found = slices.DeleteFunc(found, func(a netip.AddrPort) bool { return spared(a.Port()) })
	found = found[:min(len(found), maxSockets)]

	sockets := make([]*Socket, len(found))
	turns := make(chan struct{}, parallel)
	var tries sync.WaitGroup
	for i, address := range found {
		turns <- struct{}{}
		tries.Go(func() {
			defer func() { <-turns }()
			sockets[i] = try(ctx, opts, address)
		})
	}
	tries.Wait()
	var out []Socket
	for _, s := range sockets {
		if s != nil {
			out = append(out, *s)
		}
	}
	return out, err
}

// try returns nil for what does not speak TLS.
func try(ctx context.Context, opts Options, address netip.AddrPort) *Socket {
	for _, protocol := range guesses(address.Port()) {
		if protocol != "tls" && !slices.Contains(opts.Protocols, protocol) || ctx.Err() != nil {
			continue
		}
		endpoint := certmedic.Endpoint{Address: address.String(), Protocol: protocol}
		if leaf, err := handshake(ctx, opts, endpoint); err == nil {
			return &Socket{Endpoint: endpoint, Leaf: leaf}
		}
	}
	return nil
}

func handshake(ctx context.Context, opts Options, e certmedic.Endpoint) (Leaf, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return opts.Leaf(ctx, e)
}

// spared reports whether the services of a port are left alone: SSH, which counts failed
// log-ins; portmapper and NFS; printers, which print what they are sent; X servers.
func spared(port uint16) bool {
	switch {
	case port == 22, port == 111, port == 515, port == 2049:
		return true
	case port >= 9100 && port <= 9107:
		return true
	default:
		return port >= 6000 && port <= 6063
	}
}

// guesses returns the protocols to try on a port, by IANA's registry, tls at last: a
// service may stand at the port of another one.
func guesses(port uint16) []string {
	known := map[uint16]string{
		21: "ftp", 25: "smtp", 110: "pop3", 119: "nntp", 143: "imap", 389: "ldap", 587: "smtp", 4190: "sieve",
		1433: "mssql", 3306: "mysql", 3389: "rdp", 5222: "xmpp", 5269: "xmpp-server", 5432: "postgres", 6667: "irc",
		465: "smtps", 563: "nntps", 636: "ldaps", 853: "dot", 990: "ftps", 993: "imaps", 995: "pop3s", 5223: "xmpps",
		5671: "amqps", 6697: "ircs", 8883: "mqtts",
	}
	if protocol, ok := known[port]; ok {
		return []string{protocol, "tls"}
	}
	return []string{"tls"}
}
