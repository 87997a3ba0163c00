package page

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// step is one stage of the way.
type step struct {
	Stage certmedic.Stage
	State string // done, stopped, busy, ahead or unknown
	Said  string // for those who do not see the picture
}

// row is what one place holds: the source, or an address of an endpoint.
type row struct {
	Place   string
	Detail  string
	Version certmedic.Fingerprint
	Until   moment
	Life    int    // per cent of the lifetime that is left
	Band    string // ok, warning or critical
	Verdict certmedic.Status
	Said    string
}

// finding is one fact that is wrong, with what it means.
type finding struct {
	certmedic.Finding
	Where, Meaning string
}

// about says where a certificate comes from, how far certmedic may go, and its labels.
func about(v watchdog.View) string {
	parts := []string{origin(v)}
	for _, k := range slices.Sorted(maps.Keys(v.Labels)) {
		parts = append(parts, k+"="+v.Labels[k])
	}
	return strings.Join(parts, " · ")
}

// origin says where a certificate comes from and how far certmedic may go.
func origin(v watchdog.View) string {
	parts := []string{"mode " + string(v.Mode)}
	switch {
	case v.Watched:
		parts = []string{"watched only"}
	case v.Source == certmedic.SourceCertbot:
		parts = append(parts, "certbot lineage")
	case v.Source == certmedic.SourceFiles:
		parts = append(parts, "PEM files")
	case v.Source == certmedic.SourceACME:
		parts = append(parts, "issued by certmedic")
	case v.Source == certmedic.SourceShared:
		parts = append(parts, "from shared storage")
	}
	return strings.Join(parts, " · ")
}

// way draws the five stages. The picture needs a source: nothing is compared without one.
func way(v watchdog.View) []step {
	if v.Watched || v.Source == certmedic.SourceNone {
		return nil
	}
	stages := certmedic.Stages()
	stages = stages[:len(stages)-1]
	reached := slices.Index(stages, v.Stage)
	if v.Stage == certmedic.StageDeploying {
		reached = slices.Index(stages, certmedic.StageStored)
	}
	steps := make([]step, len(stages))
	for i, s := range stages {
		steps[i] = step{Stage: s, State: "ahead", Said: "not reached"}
		switch {
		case v.Stage == certmedic.StageUnknown:
			steps[i].State, steps[i].Said = "unknown", "not known"
		case i == reached && v.Drift != nil && v.Stage != certmedic.StageDeploying && v.Stage != certmedic.StageServed:
			steps[i].State, steps[i].Said = "stopped", "stopped here"
		case i <= reached:
			steps[i].State, steps[i].Said = "done", "reached"
		case i == reached+1 && v.Stage == certmedic.StageDeploying:
			steps[i].State, steps[i].Said = "busy", "under way"
		}
	}
	return steps
}

// rows lists what the source holds and what each address serves, in the same columns.
func rows(v watchdog.View, now time.Time) []row {
	var all []row
	if v.Stored != nil && len(v.Stored.Chain) > 0 {
		r := row{Place: "in the source", Detail: v.Stored.Path, Verdict: certmedic.StatusOK, Said: "stored " + relative(v.Stored.Since, now)}
		if v.Stored.Since.IsZero() {
			r.Said = "stored"
		}
		all = append(all, r.of(v.Stored.Chain[0], now))
	}
	for _, e := range v.Endpoints {
		if len(e.Addresses) == 0 {
			all = append(all, row{Place: e.Address, Verdict: certmedic.StatusUnknown, Said: "not looked at yet"})
		}
		for _, a := range e.Addresses {
			all = append(all, addressRow(v, e, a, now))
		}
	}
	return all
}

func addressRow(v watchdog.View, e watchdog.EndpointView, a watchdog.AddressView, now time.Time) row {
	r := row{Place: e.Address, Verdict: certmedic.StatusOK, Said: "served"}
	if a.Address != e.Address || a.Variant != certmedic.VariantUsual {
		r.Detail = a.Address + a.Variant.Note()
	}
	leaf, reached := a.Leaf()
	switch {
	case !reached:
		r.Verdict, r.Said = certmedic.StatusUnknown, "presents no certificate"
		if a.Error != nil {
			r.Said += ": " + a.Error.Detail
		}
		if a.LastSeen == nil {
			return r
		}
		leaf = *a.LastSeen
		r.Said += "; this is what it served last"
	case a.MatchesStored == nil:
	case *a.MatchesStored:
		r.Said = "serves what is stored"
	case v.Stage == certmedic.StageDeploying:
		r.Verdict, r.Said = busy, "serves another version; a deployment is under way"
	default:
		r.Verdict, r.Said = certmedic.StatusWarning, "serves another version"
	}
	if !a.Bound && !v.Watched && a.MatchesStored != nil && !*a.MatchesStored {
		r.Said += "; never seen with a version of this certificate, so it is only watched"
	}
	return r.of(leaf, now)
}

// of completes a row with the facts of its leaf.
func (r row) of(leaf certmedic.CertFacts, now time.Time) row {
	left := leaf.RemainingRatio(now)
	r.Version, r.Until = leaf.SHA256, at(leaf.NotAfter, now)
	r.Life = int(100 * max(0, left))
	switch {
	case left < 0.1:
		r.Band = "critical"
	case left < 0.25:
		r.Band = "warning"
	default:
		r.Band = "ok"
	}
	return r
}

func findings(v watchdog.View) []finding {
	var all []finding
	add := func(where string, found []certmedic.Finding) {
		for _, f := range found {
			all = append(all, finding{Finding: f, Where: where, Meaning: meaning(f.Code)})
		}
	}
	add("in the source", v.Findings)
	for _, e := range v.Endpoints {
		add(e.Address, e.Findings)
		for _, a := range e.Addresses {
			add(spot(e.Address, a.Address)+a.Variant.Note(), a.Findings)
		}
	}
	slices.SortStableFunc(all, func(a, b finding) int { return b.Severity.Rank() - a.Severity.Rank() })
	return all
}

// spot names an address of an endpoint.
func spot(endpoint, address string) string {
	if endpoint == address || address == "" {
		return endpoint
	}
	return endpoint + " at " + address
}

func severityStatus(s certmedic.Severity) certmedic.Status {
	return certmedic.StatusOf(certmedic.Finding{Severity: s})
}
