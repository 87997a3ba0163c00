package inspect

import (
	"crypto/x509"
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
}

// Result is what is wrong with a chain, and the paths that were found.
type Result struct {
	Findings []certmedic.Finding

	// ChainNotAfter is the end of the path that lasts longest, a path ending with the
	// first of its certificates. With several sets of roots it is the earliest of
	// theirs. Paths that are valid now come first, but where none is, the end of those
	// that were is told. It is zero where a set of roots has no path.
	ChainNotAfter time.Time

	// Chains are the paths to roots of any set, leaf first, dates left aside.
	Chains [][]*x509.Certificate
}

// Chain judges a presented chain, leaf first. Findings come in a fixed order and are
// complete whatever is wrong at once. An empty chain has none.
func Chain(presented []*x509.Certificate, o Options) Result {
	if len(presented) == 0 {
		return Result{}
	}
	s := newSubject(presented, o)
	checks := []func() []certmedic.Finding{
		s.dates, s.name, s.trusted, s.usage, s.constraints, s.pins,
		s.expiring, s.chainExpiring, s.order, s.extra, s.weakness,
	}
	r := Result{ChainNotAfter: s.chainNotAfter(), Chains: s.chains()}
	for _, check := range checks {
		r.Findings = append(r.Findings, check()...)
	}
	return r
}

// subject is a presented chain with the paths that were found for it.
type subject struct {
	presented []*x509.Certificate
	leaf      *x509.Certificate
	options   Options
	sets      []trust
	relevant  [][]*x509.Certificate // the paths that judge the chain, see relevantPaths
	unneeded  []string              // for each presented certificate why no path needs it, or ""
}

func newSubject(presented []*x509.Certificate, o Options) *subject {
	s := &subject{presented: presented, leaf: presented[0], options: o}
	roots := o.Roots
	if len(roots) == 0 {
		roots = []Roots{{Name: "an empty set of roots"}}
	}
	for _, set := range roots {
		s.sets = append(s.sets, verify(presented, set, o.Now))
	}
	s.relevant = s.relevantPaths()
	s.unneeded = s.reasonsAgainst()
	return s
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
	if chains := s.chains(); len(chains) > 0 {
		return chains
	}
	return [][]*x509.Certificate{ascend(s.presented)}
}

func (s *subject) chains() [][]*x509.Certificate {
	var all [][]*x509.Certificate
	for _, set := range s.sets {
		all = append(all, set.chains...)
	}
	return all
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

// reasonsAgainst says for each presented certificate why no path needs it. A
// cross-signed twin of a needed certificate is needed too, by other clients.
func (s *subject) reasonsAgainst() []string {
	used, twins := map[string]bool{}, map[string]bool{}
	for _, path := range s.relevant {
		for _, c := range path {
			used[string(c.Raw)] = true
			twins[identity(c)] = true
		}
	}
	reasons := make([]string, len(s.presented))
	seen := map[string]bool{}
	for i, c := range s.presented {
		switch {
		case seen[string(c.Raw)]:
			reasons[i] = "(sent twice)"
		case used[string(c.Raw)]:
		case s.options.Now.After(c.NotAfter):
			reasons[i] = "(expired, and no path needs it)"
		case !twins[identity(c)]:
			reasons[i] = "(no path needs it)"
		}
		seen[string(c.Raw)] = true
	}
	return reasons
}

// identity is what cross-signed twins have in common.
func identity(c *x509.Certificate) string {
	return string(c.RawSubject) + string(c.RawSubjectPublicKeyInfo)
}
