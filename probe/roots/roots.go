// Package roots loads sets of trusted roots: the system's, Mozilla's, or those of files.
// The commands and internal/app call it when they start or reload; nothing is cached.
// It promises that a set is complete: a file that cannot be read whole is an error that
// names the place, never a smaller set.
package roots

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/certmedic/certmedic/probe/inspect"
)

// The names of sets that are no paths.
const (
	System = "system"  // what the operating system trusts; where it has no roots, as in small containers, what Mozilla trusts
	Public = "mozilla" // what Mozilla's programs trust, as of this program's build
)

// Load loads sets of roots, in the order of their names and under them: "system",
// "mozilla", or the path of a file or a folder, see [File] and [Folder]. A name that is
// there twice is loaded once. All errors are joined.
func Load(names []string) ([]inspect.Roots, error) {
	var sets []inspect.Roots
	var errs []error
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		pool, err := load(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("loading roots %q: %w", name, err))
			continue
		}
		sets = append(sets, inspect.Roots{Name: name, Pool: pool})
	}
	return sets, errors.Join(errs...)
}

func load(name string) (*x509.CertPool, error) {
	switch name {
	case System:
		return system()
	case Public:
		return Mozilla(), nil
	default:
		return path(name)
	}
}

func system() (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if pool.Equal(x509.NewCertPool()) {
		return Mozilla(), nil
	}
	return pool, nil
}

// Mozilla returns the roots that Mozilla's programs trust for servers, with Mozilla's
// constraints on when they may have issued. A call parses all of them, which takes a
// millisecond or two and two thirds of a megabyte: callers keep the pool. A root that this
// program cannot parse is left out, as it could not verify anything.
func Mozilla() *x509.CertPool {
	pool := x509.NewCertPool()
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			continue
		}
		if root.Constraint == nil {
			pool.AddCert(cert)
		} else {
			pool.AddCertWithConstraint(cert, root.Constraint)
		}
	}
	return pool
}
