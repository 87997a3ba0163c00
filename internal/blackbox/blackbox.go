package blackbox

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/inspect"
)

const (
	// The module of requests that name none: blackbox_exporter's own, where there is one.
	blackboxModule = "http_2xx"
	defaultModule  = "tls"

	// scrapeMargin is taken off Prometheus' own timeout, so that the answer is there in time.
	scrapeMargin = 500 * time.Millisecond

	// defaultTimeout is for requests that do not say how long they wait.
	defaultTimeout = 120 * time.Second

	defaultConcurrency = 256
	defaultHistory     = 100
)

// Options say what a handler does.
type Options struct {
	// Modules by name. The module "tls" exists also where it is not among them.
	Modules map[string]Module

	// Prober says how targets are probed: Lookup and Handshake are required, and its Roots are
	// those of modules that have none. Its Modules, Memory, Timeout, Warn, Crit, Override,
	// AllowAddress, KeyTypes and Issuers are the handler's own: a target is asked as the
	// module says and no other way, and what an unverified certificate of somebody's choice
	// points to is not fetched.
	Prober probe.Prober

	// Allow refuses an address that a target's host resolved to, just before it is dialled.
	// Required; see [Guard].
	Allow func(host string, address netip.Addr) error

	Concurrency int // how many probes may be in flight; 0 is 256
	History     int // how many probes are remembered; 0 is 100
}

// New returns the handler. It may serve any number of requests at a time.
func New(o Options) *Handler {
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.History <= 0 {
		o.History = defaultHistory
	}
	o.Prober.Memory, o.Prober.Override, o.Prober.Timeout = &probe.Memory{}, nil, 0
	o.Prober.KeyTypes, o.Prober.Issuers = false, nil
	o.Prober.Warn, o.Prober.Crit = inspect.Threshold{}, inspect.Threshold{} // to expire soon is no failure
	return &Handler{options: o, slots: make(chan struct{}, o.Concurrency), history: &history{limit: o.History}}
}

// Handler answers /probe.
type Handler struct {
	options Options
	slots   chan struct{}
	history *history
}

// ServeHTTP answers one request. A probe that fails is an answer as good as any, with
// probe_success 0; error codes are for requests that cannot be carried out.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	h.history.add(answer)
	if r.URL.Query().Get("debug") == "true" {
		writeText(w, answer.debug())
		return
	}
	registry := prometheus.NewRegistry()
	answer.register(registry)
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

func writeText(w http.ResponseWriter, text []byte) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text) // the client may have gone
}

// request is what was asked.
type request struct {
	target     string
	shown      string // the target without a password
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
func (h *Handler) read(r *http.Request) (request, *refusal) {
	query := r.URL.Query()
	name := query.Get("module")
	if name == "" {
		name = defaultModule
		if _, ok := h.options.Modules[blackboxModule]; ok {
			name = blackboxModule
		}
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
	if module, err = module.withHost(query.Get("hostname")); err != nil {
		return request{}, &refusal{http.StatusBadRequest, err.Error()}
	}
	if module.Roots == nil {
		module.Roots = h.options.Prober.Roots
	}
	module = module.offeringAll()
	return request{target: target, shown: withoutPassword(target), moduleName: name, module: module, timeout: timeout}, nil
}

// withoutPassword returns a target as it may be shown.
func withoutPassword(target string) string {
	if u, err := url.Parse(target); err == nil && u.User != nil {
		return u.Redacted()
	}
	return target
}

// withHost returns the module for the hostname of a request: for http the host that is
// asked for, otherwise the name for TLS where the module has none.
func (m Module) withHost(hostname string) (Module, error) {
	switch {
	case hostname == "":
		return m, nil
	case m.Prober == ProberHTTP:
		settings, err := m.HTTP.WithHost(hostname)
		m.HTTP = settings
		return m, err
	case m.ServerName == "":
		m.ServerName = hostname
	}
	return m, nil
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
