package revocation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// find looks a certificate up in the list at a URL.
func (c *Checker) find(ctx context.Context, s subject, url string, now time.Time) verdict {
	kept := c.lists.Get(ctx, listKey(url, s.issuer), now, func(ctx context.Context) (*list, time.Time, error) {
		return c.loadList(ctx, url, s.issuer, now)
	})
	if kept.Value == nil {
		return unknown(kept.Until, fmt.Sprintf("the list %q is of no use: %v", url, kept.Err))
	}
	v := kept.Value.judge(s.cert, now, source{"the list", url})
	if kept.Err != nil && len(v.unknown) > 0 && !strings.Contains(v.unknown[0], kept.Err.Error()) {
		v.unknown[0] += fmt.Sprintf(", and there is no newer one: %v", kept.Err)
	}
	v.until = earlier(v.until, kept.Until)
	return v
}

// listKey is what a list is kept by: its URL, and the key that has to have signed it, so
// that a signature is checked once for all certificates of an issuer.
func listKey(url string, issuer *x509.Certificate) string {
	key := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	return url + "\n" + string(key[:])
}

// loadList returns the list at a URL with the time until which it need not be fetched
// again: from disk when it was fetched a short while ago, else from its server. Where
// that fails, the one from disk is returned with the error.
func (c *Checker) loadList(ctx context.Context, url string, issuer *x509.Certificate, now time.Time) (*list, time.Time, error) {
	kept := c.readFile(url, issuer)
	if age := now.Sub(kept.fetched); age > -tolerance && age < c.options.MaxAge {
		if l, err := readList(kept.list, issuer); err == nil && l.wrong(now) == nil {
			return l, earlier(l.nextUpdate, kept.fetched.Add(c.options.MaxAge)), nil
		}
	}
	data, err := c.options.Fetch(ctx, url, c.options.MaxBytes)
	if err != nil {
		return kept.stale(issuer), time.Time{}, err
	}
	l, err := readList(data, issuer)
	if err != nil {
		return kept.stale(issuer), time.Time{}, err
	}
	if err := l.wrong(now); err != nil {
		return l, time.Time{}, err
	}
	c.writeFile(url, issuer, keptFile{fetched: now, list: data})
	return l, earlier(l.nextUpdate, now.Add(c.options.MaxAge)), nil
}

// stale returns the list as it was kept, or nil.
func (k keptFile) stale(issuer *x509.Certificate) *list {
	if k.list == nil {
		return nil
	}
	l, err := readList(k.list, issuer)
	if err != nil {
		return nil
	}
	return l
}
