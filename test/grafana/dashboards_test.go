package grafana_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// empty are the queries that have no answer in this scene, with the reason, as
// dashboard/panel/query.
func empty() map[string]string {
	return map[string]string{
		"certmedic-watchdog/Loaded anew/annotation":  "no daemon is started anew",
		"certmedic-watchdog/Members that are gone/A": "there is no cluster, and nobody who could be gone",
	}
}

// columnless are the columns that are not there in this scene, with the reason.
func columnless() map[string]string {
	return map[string]string{"variant": "no server has keys of two types"}
}

// golden are values that the scene has, as dashboard/panel/query, with the labels that are asked
// for in order of their names.
func golden() map[string]float64 {
	return map[string]float64{
		"certmedic/Certificates/A":                                                    11,
		"certmedic/Versions by share of life left/A":                                  1,
		"certmedic/Versions by share of life left/B":                                  1,
		"certmedic/Versions by share of life left/C":                                  1,
		"certmedic/Versions by share of life left/D":                                  9,
		"certmedic/Share of life left over time/A/band=expired":                       1,
		"certmedic/Share of life left over time/A/band=below 10 %":                    1,
		"certmedic/Share of life left over time/A/band=below 25 %":                    1,
		"certmedic/Share of life left over time/A/band=above":                         9,
		"certmedic/Drift/A":                                                           2,
		"certmedic/Split/A":                                                           1,
		"certmedic/Unreachable/A":                                                     1,
		"certmedic/With something critical/A":                                         3,
		"certmedic/Renewal overdue/A":                                                 3,
		"certmedic/Rolled back/A":                                                     1,
		"certmedic/Open incidents/A/rule=expired,severity=critical":                   1,
		"certmedic/Open incidents/A/rule=renewed-not-served,severity=warning":         2,
		"certmedic/Ends in the weeks ahead/A/week=-1":                                 1,
		"certmedic/Ends in the weeks ahead/A/week=0":                                  1,
		"certmedic/Ends in the weeks ahead/A/week=1":                                  1,
		"certmedic/Certificates by stage/A/stage=served":                              7,
		"certmedic/Findings/A/code=drift":                                             2,
		"certmedic-ledger/Left of the CA's limits/A/limit=certificates_per_exact_set": 3,
		"certmedic-ledger/Failed commands/A/certificate=stuck":                        4,
		"certmedic-ledger/Failed commands/A/certificate=overdue,rehearsal=hooks":      1,
		"certmedic-ledger/Rehearsals/A/certificate=healthy,rehearsal=hooks":           1,
		"certmedic-ledger/Rehearsals/A/certificate=overdue,rehearsal=hooks":           0,
		"certmedic-delivery/Failing receivers/A":                                      2,
		"certmedic-delivery/Receivers/A/receiver=away":                                1,
		"certmedic-delivery/Receivers/A/receiver=ops":                                 0,
		"certmedic-watchdog/Instances/A":                                              3,
		"certmedic-watchdog/Instances/B":                                              3,
		"certmedic-watchdog/Configuration/A":                                          1,
		"certmedic-watchdog/Rules in error/A":                                         1,
		"certmedic-watchdog/Led by each member/A/instance=main":                       10,
		"certmedic-watchdog/Led by each member/A/instance=other":                      2,
		"certmedic-watchdog/Led by nobody, or by several/B":                           1,
		"certmedic-watchdog/Version/A/version=1.2.3":                                  3,
	}
}

// scene is the life of a fleet, as Prometheus recorded it.
type scene struct {
	*prometheus
	span  span
	pages []string // what the daemons' metrics are at its end
}

func play(t *testing.T) *scene {
	t.Helper()
	f := newFleet(t)
	f.build()
	main, other, empty := f.startMain(), f.startOther(), f.start("empty", "probe: {ari: false}\n")
	p := startPrometheus(t, map[string]string{"main": main.address, "other": other.address, "empty": empty.address})
	began := time.Now()
	f.live(main)
	return &scene{p, span{began, time.Now()}, []string{main.page(), other.page(), empty.page()}}
}

func TestDashboardsShowTheScene(t *testing.T) {
	s := play(t)
	for _, d := range dashboards(t) {
		t.Run(d.UID, func(t *testing.T) {
			s.testVariables(t, &d)
			s.testChoices(t, &d)
			s.testPanels(t, &d)
			s.testAnnotations(t, &d)
		})
	}
	t.Run("rules", s.testRules)
	t.Run("alerts", s.testAlerts)
	t.Run("renamed", s.testRenamed)
}

// testVariables wants every variable to have what can be chosen.
func (s *scene) testVariables(t *testing.T, d *dashboard) {
	t.Helper()
	want := map[string][]string{
		"job": {"certmedic"}, "instance": {"empty", "main", "other"}, "receiver": {"away", "log", "ops", "refusing"},
		"certificate": {"ari", "budget", "down", "expired", "healed", "healthy", "imminent", "loaned", "overdue", "split", "stuck"},
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		if got, err := s.options(d, &v, nil, s.span); err != nil || !slices.Equal(got, want[v.Name]) {
			t.Errorf("$%s can be %q, %v", v.Name, got, err)
		}
	}
}

