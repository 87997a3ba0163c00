package inspect

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// maxListed bounds how many names a detail lists, maxQuoted the bytes of each (a DNS name
// has 253 at most, RFC 1035 section 2.3.4), maxPrinted those of a message.
const (
	maxListed  = 5
	maxQuoted  = 255
	maxPrinted = 500
)

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
	case selfSigned(c):
		return "the root " + commonName(c)
	default:
		return "the intermediate " + commonName(c)
	}
}

func commonName(c *x509.Certificate) string { return called(c.Subject) }

func issuerName(c *x509.Certificate) string { return called(c.Issuer) }

// called returns the common name, or the whole name where there is none, which may be
// empty too.
func called(name pkix.Name) string {
	if name.CommonName != "" {
		return quote(name.CommonName)
	}
	return quote(name.String())
}

// quote escapes and shortens a string that may hold anything.
func quote(s string) string { return strconv.Quote(cut(s, maxQuoted)) }

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
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
		quoted = append(quoted, quote(s))
	}
	return quoted
}

// printable returns the text, shortened, with everything that is not printable escaped.
func printable(s string) string {
	quoted := strconv.Quote(cut(s, maxPrinted))
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
