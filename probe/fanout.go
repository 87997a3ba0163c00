package probe

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

// maxAddresses bounds how many addresses of one endpoint are probed at a time.
const maxAddresses = 16

// probeAll probes every address in all of its variants, a bounded number of addresses at a
// time. The observations come in the order of the addresses.
func (p *Prober) probeAll(ctx context.Context, t *target) []certmedic.AddressObservation {
	switch len(t.addresses) {
	case 0:
		return p.probeAddress(ctx, t, netip.AddrPort{})
	case 1:
		return p.probeAddress(ctx, t, t.addresses[0])
	}
	each := make([][]certmedic.AddressObservation, len(t.addresses))
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(maxAddresses, len(t.addresses)) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(each)); i = next.Add(1) - 1 {
				each[i] = p.probeAddress(ctx, t, t.addresses[i])
			}
		})
	}
	group.Wait()
	var all []certmedic.AddressObservation
	for _, observations := range each {
		all = append(all, observations...)
	}
	return all
}

// probeAddress probes one address: as usual, and in the variants that were asked for, or
// that the server turns out to have.
func (p *Prober) probeAddress(ctx context.Context, t *target, address netip.AddrPort) []certmedic.AddressObservation {
	if p.AllowAddress != nil && address.IsValid() {
		if err := p.AllowAddress(address.Addr()); err != nil {
			refusal := &certmedic.ProbeError{Reason: certmedic.Unreachable, Detail: err.Error()}
			return []certmedic.AddressObservation{t.failed(address.String(), refusal)}
		}
	}
	before := p.Memory.habit(t, address)
	after, due := before, before.due(time.Now())
	fast := !due && !before.picky
	first := p.handshake(ctx, t, address, certmedic.VariantUsual, fast)
	all := []certmedic.AddressObservation{first}
	after.note(&all[0], due, fast)
	if other := p.otherKeyType(t, first); other != "" && (after.both || due || after.class != before.class) {
		second := p.handshake(ctx, t, address, other, fast)
		if after.noteOther(second, other) {
			all = append(all, second)
		}
	}
	if t.endpoint.WithoutSNI && isName(t.name) {
		all = append(all, p.handshake(ctx, t, address, certmedic.VariantNoSNI, fast))
	}
	p.Memory.learn(t, address, before, after)
	return all
}

// note takes what the usual handshake showed. Where a fast offer was made, the observation
// is given the group that the server chooses from the full one; a server that refuses the
// fast one is spared it. A server that was not reached is asked with the full offer next.
func (h *habit) note(o *certmedic.AddressObservation, due, fast bool) {
	leaf, ok := o.Leaf()
	if !ok || o.TLS == nil {
		h.full = time.Time{}
		return
	}
	h.class = inspect.KeyClass(leaf)
	switch {
	case due:
		h.tls, h.picky = *o.TLS, false
		h.full = time.Now().Add(fullEvery/2 + rand.N(fullEvery))
	case !fast:
	case o.TLS.Group != live.FastGroup:
		h.picky = true
	case o.TLS.Version == h.tls.Version:
		o.TLS.Group = h.tls.Group
	}
}

// noteOther takes what was presented to a client that asked for the other type of key, and
// reports whether that is to be told: a certificate, or that there is none to be seen where
// there was one. Only a server that refuses twice has none; a connection that is lost says
// nothing, and is tried again with the next probe.
func (h *habit) noteOther(o certmedic.AddressObservation, class certmedic.Variant) (tell bool) {
	if has(o, class) {
		h.both, h.doubt = true, false
		return true
	}
	refused := o.Reached() || o.Error != nil && o.Error.Reason == certmedic.HandshakeFailed
	switch {
	case !h.both:
		if !refused {
			h.full = time.Time{}
		}
		return false
	case refused && h.doubt:
		h.both, h.doubt = false, false
		return false
	default:
		h.doubt = refused
		return true
	}
}

