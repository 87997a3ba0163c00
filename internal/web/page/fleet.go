package page

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/approval"
)

// Fleet is the first page: all certificates, those at risk first.
type Fleet struct {
	Views        []watchdog.View
	Incidents    []certmedic.Incident    // the open ones of certmedic itself
	Plans        []approval.Approval     // of which those that wait are told
	Degraded     []string                // what certmedic itself cannot do now, in sentences
	Acknowledged map[string]alerting.Ack // who looks after what fires, by the dedup key of its incidents
	Silences     []silence.Silence       // that hold now
	Filter       Filter
}

const (
	perPage   = 100 // certificates of a page, so that it stays small
	mostPages = 1 << 20
	mostCards = 3  // certificates that are shown larger, because they need attention
	mostChips = 30 // labels that are offered
)

// fleetModel is what the template shows.
type fleetModel struct {
	Status   certmedic.Status
	Headline string
	Degraded []string
	Own      []incident
	Quiet    []quiet
	Facets   []facet // by state
	Modes    []facet
	Labels   []facet
	Chosen   bool // some label is
	Filter   Filter
	Clear    string // the address without a filter; empty: there is none
	Cards    []card
	Rows     []card
	Found    string
	Earlier  string // the address of the page before; empty: none
	Later    string
	Watched  int
}

// facet is one value that the fleet can be narrowed to, or is.
type facet struct {
	Status certmedic.Status
	Text   string
	Value  string
	Count  int
	Href   string
	Chosen bool
}

// card is one certificate in short.
type card struct {
	Status   certmedic.Status
	Word     string
	Name     string
	Href     string
	About    string // source, labels and mode
	Nodes    string // how its nodes are, where there are several
	Way      []step
	Picture  *picture // of those at risk
	Where    string   // what the stage means
	Stuck    bool     // the newest version stopped on its way
	Until    moment
	Life     int
	Band     string
	Known    bool // a version is, so that there is an end and a life
	Incident *incident
	Wrong    string // the worst finding, where there is no incident
	Next     []next
	Last     *action
}

func (f Fleet) shown(now time.Time) shown {
	f.Filter.Page = min(max(1, f.Filter.Page), mostPages)
	found, m := f.model(now)
	for i, v := range found {
		if f.Filter.Page == 1 && !f.Filter.narrows() && i < mostCards && atRisk(v) {
			c := f.card(*v, now)
			c.Picture = draw(*v, now)
			m.Cards = append(m.Cards, c)
		}
	}
	from := min((f.Filter.Page-1)*perPage, len(found))
	to := min(from+perPage, len(found))
	for _, v := range found[from:to] {
		m.Rows = append(m.Rows, f.card(*v, now))
	}
	m.Found = foundText(from, to, len(found), len(f.Views))
	if page := f.Filter; from > 0 {
		page.Page = min(page.Page-1, max(1, (len(found)+perPage-1)/perPage))
		m.Earlier = page.href()
	}
	if page := f.Filter; to < len(found) {
		page.Page++
		m.Later = page.href()
	}
	return shown{Template: "fleet", Title: m.Headline, Section: "/", Live: true, Data: m}
}

// model counts, and returns what the filter keeps in the order of its risk.
func (f Fleet) model(now time.Time) ([]*watchdog.View, fleetModel) {
	m := fleetModel{Headline: headline(f.Views), Degraded: f.Degraded, Filter: f.Filter, Watched: len(f.Views), Status: certmedic.StatusOK}
	counts := newCounts()
	var found []*watchdog.View
	for i := range f.Views {
		v := &f.Views[i]
		m.Status = m.Status.Worse(v.Status)
		kept := f.Filter.keeps(v)
		counts.add(f.Filter, v, kept)
		if kept {
			found = append(found, v)
		}
	}
	for _, in := range f.Incidents {
		m.Own = append(m.Own, newIncident(in, now).keptBy(f.Acknowledged, now))
	}
	for _, one := range f.Silences {
		m.Quiet = append(m.Quiet, newQuiet(one, now))
	}
	m.Facets, m.Modes, m.Labels = counts.facets(f.Filter)
	m.Chosen = len(f.Filter.Labels) > 0
	if f.Filter.narrows() {
		m.Clear = "/"
	}
	slices.SortStableFunc(found, byRisk)
	return found, m
}

// byRisk orders by how bad it is, then by what ends first, then by name.
func byRisk(a, b *watchdog.View) int {
	rank := func(v *watchdog.View) int { return slices.Index(statuses(), v.Status) }
	end := func(v *watchdog.View) int64 {
		if v.Leaf.NotAfter.IsZero() {
			return 1 << 62
		}
		return v.Leaf.NotAfter.Unix()
	}
	return cmp.Or(rank(a)-rank(b), cmp.Compare(end(a), end(b)), strings.Compare(a.Name, b.Name))
}

func atRisk(v *watchdog.View) bool {
	return v.Status != certmedic.StatusOK || v.Stage == certmedic.StageDeploying
}

