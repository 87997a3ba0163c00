package blackbox

import (
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/blackbox/fetch"
	"github.com/certmedic/certmedic/internal/blackbox/sslseries"
	"github.com/certmedic/certmedic/internal/check/gauges"
	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/probe/live"
)

// answer is what a probe brought. It is no longer changed once the probe has ended.
type answer struct {
	request     request
	started     time.Time
	took        time.Duration
	refusal     error // why the target could not be probed at all
	observation certmedic.Observation
	resolve     time.Duration          // of the target's own host
	kept        map[string]live.Result // of the usual handshakes, by address
	fetched     *fetch.Result          // of the http prober

	decisive     *certmedic.AddressObservation // of the address that decides; nil where there is none
	address      netip.Addr                    // that was probed first
	scriptFailed bool                          // whether the peer did not say what the script expects
	success      bool
}

// decide finds the observation of the address that the module chooses.
func (a *answer) decide() {
	var addresses []netip.Addr
	at := map[netip.Addr]*certmedic.AddressObservation{}
	for i := range a.observation.Addresses {
		o := &a.observation.Addresses[i]
		address, err := netip.ParseAddrPort(o.Address)
		if err != nil || o.Variant != certmedic.VariantUsual {
			continue // the name did not resolve, or it is another handshake with the same address
		}
		addresses = append(addresses, address.Addr())
		at[address.Addr()] = o
	}
	chosen, ok := a.request.module.choose(addresses)
	if !ok {
		return
	}
	a.decisive = at[chosen]
	if !a.address.IsValid() {
		a.address = chosen
	}
}

// register adds the series of the answer.
func (a *answer) register(r prometheus.Registerer) {
	if a.request.module.has(SeriesBlackbox) {
		a.registerProbe(r)
	}
	if a.request.module.has(SeriesSSL) {
		sslseries.Register(r, a.ssl())
	}
	gauges.New(r).Add(a.request.shown, a.observation.Addresses, a.observation.Findings, a.observation.Time)
}

// ssl returns what ssl_exporter would have seen.
func (a *answer) ssl() sslseries.Facts {
	facts := sslseries.Facts{Success: a.success, Prober: a.request.module.prober(), Now: a.observation.Time, Roots: a.request.module.Roots}
	if facts.Prober == ProberHTTP {
		facts.Prober = "https" // as ssl_exporter calls it
	}
	if a.decisive == nil {
		return facts
	}
	if a.decisive.TLS != nil {
		facts.Version = a.decisive.TLS.Version
	}
	result := a.kept[a.decisive.Address]
	facts.Certs, facts.Staple = result.Certs, result.Staple
	return facts
}

func (a *answer) registerProbe(r prometheus.Registerer) {
	set(r, "probe_success", "Displays whether or not the probe was a success", bit(a.success))
	set(r, "probe_duration_seconds", "Returns how long the probe took to complete in seconds", a.took.Seconds())
	set(r, "probe_timeout_seconds", "Returns how long the probe was allowed to take in seconds", a.request.timeout.Seconds())
	set(r, "probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds", a.resolve.Seconds())
	set(r, "probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6", family(a.address))
	set(r, "probe_ip_addr_hash", "Specifies the hash of IP address. It's useful to detect if the IP address changes.", hash(a.address))
	set(r, "probe_failed_due_to_regex", "Indicates if probe failed due to regex", bit(a.scriptFailed || a.fetched != nil && a.fetched.FailedByRegex))
	if a.request.module.Prober == ProberHTTP {
		a.registerHTTP(r)
	}
	if a.decisive != nil {
		a.registerTLS(r)
	}
}

