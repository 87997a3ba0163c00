package live

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// Protocol is a protocol that carries TLS: from its first byte (implicit TLS), after an
// exchange in plain text (STARTTLS and its like), or over QUIC.
type Protocol struct {
	Name string
	Port uint16   // the default port, after IANA's registry
	ALPN []string // what is offered by ALPN (RFC 7301); empty offers nothing
	QUIC bool     // TLS is carried by QUIC (RFC 9001) instead of TCP

	// wary servers block a host after some connections of its that broke off, as MySQL does
	// (max_connect_errors), and all other clients on it: they get one offer, which they take.
	wary bool

	// begin speaks the protocol up to the point where the TLS handshake begins. Nil: it
	// begins at once.
	begin func(d *dialogue) error

	// end takes leave of the server over TLS. Nil: the connection is just closed.
	end func(conn net.Conn)
}

// Protocols returns the supported protocols: those with implicit TLS first.
func Protocols() []Protocol { return slices.Clone(protocols) }

var protocols = []Protocol{
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
	{Name: "xmpps-server", Port: 5270},
	{Name: "dot", Port: 853},
	{Name: "quic", Port: 443, ALPN: []string{"h3"}, QUIC: true},
	{Name: "doq", Port: 853, ALPN: []string{"doq"}, QUIC: true},
	{Name: "amqps", Port: 5671},
	{Name: "mqtts", Port: 8883},

	{Name: "smtp", Port: 25, begin: beginSMTP},
	{Name: "lmtp", Port: 24, begin: beginLMTP},
	{Name: "imap", Port: 143, begin: beginIMAP},
	{Name: "pop3", Port: 110, begin: beginPOP3},
	{Name: "sieve", Port: 4190, begin: beginSieve},
	{Name: "ftp", Port: 21, begin: beginFTP},
	{Name: "nntp", Port: 119, begin: beginNNTP},
	{Name: "ldap", Port: 389, begin: beginLDAP},
	{Name: "irc", Port: 6667, begin: beginIRC},
	{Name: "xmpp", Port: 5222, begin: beginXMPP},
	{Name: "xmpp-server", Port: 5269, begin: beginXMPPServer},
	{Name: "postgres", Port: 5432, begin: beginPostgres},
	{Name: "mysql", Port: 3306, begin: beginMySQL, end: leaveMySQL, wary: true},
	{Name: "mariadb", Port: 3306, begin: beginMySQL, end: leaveMySQL, wary: true},
	{Name: "mssql", Port: 1433, begin: beginMSSQL},
	{Name: "rdp", Port: 3389, begin: beginRDP},
}

// Variants reports whether servers may be asked for one type of key, which those that lack
// it refuse: not over QUIC, which has TLS 1.3 only, and not where refusals do harm.
func (p Protocol) Variants() bool { return !p.QUIC && !p.wary }

// ParseProtocol returns the protocol of that name; the empty name is "tls".
func ParseProtocol(name string) (Protocol, error) {
	if name == "" {
		name = "tls"
	}
	for _, p := range protocols {
		if p.Name == name {
			return p, nil
		}
	}
	known := make([]string, 0, len(protocols))
	for _, p := range protocols {
		known = append(known, p.Name)
	}
	return Protocol{}, fmt.Errorf("protocol %q is not supported; supported are %s", name, strings.Join(known, ", "))
}
