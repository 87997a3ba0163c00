package grafana_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// recorded are the series of a scrape: for each metric, the labels of each series.
type recorded map[string][]map[string]string

var (
	sample   = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? [^ ]+$`)
	labelled = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	selected = regexp.MustCompile(`\b((?:[a-z_]+:)?(?:certmedic|process|go)_[a-z0-9_]+(?::[a-z0-9]+)?|up)\b(?:\{([^}]*)\})?`)
	matched  = regexp.MustCompile(`(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"`)
	grouped  = regexp.MustCompile(`\b(?:by|on|group_left|group_right) \(([^)]*)\)`)
	replaced = regexp.MustCompile(`"(\w+)", "\$1", "\w+"`)
)

// record reads what was scraped, and adds what Prometheus adds, the recorded series included.
func record(pages []string, rules []rule) recorded {
	r := recorded{"up": {{"job": "certmedic", "instance": "main"}}}
	for _, page := range pages {
		for _, s := range sample.FindAllStringSubmatch(page, -1) {
			labels := map[string]string{"job": "certmedic", "instance": "main"}
			for _, l := range labelled.FindAllStringSubmatch(s[2], -1) {
				labels[l[1]] = l[2]
			}
			r[s[1]] = append(r[s[1]], labels)
		}
	}
	for _, one := range rules {
		if one.Record == "" {
			continue
		}
		labels := maps.Clone(one.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		for _, name := range strings.Split(grouped.FindStringSubmatch(one.Expr)[1], ", ") {
			labels[name] = "x"
		}
		r[one.Record] = append(r[one.Record], labels)
	}
	return r
}

// problem says what an expression asks for that is not recorded; strictly, also where no series
// has a value that is asked for.
func (r recorded) problem(expr string, strictly bool) string {
	labels := map[string]bool{"le": true}
	for _, s := range selected.FindAllStringSubmatch(expr, -1) {
		found, wanted := r[s[1]], matchersOf(s[2])
		if !slices.ContainsFunc(found, func(have map[string]string) bool { return fits(have, wanted, strictly) }) {
			return fmt.Sprintf("there is no %s", s[0])
		}
		for _, have := range found {
			for name := range have {
				labels[name] = true
			}
		}
	}
	for _, made := range replaced.FindAllStringSubmatch(expr, -1) {
		labels[made[1]] = true
	}
	for _, clause := range grouped.FindAllStringSubmatch(expr, -1) {
		for _, name := range strings.Fields(strings.ReplaceAll(clause[1], ",", " ")) {
			if _, optional := columnless()[name]; !labels[name] && !optional {
				return fmt.Sprintf("nothing in it has the label %q", name)
			}
		}
	}
	return ""
}

// matcher is a condition on a label.
type matcher struct {
	label    string
	equal    *regexp.Regexp
	negative bool
}

// matchersOf reads what stands in the braces of a selector.
func matchersOf(text string) []matcher {
	var all []matcher
	for _, m := range matched.FindAllStringSubmatch(text, -1) {
		pattern := regexp.QuoteMeta(m[3])
		if strings.HasSuffix(m[2], "~") {
			pattern = strings.ReplaceAll(m[3], `\\`, `\`)
		}
		all = append(all, matcher{m[1], regexp.MustCompile("^(?:" + pattern + ")$"), strings.HasPrefix(m[2], "!")})
	}
	return all
}

// fits reports whether a series has the labels that are wanted, and strictly, also the values.
func fits(have map[string]string, wanted []matcher, strictly bool) bool {
	for _, m := range wanted {
		value, there := have[m.label]
		if needed := m.equal.MatchString("") == m.negative; needed && !there {
			return false
		}
		if strictly && m.equal.MatchString(value) == m.negative {
			return false
		}
	}
	return true
}

// rename returns what would be recorded if a metric, or a label of all of them, had another name.
func (r recorded) rename(old string) recorded {
	other := recorded{}
	for name, all := range r {
		if name == old {
			name += "_renamed"
		}
		for _, labels := range all {
			clone := maps.Clone(labels)
			if value, ok := clone[old]; ok {
				delete(clone, old)
				clone[old+"_renamed"] = value
			}
			other[name] = append(other[name], clone)
		}
	}
	return other
}

// asked is an expression of a dashboard or a rule.
type asked struct {
	at, expr string
	strictly bool
}

// problems says what is asked for in vain.
func (r recorded) problems(all []asked) []string {
	var found []string
	for _, a := range all {
		if why := r.problem(a.expr, a.strictly); why != "" {
			found = append(found, a.at+": "+why)
		}
	}
	return found
}

// testRenamed renames every metric that is asked for, and every label, and wants that to be
// noticed.
func (s *scene) testRenamed(t *testing.T) {
	var all []asked
	for _, d := range dashboards(t) {
		ask := func(panel, ref, expr string) {
			at := d.UID + "/" + panel + "/" + ref
			if _, declared := empty()[at]; declared {
				return
			}
			all = append(all, asked{at, d.interpolate(strings.ReplaceAll(expr, "$certificate", ".*"), nil, s.span), true})
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				ask(p.Title, q.RefID, q.Expr)
			}
		}
		for _, a := range d.Annotations.List {
			ask(a.Name, "annotation", a.Expr)
		}
	}
	rules := handedOut(t)
	r := record(s.pages, rules)
	for _, rule := range rules {
		one := asked{rule.Alert + rule.Record, rule.Expr, false}
		if why, declared := notInTheScene()[one.at]; !declared {
			all = append(all, one)
		} else if len(r.problems([]asked{one})) == 0 {
			t.Errorf("%s can be asked, although it was declared that %s", one.at, why)
		}
	}
	for _, problem := range r.problems(all) {
		t.Error(problem)
	}
	names := used(all)
	if len(names) < 60 {
		t.Errorf("only these are asked for: %q", names)
	}
	for _, name := range names {
		if len(r.rename(name).problems(all)) == 0 {
			t.Errorf("nothing would be noticed if %s had another name", name)
		}
	}
}

// notInTheScene are the rules whose metrics no daemon of the scene has.
func notInTheScene() map[string]string {
	return map[string]string{"CertmedicMemberGone": "the daemons are no cluster"}
}

// used returns the metrics and the labels that are asked for.
func used(all []asked) []string {
	names := map[string]bool{}
	for _, a := range all {
		for _, s := range selected.FindAllStringSubmatch(a.expr, -1) {
			names[s[1]] = true
			for _, m := range matched.FindAllStringSubmatch(s[2], -1) {
				names[m[1]] = true
			}
		}
		for _, clause := range grouped.FindAllStringSubmatch(a.expr, -1) {
			for _, name := range strings.Fields(strings.ReplaceAll(clause[1], ",", " ")) {
				names[name] = true
			}
		}
	}
	for _, made := range []string{"name", "version", "le", "variant"} { // made by the queries, of histograms, and optional
		delete(names, made)
	}
	return slices.Sorted(maps.Keys(names))
}