// registerHTTP adds the series of the http prober, which are there whatever failed.
func (a *answer) registerHTTP(r prometheus.Registerer) {
	fetched := a.fetched
	if fetched == nil {
		fetched = &fetch.Result{}
	}
	set(r, "probe_http_status_code", "Response HTTP status code", float64(fetched.Status))
	set(r, "probe_http_version", "Returns the version of HTTP of the probe response", fetched.Version)
	set(r, "probe_http_ssl", "Indicates if SSL was used for the final redirect", bit(fetched.SSL))
	set(r, "probe_http_redirects", "The number of redirects", float64(fetched.Redirects))
	set(r, "probe_http_content_length", "Length of http content response", float64(fetched.ContentLength))
	set(r, "probe_http_uncompressed_body_length", "Length of uncompressed response body", float64(fetched.BodyLength))
	if !fetched.LastModified.IsZero() {
		set(r, "probe_http_last_modified_timestamp_seconds", "Returns the Last-Modified HTTP response header in unixtime", float64(fetched.LastModified.Unix()))
	}
	phases := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "probe_http_duration_seconds", Help: "Duration of http request by phase, summed over all redirects",
	}, []string{"phase"})
	r.MustRegister(phases)
	for phase, took := range sum(fetched.Hops) {
		phases.WithLabelValues(phase).Set(took.Seconds())
	}
}

// sum adds up the phases of all hops.
func sum(hops []fetch.Hop) map[string]time.Duration {
	total := map[string]time.Duration{"resolve": 0, "connect": 0, "tls": 0, "processing": 0, "transfer": 0}
	for _, hop := range hops {
		total["resolve"] += hop.Resolve
		total["connect"] += hop.Connect
		total["tls"] += hop.Handshake
		total["processing"] += hop.Processing
		total["transfer"] += hop.Transfer
	}
	return total
}

func (a *answer) registerTLS(r prometheus.Registerer) {
	o := a.decisive
	if o.TLS != nil {
		info(r, "probe_tls_version_info", "Returns the TLS version used or NaN when unknown", label{"version", o.TLS.Version})
		info(r, "probe_tls_cipher_info", "Returns the TLS cipher negotiated during handshake", label{"cipher", o.TLS.Cipher})
		if group := groupOf(o.TLS.Group); group != 0 {
			info(r, "probe_tls_group_info", "Returns the TLS key exchange group negotiated during handshake",
				label{"group", o.TLS.Group}, label{"id", strconv.Itoa(int(group))})
		}
	}
	leaf, ok := o.Leaf()
	if !ok {
		return
	}
	earliest := leaf.NotAfter
	for _, c := range o.Chain {
		if c.NotAfter.Before(earliest) {
			earliest = c.NotAfter
		}
	}
	set(r, "probe_ssl_earliest_cert_expiry", "Returns last SSL chain expiry in unixtime", float64(earliest.Unix()))
	if !o.ChainNotAfter.IsZero() {
		set(r, "probe_ssl_last_chain_expiry_timestamp_seconds", "Returns last SSL chain expiry in timestamp", float64(o.ChainNotAfter.Unix()))
	}
	info(
		r, "probe_ssl_last_chain_info", "Contains SSL leaf certificate information",
		label{"fingerprint_sha256", string(leaf.SHA256)},
		label{"issuer", leaf.Issuer},
		label{"subject", leaf.Subject},
		label{"subjectalternative", strings.Join(leaf.DNSNames, ",")},
		label{"serialnumber", leaf.Serial},
	)
}

type label struct{ name, value string }

func set(r prometheus.Registerer, name, help string, value float64) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	gauge.Set(value)
	r.MustRegister(gauge)
}

// info registers a series whose value is 1 and whose labels tell.
func info(r prometheus.Registerer, name, help string, labels ...label) {
	all := prometheus.Labels{}
	for _, l := range labels {
		all[l.name] = redact.Label(l.value)
	}
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: all})
	gauge.Set(1)
	r.MustRegister(gauge)
}

// family returns 4 or 6, and 0 where no address was chosen.
func family(address netip.Addr) float64 {
	switch {
	case !address.IsValid():
		return 0
	case address.Is4():
		return 4
	default:
		return 6
	}
}

// hash returns the 32-bit FNV-1a hash of the address's bytes, 0 where there is none.
func hash(address netip.Addr) float64 {
	if !address.IsValid() {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write(address.AsSlice())
	return float64(h.Sum32())
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
