package inspect

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// Roots is a named set of trusted roots, such as "system" or "mozilla". A nil Pool
// trusts nothing.
type Roots struct {
	Name string
	Pool *x509.CertPool
}

// Options are what a chain is judged against.
type Options struct {
	Now        time.Time // required; the time that dates are compared with
	ServerName string    // DNS name or IP address that must match; empty: not checked
	Roots      []Roots   // every set has to trust the chain; none at all trusts nothing
	Warn, Crit Threshold // when the leaf counts as expiring; zero: never
	Pins       []string  // "sha256/BASE64" of accepted SPKI hashes; empty accepts any
	Purpose    Purpose   // what the first certificate has to be good for

	// Public are the roots of authorities that log what they issue. A chain that leads to
	// one of them without a signed certificate timestamp gets no_sct; nil: none does.
	Public *x509.CertPool
	SCTs   [][]byte // serialized timestamps (RFC 6962) that came beside the certificate, in TLS or OCSP
}

// Result is what is wrong with a chain, and the paths that were found.
type Result struct {
	Findings []certmedic.Finding

	// ChainNotAfter is the end of the path that lasts longest, a path ending with the
	// first of its certificates. With several sets of roots it is the earliest of
	// theirs. Paths that are valid now come first, but where none is, the end of those
	// that were is told. It is zero where a set of roots has no path.
	ChainNotAfter time.Time

	// Chains are the paths to roots of any set, leaf first, dates left aside. Those whose
	// authorities are all valid now come first.
	Chains [][]*x509.Certificate

	// Until is the moment up to which the same call with a later Now gives the same
	// result, to the letter. It is zero where a detail counts the time and the result
	// must not be kept. A root of the options that is not valid yet, and opens a second
	// path once it is, is not foreseen.
	Until time.Time
}

// Chain judges a presented chain, leaf first. Findings come in a fixed order and are
// complete whatever is wrong at once. An empty chain has none.
func Chain(presented []*x509.Certificate, o Options) Result {
	if len(presented) == 0 {
		return Result{}
	}
	s := newSubject(presented, o)
	r := Result{ChainNotAfter: s.chainNotAfter(), Chains: s.chains}
	for _, check := range s.checks() {
		r.Findings = append(r.Findings, check()...)
	}
	r.Until = s.until(r.Findings)
	return r
}

// subject is a presented chain with the paths that were found for it.
type subject struct {
	presented []*x509.Certificate
	leaf      *x509.Certificate
	options   Options
	now       view
	sets      []trust
	public    *trust                // what the public roots say; nil where they were not asked
	chains    [][]*x509.Certificate // the paths of all sets
	relevant  [][]*x509.Certificate // the paths that judge the chain, see relevantPaths
	roles     []role                // of each presented certificate
	behind    *x509.Certificate     // the leaf that stands behind its authority; nil: none does
}

func newSubject(presented []*x509.Certificate, o Options) *subject {
	s := &subject{presented: presented, leaf: presented[0], options: o, now: viewAt(presented, o.Purpose, o.Now)}
	roots := o.Roots
	if len(roots) == 0 {
		roots = []Roots{{Name: "an empty set of roots"}}
	}
	for _, set := range roots {
		s.sets = append(s.sets, s.verify(set))
	}
	s.chains = s.allChains()
	s.relevant = s.relevantPaths()
	s.roles = s.findRoles()
	if line := displaced(presented); line != nil {
		s.behind = line[0]
	}
	return s
}

// allChains returns the paths of all sets, usable ones first.
func (s *subject) allChains() [][]*x509.Certificate {
	var usable, spoiled [][]*x509.Certificate
	for _, set := range s.sets {
		for _, path := range set.chains {
			if validAbove(path, s.options.Now) {
				usable = append(usable, path)
			} else {
				spoiled = append(spoiled, path)
			}
		}
	}
	return append(usable, spoiled...)
}

// relevantPaths returns the paths that clients can use now; where there is none, those
// that only dates spoil; where there is none either, the line of presented certificates.
func (s *subject) relevantPaths() [][]*x509.Certificate {
	var usable [][]*x509.Certificate
	for _, set := range s.sets {
		usable = append(usable, set.usable...)
	}
	if len(usable) > 0 {
		return usable
	}
	if len(s.chains) > 0 {
		return s.chains
	}
	return [][]*x509.Certificate{ascend(s.presented)}
}

func (s *subject) chainNotAfter() time.Time {
	var end time.Time
	for _, set := range s.sets {
		path := longest(set.usable)
		if path == nil {
			path = longest(set.chains)
		}
		if path == nil {
			return time.Time{}
		}
		if end.IsZero() || endOf(path).Before(end) {
			end = endOf(path)
		}
	}
	return end.UTC()
}

// role says what a presented certificate is good for.
type role int

// The roles. A twin has name and key of a certificate on a path, under another
// signature: other clients need it.
const (
	roleOnPath role = iota
	roleTwin
	roleExtra
	roleExpired
	roleRepeated
)

// needless reports whether no client needs the certificate to be sent.
func (r role) needless() bool { return r >= roleExtra }

func (s *subject) findRoles() []role {
	needed := distinct(s.relevant)
	roles := make([]role, len(s.presented))
	for i, c := range s.presented {
		r := roleAmong(c, needed)
		switch {
		case contains(s.presented[:i], c):
			r = roleRepeated
		case r != roleOnPath && s.options.Now.After(c.NotAfter):
			r = roleExpired
		}
		roles[i] = r
	}
	return roles
}

func roleAmong(c *x509.Certificate, needed []*x509.Certificate) role {
	r := roleExtra
	for _, n := range needed {
		if n.Equal(c) {
			return roleOnPath
		}
		if bytes.Equal(n.RawSubject, c.RawSubject) && bytes.Equal(n.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo) {
			r = roleTwin
		}
	}
	return r
}

// distinct returns the certificates of the paths, each once.
func distinct(paths [][]*x509.Certificate) []*x509.Certificate {
	if len(paths) == 1 {
		return paths[0]
	}
	var all []*x509.Certificate
	seen := map[*x509.Certificate]bool{}
	for _, path := range paths {
		for _, c := range path {
			if !seen[c] {
				all = append(all, c)
			}
			seen[c] = true
		}
	}
	return all
}

func contains(certs []*x509.Certificate, c *x509.Certificate) bool {
	return slices.ContainsFunc(certs, c.Equal)
}
