package service

import (
	"cmp"
	"net"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// Answers returns the servers of a service that answer a client that connects to an address,
// host:port, and asks for a name; empty: for none. The first is the one that the service takes
// by its own rules; where there are more, which one depends on the client (the kinds of keys
// that it takes) or on what cannot be told from the files. None: the service does not answer
// there with TLS.
//
// The address is one of this host: a server that listens on exactly this one wins over those
// that listen on all.
func Answers(s Service, address, name string) []conf.Server {
	here := listening(s, address)
	if len(here) == 0 {
		return nil
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch s.Kind {
	case Apache:
		return byOrder(here, name)
	case HAProxy:
		return byCertificate(here, name)
	default:
		return byRank(here, name)
	}
}

// candidate is a server with the address that it answers on.
type candidate struct {
	conf.Server
	listen conf.Listen
}

// listening returns the servers on an address: those that name it, else those of all addresses
// of its family. Quic counts as TLS where nothing else is there.
func listening(s Service, address string) []candidate {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	var exact, all []candidate
	for _, server := range s.Servers {
		for _, l := range server.Listen {
			at, atPort, err := net.SplitHostPort(l.Address)
			if err != nil || atPort != port {
				continue
			}
			switch {
			case sameHost(at, host):
				exact = append(exact, candidate{server, l})
			case isAll(at, host):
				all = append(all, candidate{server, l})
			}
		}
	}
	if len(exact) > 0 {
		return overTCP(exact)
	}
	return overTCP(all)
}

// overTCP leaves out what is reached over QUIC only, if there is anything else.
func overTCP(found []candidate) []candidate {
	tcp := slices.DeleteFunc(slices.Clone(found), func(c candidate) bool { return c.listen.Protocol == "quic" })
	if len(tcp) > 0 {
		return tcp
	}
	return found
}

func sameHost(listen, host string) bool {
	a, b := net.ParseIP(listen), net.ParseIP(host)
	if a != nil && b != nil {
		return a.Equal(b)
	}
	return strings.EqualFold(listen, host)
}

// isAll reports whether a listening host takes connections to every address of a host's
// family. A host that is a name may be of either.
func isAll(listen, host string) bool {
	ip := net.ParseIP(host)
	switch listen {
	case "*", "", "0.0.0.0":
		return ip == nil || ip.To4() != nil
	case "::":
		return ip == nil || ip.To4() == nil
	}
	return false
}

// byRank takes a server as nginx and dovecot do: the one with exactly the name, else the one
// with the longest wildcard before it, else the one with the longest behind it, else the first
// regular expression that matches, else the default.
func byRank(here []candidate, name string) []conf.Server {
	var best, unsure []conf.Server
	rank := 0
	for _, c := range here {
		for _, pattern := range c.Names {
			if strings.HasPrefix(pattern, "~") && name != "" {
				if matched, known := matchesRegexp(pattern[1:], name); !known {
					unsure = append(unsure, c.Server)
				} else if matched && rank < 1 {
					best, rank = []conf.Server{c.Server}, 1
				}
				continue
			}
			if r := rankOf(pattern, name); r > rank {
				best, rank = []conf.Server{c.Server}, r
			}
		}
	}
	if rank == 0 {
		best = byDefault(here)
	}
	if rank <= 1 {
		best = append(best, unsure...)
	}
	return best
}

// Ranks of nginx: a longer wildcard wins over a shorter one of the same side.
const (
	rankExact  = 1 << 20
	rankBefore = 1 << 19
	rankBehind = 1 << 10
)

// rankOf says how well a pattern of nginx fits a name; 0: not.
func rankOf(pattern, name string) int {
	pattern = strings.ToLower(pattern)
	bare, dotted := strings.CutPrefix(pattern, ".")
	suffix, star := strings.CutPrefix(pattern, "*")
	switch {
	case name == "" && pattern == "":
		return rankExact
	case name == "":
		return 0
	case pattern == name, dotted && bare == name:
		return rankExact
	case dotted && strings.HasSuffix(name, pattern):
		return rankBefore + len(pattern)
	case star && strings.HasPrefix(suffix, ".") && strings.HasSuffix(name, suffix):
		return rankBefore + len(suffix)
	case strings.HasSuffix(pattern, ".*") && strings.HasPrefix(name, pattern[:len(pattern)-1]):
		return rankBehind + len(pattern)
	}
	return 0
}

// byDefault returns the default server of an address; else the first.
func byDefault(here []candidate) []conf.Server {
	for _, c := range here {
		if c.listen.Default {
			return []conf.Server{c.Server}
		}
	}
	return []conf.Server{here[0].Server}
}

// byOrder takes a server as apache does: the first one whose name or alias fits, else the
// first.
func byOrder(here []candidate, name string) []conf.Server {
	for _, c := range here {
		for _, pattern := range c.Names {
			if name != "" && fits(strings.ToLower(pattern), name) {
				return []conf.Server{c.Server}
			}
		}
	}
	return byDefault(here)
}

// fits reports whether a pattern of apache, in which * stands for any letters and ? for one,
// matches a name. Where it does not, the last * takes one letter more.
func fits(pattern, name string) bool {
	p, n, star, taken := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, taken = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p, n = p+1, n+1
		case star >= 0:
			taken++
			p, n = star+1, taken
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// byCertificate takes certificates as haproxy does: those for exactly the name, else those for
// a wildcard that covers it, else the first of the bind line. Two of one name are for
// different kinds of keys, or the first of them counts.
func byCertificate(here []candidate, name string) []conf.Server {
	if name == "" {
		return byDefault(here)
	}
	_, parent, _ := strings.Cut(name, ".")
	for _, wanted := range []string{name, "*." + cmp.Or(parent, "-")} {
		var found []conf.Server
		for _, c := range here {
			if slices.ContainsFunc(namesOf(c.Server), func(own string) bool { return strings.EqualFold(own, wanted) }) {
				found = append(found, c.Server)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return byDefault(here)
}
