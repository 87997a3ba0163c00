package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/fetch"
)

const (
	// DefaultMaxAge is how old a list or an answer may be that is used without asking for
	// a newer one. Authorities publish lists within a day of a revocation (CA/Browser
	// Forum, Baseline Requirements 4.9.7), so that asking much more often tells nothing,
	// and a list may be megabytes.
	DefaultMaxAge = 4 * time.Hour

	// DefaultMaxBytes bounds a list. Those of public authorities are below 10 MB.
	DefaultMaxBytes = 20 << 20

	maxListsSize   = 64 << 20 // bytes of all indexes in memory
	maxAnswersSize = 16 << 20 // bytes of all OCSP answers in memory
	maxSources     = 4        // URLs of one kind that are tried for one certificate
)

// Options are how revocation is looked up. Those without Fetch judge what is stapled.
type Options struct {
	// Fetch gets what a URL points to, of at most limit bytes, as [fetch.Client.Get] does.
	Fetch func(ctx context.Context, url string, limit int64) ([]byte, error)

	CRLs bool // look into the lists at the certificates' distribution points
	OCSP bool // ask the certificates' OCSP responders, which tells them who is watched

	Dir      string        // where lists are kept; it is made when needed. Empty: in memory only
	MaxAge   time.Duration // 0 is [DefaultMaxAge]
	MaxBytes int64         // of a list; 0 is [DefaultMaxBytes]
}

// Checker looks up revocations. Any number of goroutines may share one.
type Checker struct {
	options Options
	lists   *fetch.Cache[list]
	answers *fetch.Cache[answer]
}

// New returns a checker that has looked up nothing yet. End it with Close.
func New(o Options) *Checker {
	if o.Fetch == nil {
		o.CRLs, o.OCSP = false, false
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	return &Checker{
		options: o,
		lists:   fetch.NewCache(maxListsSize, (*list).size),
		answers: fetch.NewCache(maxAnswersSize, (*answer).size),
	}
}

// Close ends fetches that are under way and waits for them.
func (c *Checker) Close() {
	c.lists.Close()
	c.answers.Close()
}

// Query is a path to judge, with what the handshake brought.
type Query struct {
	Path       []*x509.Certificate // a verified path, leaf first, root last; the root is not looked up
	Staple     []byte              // the OCSP response of the handshake, DER; nil: none
	MustStaple bool                // the leaf demands one (RFC 7633)
	Now        time.Time
}

// Result is what is known about a path.
type Result struct {
	Findings []certmedic.Finding  // revoked, must_staple_missing, revocation_unknown
	OCSP     *certmedic.OCSPFacts // of the stapled response, else of the one that was asked for; nil: none that is authentic
	SCTs     [][]byte             // serialized signed certificate timestamps of that response (RFC 6962 section 3.3)
	Until    time.Time            // the result does not change before; zero: never
}

// Check judges every certificate of the path but the root. It waits for what has to be
// fetched until ctx ends, and what comes later is there for the next check. It never
// panics and never fails: what went wrong is in the findings.
func (c *Checker) Check(ctx context.Context, q Query) Result {
	if len(q.Path) == 0 {
		return Result{}
	}
	r := &Result{}
	c.checkLeaf(ctx, q, r)
	for i := 1; i < len(q.Path)-1; i++ {
		s := subject{cert: q.Path[i], issuer: q.Path[i+1]}
		r.add(s, c.lookUp(ctx, s, q.Now))
	}
	return *r
}

// checkLeaf judges the leaf. A stapled response that says something suffices, unless a
// list revokes the leaf that the response calls good.
func (c *Checker) checkLeaf(ctx context.Context, q Query, r *Result) {
	s := subject{cert: q.Path[0], issuer: q.Path[min(1, len(q.Path)-1)], leaf: true}
	stapled := r.staple(s, q)
	if q.MustStaple && !stapled.definite() {
		r.find(certmedic.MustStapleMissing, "the leaf demands a stapled OCSP response (RFC 7633), but "+strings.Join(stapled.unknown, "; "))
		r.wait(stapled.until)
		stapled = verdict{}
	}
	if stapled.revoked != nil || len(q.Path) == 1 {
		r.add(s, stapled)
		return
	}
	if stapled.good {
		r.add(s, c.lookIntoLists(ctx, s, stapled, q.Now))
		return
	}
	known := c.lookUp(ctx, s, q.Now)
	switch {
	case len(stapled.unknown) > 0 && known.good:
		r.find(certmedic.RevocationUnknown, fmt.Sprintf("%s; the leaf was not revoked, says %s", stapled.unknown[0], known.source))
		r.wait(stapled.until)
	case !known.definite():
		known = stapled.and(known)
	}
	r.add(s, known)
}

// staple judges the response of the handshake.
func (r *Result) staple(s subject, q Query) verdict {
	if q.Staple == nil {
		if q.MustStaple {
			return unknown(time.Time{}, "none came with the handshake")
		}
		return verdict{}
	}
	a, err := readAnswer(q.Staple, s)
	if err != nil {
		return unknown(time.Time{}, "the stapled OCSP response is of no use: "+err.Error())
	}
	r.OCSP, r.SCTs = a.facts(true), a.scts
	return a.judge(q.Now, source{what: "the stapled OCSP response"})
}

// lookUp asks the sources that the certificate names: its responders, until one says
// something definite, and its lists.
func (c *Checker) lookUp(ctx context.Context, s subject, now time.Time) verdict {
	var v verdict
	if c.options.OCSP {
		early, cancel := firstHalf(ctx)
		defer cancel()
		v = firstOf(sources(s.cert.OCSPServer), func(url string) verdict { return c.ask(early, s, url, now) })
	}
	v = c.lookIntoLists(ctx, s, v, now)
	if !v.definite() && len(v.unknown) == 0 {
		return c.unasked(s)
	}
	return v
}

// lookIntoLists adds what the lists say to what an OCSP response said, if there was one.
// A revocation is published in both, not always at once: who revokes is believed, and
// where no list can be had, a response that calls the certificate good suffices.
func (c *Checker) lookIntoLists(ctx context.Context, s subject, said verdict, now time.Time) verdict {
	if !c.options.CRLs || said.revoked != nil {
		return said
	}
	listed := firstOf(sources(s.cert.CRLDistributionPoints), func(url string) verdict { return c.find(ctx, s, url, now) })
	switch {
	case listed.definite() && !said.good, listed.revoked != nil:
		return listed.beside(said)
	case said.good:
		return said.beside(listed)
	default:
		return said.and(listed)
	}
}

// firstHalf leaves half of the time to those who are asked later.
func firstHalf(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)/2)
}

