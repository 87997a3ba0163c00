package watchdog

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
)

// View is the present picture of one certificate, as plain data for the metrics, the web
// page and the commands.
type View struct {
	Name      string                `json:"certificate"`
	Labels    map[string]string     `json:"labels,omitempty"`
	Watched   bool                  `json:"watched"`
	Status    certmedic.Status      `json:"status"`
	Stage     certmedic.Stage       `json:"stage"`
	Mode      certmedic.Mode        `json:"mode"`
	Stored    *StoredView           `json:"stored,omitempty"`
	Endpoints []EndpointView        `json:"endpoints"`
	Findings  []certmedic.Finding   `json:"findings"` // of the source
	Drift     *time.Time            `json:"drift_since,omitempty"`
	Incidents []certmedic.Incident  `json:"incidents"` // pending and firing
	Action    *certmedic.Action     `json:"last_action,omitempty"`
	Rehearsed []certmedic.Action    `json:"last_rehearsals,omitempty"` // of each kind, the newest first
	Lock      certmedic.Lock        `json:"-"`
	Leaf      certmedic.CertFacts   `json:"-"` // what is served and ends first, else what is stored
	Hook      int64                 `json:"-"` // exit code of the last hook that certmedic ran
	Source    certmedic.SourceKind  `json:"source"`
	Judged    time.Time             `json:"judged_at,omitzero"`
	Renewal   *RenewalView          `json:"renewal,omitempty"`
	Loan      *rollback.Loan        `json:"loan,omitempty"`   // the rollback that stands
	Budget    []ledger.Remaining    `json:"budget,omitempty"` // what is left of its CA's limits
	Lead      *certmedic.Lead       `json:"lead,omitempty"`   // who acts for it, where there are several members
	Supply    *Supply               `json:"supply,omitempty"` // how its versions get from host to host; nil: they do not
	Certs     certmedic.Certificate `json:"-"`
	Matrix    map[Verdict]int       `json:"matrix,omitempty"` // how many of its nodes, addresses and types of keys are how
	Rows      []MatrixRow           `json:"-"`
}

// RenewalView says when the newest version has to be replaced.
type RenewalView struct {
	Due    time.Time     `json:"due"`              // from when on the renewal is overdue
	Basis  string        `json:"basis"`            // what that follows from, see [rules.Renewal.Due]
	Window *rules.Window `json:"window,omitempty"` // of the CA

	Scheduled time.Time `json:"scheduled,omitzero"` // when certmedic itself has it renewed; zero: it does not
}

// StoredView is what a source holds.
type StoredView struct {
	Path    string                `json:"path"`
	Version string                `json:"version"`
	Since   time.Time             `json:"since"`
	Chain   []certmedic.CertFacts `json:"chain"`
}

// EndpointView is the last observation of an endpoint.
type EndpointView struct {
	Address   string              `json:"address"`
	Protocol  string              `json:"protocol"`
	Labels    map[string]string   `json:"labels,omitempty"`
	Time      time.Time           `json:"time,omitzero"` // of the last probe
	Duration  time.Duration       `json:"duration_ns"`
	Addresses []AddressView       `json:"addresses"`
	Findings  []certmedic.Finding `json:"findings"`
}

// AddressView is the last observation of an address.
type AddressView struct {
	certmedic.AddressObservation
	Bound         bool                 `json:"bound"` // actions may be taken for it
	MatchesStored *bool                `json:"matches_stored,omitempty"`
	DriftSince    *time.Time           `json:"drift_since,omitempty"`
	LastSeen      *certmedic.CertFacts `json:"last_seen,omitempty"` // the leaf presented last, where none is now
}

// Views returns the present picture of every certificate, worst first and then by name.
func (w *Watchdog) Views() []View {
	w.mu.Lock()
	defer w.mu.Unlock()
	views := make([]View, 0, len(w.order))
	s := &surveyor{w: w, now: time.Now()}
	for _, name := range w.order {
		v := w.entries[name].view()
		s.survey(w.entries[name], &v)
		views = append(views, v)
	}
	slices.SortStableFunc(views, func(a, b View) int {
		if byStatus := severity(b.Status) - severity(a.Status); byStatus != 0 {
			return byStatus
		}
		return strings.Compare(a.Name, b.Name)
	})
	return views
}

func severity(s certmedic.Status) int {
	return slices.Index([]certmedic.Status{certmedic.StatusOK, certmedic.StatusWarning, certmedic.StatusUnknown, certmedic.StatusCritical}, s)
}

