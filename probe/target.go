package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/resolve"
)

// ParseTarget reads what a person gives as a target: host, host:port, an IP address with
// or without port (an IPv6 address with a port in brackets), or PROTOCOL://host[:port]
// with a protocol of [live.Protocols]. After https a path may follow, which is asked for; the
// others have none. International names are converted (RFC 5891). The endpoint's address always has a port, the protocol's default where none
// is given.
func ParseTarget(s string) (certmedic.Endpoint, error) {
	endpoint, err := parseTarget(s)
	if err != nil {
		return certmedic.Endpoint{}, fmt.Errorf("target %q: %w", masked(s), err)
	}
	return endpoint, nil
}

// masked hides what may be a password in a target that takes none.
func masked(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "", s
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		return scheme + "xxxxx" + rest[at:]
	}
	return s
}

func parseTarget(s string) (certmedic.Endpoint, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "tls", s
	}
	if scheme == "" {
		return certmedic.Endpoint{}, errors.New("there is no protocol before \"://\"")
	}
	protocol, err := live.ParseProtocol(strings.ToLower(scheme))
	if err != nil {
		return certmedic.Endpoint{}, err
	}
	host, path, _ := strings.Cut(rest, "/")
	if path != "" {
		path = "/" + path
		if protocol.Name != "https" {
			return certmedic.Endpoint{}, fmt.Errorf("%s takes no path", protocol.Name)
		}
	}
	if strings.Contains(host, "@") {
		return certmedic.Endpoint{}, errors.New("a target takes no user name")
	}
	address, err := parseAddress(host, protocol.Port)
	if err != nil {
		return certmedic.Endpoint{}, err
	}
	return certmedic.Endpoint{Address: address, Protocol: protocol.Name, Path: path}, nil
}

// parseAddress reads host[:port] and returns host:port.
func parseAddress(s string, defaultPort uint16) (string, error) {
	if ip, ok := parseIP(s); ok {
		return netip.AddrPortFrom(ip, defaultPort).String(), nil
	}
	host, port := s, strconv.Itoa(int(defaultPort))
	if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", fmt.Errorf("%q is not host:port; an IPv6 address with a port is written [address]:port", s)
		}
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", fmt.Errorf("port %q is not between 1 and 65535", port)
	}
	if host, err = resolve.ToASCII(host); err != nil {
		return "", err
	}
	if err := checkHost(host); err != nil {
		return "", err
	}
	return net.JoinHostPort(strings.ToLower(host), strconv.FormatUint(number, 10)), nil
}

// parseIP reads an IP address, with or without brackets around it. A zone is the name of
// a network interface; netip would take anything for one.
func parseIP(s string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || strings.ContainsAny(ip.Zone(), "[]:/%") {
		return netip.Addr{}, false
	}
	return ip.Unmap(), true
}

// checkHost accepts IP addresses and the names that DNS and hosts files hold in
// practice, which includes underscores.
func checkHost(host string) error {
	if _, ok := parseIP(host); ok {
		return nil
	}
	if host == "" || len(host) > 254 {
		return fmt.Errorf("host %q has not between 1 and 254 characters", host)
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("host %q: a label has between 1 and 63 characters", host)
		}
	}
	for _, r := range host {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
		default:
			return fmt.Errorf("host %q: %q is not allowed in a host name", host, r)
		}
	}
	return nil
}

// ParseOverride reads HOST:PORT:ADDR, an address to use instead of looking the host up,
// and returns the key and value for [Prober.Override]. IPv6 addresses may stand in
// brackets.
func ParseOverride(s string) (string, netip.Addr, error) {
	host, rest, ok := strings.Cut(s, ":")
	port, text, ok2 := strings.Cut(rest, ":")
	if !ok || !ok2 {
		return "", netip.Addr{}, fmt.Errorf("%q is not HOST:PORT:ADDR", s)
	}
	key, err := parseAddress(strings.TrimSuffix(host, ".")+":"+port, 0)
	if err != nil {
		return "", netip.Addr{}, fmt.Errorf("%q is not HOST:PORT:ADDR: %w", s, err)
	}
	ip, ok := parseIP(text)
	if !ok {
		return "", netip.Addr{}, fmt.Errorf("%q is not HOST:PORT:ADDR: %q is not an IP address", s, text)
	}
	return key, ip, nil
}