// unasked says why no source was asked, where the certificate has one and lookups are
// wanted at all.
func (c *Checker) unasked(s subject) verdict {
	lists, responders := s.cert.CRLDistributionPoints, s.cert.OCSPServer
	switch {
	case !c.options.CRLs && !c.options.OCSP, len(lists)+len(responders) == 0:
		return verdict{}
	case c.options.CRLs && len(lists) > 0:
		return unknown(time.Time{}, fmt.Sprintf("its list %q is neither at an http nor at an https URL", lists[0]))
	case c.options.OCSP && len(responders) > 0:
		return unknown(time.Time{}, fmt.Sprintf("its OCSP responder %q is neither at an http nor at an https URL", responders[0]))
	case c.options.CRLs:
		return unknown(time.Time{}, fmt.Sprintf("it names no list, and its OCSP responder %q is not to be asked", responders[0]))
	default:
		return unknown(time.Time{}, fmt.Sprintf("it names no OCSP responder, and its list %q is not to be looked into", lists[0]))
	}
}

// sources returns the first few URLs that can be fetched.
func sources(urls []string) []string {
	usable := urls
	if slices.ContainsFunc(urls, unfetchable) {
		usable = slices.DeleteFunc(slices.Clone(urls), unfetchable)
	}
	return usable[:min(len(usable), maxSources)]
}

func unfetchable(url string) bool {
	scheme, _, _ := strings.Cut(url, "://")
	return !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https")
}

// add takes over what was found out about a certificate.
func (r *Result) add(s subject, v verdict) {
	r.wait(v.until)
	if v.facts != nil && r.OCSP == nil && s.leaf {
		r.OCSP, r.SCTs = v.facts, v.scts
	}
	switch {
	case v.revoked != nil:
		r.find(certmedic.Revoked, fmt.Sprintf("%s was revoked at %s (%s) by its issuer %s, says %s",
			s, date(v.revoked.at), word(v.revoked.reason), commonName(s.issuer), v.source))
	case len(v.unknown) > 0:
		r.find(certmedic.RevocationUnknown, fmt.Sprintf("nobody says whether %s was revoked: %s", s, strings.Join(v.unknown, "; ")))
	}
}

func (r *Result) find(code certmedic.FindingCode, detail string) {
	r.Findings = append(r.Findings, certmedic.NewFinding(code, detail))
}

func (r *Result) wait(until time.Time) { r.Until = earlier(r.Until, until) }

// subject is a certificate to judge.
type subject struct {
	cert, issuer *x509.Certificate
	leaf         bool
}

// String names the certificate in a detail.
func (s subject) String() string {
	if s.leaf {
		return "the leaf"
	}
	return "the intermediate " + commonName(s.cert)
}

// isSigner reports whether a certificate has the name and the key of the subject's issuer.
func (s subject) isSigner(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, s.issuer.RawSubject) && bytes.Equal(c.RawSubjectPublicKeyInfo, s.issuer.RawSubjectPublicKeyInfo)
}

func commonName(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return strconv.Quote(c.Subject.CommonName)
	}
	return strconv.Quote(c.Subject.String())
}