// testChoices wants no query to be refused, whatever was chosen.
func (s *scene) testChoices(t *testing.T, d *dashboard) {
	t.Helper()
	for about, c := range map[string]choice{
		"all":               nil,
		"one instance":      {"instance": {"main"}, "certificate": {"split"}, "receiver": {"ops"}},
		"several":           {"job": {"certmedic", "other"}, "instance": {"main", "other"}, "certificate": {"healthy", "stuck"}, "receiver": {"ops", "away"}},
		"an empty fleet":    {"instance": {"empty"}},
		"what is not there": {"job": {"a.b+(c)"}, "certificate": {"*.example.com"}},
	} {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				if _, err := s.ask(d, &q, c, s.span); err != nil {
					t.Errorf("%s, %s: %v", about, p.Title, err)
				}
			}
		}
	}
}

// each is what is chosen one after the other so that everything of a dashboard is seen: all, and
// each certificate where only one can be chosen.
func (d *dashboard) each() []choice {
	for _, v := range d.Templating.List {
		if v.Name == "certificate" && !v.Multi {
			return []choice{
				{v.Name: {"stuck"}}, {v.Name: {"healed"}}, {v.Name: {"loaned"}}, {v.Name: {"ari"}}, {v.Name: {"down"}}, {v.Name: {"split"}},
			}
		}
	}
	return []choice{nil}
}

// testPanels wants every panel to have the data, the columns and the numbers of the scene.
func (s *scene) testPanels(t *testing.T, d *dashboard) {
	t.Helper()
	for _, p := range d.Panels {
		answers := map[string][]series{}
		for _, q := range p.Targets {
			for _, c := range d.each() {
				got, err := s.ask(d, &q, c, s.span)
				if err != nil {
					t.Errorf("%s: %v", p.Title, err)
				}
				answers[q.RefID] = append(answers[q.RefID], got...)
			}
			at := fmt.Sprintf("%s/%s/%s", d.UID, p.Title, q.RefID)
			checkData(t, at, answers[q.RefID])
			checkGolden(t, at, answers[q.RefID])
		}
		s.checkNames(t, &p, answers)
	}
}

func checkData(t *testing.T, at string, got []series) {
	t.Helper()
	if why, declared := empty()[at]; (len(got) == 0) != declared {
		t.Errorf("%s has %d series; declared to be empty: %q", at, len(got), why)
	}
	for _, one := range got {
		if math.IsNaN(one.value) {
			t.Errorf("%s: %v is not a number", at, one.labels)
		}
	}
}

func checkGolden(t *testing.T, at string, got []series) {
	t.Helper()
	for key, want := range golden() {
		wanted, found := strings.CutPrefix(key, at)
		if !found || wanted != "" && wanted[0] != '/' {
			continue
		}
		value := 0.0
		for _, one := range got {
			if labels(one) == strings.TrimPrefix(wanted, "/") {
				value = one.value
			}
		}
		if value != want {
			t.Errorf("%s is %v, want %v; it has %v", key, value, want, got)
		}
	}
}

// labels returns labels as golden values have them.
func labels(s series) string {
	var all []string
	for name, value := range s.labels {
		all = append(all, name+"="+value)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// checkNames wants every column that a transformation moves or renames to be there, and every
// series or column that an override is about to be one that there can be.
func (s *scene) checkNames(t *testing.T, p *panel, answers map[string][]series) {
	t.Helper()
	names := p.names(answers)
	for _, column := range p.columns() {
		if _, missing := columnless()[column]; !missing && !slices.Contains(names, column) {
			t.Errorf("%s: there is no column %q, only %q", p.Title, column, names)
		}
	}
	for _, o := range p.FieldConfig.Overrides {
		if _, missing := columnless()[o.Matcher.Options]; missing || slices.Contains(names, o.Matcher.Options) {
			continue
		}
		if !strings.Contains(strings.Join(s.pages, ""), `="`+o.Matcher.Options+`"`) { // a label's value that no series has now
			t.Errorf("%s: an override is about %q, there are %q", p.Title, o.Matcher.Options, names)
		}
	}
}

// testAnnotations wants every annotation to have happened.
func (s *scene) testAnnotations(t *testing.T, d *dashboard) {
	t.Helper()
	for _, a := range d.Annotations.List {
		var all []series
		for _, c := range d.each() {
			got, err := s.ask(d, &a, c, s.span)
			if err != nil {
				t.Errorf("%s: %v", a.Name, err)
			}
			all = append(all, got...)
		}
		checkData(t, fmt.Sprintf("%s/%s/annotation", d.UID, a.Name), all)
		for _, one := range all {
			if title := legend(a.TitleFormat, one.labels); title == "" || strings.HasPrefix(title, " ") {
				t.Errorf("%s: an annotation is called %q", a.Name, title)
			}
		}
	}
}
