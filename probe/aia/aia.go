// Package aia finds the issuers that a server should have sent and did not, by the URLs
// that certificates carry for that (authority information access, RFC 5280 section
// 4.2.2.1), as browsers do and most other clients do not. The prober calls it, where its
// owner allows that, for chains that are incomplete.
//
// It promises that what it returns was signed as it has to be: each certificate signed
// the one below. Whether a root above them is trusted is not its matter.
package aia

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic/probe/fetch"
)

const (
	maxHops      = 4
	maxURLs      = 3         // of one certificate that are tried
	maxBytes     = 256 << 10 // of what a URL answers with
	maxCacheSize = 8 << 20   // bytes of all that is kept
	maxAge       = 24 * time.Hour
)

// Completer fetches missing issuers. What it fetched it keeps for a day, and what could
// not be fetched is left alone for a while. Any number of goroutines may share one.
type Completer struct {
	fetch func(ctx context.Context, url string, limit int64) ([]byte, error)
	cache *fetch.Cache[bundle]
}

// New returns a completer that gets what URLs point to by the function, which may be
// [fetch.Client.Get]. End it with Close.
func New(get func(ctx context.Context, url string, limit int64) ([]byte, error)) *Completer {
	return &Completer{fetch: get, cache: fetch.NewCache(maxCacheSize, (*bundle).size)}
}

// Close ends fetches that are under way and waits for them.
func (c *Completer) Close() { c.cache.Close() }

// Complete returns the intermediates that are missing above the presented certificates,
// leaf first, and for each the URL that it came from. It begins where the line from the
// leaf ends and stops below a root, or after four. Where it got no further, the error
// says why, and what was found before is returned with it.
func (c *Completer) Complete(ctx context.Context, presented []*x509.Certificate, now time.Time) (missing []*x509.Certificate, from []string, err error) {
	if len(presented) == 0 {
		return nil, nil, nil
	}
	top := topOf(presented)
	for range maxHops {
		if selfIssued(top) {
			return missing, from, nil
		}
		issuer, url, err := c.issuerOf(ctx, top, now)
		if err != nil {
			return missing, from, err
		}
		if selfIssued(issuer) || slices.ContainsFunc(missing, issuer.Equal) {
			return missing, from, nil
		}
		missing, from = append(missing, issuer), append(from, url)
		top = issuer
	}
	return missing, from, nil
}

// Sentence says what is missing, who nevertheless accepts the server, and what to do. It
// is for the detail of a finding, and empty where nothing is missing.
func Sentence(missing []*x509.Certificate, from []string) string {
	if len(missing) == 0 || len(from) != len(missing) {
		return ""
	}
	var names, urls []string
	for i, c := range missing {
		names = append(names, commonName(c))
		urls = append(urls, strconv.Quote(from[i]))
	}
	them := "it"
	if len(missing) > 1 {
		them = "them"
	}
	return fmt.Sprintf("the server does not send %s; browsers fetch %s from %s, most other clients fail; serve fullchain.pem",
		strings.Join(names, " and "), them, strings.Join(urls, " and "))
}

// topOf follows the presented issuers from the leaf upwards, and returns the last.
func topOf(presented []*x509.Certificate) *x509.Certificate {
	top := presented[0]
	rest := slices.Clone(presented[1:])
	for !selfIssued(top) {
		i := slices.IndexFunc(rest, func(c *x509.Certificate) bool { return signed(c, top) })
		if i < 0 {
			break
		}
		top = rest[i]
		rest = slices.Delete(rest, i, i+1)
	}
	return top
}

// issuerOf fetches the certificate that signed another.
func (c *Completer) issuerOf(ctx context.Context, below *x509.Certificate, now time.Time) (*x509.Certificate, string, error) {
	if len(below.IssuingCertificateURL) == 0 {
		return nil, "", fmt.Errorf("%s does not say where its issuer is to be had", commonName(below))
	}
	var first error
	for _, url := range below.IssuingCertificateURL[:min(maxURLs, len(below.IssuingCertificateURL))] {
		issuer, err := c.from(ctx, url, below, now)
		if err == nil {
			return issuer, url, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, "", first
}

func (c *Completer) from(ctx context.Context, url string, below *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	kept := c.cache.Get(ctx, url, now, func(ctx context.Context) (*bundle, time.Time, error) {
		data, err := c.fetch(ctx, url, maxBytes)
		if err != nil {
			return nil, time.Time{}, err
		}
		b, err := readBundle(data)
		return b, now.Add(maxAge), err
	})
	if kept.Value == nil {
		return nil, fmt.Errorf("fetching the issuer of %s from %q: %w", commonName(below), url, kept.Err)
	}
	for _, candidate := range kept.Value.certs {
		if signed(candidate, below) {
			return candidate, nil
		}
	}
	return nil, fmt.Errorf("what is at %q did not sign %s", url, commonName(below))
}

func signed(issuer, below *x509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, below.RawIssuer) && below.CheckSignatureFrom(issuer) == nil
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

func commonName(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return strconv.Quote(c.Subject.CommonName)
	}
	return strconv.Quote(c.Subject.String())
}
