package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

// maxAddresses bounds how many addresses of one endpoint are probed at a time.
const maxAddresses = 16

// Prober observes endpoints. Any number of goroutines may share one that is no longer
// changed.
type Prober struct {
	// Lookup returns the addresses of a host. Required.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// Handshake does one handshake with one address. Required.
	Handshake func(ctx context.Context, request live.Request) live.Result

	Roots      []inspect.Roots   // every set has to trust a chain
	Timeout    time.Duration     // of the resolution, and again of each address; 0: the context's
	Warn, Crit inspect.Threshold // when a leaf counts as expiring, and when that is critical
	At         time.Time         // verify as of then; zero: as of the probe

	// AllowAddress refuses an address after the resolution, by an error that says why.
	// Nil allows all.
	AllowAddress func(netip.Addr) error

	// Override gives the addresses of a host:port, which is then not looked up.
	Override map[string][]netip.Addr
}

// Probe resolves the endpoint, handshakes with all of its addresses and inspects what
// they present. Whatever fails is a fact of the observation. An ended context cuts it
// short.
func (p *Prober) Probe(ctx context.Context, endpoint certmedic.Endpoint) certmedic.Observation {
	start := time.Now()
	o := certmedic.Observation{Endpoint: endpoint, Findings: []certmedic.Finding{}}
	addresses, problem := p.resolve(ctx, endpoint, &o.Resolve)
	if problem != nil {
		o.Addresses = []certmedic.AddressObservation{failed(endpoint, endpoint.Address, problem)}
	} else {
		o.Addresses = p.probeAll(ctx, endpoint, addresses)
	}
	o.Findings = append(o.Findings, inspect.Split(o.Addresses)...)
	o.Time = time.Now()
	o.Duration = o.Time.Sub(start)
	return o
}

// resolve returns the addresses to probe, and sets how long the lookup took.
func (p *Prober) resolve(ctx context.Context, endpoint certmedic.Endpoint, took *time.Duration) ([]netip.AddrPort, *certmedic.ProbeError) {
	host, text, err := net.SplitHostPort(endpoint.Address)
	if err != nil {
		return nil, &certmedic.ProbeError{Reason: certmedic.DNSFailed, Detail: fmt.Sprintf("address %q is not host:port", endpoint.Address)}
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return nil, &certmedic.ProbeError{Reason: certmedic.DNSFailed, Detail: fmt.Sprintf("port %q is not between 1 and 65535", text)}
	}
	ips, ok := p.Override[endpoint.Address]
	if ip, err := netip.ParseAddr(host); !ok && err == nil {
		ips, ok = []netip.Addr{ip.Unmap()}, true
	}
	if !ok {
		start := time.Now()
		ips, err = p.lookup(ctx, host)
		*took = time.Since(start)
		if err != nil {
			return nil, &certmedic.ProbeError{Reason: certmedic.DNSFailed, Detail: err.Error()}
		}
	}
	addresses := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		addresses = append(addresses, netip.AddrPortFrom(ip, uint16(port)))
	}
	return addresses, nil
}

func (p *Prober) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	ips, err := p.Lookup(ctx, host)
	if err == nil && len(ips) == 0 {
		err = errors.New("the name has no addresses")
	}
	return ips, err
}

// bound gives the context the prober's timeout.
func (p *Prober) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if p.Timeout > 0 {
		return context.WithTimeout(ctx, p.Timeout)
	}
	return context.WithCancel(ctx)
}

// probeAll probes every address, a bounded number at a time.
func (p *Prober) probeAll(ctx context.Context, endpoint certmedic.Endpoint, addresses []netip.AddrPort) []certmedic.AddressObservation {
	observations := make([]certmedic.AddressObservation, len(addresses))
	if len(addresses) == 1 {
		observations[0] = p.probeAddress(ctx, endpoint, addresses[0])
		return observations
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(maxAddresses, len(addresses)) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(addresses)); i = next.Add(1) - 1 {
				observations[i] = p.probeAddress(ctx, endpoint, addresses[i])
			}
		})
	}
	group.Wait()
	return observations
}

func (p *Prober) probeAddress(ctx context.Context, endpoint certmedic.Endpoint, address netip.AddrPort) certmedic.AddressObservation {
	if p.AllowAddress != nil {
		if err := p.AllowAddress(address.Addr()); err != nil {
			refusal := &certmedic.ProbeError{Reason: certmedic.Unreachable, Detail: err.Error()}
			return failed(endpoint, address.String(), refusal)
		}
	}
	ctx, cancel := p.bound(ctx)
	defer cancel()
	name := serverName(endpoint)
	result := p.Handshake(ctx, live.Request{Address: address, ServerName: name, Protocol: endpoint.Protocol})
	return p.describe(endpoint, address, result)
}

// describe turns a handshake's result into facts and findings.
func (p *Prober) describe(endpoint certmedic.Endpoint, address netip.AddrPort, result live.Result) certmedic.AddressObservation {
	a := failed(endpoint, address.String(), result.Err)
	a.Stage, a.TLS, a.Connect, a.Handshake = result.Stage, result.TLS, result.Connect, result.Handshake
	for _, c := range result.Certs {
		a.Chain = append(a.Chain, inspect.Facts(c))
	}
	now := p.At
	if now.IsZero() {
		now = time.Now()
	}
	judged := inspect.Chain(result.Certs, inspect.Options{
		Now: now, ServerName: a.ServerName, Roots: p.Roots,
		Warn: p.Warn, Crit: p.Crit, Pins: endpoint.Pins,
	})
	a.ChainNotAfter = judged.ChainNotAfter
	a.Findings = append(a.Findings, result.Findings...)
	a.Findings = append(a.Findings, judged.Findings...)
	return a
}

// failed is the observation of an address before anything was seen of it. A problem is
// told as error and as finding.
func failed(endpoint certmedic.Endpoint, address string, problem *certmedic.ProbeError) certmedic.AddressObservation {
	a := certmedic.AddressObservation{
		Address: address, ServerName: serverName(endpoint), Protocol: protocolName(endpoint),
		Stage: certmedic.ProbeResolve, Error: problem,
		Chain: []certmedic.CertFacts{}, Findings: []certmedic.Finding{},
	}
	if problem != nil {
		a.Findings = append(a.Findings, certmedic.NewFinding(problem.Reason, problem.Detail))
	}
	return a
}

// serverName is the name to ask for and to verify: the endpoint's own, else the host of
// its address.
func serverName(endpoint certmedic.Endpoint) string {
	name := endpoint.ServerName
	if name == "" {
		name, _, _ = net.SplitHostPort(endpoint.Address)
	}
	return strings.TrimSuffix(name, ".")
}

func protocolName(endpoint certmedic.Endpoint) string {
	if endpoint.Protocol == "" {
		return "tls"
	}
	return endpoint.Protocol
}
