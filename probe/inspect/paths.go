package inspect

import (
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// trust is what one set of roots says about a chain, dates left aside.
type trust struct {
	name       string
	pool       *x509.CertPool
	chains     [][]*x509.Certificate // every path to a root of the set, leaf first
	usable     [][]*x509.Certificate // those in which everything above the leaf is valid now
	wrongUsage bool                  // paths exist only when the purpose is ignored
	err        error                 // why there is no path
}

// verify builds the paths from the leaf to the set's roots. Roots cannot be taken out
// of their dates, so that where nothing is found now, other times are tried: a root that
// expired explains more than "untrusted".
func (s *subject) verify(roots Roots) trust {
	for _, set := range s.sets {
		if set.pool == roots.Pool {
			set.name = roots.Name
			return set
		}
	}
	t := s.now.verify(roots)
	for _, at := range s.otherTimes(t.err) {
		if other := viewAt(s.presented, s.options.Purpose, at).verify(roots); other.err == nil {
			t = other
			break
		}
	}
	for _, path := range t.chains {
		if validAbove(path, s.options.Now) {
			t.usable = append(t.usable, path)
		}
	}
	return t
}

// otherTimes returns when there may be a path, where the dates of a root may be why
// there is none now.
func (s *subject) otherTimes(err error) []time.Time {
	times := []time.Time{s.leaf.NotBefore, s.leaf.NotAfter}
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return append(times, invalid.Cert.NotAfter, invalid.Cert.NotBefore)
	case errors.As(err, &unknown):
		return append(times, s.endOfSentRoot()...)
	default:
		return nil
	}
}

// endOfSentRoot returns when the first root that is sent along ended, if it did.
func (s *subject) endOfSentRoot() []time.Time {
	for _, c := range s.presented[1:] {
		if selfIssued(c) && s.options.Now.After(c.NotAfter) {
			return []time.Time{c.NotAfter}
		}
	}
	return nil
}

// view is what path building gets to see of the presented certificates: all of them as
// if they were valid at one time.
type view struct {
	at            time.Time
	usage         x509.ExtKeyUsage
	leaf          *x509.Certificate
	intermediates *x509.CertPool
	originals     map[*x509.Certificate]*x509.Certificate // of copies; nil where there is none
}

func viewAt(presented []*x509.Certificate, p Purpose, at time.Time) view {
	v := view{at: at, intermediates: x509.NewCertPool()}
	v.usage, _ = p.usage()
	v.leaf = v.widen(presented[0])
	for _, c := range presented[1:] {
		v.intermediates.AddCert(v.widen(c))
	}
	return v
}

// widen returns the certificate itself when it is valid at the view's time, else a copy
// that is: path building then looks at names, keys and constraints alone. The signature
// stays verifiable because it covers the raw bytes, which the copy shares.
func (v *view) widen(c *x509.Certificate) *x509.Certificate {
	if validAt(c, v.at) {
		return c
	}
	wide := *c
	if v.at.Before(wide.NotBefore) {
		wide.NotBefore = v.at
	}
	if v.at.After(wide.NotAfter) {
		wide.NotAfter = v.at
	}
	if v.originals == nil {
		v.originals = map[*x509.Certificate]*x509.Certificate{}
	}
	v.originals[&wide] = c
	return &wide
}

func (v view) verify(roots Roots) trust {
	options := x509.VerifyOptions{
		Roots: roots.Pool, Intermediates: v.intermediates, CurrentTime: v.at,
		KeyUsages: []x509.ExtKeyUsage{v.usage},
	}
	if options.Roots == nil {
		options.Roots = x509.NewCertPool() // nil would read the system's roots
	}
	t := trust{name: roots.Name, pool: roots.Pool}
	t.chains, t.err = v.leaf.Verify(options)
	if reasonOf(t.err) == x509.IncompatibleUsage {
		t.wrongUsage = true
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		t.chains, t.err = v.leaf.Verify(options)
	}
	if v.originals == nil {
		return t
	}
	for _, path := range t.chains {
		for i, c := range path {
			if original, ok := v.originals[c]; ok {
				path[i] = original
			}
		}
	}
	return t
}

func validAt(c *x509.Certificate, at time.Time) bool {
	return !at.Before(c.NotBefore) && !at.After(c.NotAfter)
}

func validAbove(path []*x509.Certificate, now time.Time) bool {
	for _, c := range path[1:] {
		if !validAt(c, now) {
			return false
		}
	}
	return true
}

// reasonOf returns the reason of an [x509.CertificateInvalidError], -1 for other errors.
func reasonOf(err error) x509.InvalidReason {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		return invalid.Reason
	}
	return -1
}

// endOf returns when the first certificate of a path ends.
func endOf(path []*x509.Certificate) time.Time { return earliest(path).NotAfter }

func earliest(path []*x509.Certificate) *x509.Certificate {
	first := path[0]
	for _, c := range path[1:] {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	return first
}

// longest returns the path that ends last.
func longest(paths [][]*x509.Certificate) []*x509.Certificate {
	var best []*x509.Certificate
	for _, path := range paths {
		if best == nil || endOf(path).After(endOf(best)) {
			best = path
		}
	}
	return best
}

// maxSignatureChecks bounds the work for one presented chain, as crypto/x509 does.
const maxSignatureChecks = 100

// ascend walks from the leaf up through the presented certificates, as far as their
// names and signatures lead. It is used where no path to a root exists, to say where
// the presented chain stops.
func ascend(presented []*x509.Certificate) []*x509.Certificate {
	line := []*x509.Certificate{presented[0]}
	checks := 0
	for range presented {
		child := line[len(line)-1]
		if selfSigned(child) {
			break
		}
		parent := parentOf(child, presented[1:], &checks)
		if parent == nil || slices.Contains(line, parent) {
			break
		}
		line = append(line, parent)
	}
	return line
}

func parentOf(child *x509.Certificate, candidates []*x509.Certificate, checks *int) *x509.Certificate {
	for _, c := range candidates {
		if string(c.RawSubject) != string(child.RawIssuer) || c.Equal(child) {
			continue
		}
		if *checks++; *checks > maxSignatureChecks {
			return nil
		}
		if signedBy(child, c) {
			return c
		}
	}
	return nil
}

// signedBy reports whether the parent's key signed the child. A signature that cannot be
// checked, because its algorithm is too weak or unknown, counts: it is never trusted,
// and says more about the chain than a missing issuer would.
func signedBy(child, parent *x509.Certificate) bool {
	err := parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature)
	var insecure x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &insecure) || errors.Is(err, x509.ErrUnsupportedAlgorithm)
}

func selfSigned(c *x509.Certificate) bool { return selfIssued(c) && signedBy(c, c) }
