package inspect

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// maxListed bounds how many names a detail lists.
const maxListed = 5

// span says a duration as a person would, in its largest whole unit.
func span(d time.Duration) string {
	d = d.Abs()
	switch {
	case d >= 2*day:
		return count(int64(d/day), "day")
	case d >= 2*time.Hour:
		return count(int64(d/time.Hour), "hour")
	case d >= 2*time.Minute:
		return count(int64(d/time.Minute), "minute")
	default:
		return count(int64(d/time.Second), "second")
	}
}

func count(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// label names a certificate in a detail. Its name comes from the certificate and is
// always quoted, because it may hold anything.
func label(c, leaf *x509.Certificate) string {
	switch {
	case c.Equal(leaf):
		return "the leaf"
	case selfIssued(c):
		return "the root " + commonName(c)
	default:
		return "the intermediate " + commonName(c)
	}
}

func commonName(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return strconv.Quote(c.Subject.CommonName)
	}
	return strconv.Quote(c.Subject.String())
}

func issuerName(c *x509.Certificate) string {
	if c.Issuer.CommonName != "" {
		return strconv.Quote(c.Issuer.CommonName)
	}
	return strconv.Quote(c.Issuer.String())
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

// list joins the first few items and says how many there are beyond.
func list(items []string) string {
	if len(items) <= maxListed {
		return strings.Join(items, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(items[:maxListed], ", "), len(items)-maxListed)
}

func quoteAll(items []string) []string {
	quoted := make([]string, 0, len(items))
	for _, s := range items {
		quoted = append(quoted, strconv.Quote(s))
	}
	return quoted
}

// printable returns the text with everything that is not printable escaped.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
