package inspect

import (
	"crypto/x509"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// Purpose is what a certificate has to be good for. It decides which checks there are.
type Purpose string

// The purposes. What serves is judged in full. What clients present is judged for its dates,
// usage and strength, and against roots only where the options have some: which authorities
// a server takes for its clients, only that server knows. An authority that is kept to verify
// others with is judged for its dates and strength: that it is kept is the trust in it.
const (
	PurposeServer    Purpose = ""
	PurposeClient    Purpose = "client"
	PurposeAuthority Purpose = "authority"
)

// checks returns what a subject is judged for.
func (s *subject) checks() []func() []certmedic.Finding {
	switch {
	case s.options.Purpose == PurposeAuthority:
		return []func() []certmedic.Finding{s.dates, s.expiring, s.weakness}
	case s.options.Purpose == PurposeClient && len(s.options.Roots) == 0:
		return []func() []certmedic.Finding{s.dates, s.usage, s.expiring, s.weakness}
	default:
		return []func() []certmedic.Finding{
			s.dates, s.name, s.trusted, s.usage, s.constraints, s.pins,
			s.expiring, s.chainExpiring, s.order, s.extra, s.weakness, s.logged,
		}
	}
}

// usage returns the extended key usage that the purpose needs, and its name.
func (p Purpose) usage() (x509.ExtKeyUsage, string) {
	if p == PurposeClient {
		return x509.ExtKeyUsageClientAuth, "clientAuth"
	}
	return x509.ExtKeyUsageServerAuth, "serverAuth"
}

// allows reports whether a certificate's extended key usage allows the purpose.
func (p Purpose) allows(c *x509.Certificate) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	needed, _ := p.usage()
	return slices.Contains(c.ExtKeyUsage, needed) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// IsAuthority reports whether a certificate is made to verify others with, and no server's: it
// may sign certificates and is for no name. Self-signed certificates that servers were given
// before names stood in the alternative ones look like that too, but for a common name that is
// a host's.
func IsAuthority(c *x509.Certificate) bool {
	if len(c.DNSNames)+len(c.IPAddresses) > 0 {
		return false
	}
	if c.Version < 3 {
		return selfIssued(c) && !isHost(c.Subject.CommonName)
	}
	if !c.BasicConstraintsValid || !c.IsCA {
		return false
	}
	return c.KeyUsage&x509.KeyUsageCertSign != 0 || c.KeyUsage == 0 && !isHost(c.Subject.CommonName)
}

// isHost reports whether a common name is that of a host.
func isHost(name string) bool {
	return name == "localhost" || strings.Contains(name, ".") && !strings.Contains(name, " ")
}
