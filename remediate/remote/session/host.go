package session

import (
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"
	"time"
)

// DefaultPort is the port of sshd where a host names none.
const DefaultPort = 22

// mostJumps bounds a chain of jump hosts.
const mostJumps = 8

// Host says how one host is reached, and how both sides prove who they are.
type Host struct {
	Address string // DNS name or IP address, without a port
	Port    int    // 0: [DefaultPort]
	User    string

	KnownHosts     []string // files in OpenSSH's form; hashed names, @revoked and @cert-authority are understood
	KeyFiles       []string // private keys in OpenSSH's or PEM form, tried in order
	PassphraseFile string   // its first line opens the key files that are encrypted
	Agent          string   // path of the socket of an ssh-agent, asked after the key files; empty: none

	Via        []Host // jump hosts, the first one is connected to directly; each is verified by its own KnownHosts
	Sudo       bool   // commands and the sftp server run under "sudo -n --"
	SFTPServer string // with Sudo: path of the sftp server on the host; empty: looked for
}

// Limits bound the waits of a session; a zero is the default that is written beside it.
type Limits struct {
	Dial      time.Duration // for a TCP connection: 10 s
	Handshake time.Duration // for key exchange and login on each host of the chain: 15 s
	Keepalive time.Duration // between two questions whether the host is still there: 5 s
	Silence   time.Duration // how long such a question waits before the connection is given up: 15 s
}

func (l Limits) orDefaults() Limits {
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&l.Dial, 10 * time.Second}, {&l.Handshake, 15 * time.Second}, {&l.Keepalive, 5 * time.Second}, {&l.Silence, 15 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.usual
		}
	}
	return l
}

// String returns the host as people write it: its address, with a port that is not the usual one.
func (h Host) String() string {
	if h.Port == 0 || h.Port == DefaultPort {
		return h.Address
	}
	return h.endpoint()
}

// endpoint returns "host:port", an IPv6 address in brackets.
func (h Host) endpoint() string {
	port := h.Port
	if port == 0 {
		port = DefaultPort
	}
	return net.JoinHostPort(h.Address, strconv.Itoa(port))
}

// Check says what is wrong with the description of a host, without connecting to it.
func (h Host) Check() error {
	switch {
	case h.Address == "" || strings.ContainsAny(h.Address, "/@[] \t\r\n") || strings.HasPrefix(h.Address, "-"):
		return fmt.Errorf("%q is no address of a host", h.Address)
	case strings.Contains(h.Address, ":") && net.ParseIP(h.withoutZone()) == nil:
		return fmt.Errorf("%q is no address of a host; the port is apart", h.Address)
	case h.Port < 0 || h.Port > 65535:
		return fmt.Errorf("host %q: %d is no port", h.Address, h.Port)
	case h.User == "":
		return fmt.Errorf("host %q: no user", h.Address)
	case len(h.KnownHosts) == 0:
		return fmt.Errorf("host %q: no known_hosts file, and nobody is believed unseen", h.Address)
	case len(h.KeyFiles) == 0 && h.Agent == "":
		return fmt.Errorf("host %q: neither a key file nor an agent", h.Address)
	case h.SFTPServer != "" && !path.IsAbs(h.SFTPServer):
		return fmt.Errorf("host %q: the path of the sftp server %q is not absolute", h.Address, h.SFTPServer)
	case len(h.Via) > mostJumps:
		return fmt.Errorf("host %q: more than %d jump hosts", h.Address, mostJumps)
	}
	for _, jump := range h.Via {
		if len(jump.Via) > 0 {
			return fmt.Errorf("host %q: the jump host %q has jump hosts of its own; write them in one list", h.Address, jump.Address)
		}
		if err := jump.Check(); err != nil {
			return fmt.Errorf("host %q: its jump host: %w", h.Address, err)
		}
	}
	return nil
}

// withoutZone cuts the zone of a link-local IPv6 address.
func (h Host) withoutZone() string {
	address, _, _ := strings.Cut(h.Address, "%")
	return address
}
