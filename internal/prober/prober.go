// Package prober makes the prober that the daemon and the check command share, from
// settings as people write them. It promises that both see the same in the same way.
package prober

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/aia"
	"github.com/certmedic/certmedic/probe/fetch"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/records"
	"github.com/certmedic/certmedic/probe/resolve"
	"github.com/certmedic/certmedic/probe/revocation"
	"github.com/certmedic/certmedic/probe/roots"
)

// The ways to look at revocation. Each includes those before it.
const (
	Off    = "off"
	Staple = "staple" // OCSP responses that servers staple
	CRL    = "crl"    // lists that certificates name
	OCSP   = "ocsp"   // responders that certificates name
)

// Ways returns the ways to look at revocation.
func Ways() []string { return []string{Off, Staple, CRL, OCSP} }

// Options are the settings of a prober.
type Options struct {
	Roots      []string // as [roots.Load] takes them
	Timeout    time.Duration
	Warn, Crit inspect.Threshold
	Resolvers  []string // ip or ip:port; empty: the system's
	Revocation string   // one of the ways; empty: off
	MaxAge     time.Duration
	Dir        string // where revocation lists are kept; empty: in memory
	AIA        bool   // whether missing issuers are fetched
	Records    bool   // whether DNS is asked about certificates
}

// Prober is a [probe.Prober] with what it is made of.
type Prober struct {
	*probe.Prober
	Resolver *resolve.Resolver
	Dialer   *live.Dialer

	// Revoked looks into the lists that certificates name, and asks responders where the
	// options want that, also where probes do not look at revocation at all.
	Revoked func(ctx context.Context, q revocation.Query) revocation.Result

	close []func()
}

// New makes a prober. End it with Close.
func New(o Options) (*Prober, error) {
	sets, err := roots.Load(o.Roots)
	if err != nil {
		return nil, err
	}
	p := &Prober{
		Resolver: &resolve.Resolver{Servers: o.Resolvers},
		Dialer:   &live.Dialer{Timeout: o.Timeout},
	}
	p.Dialer.Redirect = p.Resolver.Lookup
	p.Prober = &probe.Prober{
		Lookup: p.Resolver.Lookup, Handshake: p.Dialer.Handshake,
		Roots: sets, Public: public(sets), Timeout: o.Timeout, Warn: o.Warn, Crit: o.Crit, KeyTypes: true,
	}
	if o.Records {
		p.Records = (&records.Checker{Query: p.Resolver.Query}).Check
	}
	if err := p.setFetched(o); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// public returns the roots whose certificates have to be logged, those of browsers.
func public(sets []inspect.Roots) *x509.CertPool {
	for _, set := range sets {
		if set.Name == roots.Public {
			return set.Pool
		}
	}
	return roots.Mozilla()
}

// setFetched makes what fetches documents that certificates point to.
func (p *Prober) setFetched(o Options) error {
	client := fetch.NewClient()
	p.close = append(p.close, client.Close)
	if o.AIA {
		completer := aia.New(client.Get)
		p.close = append(p.close, completer.Close)
		p.Issuers = completer.Complete
	}
	checker := revocation.New(revocation.Options{Fetch: client.Get, CRLs: true, OCSP: o.Revocation == OCSP, MaxAge: o.MaxAge, Dir: o.Dir})
	p.close = append(p.close, checker.Close)
	p.Revoked = checker.Check
	switch o.Revocation {
	case "", Off:
	case Staple:
		stapled := revocation.New(revocation.Options{})
		p.close = append(p.close, stapled.Close)
		p.Revocation = stapled.Check
	case CRL, OCSP:
		p.Revocation = checker.Check
	default:
		return fmt.Errorf("revocation %q is none of %v", o.Revocation, Ways())
	}
	return nil
}

// Close ends what is being fetched. Nothing is fetched later.
func (p *Prober) Close() {
	for i := len(p.close) - 1; i >= 0; i-- {
		p.close[i]()
	}
}
