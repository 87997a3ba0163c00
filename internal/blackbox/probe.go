package blackbox

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/blackbox/fetch"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

// probe carries a request out.
func (h *Handler) probe(ctx context.Context, r request) *answer {
	a := &answer{request: r, started: time.Now(), kept: map[string]live.Result{}}
	if r.module.Prober == ProberHTTP {
		h.probeHTTP(ctx, a)
	} else {
		h.probeTCP(ctx, a)
	}
	a.took = time.Since(a.started)
	a.forget()
	return a
}

// forget drops what no series and no story needs, so that a remembered answer stays small.
func (a *answer) forget() {
	needed := map[string]live.Result{}
	if a.decisive != nil {
		needed[a.decisive.Address] = a.kept[a.decisive.Address]
	}
	a.kept = needed
}

// probeTCP observes all addresses of the target and decides by one of them.
func (h *Handler) probeTCP(ctx context.Context, a *answer) {
	r := a.request
	target := r.target
	if r.module.Protocol != "" && !strings.Contains(target, "://") {
		target = r.module.Protocol + "://" + target
	}
	endpoint, err := probe.ParseTarget(target)
	if err != nil {
		a.refusal = err
		return
	}
	endpoint.ServerName = r.module.ServerName
	a.observation = h.observe(ctx, a, endpoint, nil)
	a.resolve = a.observation.Resolve
	a.decide()
	a.scriptFailed = a.decisive != nil && scriptFailed(a.kept[a.decisive.Address], r.module)
	a.success = a.decisive != nil && !a.scriptFailed && r.module.verified(*a.decisive)
}

// scriptFailed reports whether the peer did not say what the module's script expects,
// before or after TLS began.
func scriptFailed(result live.Result, m Module) bool {
	if m.Live == nil || len(m.Live.Script) == 0 {
		return false
	}
	before := result.Err != nil && result.Err.Reason == certmedic.StartTLSFailed
	return before || result.ScriptFailed
}

// probeHTTP makes the module's request, and observes the addresses of the host that
// answered last, if it speaks TLS. The handshake that the request had is not made again.
func (h *Handler) probeHTTP(ctx context.Context, a *answer) {
	r := a.request
	target, err := parseURL(r.target)
	if err != nil {
		a.refusal = err
		return
	}
	fetcher := &fetch.Fetcher{
		Lookup: h.options.Prober.Lookup, Allow: h.options.Allow, Choose: r.module.choose,
		Verify: r.module.verify, Live: r.module.Live, ServerName: r.module.ServerName,
	}
	fetched := fetcher.Do(ctx, target, r.module.HTTP)
	a.fetched = &fetched
	if len(fetched.Hops) == 0 {
		return
	}
	hop := fetched.Hops[len(fetched.Hops)-1]
	a.resolve, a.address = fetched.Hops[0].Resolve, fetched.Hops[0].Address.Addr()
	a.success = fetched.Success
	if !hop.TLS || hop.Host == "" {
		return
	}
	if hop.State != nil {
		a.kept[hop.Address.String()] = resultOf(hop)
	}
	endpoint := certmedic.Endpoint{Address: strings.ToLower(hop.Host), Protocol: "https", ServerName: hop.ServerName}
	a.observation = h.observe(ctx, a, endpoint, hop.Addresses)
	a.decide()
	a.success = a.success && a.decisive != nil && r.module.verified(*a.decisive)
}

// parseURL reads a target of the http prober as blackbox_exporter does: without a scheme
// it is http.
func parseURL(target string) (*url.URL, error) {
	if !strings.HasPrefix(target, "http://") && !strings.HasPrefix(target, "https://") {
		target = "http://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("target %q has no host", target)
	}
	return u, nil
}

// verify refuses a connection whose chain the module does not take for verified.
func (m Module) verify(state tls.ConnectionState, serverName string) error {
	if state.Version < m.MinVersion {
		return fmt.Errorf("the version %s is older than %s", tls.VersionName(state.Version), tls.VersionName(m.MinVersion))
	}
	if m.InsecureSkipVerify {
		return nil
	}
	judged := inspect.Chain(state.PeerCertificates, inspect.Options{Now: time.Now(), ServerName: serverName, Roots: m.Roots})
	if i := slices.IndexFunc(judged.Findings, unverified); i >= 0 {
		return errors.New(judged.Findings[i].Detail)
	}
	return nil
}

// observe probes all addresses of an endpoint, those that are given or those that its host
// has. Handshakes that the answer keeps already are not made again.
func (h *Handler) observe(ctx context.Context, a *answer, endpoint certmedic.Endpoint, addresses []netip.Addr) certmedic.Observation {
	host := hostOf(endpoint)
	prober := h.options.Prober
	endpoint.Module = a.request.moduleName
	prober.Modules = map[string]probe.Module{endpoint.Module: {Roots: a.request.module.Roots}}
	prober.Handshake = (&recorder{answer: a, handshake: h.options.Prober.Handshake}).shake
	prober.AllowAddress = func(address netip.Addr) error { return h.options.Allow(host, address) }
	if len(addresses) > 0 {
		prober.Override = map[string][]netip.Addr{endpoint.Address: addresses}
	}
	return prober.Probe(ctx, endpoint)
}

// recorder keeps what handshakes brought, which observations hold in part only.
type recorder struct {
	answer    *answer
	handshake func(context.Context, live.Request) live.Result

	mu sync.Mutex
}

func (k *recorder) shake(ctx context.Context, r live.Request) live.Result {
	module, address := k.answer.request.module, r.Address.String()
	if module.Live != nil {
		r.Settings = module.Live
	}
	if module.Prober == ProberHTTP {
		r.Protocol = "tls" // one request was made, no other is
	}
	if r.Settings != nil && r.Settings.Proxy != nil {
		r.Host = address // the proxy is told what was checked, not a name that it would look up
	}
	if r.Variant != certmedic.VariantUsual {
		return k.handshake(ctx, r)
	}
	k.mu.Lock()
	result, kept := k.answer.kept[address]
	k.mu.Unlock()
	if kept {
		return result
	}
	result = k.handshake(ctx, r)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer.kept[address] = result
	return result
}

// resultOf returns a hop's handshake.
func resultOf(hop fetch.Hop) live.Result {
	state := hop.State
	result := live.Result{
		Stage: certmedic.ProbeDone, Certs: state.PeerCertificates, Staple: state.OCSPResponse, SCTs: state.SignedCertificateTimestamps,
		TLS:     &certmedic.TLSFacts{Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite)},
		Connect: hop.Connect, Handshake: hop.Handshake,
	}
	if state.CurveID != 0 {
		result.TLS.Group = state.CurveID.String()
	}
	return result
}

func hostOf(endpoint certmedic.Endpoint) string {
	host, _, _ := net.SplitHostPort(endpoint.Address) // ParseTarget or a hop made it
	return strings.TrimSuffix(host, ".")
}