// otherKeyType returns the variant that asks for the other type of key than the one that
// was presented, empty where that is not asked for.
func (p *Prober) otherKeyType(t *target, first certmedic.AddressObservation) certmedic.Variant {
	leaf, ok := first.Leaf()
	protocol, err := live.ParseProtocol(t.protocol())
	if !ok || !p.KeyTypes || err != nil || !protocol.Variants() {
		return ""
	}
	switch inspect.KeyClass(leaf) {
	case certmedic.VariantRSA:
		return certmedic.VariantECDSA
	case certmedic.VariantECDSA:
		return certmedic.VariantRSA
	}
	return ""
}

// has reports whether a certificate with that type of key was presented.
func has(a certmedic.AddressObservation, class certmedic.Variant) bool {
	leaf, ok := a.Leaf()
	return ok && inspect.KeyClass(leaf) == class
}

// handshake probes an address in one variant and inspects what it presents.
func (p *Prober) handshake(ctx context.Context, t *target, address netip.AddrPort, variant certmedic.Variant, fast bool) certmedic.AddressObservation {
	timeout := p.Timeout
	if t.module.Timeout > 0 {
		timeout = t.module.Timeout
	}
	inTime, cancel := bound(ctx, timeout)
	defer cancel()
	result := p.Handshake(inTime, live.Request{
		Address: address, Host: t.endpoint.Address, ServerName: t.name, Protocol: t.endpoint.Protocol, Path: t.endpoint.Path,
		Variant: variant, Fast: fast, Settings: t.module.Live,
	})
	return p.describe(ctx, t, address, variant, result)
}

// describe turns a handshake's result into facts and findings.
func (p *Prober) describe(ctx context.Context, t *target, address netip.AddrPort, variant certmedic.Variant, result live.Result) certmedic.AddressObservation {
	where := address.String()
	if !address.IsValid() {
		where = t.endpoint.Address
	}
	a := t.failed(where, result.Err)
	a.Variant, a.Stage, a.TLS, a.HTTP, a.Connect, a.Handshake = variant, result.Stage, result.TLS, result.HTTP, result.Connect, result.Handshake
	if variant == certmedic.VariantNoSNI {
		a.ServerName = ""
	}
	a.Findings = append(a.Findings, result.Findings...)
	if len(result.Certs) == 0 {
		return a
	}
	v := p.verdict(ctx, t, a.ServerName, result)
	a.Chain, a.ChainNotAfter, a.OCSP, a.SCTs = v.chain, v.chainNotAfter, v.ocsp, v.scts
	if len(a.Findings) == 0 {
		a.Findings = slices.Clip(v.findings) // shared, as the verdict is
		return a
	}
	a.Findings = append(a.Findings, v.findings...)
	return a
}

// failed is the observation of an address before anything was seen of it. A problem is
// told as error and as finding.
func (t *target) failed(address string, problem *certmedic.ProbeError) certmedic.AddressObservation {
	a := certmedic.AddressObservation{
		Address: address, ServerName: t.name, Protocol: t.protocol(), Stage: certmedic.ProbeResolve, Error: problem,
		Chain: []certmedic.CertFacts{}, Findings: []certmedic.Finding{},
	}
	if problem != nil {
		a.Findings = append(a.Findings, certmedic.NewFinding(problem.Reason, problem.Detail))
	}
	return a
}

func (t *target) protocol() string {
	if t.endpoint.Protocol == "" {
		return "tls"
	}
	return t.endpoint.Protocol
}

// quic reports whether the target is reached over QUIC.
func (t *target) quic() bool {
	protocol, err := live.ParseProtocol(t.protocol())
	return err == nil && protocol.QUIC
}

// isName reports whether a host is a name, and no address.
func isName(host string) bool {
	_, err := netip.ParseAddr(host)
	return host != "" && err != nil
}

// now is the time that dates are compared with.
func (p *Prober) now() time.Time {
	if p.At.IsZero() {
		return time.Now()
	}
	return p.At
}
