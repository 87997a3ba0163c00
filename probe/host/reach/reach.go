// Package reach tries what a CA will try when it validates a name, as far as that can be seen
// from this host: the name's addresses, CAA, port 80 with the path of a challenge, the webroot,
// the CA's directory and its clock. internal/diagnose calls it where a renewal is overdue or
// failed. It asks the network, so it is bounded in number and time; it writes one file into a
// webroot, only where it was allowed to, and takes it away again.
//
// What this host sees is not what a CA sees: a router may lead a host's own public address
// nowhere. So an answer here is a hint, and a client's log is evidence.
package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
)

// Question says what is to be tried.
type Question struct {
	Names     []string          // of the certificate
	Challenge string            // http-01, dns-01 or tls-alpn-01
	Webroots  map[string]string // by name, for http-01
	Place     bool              // a token may be placed in the webroot, fetched, and removed
	Directory string            // of the CA; empty: it is not asked
	Local     string            // host:port to ask in place of port 80 of each name, as tests need it; empty: the names' own
}

// Means are what it is lent.
type Means struct {
	Lookup func(ctx context.Context, name string) ([]string, error)                          // addresses of a name
	CAA    func(ctx context.Context, name string, wildcard bool) (forbids string, err error) // why the CA may not issue, empty where it may; nil: it is not asked
	Client *http.Client                                                                      // for the CA's directory; nil: it is not asked
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)              // for challenges; nil: a plain one
}

// Answer is one thing that was tried.
type Answer struct {
	Name     string          // of the certificate; empty: of the CA
	Cause    certmedic.Cause // what a CA would run into; none where it would not
	Evidence certmedic.Evidence
	Fix      string
}

// Answers are everything that was tried.
type Answers struct {
	Time   time.Time
	All    []Answer
	Skew   time.Duration // how far this host's clock is ahead of the CA's
	Skewed bool          // Skew is known
}

// The bounds of one Try.
const (
	wholeTimeout = 10 * time.Second
	oneTimeout   = 5 * time.Second // of one lookup, or of one address
	maxNames     = 10
	maxAddresses = 4 // of a name
	parallel     = 8
)

// Try tries, at most ten seconds long. The answers are in the order of the names, the CA's last.
func Try(ctx context.Context, m Means, q Question) Answers {
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	names := slices.Compact(slices.Sorted(slices.Values(q.Names)))
	names = names[:min(len(names), maxNames)]
	found := make([][]Answer, len(names))
	out := Answers{Time: time.Now()}
	var wg sync.WaitGroup
	turns := make(chan struct{}, parallel)
	for i, name := range names {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			found[i] = tryName(ctx, m, q, name)
		})
	}
	var authority []Answer
	wg.Go(func() { authority = tryDirectory(ctx, m, q, &out) })
	wg.Wait()
	out.All = append(slices.Concat(found...), authority...)
	return out
}

func fine(name, source, format string, args ...any) Answer {
	return Answer{Name: name, Cause: certmedic.CauseNone, Evidence: certmedic.Evidence{Source: source, Line: fmt.Sprintf(format, args...)}}
}

func wrong(cause certmedic.Cause, fix string, a Answer) Answer {
	a.Cause, a.Fix = cause, fix
	return a
}

// tryName tries one name of the certificate.
func tryName(ctx context.Context, m Means, q Question, name string) []Answer {
	domain, wildcard := strings.CutPrefix(name, "*.")
	if net.ParseIP(domain) != nil {
		return nil // a CA asks the address itself, of which nothing can be looked up
	}
	all := tryCAA(ctx, m, name, domain, wildcard)
	switch {
	case wildcard && q.Challenge != "" && q.Challenge != "dns-01":
		return append(all, wrong(certmedic.CauseChallengeUnauthorized, "# prove the wildcard by a DNS record: use one of certbot's DNS plugins",
			fine(name, name, "is a wildcard, which a CA validates by dns-01 only; %s is configured", q.Challenge)))
	case q.Challenge == "dns-01":
		return all
	}
	addresses, err := lookup(ctx, m, domain)
	if err != nil {
		return append(all, wrong(certmedic.CauseDNSFailed, "# mend the DNS records of "+domain, fine(name, "DNS", "%s: %v", domain, err)))
	}
	if q.Challenge != "http-01" {
		return append(all, fine(name, "DNS", "%s has the addresses %s", domain, strings.Join(addresses, ", ")))
	}
	return append(all, tryHTTP(ctx, m, q, name, addresses)...)
}

func lookup(ctx context.Context, m Means, domain string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, oneTimeout)
	defer cancel()
	addresses, err := m.Lookup(ctx, domain)
	if err == nil && len(addresses) == 0 {
		err = errors.New("it has no addresses")
	}
	return addresses[:min(len(addresses), maxAddresses)], err
}

func tryCAA(ctx context.Context, m Means, name, domain string, wildcard bool) []Answer {
	if m.CAA == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, oneTimeout)
	defer cancel()
	forbids, err := m.CAA(ctx, name, wildcard)
	if err != nil || forbids == "" {
		return nil // a lookup that fails here need not fail there
	}
	return []Answer{wrong(certmedic.CauseCAAForbids, "# let the CAA record of "+domain+" allow this CA", fine(name, "DNS", "%s", forbids))}
}

// maxDirectory bounds what is read of a directory, in bytes.
const maxDirectory = 1 << 20

// tryDirectory asks the CA for its directory, and compares the clocks.
func tryDirectory(ctx context.Context, m Means, q Question, out *Answers) []Answer {
	if q.Directory == "" || m.Client == nil {
		return nil
	}
	failed := func(why string) []Answer {
		return []Answer{wrong(certmedic.CauseCAUnreachable, "# see whether this host may connect to the CA (firewall, proxy, DNS), or wait until it answers again", fine("", q.Directory, "%s", why))}
	}
	ctx, cancel := context.WithTimeout(ctx, oneTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, q.Directory, nil)
	if err != nil {
		return failed(err.Error())
	}
	sent := time.Now()
	response, err := m.Client.Do(request)
	if err != nil {
		return failed(err.Error())
	}
	defer response.Body.Close()
	received := time.Now()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxDirectory))
	switch {
	case err != nil:
		return failed(err.Error())
	case response.StatusCode != http.StatusOK:
		return failed(fmt.Sprintf("answers with status %d", response.StatusCode))
	case !strings.Contains(string(body), "newOrder"):
		return failed("answers, but not with the directory of an ACME CA")
	}
	out.Skew, out.Skewed = skew(response.Header, sent, received)
	return []Answer{fine("", q.Directory, "answers")}
}

// skew compares the clock with the date of an answer (RFC 9110, section 6.6.1), which was written
// about half way between the request and its answer. What a cache kept for a while says nothing.
func skew(header http.Header, sent, received time.Time) (time.Duration, bool) {
	date, err := http.ParseTime(header.Get("Date"))
	if age := header.Get("Age"); err != nil || age != "" && age != "0" {
		return 0, false
	}
	middle := sent.Add(received.Sub(sent) / 2)
	return middle.Sub(date.Add(time.Second / 2)).Round(time.Second), true
}
