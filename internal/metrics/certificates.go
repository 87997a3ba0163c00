package metrics

import (
	"io"
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/ledger"
)

// Certificates writes the series of every certificate, in the text format 0.0.4.
func Certificates(w io.Writer, views []watchdog.View, now time.Time) error {
	r := renderer{families: families{}, now: now, expected: len(views)}
	for i := range views {
		r.certificate(&views[i])
	}
	r.budget(views)
	return r.families.write(w)
}

type renderer struct {
	families families
	now      time.Time
	expected int // samples in most families
}

// identity returns the labels of a certificate: its name, which is empty for what is only
// watched, more labels, and those that its owner chose, which must not shadow the others.
func identity(v *watchdog.View, chosen map[string]string, more ...label) labels {
	name := v.Name
	if v.Watched {
		name = ""
	}
	return newLabels(slices.Concat([]label{{"certificate", name}}, more, target(chosen))...)
}

// reserved names are used by the metrics themselves.
func reserved(name string) bool {
	return slices.Contains([]string{
		"certificate", "endpoint", "address", "stage", "code", "sha256", "serial", "issuer", "subject",
		"version", "cipher", "group", "variant", "rehearsal", "job", "instance", "le", "quantile",
	}, name)
}

func target(labels map[string]string) []label {
	var out []label
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		clean := labelName(name)
		taken := slices.ContainsFunc(out, func(l label) bool { return l.name == clean })
		if !reserved(clean) && !taken {
			out = append(out, label{clean, labels[name]})
		}
	}
	return out
}

func (r *renderer) certificate(v *watchdog.View) {
	id := identity(v, v.Labels)
	place := ""
	if v.Watched {
		place = v.Name
	}
	if v.Stored != nil {
		leaf, at := v.Stored.Chain[0], id
		if v.Watched {
			at = identity(v, v.Labels, label{"endpoint", v.Stored.Path})
		}
		r.gauge("certmedic_stored_not_after_timestamp_seconds", "End of the newest stored version, in unix seconds.").add(unix(leaf.NotAfter), at)
		r.gauge("certmedic_stored_not_before_timestamp_seconds", "Beginning of the newest stored version, in unix seconds.").add(unix(leaf.NotBefore), at)
		r.gauge("certmedic_stored_info", "The newest stored version: its leaf's SHA-256 and the source's own version.").
			add(1, at, label{"sha256", string(leaf.SHA256)}, label{"version", v.Stored.Version})
	}
	r.renewal(v, id)
	if v.Loan != nil {
		r.gauge("certmedic_rollback_deadline_timestamp_seconds", "Until when an older version may be served that the certificate was rolled back to, in unix seconds.").add(unix(v.Loan.Until), id)
	}
	if !v.Watched {
		r.stage(v, id)
		r.gauge("certmedic_leader", "1 where this member acts for the certificate.").add(bit(v.Lead == nil || v.Lead.Mine), id)
		if v.Action != nil && len(v.Action.Runs) > 0 {
			r.gauge(hookExitCode, hookExitCodeHelp).add(float64(v.Hook), id)
		}
		r.rehearsals(v, id)
		r.matrix(v)
	}
	if len(v.Findings) > 0 {
		r.findings(identity(v, v.Labels, label{"endpoint", place}, label{"address", ""}), v.Findings)
	}
	for i := range v.Endpoints {
		r.endpoint(v, &v.Endpoints[i])
	}
}

// What an action and a rehearsal of hooks have in common.
const (
	hookExitCode     = "certmedic_hook_last_exit_code"
	hookExitCodeHelp = "Exit code of the first command of the last action, or rehearsal, that failed, 0 if none did, -1 if it did not exit by itself."
)

// renewal writes when the newest version has to be replaced.
func (r *renderer) renewal(v *watchdog.View, at labels) {
	if v.Renewal == nil {
		return
	}
	if v.Watched {
		at = identity(v, v.Labels, label{"endpoint", v.Name})
	}
	r.gauge("certmedic_renewal_due_timestamp_seconds", "From when on the renewal of the newest version is overdue, in unix seconds.").add(unix(v.Renewal.Due), at)
	if w := v.Renewal.Window; w != nil {
		r.gauge("certmedic_ari_window_end_timestamp_seconds", "End of the time in which the CA wants the newest version to be replaced (RFC 9773), in unix seconds.").add(unix(w.End), at)
	}
}

// budget writes how much is left of each limit of CAs where the least is.
func (r *renderer) budget(views []watchdog.View) {
	for _, limit := range ledger.Limits() {
		least, known := int64(0), false
		for i := range views {
			for _, b := range views[i].Budget {
				if b.Limit == limit && (!known || b.Left < least) {
					least, known = b.Left, true
				}
			}
		}
		if known {
			r.gauge("certmedic_ca_budget_remaining", "How much is left of a limit of the CA, for the certificate that has the least.").add(float64(least), newLabels(label{"limit", string(limit)}))
		}
	}
}

