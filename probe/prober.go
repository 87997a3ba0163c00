package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/records"
	"github.com/certmedic/certmedic/probe/resolve"
	"github.com/certmedic/certmedic/probe/revocation"
)

// Prober observes endpoints. Any number of goroutines may share one that is no longer
// changed.
type Prober struct {
	// Lookup returns the addresses of a host. Required.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// Handshake does one handshake with one address. Required.
	Handshake func(ctx context.Context, request live.Request) live.Result

	Modules    map[string]Module // by the name that endpoints give
	Roots      []inspect.Roots   // every set has to trust a chain
	Public     *x509.CertPool    // roots whose certificates have to be logged (RFC 6962); nil: none has to be
	Timeout    time.Duration     // of the resolution, and again of each handshake; 0: the context's
	Warn, Crit inspect.Threshold // when a leaf counts as expiring, and when that is critical
	At         time.Time         // verify as of then; zero: as of the probe

	// KeyTypes is whether servers are asked for a certificate with the other type of key,
	// RSA or ECDSA, too.
	KeyTypes bool

	// AllowAddress refuses an address after the resolution, by an error that says why.
	// Nil allows all.
	AllowAddress func(netip.Addr) error

	// Override gives the addresses of a host:port, the host without a dot at its end, which is
	// then not looked up.
	Override map[string][]netip.Addr

	// Revocation says whether a certificate of a verified path was revoked. Nil: not asked.
	Revocation func(ctx context.Context, q revocation.Query) revocation.Result

	// Records says what DNS holds about an endpoint's certificate. Nil: not asked.
	Records func(ctx context.Context, q records.Query) records.Result

	// Issuers fetches the issuers that an incomplete chain lacks, and where they were found,
	// see [aia.Completer]. Nil: they are not fetched.
	Issuers func(ctx context.Context, presented []*x509.Certificate, now time.Time) (missing []*x509.Certificate, from []string, err error)

	Memory *Memory // what one probe leaves for the next; nil: nothing
}

// Probe resolves the endpoint, handshakes with all of its addresses and inspects what
// they present. Whatever fails is a fact of the observation. An ended context cuts it
// short.
func (p *Prober) Probe(ctx context.Context, endpoint certmedic.Endpoint) certmedic.Observation {
	start := time.Now()
	o := certmedic.Observation{Endpoint: endpoint, Findings: []certmedic.Finding{}}
	t, problem := p.target(ctx, endpoint, &o.Resolve)
	if problem != nil {
		o.Addresses = []certmedic.AddressObservation{t.failed(endpoint.Address, problem)}
	} else {
		o.Addresses = p.probeAll(ctx, t)
	}
	if len(o.Addresses) > 1 {
		o.Findings = append(o.Findings, inspect.Split(o.Addresses)...)
	}
	o.Time = time.Now()
	o.Duration = o.Time.Sub(start)
	return o
}

// target is an endpoint with everything that has to be known to probe it.
type target struct {
	endpoint  certmedic.Endpoint
	module    Module
	name      string // to ask for and to verify
	host      string
	port      uint16
	addresses []netip.AddrPort // empty where a proxy resolves the host
}

// target finds out what there is to probe, and sets how long the lookup took. With a
// problem the target has a name at least.
func (p *Prober) target(ctx context.Context, endpoint certmedic.Endpoint, took *time.Duration) (*target, *certmedic.ProbeError) {
	t := &target{endpoint: endpoint, module: p.Modules[endpoint.Module]}
	host, text, err := net.SplitHostPort(endpoint.Address)
	t.host, t.name = host, serverName(endpoint, t.module, host)
	if err != nil {
		return t, unresolved("address %q is not host:port", endpoint.Address)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return t, unresolved("port %q is not between 1 and 65535", text)
	}
	t.port = uint16(port)
	if _, known := p.Modules[endpoint.Module]; !known && endpoint.Module != "" {
		return t, unresolved("there is no module %q", endpoint.Module)
	}
	ips, err := p.addresses(ctx, t, took)
	if err != nil {
		problem := unresolved("%s", err)
		var answer *resolve.Error
		problem.Gone = errors.As(err, &answer) && answer.Empty()
		return t, problem
	}
	for _, ip := range ips {
		t.addresses = append(t.addresses, netip.AddrPortFrom(ip, t.port))
	}
	return t, nil
}

func unresolved(format string, args ...any) *certmedic.ProbeError {
	return &certmedic.ProbeError{Reason: certmedic.DNSFailed, Detail: fmt.Sprintf(format, args...)}
}

// addresses returns the addresses of the target's host, none where a proxy looks it up.
func (p *Prober) addresses(ctx context.Context, t *target, took *time.Duration) ([]netip.Addr, error) {
	if ips, ok := p.Override[net.JoinHostPort(strings.TrimSuffix(t.host, "."), strconv.Itoa(int(t.port)))]; ok {
		return ips, nil
	}
	if len(t.endpoint.Addresses) > 0 {
		return parseAddresses(t.endpoint.Addresses)
	}
	if ip, err := netip.ParseAddr(t.host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	if t.module.proxied() {
		return nil, nil
	}
	start := time.Now()
	ips, err := p.lookup(ctx, t.host)
	*took = time.Since(start)
	if err != nil {
		return nil, err
	}
	return ofFamily(ips, t.endpoint.Family)
}

func parseAddresses(texts []string) ([]netip.Addr, error) {
	ips := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("address %q is not an IP address", text)
		}
		ips = append(ips, ip.Unmap())
	}
	return ips, nil
}

// The families of [certmedic.Endpoint].
const (
	IP4 = "ip4"
	IP6 = "ip6"
)

// ofFamily returns the addresses of a family, all of them where none is named.
func ofFamily(ips []netip.Addr, family string) ([]netip.Addr, error) {
	if family == "" {
		return ips, nil
	}
	kept := slices.DeleteFunc(slices.Clone(ips), func(ip netip.Addr) bool { return ip.Is4() != (family == IP4) })
	if len(kept) == 0 {
		return nil, fmt.Errorf("the name has addresses, but none of %s", map[string]string{IP4: "IPv4", IP6: "IPv6"}[family])
	}
	return kept, nil
}

func (p *Prober) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := bound(ctx, p.Timeout)
	defer cancel()
	ips, err := p.Lookup(ctx, host)
	if err == nil && len(ips) == 0 {
		err = errors.New("the name has no addresses")
	}
	return ips, err
}

// bound gives the context a timeout, if there is one.
func bound(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		return context.WithTimeout(ctx, timeout)
	}
	return context.WithCancel(ctx)
}

// serverName is the name to ask for and to verify: the endpoint's own, else that of its
// module, else the host of its address.
func serverName(endpoint certmedic.Endpoint, module Module, host string) string {
	for _, name := range []string{endpoint.ServerName, module.ServerName} {
		if name != "" {
			host = name
			break
		}
	}
	return strings.TrimSuffix(host, ".")
}
