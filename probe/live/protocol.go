package live

import (
	"fmt"
	"strings"
)

// Protocol is a protocol that carries TLS: from its first byte (implicit TLS), after an
// exchange in plain text (STARTTLS and its like), or over QUIC.
type Protocol struct {
	Name string
	Port uint16   // the default port, after IANA's registry
	ALPN []string // what is offered by ALPN (RFC 7301); empty offers nothing
	QUIC bool     // TLS is carried by QUIC (RFC 9001) instead of TCP

	// begin speaks the protocol up to the point where the TLS handshake begins. Nil: it
	// begins at once.
	begin func(d *dialogue) error
}

// Protocols returns the supported protocols.
func Protocols() []Protocol {
	return []Protocol{
		{Name: "tls", Port: 443},
		{Name: "https", Port: 443, ALPN: []string{"http/1.1"}},
		{Name: "smtps", Port: 465},
		{Name: "imaps", Port: 993},
		{Name: "pop3s", Port: 995},
		{Name: "ldaps", Port: 636},
		{Name: "ftps", Port: 990},
		{Name: "nntps", Port: 563},
		{Name: "ircs", Port: 6697},
		{Name: "xmpps", Port: 5223},
		{Name: "dot", Port: 853},
		{Name: "amqps", Port: 5671},
		{Name: "mqtts", Port: 8883},
	}
}

// ParseProtocol returns the protocol of that name; the empty name is "tls".
func ParseProtocol(name string) (Protocol, error) {
	if name == "" {
		name = "tls"
	}
	var known []string
	for _, p := range Protocols() {
		if p.Name == name {
			return p, nil
		}
		known = append(known, p.Name)
	}
	return Protocol{}, fmt.Errorf("protocol %q is not supported; supported are %s", name, strings.Join(known, ", "))
}
