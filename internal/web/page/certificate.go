package page

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

// Certificate is everything that is known of one certificate.
type Certificate struct {
	View         watchdog.View
	Incidents    []certmedic.Incident // its own that ended, the newest first
	Actions      []certmedic.Action   // its own, the newest first
	Plans        []approval.Approval  // of all certificates
	Kept         []snapshot.Snapshot  // the versions that were kept
	NotKept      string               // why these cannot be listed; empty: they are
	Acknowledged map[string]alerting.Ack
	Trusted      bool // who reads may see what a plan would run
}

// certificateModel is what the template shows.
type certificateModel struct {
	card
	Mode      certmedic.Mode
	Allow     string
	Labels    []link
	Names     []string
	MoreNames []string // those beyond mostSANs
	Picture   *picture
	Open      []incident
	Plans     []plan
	Rows      []row
	Versions  *versions
	Nodes     []cell
	Spread    string // how its nodes and addresses are
	Findings  []finding
	Chains    []chain
	Renewal   []fact
	History   *history
	Actions   []action
	Incidents []incident
	Kept      []kept
	NotKept   string
	Budget    []budget
	Rehearsed []action
	Deeds     []certmedic.ActionKind // what who reads may ask for
}

// mostSANs bounds how many names of a certificate are shown unfolded.
const mostSANs = 12

// fact is something that is known, with its name.
type fact struct {
	Name string
	Said string
	At   moment
}

// kept is a version that can be gone back to.
type kept struct {
	Version  certmedic.Fingerprint
	Taken    moment
	Until    moment
	Verified int
	Broken   string
}

// chain is what is stored or presented somewhere, leaf first.
type chain struct {
	Where string
	Certs []chainCert
}

type chainCert struct {
	certmedic.CertFacts
	From, Until moment
	Leaf        bool
}

func (c Certificate) shown(now time.Time) shown {
	v := c.View
	m := certificateModel{
		card: Fleet{Plans: c.Plans, Acknowledged: c.Acknowledged}.card(v, now), Mode: v.Mode, Allow: allowed(v), Picture: draw(v, now),
		Rows: rows(v, now), Versions: newVersions(v, now), Nodes: matrix(v.Rows, now), Spread: spread(v.Matrix), Findings: findings(v), Chains: chains(v, now), Renewal: renewalFacts(v, now),
		History: newHistory(c, now), NotKept: c.NotKept, Budget: budgets([]watchdog.View{v}, now),
	}
	m.About = origin(v) // its labels are links here
	if c.Trusted && !v.Watched {
		m.Deeds = certmedic.ActionKinds()
	}
	if v.Leaf.SHA256 != "" {
		m.Names = slices.Concat(v.Leaf.DNSNames, v.Leaf.IPAddresses)
		if len(m.Names) > mostSANs {
			m.Names, m.MoreNames = m.Names[:mostSANs], m.Names[mostSANs:]
		}
	}
	for _, k := range slices.Sorted(maps.Keys(v.Labels)) {
		m.Labels = append(m.Labels, link{k + "=" + v.Labels[k], Filter{Labels: []string{k + ":" + v.Labels[k]}}.href()})
	}
	for _, in := range v.Incidents {
		shown := newIncident(in, now).keptBy(c.Acknowledged, now)
		shown.Next = steps(v, in.NextStep, now)
		m.Open = append(m.Open, shown)
	}
	slices.SortStableFunc(m.Open, func(a, b incident) int { return b.Severity.Rank() - a.Severity.Rank() })
	for _, p := range waiting(c.Plans, v.Name) {
		m.Plans = append(m.Plans, newPlan(p, c.Trusted, now))
	}
	for _, in := range c.Incidents {
		m.Incidents = append(m.Incidents, newIncident(in, now))
	}
	m.Actions, m.Rehearsed = newActions(c.Actions, now), newActions(v.Rehearsed, now)
	for _, s := range c.Kept {
		k := kept{Version: s.Version, Taken: at(s.Taken, now), Verified: len(s.Verified), Broken: s.Broken}
		if leaf, ok := s.Leaf(); ok {
			k.Until = at(leaf.NotAfter, now)
		}
		m.Kept = append(m.Kept, k)
	}
	return shown{Template: "certificate", Title: v.Name + " " + m.Word, Section: "/", Live: true, About: v.Name, Data: m}
}

// allowed says what remediation may do.
func allowed(v watchdog.View) string {
	if v.Watched {
		return ""
	}
	var kinds []string
	for _, k := range v.Certs.Allow {
		kinds = append(kinds, string(k))
	}
	if len(kinds) == 0 {
		return "nothing"
	}
	return strings.Join(kinds, ", ")
}

// renewalFacts says when the newest version has to be replaced, and what is lent.
func renewalFacts(v watchdog.View, now time.Time) []fact {
	var all []fact
	if r := v.Renewal; r != nil {
		all = append(all, fact{"overdue from", basis(r.Basis), at(r.Due, now)})
		if r.Window != nil {
			all = append(all,
				fact{"the CA's window (ARI) begins", "", at(r.Window.Start, now)}, fact{"and ends", "", at(r.Window.End, now)})
		}
		if !r.Scheduled.IsZero() {
			all = append(all, fact{"certmedic renews", "", at(r.Scheduled, now)})
		}
	}
	if l := v.Loan; l != nil {
		all = append(all, fact{"rolled back", "to " + l.Version.Short() + ", in place of " + l.Instead.Short() + ": " + l.Why, at(l.Since, now)},
			fact{"to be replaced before", "", at(l.Until, now)})
	}
	return all
}

func basis(b string) string {
	switch b {
	case "ari":
		return "as the CA says"
	case "learnt":
		return "as its predecessors were replaced"
	case "share":
		return "by the share of its life that is left"
	}
	return b
}

// mostChains bounds how many chains are shown in full.
const mostChains = 4

// chains lists what is stored and what is presented, each chain once.
func chains(v watchdog.View, now time.Time) []chain {
	var all []chain
	seen := map[string]int{}
	add := func(where string, certs []certmedic.CertFacts) {
		if len(certs) == 0 {
			return
		}
		key := ""
		for _, c := range certs {
			key += string(c.SHA256) + " "
		}
		if i, ok := seen[key]; ok {
			if !strings.Contains(all[i].Where, " and ") {
				all[i].Where += " and elsewhere"
			}
			return
		}
		if len(all) == mostChains {
			return
		}
		seen[key] = len(all)
		c := chain{Where: where}
		for i, one := range certs {
			c.Certs = append(c.Certs, chainCert{one, at(one.NotBefore, now), at(one.NotAfter, now), i == 0})
		}
		all = append(all, c)
	}
	if v.Stored != nil {
		add("in the source", v.Stored.Chain)
	}
	for _, e := range v.Endpoints {
		for _, a := range e.Addresses {
			add(spot(e.Address, a.Address)+a.Variant.Note(), a.Chain)
		}
	}
	return all
}