func (r *renderer) gauge(name, help string) *family {
	f := r.families.gauge(name, help)
	f.expect(r.expected)
	return f
}

func (r *renderer) stage(v *watchdog.View, id labels) {
	f := r.gauge("certmedic_stage", "1 at the last stage that the newest version reached.")
	for _, s := range certmedic.Stages() {
		f.add(bit(v.Stage == s), id, label{"stage", string(s)})
	}
}

// findings writes 1 for each code that was found at a place, once.
func (r *renderer) findings(at labels, found []certmedic.Finding) {
	for i, f := range found {
		if certmedic.HasFinding(found[:i], f.Code) {
			continue
		}
		r.gauge("certmedic_finding", "1 for each finding, by code.").add(1, at, label{"code", string(f.Code)})
	}
}

func (r *renderer) endpoint(v *watchdog.View, e *watchdog.EndpointView) {
	chosen := v.Labels
	if len(e.Labels) > 0 {
		chosen = maps.Clone(e.Labels)
		for name, value := range v.Labels {
			if _, own := chosen[name]; !own {
				chosen[name] = value
			}
		}
	}
	name := e.Address
	if v.Watched {
		name = v.Name // its address, and what tells it from others of that address
	}
	for i := range e.Addresses {
		a := &e.Addresses[i]
		place := []label{{"endpoint", name}, {"address", a.Address}}
		if a.Variant != certmedic.VariantUsual {
			place = append(place, label{"variant", string(a.Variant)}) // other servers have no such label
		}
		at := identity(v, chosen, place...)
		r.probe(e, a, at)
		r.served(a, at)
		r.findings(at, slices.Concat(a.Findings, e.Findings, drift(v, a)))
	}
}

// drift returns the finding that an address serves another version than the stored one.
func drift(v *watchdog.View, a *watchdog.AddressView) []certmedic.Finding {
	if a.DriftSince == nil || v.Stage == certmedic.StageDeploying {
		return nil
	}
	return []certmedic.Finding{certmedic.NewFinding(certmedic.Drift, "")}
}

func (r *renderer) probe(e *watchdog.EndpointView, a *watchdog.AddressView, at labels) {
	success := a.Reached() && !slices.ContainsFunc(a.Findings, func(f certmedic.Finding) bool { return f.Severity == certmedic.SeverityCritical })
	r.gauge("certmedic_probe_success", "1 if a certificate was presented in which nothing critical was found.").add(bit(success), at)
	r.gauge("certmedic_probe_duration_seconds", "Duration of the last connect and handshake.").add((a.Connect + a.Handshake).Seconds(), at)
	r.gauge("certmedic_probe_last_timestamp_seconds", "When the last probe ended, in unix seconds.").add(unix(e.Time), at)
	if a.TLS != nil {
		r.gauge("certmedic_tls_info", "Parameters of the TLS connection of the last probe.").
			add(1, at, label{"version", a.TLS.Version}, label{"cipher", a.TLS.Cipher}, label{"group", a.TLS.Group})
	}
}

// served writes what an address presents; where it presents nothing now, what it presented
// last, because its dates can still be held against the clock.
func (r *renderer) served(a *watchdog.AddressView, at labels) {
	if a.MatchesStored != nil {
		r.gauge("certmedic_served_matches_stored", "1 if the address serves the newest stored version.").add(bit(*a.MatchesStored), at)
		age := 0.0
		if a.DriftSince != nil {
			age = max(0, r.now.Sub(*a.DriftSince).Seconds())
		}
		r.gauge("certmedic_drift_seconds", "How long the address has served another version than the newest stored one; 0 if it serves that.").add(age, at)
	}
	leaf, ok := a.Leaf()
	chainEnd := a.ChainNotAfter
	if !ok {
		if a.LastSeen == nil {
			return
		}
		leaf = *a.LastSeen
	}
	if chainEnd.IsZero() {
		chainEnd = leaf.NotAfter
		for _, c := range a.Chain {
			if c.NotAfter.Before(chainEnd) {
				chainEnd = c.NotAfter
			}
		}
	}
	r.gauge("certmedic_served_not_after_timestamp_seconds", "End of the leaf that is served, in unix seconds.").add(unix(leaf.NotAfter), at)
	r.gauge("certmedic_served_not_before_timestamp_seconds", "Beginning of the leaf that is served, in unix seconds.").add(unix(leaf.NotBefore), at)
	r.gauge("certmedic_served_chain_not_after_timestamp_seconds", "End of the verified chain that lasts longest, else of the certificate presented that ends first, in unix seconds.").add(unix(chainEnd), at)
	r.gauge("certmedic_served_lifetime_remaining_ratio", "Share of the lifetime of the leaf that is served that is left; negative once it has ended.").add(leaf.RemainingRatio(r.now), at)
	r.gauge("certmedic_served_info", "The leaf that is served.").add(1, at,
		label{"sha256", string(leaf.SHA256)}, label{"serial", leaf.Serial}, label{"issuer", leaf.Issuer}, label{"subject", leaf.Subject})
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
