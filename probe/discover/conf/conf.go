// Package conf holds what the readers of services' configurations have in common: the
// shape of what they find, a bounded way to read files, and a bounded list of mistakes. It
// is called by the packages beside it, one for each service, and by package discover. It
// executes nothing and changes nothing.
package conf

// Server is one place of a configuration that answers with TLS: a server block of nginx,
// a virtual host of apache, one certificate of a bind line of haproxy.
type Server struct {
	Names        []string // as written: plain names, wildcards, regular expressions
	Listen       []Listen // where it answers with TLS
	Certificates []Pair   // more than one where there is one for each kind of key
	File         string   // where it is written
	Line         int

	// ByCertificate says that clients get this server also when they ask for a name of
	// its certificate. Else a server without names answers only where it is the default.
	ByCertificate bool
}

// Listen is an address on which a server answers.
type Listen struct {
	Address  string // host:port; the host is "*" for every IPv4 address, "::" for every IPv6 one
	Protocol string // tls, quic, or the protocol that starts TLS, such as smtp or imaps
	Default  bool   // clients that ask for a name that no server has get this one
}

// Pair is a certificate's file with its key's. Key is empty where the configuration names
// none. Paths are absolute where that of the main file was.
type Pair struct{ Cert, Key string }
