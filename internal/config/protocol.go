package config

// port returns the port that a protocol has of its own, and whether this version speaks
// the protocol. These begin with TLS; the port is IANA's.
func port(protocol string) (string, bool) {
	for _, p := range protocols() {
		if p.name == protocol {
			return p.port, true
		}
	}
	return "", false
}

type protocol struct{ name, port string }

func protocols() []protocol {
	return []protocol{
		{"tls", "443"},
		{"https", "443"},
		{"smtps", "465"},
		{"imaps", "993"},
		{"pop3s", "995"},
		{"ldaps", "636"},
		{"ftps", "990"},
		{"nntps", "563"},
		{"ircs", "6697"},
		{"xmpps", "5223"},
		{"dot", "853"},
		{"amqps", "5671"},
		{"mqtts", "8883"},
	}
}

// upgraded lists the protocols that begin in plain text, or are not TCP: they are known,
// and a later version speaks them.
func upgraded() []string {
	return []string{
		"smtp", "imap", "pop3", "ftp", "ldap", "postgres", "mysql", "xmpp", "sieve", "nntp", "irc", "quic",
	}
}
