package config

import (
	"strconv"

	"github.com/certmedic/certmedic/probe/live"
)

// port returns the port that a protocol has of its own, and whether there is such a
// protocol.
func port(protocol string) (string, bool) {
	p, err := live.ParseProtocol(protocol)
	if err != nil {
		return "", false
	}
	return strconv.Itoa(int(p.Port)), true
}

// protocols returns the names of the protocols.
func protocols() []string {
	var names []string
	for _, p := range live.Protocols() {
		names = append(names, p.Name)
	}
	return names
}
