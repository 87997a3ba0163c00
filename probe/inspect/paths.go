package inspect

import (
	"crypto/x509"
	"errors"
	"time"
)

// trust is what one set of roots says about a chain, dates left aside.
type trust struct {
	name       string
	chains     [][]*x509.Certificate // every path to a root of the set, leaf first
	usable     [][]*x509.Certificate // those in which everything above the leaf is valid now
	wrongUsage bool                  // paths exist only when the purpose is ignored
	err        error                 // why there is no path
}

// verify builds the paths from the leaf to the set's roots. Roots cannot be taken out
// of their dates, so that where nothing is found at now, the leaf's own dates are tried:
// a root that expired since then explains more than "untrusted".
func verify(presented []*x509.Certificate, roots Roots, now time.Time) trust {
	leaf := presented[0]
	t := verifyAt(presented, roots, now)
	for _, at := range []time.Time{leaf.NotBefore, leaf.NotAfter} {
		if !maybeDates(t.err) {
			break
		}
		if other := verifyAt(presented, roots, at); other.err == nil {
			t = other
		}
	}
	for _, path := range t.chains {
		if validAbove(path, now) {
			t.usable = append(t.usable, path)
		}
	}
	return t
}

// maybeDates reports whether the dates of a root may be why there is no path.
func maybeDates(err error) bool {
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &unknown) || reasonOf(err) == x509.Expired
}

func verifyAt(presented []*x509.Certificate, roots Roots, at time.Time) trust {
	originals := make(map[*x509.Certificate]*x509.Certificate, len(presented))
	intermediates := x509.NewCertPool()
	for _, c := range presented[1:] {
		w := widen(c, at)
		originals[w] = c
		intermediates.AddCert(w)
	}
	leaf := widen(presented[0], at)
	originals[leaf] = presented[0]

	options := x509.VerifyOptions{
		Roots: roots.Pool, Intermediates: intermediates, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if options.Roots == nil {
		options.Roots = x509.NewCertPool() // nil would read the system's roots
	}
	t := trust{name: roots.Name}
	t.chains, t.err = leaf.Verify(options)
	if reasonOf(t.err) == x509.IncompatibleUsage {
		t.wrongUsage = true
		options.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		t.chains, t.err = leaf.Verify(options)
	}
	for _, path := range t.chains {
		for i, c := range path {
			if original, ok := originals[c]; ok {
				path[i] = original
			}
		}
	}
	return t
}

// widen returns the certificate itself when it is valid at the time, else a copy that
// is: path building then looks at names, keys and constraints alone. The signature stays
// verifiable because it covers the raw bytes, which the copy shares.
func widen(c *x509.Certificate, at time.Time) *x509.Certificate {
	if validAt(c, at) {
		return c
	}
	wide := *c
	if at.Before(wide.NotBefore) {
		wide.NotBefore = at
	}
	if at.After(wide.NotAfter) {
		wide.NotAfter = at
	}
	return &wide
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
		if selfIssued(child) {
			break
		}
		parent := parentOf(child, presented[1:], &checks)
		if parent == nil {
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

// signedBy reports whether the parent's key signed the child. A signature that is too
// weak to be checked counts, because it is reported as weak and never as trusted.
func signedBy(child, parent *x509.Certificate) bool {
	err := parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature)
	var insecure x509.InsecureAlgorithmError
	return err == nil || errors.As(err, &insecure)
}

func selfSigned(c *x509.Certificate) bool { return selfIssued(c) && signedBy(c, c) }
