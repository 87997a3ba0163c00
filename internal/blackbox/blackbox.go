package blackbox

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

const (
	defaultModule = "tls"

	// scrapeMargin is taken off Prometheus' own timeout, so that the answer is there in time.
	scrapeMargin = 500 * time.Millisecond

	// defaultTimeout is for requests that do not say how long they wait.
	defaultTimeout = 120 * time.Second

	defaultConcurrency = 256
)

// The families of Module.PreferIP.
const (
	IP4 = "ip4"
	IP6 = "ip6"
)

// Module is a named way to probe.
type Module struct {
	Protocol           string          // as in live.Protocols, for targets without one; empty: tls
	Timeout            time.Duration   // of a whole probe; 0: the request's
	ServerName         string          // sent and verified; empty: the request's hostname, else the target's host
	Roots              []inspect.Roots // nil: those of the Options
	InsecureSkipVerify bool            // whether a chain that does not verify still is a success
	MinVersion         uint16          // the oldest version of TLS that is a success, as in crypto/tls; 0: any
	PreferIP           string          // IP4 or IP6: the family that decides; empty: IP6
	Fallback           bool            // whether the other family decides where the preferred one has no address
}

// Options say what a handler does.
type Options struct {
	// Modules by name. The module "tls" exists also where it is not among them.
	Modules map[string]Module

	// Lookup returns the addresses of a host. Required.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

	// Handshake does one handshake with one address. Required.
	Handshake func(ctx context.Context, request live.Request) live.Result

	Roots []inspect.Roots // every set has to trust a chain

	// Allow refuses an address that a target's host resolved to, just before it is dialled.
	// Required; see [Guard].
	Allow func(host string, address netip.Addr) error

	Concurrency int // how many probes may be in flight; 0 is 256
}

// New returns the handler. It may serve any number of requests at a time.
func New(o Options) http.Handler {
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	return &handler{options: o, slots: make(chan struct{}, o.Concurrency)}
}

type handler struct {
	options Options
	slots   chan struct{}
}

// ServeHTTP answers one request. A probe that fails is an answer as good as any, with
// probe_success 0; error codes are for requests that cannot be carried out.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, refused := h.read(r)
	if refused != nil {
		http.Error(w, refused.message, refused.status)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), request.timeout)
	defer cancel()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		http.Error(w, "Too many probes in flight", http.StatusServiceUnavailable)
		return
	}
	answer := h.probe(ctx, request)
	registry := prometheus.NewRegistry()
	answer.register(registry)
	if r.URL.Query().Get("debug") == "true" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(answer.debug(registry)) // the client may have gone
		return
	}
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// request is what was asked.
type request struct {
	target     string
	moduleName string
	module     Module
	timeout    time.Duration
}

// refusal is the answer to a request that cannot be carried out, in blackbox_exporter's
// words.
type refusal struct {
	status  int
	message string
}

// read returns the request, or why it is refused.
func (h *handler) read(r *http.Request) (request, *refusal) {
	query := r.URL.Query()
	name := query.Get("module")
	if name == "" {
		name = defaultModule
	}
	module, ok := h.options.Modules[name]
	switch {
	case !ok && name == defaultModule:
		module = Module{PreferIP: IP6, Fallback: true}
	case !ok:
		return request{}, &refusal{http.StatusBadRequest, fmt.Sprintf("Unknown module %q", name)}
	}
	timeout, err := timeoutOf(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), module.Timeout)
	if err != nil {
		return request{}, &refusal{http.StatusInternalServerError, fmt.Sprintf("Failed to parse timeout from Prometheus header: %s", err)}
	}
	target := query.Get("target")
	if target == "" {
		return request{}, &refusal{http.StatusBadRequest, "Target parameter is missing"}
	}
	if again, err := url.QueryUnescape(target); err == nil {
		target = again
	}
	if module.ServerName == "" {
		module.ServerName = query.Get("hostname")
	}
	if module.Roots == nil {
		module.Roots = h.options.Roots
	}
	return request{target: target, moduleName: name, module: module, timeout: timeout}, nil
}

// timeoutOf returns the time for a probe: what the scraper waits less a margin, or the
// module's where that is shorter.
func timeoutOf(header string, module time.Duration) (time.Duration, error) {
	limit := defaultTimeout
	if header != "" {
		seconds, err := strconv.ParseFloat(header, 64)
		if err != nil {
			return 0, err
		}
		if !(seconds >= 0 && seconds <= 24*60*60) {
			return 0, fmt.Errorf("%q is not between 0 and 86400", header)
		}
		if seconds > 0 {
			limit = time.Duration(seconds * float64(time.Second))
		}
	}
	if limit > scrapeMargin {
		limit -= scrapeMargin
	}
	if module > 0 {
		limit = min(limit, module)
	}
	return limit, nil
}

// probe observes all addresses of the target and decides by one of them.
func (h *handler) probe(ctx context.Context, r request) *answer {
	a := &answer{request: r, started: time.Now()}
	target := r.target
	if r.module.Protocol != "" && !strings.Contains(target, "://") {
		target = r.module.Protocol + "://" + target
	}
	endpoint, err := probe.ParseTarget(target)
	if err != nil {
		a.refusal = err
		a.took = time.Since(a.started)
		return a
	}
	host := hostOf(endpoint)
	endpoint.ServerName = r.module.ServerName
	prober := probe.Prober{
		Lookup: h.options.Lookup, Handshake: h.options.Handshake, Roots: r.module.Roots,
		AllowAddress: func(address netip.Addr) error { return h.options.Allow(host, address) },
	}
	a.observation = prober.Probe(ctx, endpoint)
	a.took = time.Since(a.started)
	a.decide()
	return a
}

// verified reports whether a probe of this address is a success for the module.
func (m Module) verified(a certmedic.AddressObservation) bool {
	if !a.Reached() || a.Stage != certmedic.ProbeDone {
		return false
	}
	if a.TLS == nil || versionOf(a.TLS.Version) < m.MinVersion {
		return false
	}
	return m.InsecureSkipVerify || certmedic.StatusOf(a.Findings...) != certmedic.StatusCritical
}

// versionOf returns the number of a version of TLS from its name, 0 for unknown ones.
func versionOf(name string) uint16 {
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		if tls.VersionName(v) == name {
			return v
		}
	}
	return 0
}
