package blackbox

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/blackbox/fetch"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

// The probers of Module.Prober.
const (
	ProberTCP  = "tcp"
	ProberHTTP = "http"
)

// The families of Module.PreferIP.
const (
	IP4 = "ip4"
	IP6 = "ip6"
)

// The sets of Module.Series.
const (
	SeriesBlackbox = "blackbox" // probe_*, as blackbox_exporter has them
	SeriesSSL      = "ssl"      // ssl_*, as ssl_exporter has them
)

// Module is a named way to probe.
type Module struct {
	Prober             string          // ProberTCP or ProberHTTP; empty: ProberTCP
	Protocol           string          // as in live.Protocols, for targets without one; empty: tls. Not for ProberHTTP
	Timeout            time.Duration   // of a whole probe; 0: the request's
	ServerName         string          // sent and verified; empty: the request's hostname, else the target's host
	Roots              []inspect.Roots // nil: those of the Options
	InsecureSkipVerify bool            // whether a chain that does not verify still is a success
	MinVersion         uint16          // the oldest version of TLS that is a success, as in crypto/tls; 0: any
	PreferIP           string          // IP4 or IP6: the family that decides; empty: IP6
	Fallback           bool            // whether the other family decides where the preferred one has no address
	Live               *live.Settings  // versions, client certificates, proxy and script; nil: the usual ones
	HTTP               fetch.Settings  // for ProberHTTP
	Series             []string        // SeriesBlackbox, SeriesSSL or both; empty: SeriesBlackbox
}

func (m Module) has(series string) bool {
	if len(m.Series) == 0 {
		return series == SeriesBlackbox
	}
	return slices.Contains(m.Series, series)
}

func (m Module) prober() string {
	if m.Prober == "" {
		return ProberTCP
	}
	return m.Prober
}

func (m Module) preferred() string {
	if m.PreferIP == "" {
		return IP6
	}
	return m.PreferIP
}

// offeringAll returns the module without an oldest version for handshakes: a peer that is
// too old is judged by what it shows, instead of being refused before it shows anything.
func (m Module) offeringAll() Module {
	if m.Live == nil || m.Live.MinVersion == 0 {
		return m
	}
	settings := *m.Live
	m.MinVersion = max(m.MinVersion, settings.MinVersion)
	settings.MinVersion = 0
	m.Live = &settings
	return m
}

// choose returns the address that blackbox_exporter would probe: the first of the
// preferred family, else, where the module falls back, the last of the other.
func (m Module) choose(addresses []netip.Addr) (netip.Addr, bool) {
	for _, address := range addresses {
		if address.Is4() == (m.PreferIP == IP4) {
			return address, true
		}
	}
	if !m.Fallback || len(addresses) == 0 {
		return netip.Addr{}, false
	}
	return addresses[len(addresses)-1], true
}

// verified reports whether a handshake with this address is a success for the module.
func (m Module) verified(a certmedic.AddressObservation) bool {
	if !a.Reached() || a.Stage != certmedic.ProbeDone {
		return false
	}
	if a.TLS == nil || versionOf(a.TLS.Version) < m.MinVersion {
		return false
	}
	return m.InsecureSkipVerify || !slices.ContainsFunc(a.Findings, unverified)
}

// unverified reports whether the finding is one for which blackbox_exporter, which leaves
// that to crypto/tls, would refuse the chain. Others, such as a revocation, are told by
// certmedic_finding alone.
func unverified(f certmedic.Finding) bool {
	return slices.Contains([]certmedic.FindingCode{
		certmedic.Expired, certmedic.NotYetValid, certmedic.NameMismatch, certmedic.SelfSigned, certmedic.Untrusted,
		certmedic.IncompleteChain, certmedic.WrongUsage, certmedic.NameConstraint,
	}, f.Code)
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

// groupOf returns the number of a key exchange group from its name, 0 for unknown ones.
func groupOf(name string) tls.CurveID {
	groups := []tls.CurveID{
		tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519,
		tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024,
	}
	for _, g := range groups {
		if g.String() == name {
			return g
		}
	}
	return 0
}
