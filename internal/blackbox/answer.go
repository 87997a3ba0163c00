package blackbox

import (
	"hash/fnv"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/check/gauges"
)

// answer is what a probe brought.
type answer struct {
	request     request
	started     time.Time
	took        time.Duration
	refusal     error // why the target could not be probed at all
	observation certmedic.Observation

	decisive *certmedic.AddressObservation // of the address that decides; nil where there is none
	address  netip.Addr                    // of the decisive one
	success  bool
}

// decide chooses the address that blackbox_exporter would have probed: the first of the
// preferred family, else, where the module falls back, the last of the other.
func (a *answer) decide() {
	module := a.request.module
	for i := range a.observation.Addresses {
		o := &a.observation.Addresses[i]
		address, err := netip.ParseAddrPort(o.Address)
		if err != nil {
			continue // the name did not resolve
		}
		preferred := address.Addr().Is4() == (module.PreferIP == IP4)
		if !preferred && !module.Fallback {
			continue
		}
		a.decisive, a.address = o, address.Addr()
		if preferred {
			break
		}
	}
	a.success = a.decisive != nil && module.verified(*a.decisive)
}

// register adds the series of the answer.
func (a *answer) register(r prometheus.Registerer) {
	set(r, "probe_success", "Displays whether or not the probe was a success", bit(a.success))
	set(r, "probe_duration_seconds", "Returns how long the probe took to complete in seconds", a.took.Seconds())
	set(r, "probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds", a.observation.Resolve.Seconds())
	set(r, "probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6", family(a.address))
	set(r, "probe_ip_addr_hash", "Specifies the hash of IP address. It's useful to detect if the IP address changes.", hash(a.address))
	if a.decisive != nil {
		a.registerTLS(r)
	}
	gauges.New(r).Add(a.request.target, a.observation.Addresses, a.observation.Findings, a.observation.Time)
}

func (a *answer) registerTLS(r prometheus.Registerer) {
	o := a.decisive
	if o.TLS != nil {
		info(r, "probe_tls_version_info", "Returns the TLS version used or NaN when unknown", label{"version", o.TLS.Version})
		info(r, "probe_tls_cipher_info", "Returns the TLS cipher negotiated during handshake", label{"cipher", o.TLS.Cipher})
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
	info(r, "probe_ssl_last_chain_info", "Contains SSL leaf certificate information",
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
		all[l.name] = strings.ToValidUTF8(l.value, "\uFFFD")
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

func hostOf(endpoint certmedic.Endpoint) string {
	host, _, _ := net.SplitHostPort(endpoint.Address) // ParseTarget made it
	return strings.TrimSuffix(host, ".")
}