func foundText(from, to, found, all int) string {
	switch {
	case all == 0:
		return ""
	case found == 0:
		return fmt.Sprintf("none of %d fits", all)
	case found <= perPage && found == all:
		return ""
	case found <= perPage:
		return fmt.Sprintf("%d of %d", found, all)
	case found == all:
		return fmt.Sprintf("%d to %d of %d", from+1, to, all)
	}
	return fmt.Sprintf("%d to %d of %d that fit, of %d", from+1, to, found, all)
}

// counts counts certificates by what they can be narrowed to: each facet by what the other ones keep.
type counts struct {
	status map[certmedic.Status]int
	mode   map[certmedic.Mode]int
	label  map[string]int
}

func newCounts() counts {
	return counts{map[certmedic.Status]int{}, map[certmedic.Mode]int{}, map[string]int{}}
}

func (c counts) add(f Filter, v *watchdog.View, kept bool) {
	if kept || len(f.Statuses) > 0 && f.without(queryStatus).keeps(v) {
		c.status[v.Status]++
	}
	if kept || len(f.Modes) > 0 && f.without(queryMode).keeps(v) {
		c.mode[v.Mode]++
	}
	if kept {
		for key, value := range v.Labels {
			c.label[key+":"+value]++
		}
	}
}

func (c counts) facets(f Filter) (byStatus, byMode, byLabel []facet) {
	f.Page = 1
	for _, s := range statuses() {
		chosen := slices.Contains(f.Statuses, s)
		if c.status[s] == 0 && !chosen {
			continue
		}
		next := f
		next.Statuses = toggled(f.Statuses, s)
		byStatus = append(byStatus, facet{Status: s, Text: statusWord(watchdog.View{Status: s}), Value: string(s), Count: c.status[s], Href: next.href(), Chosen: chosen})
	}
	for _, m := range certmedic.Modes() {
		if chosen := slices.Contains(f.Modes, m); c.mode[m] > 0 || chosen {
			next := f
			next.Modes = toggled(f.Modes, m)
			byMode = append(byMode, facet{Text: string(m), Value: string(m), Count: c.mode[m], Href: next.href(), Chosen: chosen})
		}
	}
	labels := slices.SortedFunc(maps.Keys(c.label), func(a, b string) int {
		return cmp.Or(c.label[b]-c.label[a], strings.Compare(a, b))
	})
	labels = append(slices.Clone(f.Labels), slices.DeleteFunc(labels, func(l string) bool { return slices.Contains(f.Labels, l) })...)
	for _, l := range labels[:min(len(labels), mostChips)] {
		next := f
		next.Labels = toggled(f.Labels, l)
		byLabel = append(byLabel, facet{Text: l, Value: l, Count: c.label[l], Href: next.href(), Chosen: slices.Contains(f.Labels, l)})
	}
	return byStatus, byMode, byLabel
}

func (f Fleet) card(v watchdog.View, now time.Time) card {
	c := card{
		Status: look(v), Word: statusWord(v), Name: v.Name, Href: certificateHref(v.Name), About: about(v), Nodes: severally(v), Way: way(v),
		Where: whereItIs(v), Stuck: stuck(v), Next: nexts(v, f.Plans, now),
	}
	if !v.Leaf.NotAfter.IsZero() {
		r := row{}.of(v.Leaf, now)
		c.Known, c.Until, c.Life, c.Band = true, r.Until, r.Life, r.Band
	}
	if in, ok := worst(v); ok {
		shown := newIncident(in, now).keptBy(f.Acknowledged, now)
		c.Incident = &shown
	} else if found := findings(v); len(found) > 0 && found[0].Severity != certmedic.SeverityInfo {
		c.Wrong = string(found[0].Code) + ": " + cmp.Or(found[0].Meaning, found[0].Detail)
	}
	if v.Action != nil {
		a := newAction(*v.Action, now)
		c.Last = &a
	}
	return c
}

// worst returns the incident that says most about a certificate: one that fires, as bad as any.
func worst(v watchdog.View) (certmedic.Incident, bool) {
	if len(v.Incidents) == 0 {
		return certmedic.Incident{}, false
	}
	return slices.MaxFunc(v.Incidents, func(a, b certmedic.Incident) int {
		return cmp.Or(cmp.Compare(firing(a), firing(b)), a.Severity.Rank()-b.Severity.Rank(), over(a)-over(b))
	}), true
}

// over tells that a certificate has ended from that it is about to: both rules hold then.
func over(in certmedic.Incident) int {
	if in.Rule == "expired" {
		return 1
	}
	return 0
}

func firing(in certmedic.Incident) int {
	if in.State == certmedic.StateFiring {
		return 1
	}
	return 0
}

// stuck reports whether the newest version stopped on its way.
func stuck(v watchdog.View) bool { return v.Drift != nil && v.Stage != certmedic.StageDeploying }
