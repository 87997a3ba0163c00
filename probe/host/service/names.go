package service

import (
	"regexp"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/disk"
)

// namesOf returns the names that a server of haproxy has: those of its line in a list, else
// those of its certificates.
func namesOf(s conf.Server) []string {
	if !s.ByCertificate {
		return s.Names
	}
	names := slices.Clone(s.Names)
	for _, pair := range s.Certificates {
		stored := disk.Read(certmedic.Source{Kind: certmedic.SourceFiles, Cert: pair.Cert}, time.Time{})
		names = append(names, stored.Names...)
	}
	return names
}

// matchesRegexp reports whether a regular expression of nginx matches a name, and whether
// that can be told: some of PCRE is not understood here.
func matchesRegexp(expression, name string) (matches, known bool) {
	compiled, err := regexp.Compile("(?i)" + expression)
	if err != nil {
		return false, false
	}
	return compiled.MatchString(name), true
}