func (e *entry) view() View {
	v := View{
		Name: e.cert.Name, Labels: e.cert.Labels, Watched: e.cert.Watched, Stage: e.stage(), Mode: e.cert.Mode,
		Endpoints: []EndpointView{}, Incidents: opened(e.state), Action: e.action, Lock: e.stored.Lock,
		Leaf: e.leafOfInterest(), Source: e.cert.Source.Kind, Judged: e.judged, Budget: e.budget, Loan: e.loan, Supply: e.supply, Certs: *e.cert,
	}
	if len(e.stored.Chain) > 0 {
		v.Stored = &StoredView{Path: e.stored.Path, Version: e.stored.Version, Since: e.stored.Since, Chain: e.stored.Chain}
	}
	v.Findings = e.findings()
	for _, ep := range e.cert.Endpoints {
		v.Endpoints = append(v.Endpoints, e.endpointView(ep))
	}
	for _, since := range e.drifting {
		if v.Drift == nil || since.Before(*v.Drift) {
			v.Drift = &since
		}
	}
	v.Hook, v.Rehearsed = e.lastHook(), e.lastRehearsals()
	if leaf, r, ok := e.renewal(); ok {
		due, basis := r.Due(leaf)
		v.Renewal = &RenewalView{Due: due, Basis: basis, Window: r.Window}
		if e.cert.Source.Kind == certmedic.SourceACME {
			v.Renewal.Scheduled = r.Scheduled(leaf)
		}
	}
	v.Status = e.status(v)
	return v
}

// lastHook returns the exit code of the last hook that certmedic ran for what is stored.
func (e *entry) lastHook() int64 {
	c := rules.CertificateFacts{Stage: e.stage(), Undecided: rules.Undecided{}, Support: map[string]rules.Support{}}
	e.actionFacts(&c)
	return c.HookExitCode
}

// status is the worst of the firing incidents and of what was found.
func (e *entry) status(v View) certmedic.Status {
	status := certmedic.StatusOf(v.Findings...)
	for _, ep := range v.Endpoints {
		status = status.Worse(certmedic.StatusOf(ep.Findings...))
		for _, a := range ep.Addresses {
			status = status.Worse(certmedic.StatusOf(a.Findings...))
		}
		if ep.Time.IsZero() {
			status = status.Worse(certmedic.StatusUnknown)
		}
	}
	for _, in := range v.Incidents {
		if in.State == certmedic.StateFiring {
			status = status.Worse(certmedic.StatusOf(certmedic.Finding{Severity: in.Severity}))
		}
	}
	if v.Drift != nil && v.Stage != certmedic.StageDeploying {
		status = status.Worse(certmedic.StatusWarning)
	}
	if !e.read && e.cert.Source.Kind != certmedic.SourceNone {
		status = status.Worse(certmedic.StatusUnknown)
	}
	return status
}

func (e *entry) endpointView(ep certmedic.Endpoint) EndpointView {
	name := e.name(ep)
	v := EndpointView{Address: name, Protocol: ep.Protocol, Labels: ep.Labels, Addresses: []AddressView{}, Findings: []certmedic.Finding{}}
	o, ok := e.observed[name]
	if !ok {
		return v
	}
	v.Time, v.Duration, v.Findings = o.Time, o.Duration, o.Findings
	for _, a := range slices.Concat(o.Addresses, e.unresolved(name, o)) {
		v.Addresses = append(v.Addresses, e.addressView(ep, a, e.speaks(a, o.Addresses)))
	}
	return v
}

// unresolved stands in for the addresses that an endpoint had before its name stopped to
// resolve: what they presented last can still be held against the clock.
func (e *entry) unresolved(name string, o certmedic.Observation) []certmedic.AddressObservation {
	if len(o.Addresses) != 1 || o.Addresses[0].Stage != certmedic.ProbeResolve {
		return nil
	}
	var lost []certmedic.AddressObservation
	for _, at := range slices.Sorted(maps.Keys(e.memory.Seen)) {
		endpoint, address, _ := strings.Cut(at, "|")
		if endpoint != name || address == o.Addresses[0].Address {
			continue
		}
		a := o.Addresses[0]
		a.Address = address
		lost = append(lost, a)
	}
	return lost
}

func (e *entry) addressView(ep certmedic.Endpoint, a certmedic.AddressObservation, speaks bool) AddressView {
	at := place(e.name(ep), a.Address)
	v := AddressView{AddressObservation: a, Bound: e.bound(ep, a.Address)}
	if !speaks && a.Reached() {
		return v
	}
	served, reached := a.Leaf()
	stored, hasStored := e.stored.Leaf()
	if reached && hasStored {
		same := served.SHA256 == stored.SHA256
		v.MatchesStored = &same
	}
	if since, ok := e.drifting[at]; ok {
		v.DriftSince = &since
	}
	if last, ok := e.memory.Seen[at]; ok && !reached {
		v.LastSeen = &last
	}
	return v
}
