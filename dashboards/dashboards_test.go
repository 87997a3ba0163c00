package dashboards_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/dashboards"
)

var update = flag.Bool("update", false, "write the dashboards anew")

// TestCurrent keeps the files up to date with what is built here.
func TestCurrent(t *testing.T) {
	var want []string
	for _, d := range dashboards.All() {
		text, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("grafana", d.File())
		want = append(want, file)
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s is not what is built now (%v): go test ./dashboards -run TestCurrent -update", file, err)
		}
	}
	got, err := filepath.Glob("grafana/*.json")
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
}

// The parts of a dashboard that are read here, as Grafana reads them from the JSON.
type (
	dashboard struct {
		UID           string
		Title         string
		Description   string
		Editable      *bool
		SchemaVersion int
		Links         []struct{ Type, URL string }
		Templating    struct{ List []variable }
		Annotations   struct{ List []target }
		Panels        []panel

		file, text string
	}
	variable struct {
		Name, Label, Type, AllValue, Definition string
		Multi, IncludeAll                       bool
		Refresh                                 int
		Datasource                              source
	}
	source struct{ Type, UID string }
	panel  struct {
		ID              int
		Type            string
		Title           string
		Description     string
		Datasource      source
		GridPos         struct{ X, Y, W, H int }
		Targets         []target
		FieldConfig     struct{ Defaults defaults }
		Transformations []struct {
			ID      string
			Options struct{ RenameByName map[string]string }
		}
	}
	defaults struct {
		Unit       string
		Thresholds struct{ Steps []struct{ Value *float64 } }
	}
	target struct {
		Name, RefID, Expr, Format, TitleFormat string
		Instant                                bool
		Datasource                             source
	}
)

// each runs a test for each dashboard, as its file has it.
func each(t *testing.T, test func(*testing.T, dashboard)) {
	t.Helper()
	files, err := filepath.Glob("grafana/*.json")
	if err != nil || len(files) != 5 {
		t.Fatalf("%q %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := dashboard{file: filepath.Base(file), text: string(text)}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		t.Run(d.UID, func(t *testing.T) { test(t, d) })
	}
}

func (d *dashboard) targets() []target {
	all := slices.Clone(d.Annotations.List)
	for _, p := range d.Panels {
		all = append(all, p.Targets...)
	}
	return all
}

func TestFrame(t *testing.T) {
	var uids []string
	each(t, func(t *testing.T, d dashboard) {
		uids = append(uids, d.UID)
		if d.UID == "" || len(d.UID) > 40 || d.Title == "" || d.Description == "" {
			t.Errorf("uid %q, title %q, description %q", d.UID, d.Title, d.Description)
		}
		if d.Editable == nil || *d.Editable {
			t.Error("it can be edited in place")
		}
		if d.SchemaVersion < 39 {
			t.Errorf("schema version %d is older than Grafana 11", d.SchemaVersion)
		}
		if strings.Contains(d.text, "${DS_") || strings.Contains(d.text, "{@") {
			t.Error("something was left to fill in")
		}
	})
	if n := len(slices.Compact(slices.Sorted(slices.Values(uids)))); n != len(uids) || !slices.Contains(uids, "certmedic") {
		t.Errorf("the uids are %q", uids)
	}
}

func TestVariables(t *testing.T) {
	each(t, func(t *testing.T, d dashboard) {
		variables := map[string]variable{}
		for _, v := range d.Templating.List {
			variables[v.Name] = v
			if v.Type == "query" && (v.Refresh != 2 || v.Datasource.UID != "${datasource}" || !strings.HasPrefix(v.Definition, "label_values(certmedic_")) {
				t.Errorf("%s is asked for with %q, at %+v, refresh %d", v.Name, v.Definition, v.Datasource, v.Refresh)
			}
		}
		if v := variables["datasource"]; v.Type != "datasource" || v.Label != "Data Source" {
			t.Errorf("datasource is %+v", v)
		}
		for name, label := range map[string]string{"job": "Job", "instance": "Instance"} {
			if v := variables[name]; v.Type != "query" || v.Label != label || !v.Multi || !v.IncludeAll || v.AllValue != ".+" {
				t.Errorf("%s is %+v", name, v)
			}
		}
		for _, match := range regexp.MustCompile(`\$\{?([a-z]+)\b`).FindAllStringSubmatch(d.text, -1) {
			if _, ok := variables[match[1]]; !ok {
				t.Errorf("$%s is used, and does not exist", match[1])
			}
		}
	})
}

func TestPanels(t *testing.T) {
	types := []string{"row", "stat", "bargauge", "barchart", "table", "timeseries", "state-timeline"}
	units := []string{"none", "s", "percentunit", "ops", "bytes"}
	each(t, func(t *testing.T, d dashboard) {
		seen := map[int]bool{}
		for _, p := range d.Panels {
			if seen[p.ID] || p.ID == 0 {
				t.Errorf("panel %q has the id %d, which is 0 or taken", p.Title, p.ID)
			}
			seen[p.ID] = true
			if !slices.Contains(types, p.Type) || p.Title == "" {
				t.Errorf("panel %d is a %q named %q", p.ID, p.Type, p.Title)
			}
			if p.Type == "row" {
				continue
			}
			if p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
				t.Errorf("panel %q has no description, no target or a fixed data source", p.Title)
			}
			if unit := p.FieldConfig.Defaults.Unit; !slices.Contains(units, unit) {
				t.Errorf("panel %q has the unit %q", p.Title, unit)
			}
			checkSteps(t, p)
		}
	})
}

func checkSteps(t *testing.T, p panel) {
	t.Helper()
	steps := p.FieldConfig.Defaults.Thresholds.Steps
	for i, step := range steps {
		if first := i == 0; first != (step.Value == nil) {
			t.Errorf("panel %q: only the first threshold has no value", p.Title)
		} else if i > 1 && *step.Value <= *steps[i-1].Value {
			t.Errorf("panel %q: its thresholds do not rise", p.Title)
		}
	}
}

func TestGrid(t *testing.T) {
	each(t, func(t *testing.T, d dashboard) {
		taken := map[[2]int]string{}
		for _, p := range d.Panels {
			at := p.GridPos
			if at.X < 0 || at.Y < 0 || at.W < 1 || at.H < 1 || at.X+at.W > 24 {
				t.Errorf("panel %q is at %+v, outside of the 24 columns", p.Title, at)
				continue
			}
			for x := at.X; x < at.X+at.W; x++ {
				for y := at.Y; y < at.Y+at.H; y++ {
					if other, ok := taken[[2]int{x, y}]; ok {
						t.Fatalf("panel %q overlaps %q", p.Title, other)
					}
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
		last := d.Panels[len(d.Panels)-1].GridPos
		if full := 24 * (last.Y + last.H); len(taken) != full {
			t.Errorf("%d of %d cells are left empty", full-len(taken), full)
		}
	})
}

// TestLinks wants links between dashboards to lead to one that exists, and links to runbooks to a
// page that is written.
func TestLinks(t *testing.T) {
	var uids []string
	each(t, func(_ *testing.T, d dashboard) { uids = append(uids, d.UID) })
	each(t, func(t *testing.T, d dashboard) {
		for _, match := range regexp.MustCompile(`"/d/([a-z-]+)\?`).FindAllStringSubmatch(d.text, -1) {
			if !slices.Contains(uids, match[1]) {
				t.Errorf("a link leads to the dashboard %q", match[1])
			}
		}
		for _, match := range regexp.MustCompile(`/runbooks/([a-z_-]+)"`).FindAllStringSubmatch(d.text, -1) {
			if _, err := os.Stat("../docs/runbooks/" + match[1] + ".md"); err != nil {
				t.Error(err)
			}
		}
		checkFieldLinks(t, d)
	})
}

// checkFieldLinks wants links to use fields that their panel has.
func checkFieldLinks(t *testing.T, d dashboard) {
	t.Helper()
	for _, p := range d.Panels {
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`__data\.fields\.([a-z0-9]+)`).FindAllSubmatch(text, -1) {
			if !strings.Contains(p.Targets[0].Expr, string(match[1])) {
				t.Errorf("panel %q: a link uses the field %q", p.Title, match[1])
			}
		}
	}
}

const metric = `(?:[a-z_]+:)?(?:certmedic|process|go)_[a-z0-9_:]+|\bup\b`

var (
	selector = regexp.MustCompile(`(` + metric + `)(\{[^}]*\})?(\[[^\]]*\])?`)
	window   = regexp.MustCompile(`(?:rate|increase|irate|changes)\([a-z0-9_]+\{[^}]*\}\[\$__(?:rate_interval|range)\]\)`)
	matchers = regexp.MustCompile(`^\{job=~"\$job",instance=~"\$instance"[^}]*\}`)
)

func TestQueries(t *testing.T) {
	each(t, func(t *testing.T, d dashboard) {
		for _, target := range d.targets() {
			e := target.Expr
			if problem := unbalanced(e); e == "" || problem != "" {
				t.Errorf("%q: %s", e, problem)
			}
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("%s: it asks the data source %q", e, target.Datasource.UID)
			}
			if target.Format == "table" && !target.Instant {
				t.Errorf("%s: a table shows what is now", e)
			}
			checkSelectors(t, e)
			if !target.Instant && strings.Contains(e, "[$__range]") && !strings.Contains(e, "[$__range] @ end()") {
				t.Errorf("%s: over time, a rate is taken over [$__rate_interval]", e)
			}
		}
	})
}

func checkSelectors(t *testing.T, expr string) {
	t.Helper()
	found := selector.FindAllStringSubmatch(expr, -1)
	if len(found) == 0 {
		t.Errorf("%s: it asks for nothing", expr)
	}
	for _, s := range found {
		ofJob := strings.HasPrefix(s[1], "job") && strings.HasPrefix(s[2], `{job=~"$job"`) // recorded for all instances
		if !ofJob && !matchers.MatchString(s[2]) {
			t.Errorf("%s: %s does not ask for the job and the instance", expr, s[0])
		}
	}
	for _, s := range selector.FindAllStringSubmatch(window.ReplaceAllString(expr, ""), -1) {
		if strings.HasSuffix(s[1], "_total") || strings.HasSuffix(s[1], "_bucket") {
			t.Errorf("%s: a counter is read over [$__rate_interval], or what is now over [$__range]", expr)
		}
	}
}

// unbalanced says which bracket or quote of an expression has no partner.
func unbalanced(expr string) string {
	partner := map[rune]rune{')': '(', ']': '[', '}': '{'}
	var open []rune
	quoted := false
	for _, r := range expr {
		switch {
		case r == '"':
			quoted = !quoted
		case quoted:
		case strings.ContainsRune("([{", r):
			open = append(open, r)
		case partner[r] != 0:
			if len(open) == 0 || open[len(open)-1] != partner[r] {
				return "a " + string(r) + " closes nothing"
			}
			open = open[:len(open)-1]
		}
	}
	if quoted || len(open) > 0 {
		return "something is not closed: " + string(open)
	}
	return ""
}

func TestUnbalanced(t *testing.T) {
	for _, row := range []struct {
		about, expr string
		wrong       bool
	}{
		{"nested calls with a selector and a range", `sum(rate(a_total{x="(["}[5m]))`, false},
		{"a call that is not closed", `sum(a`, true},
		{"brackets that cross", `sum(a{)}`, true},
		{"a string that is not closed", `a{x="}`, true},
	} {
		if problem := unbalanced(row.expr); (problem != "") != row.wrong {
			t.Errorf("%s: %q says %q", row.about, row.expr, problem)
		}
	}
}

// TestEveryMetricIsShown wants every metric that internal/metrics writes to be on a dashboard.
func TestEveryMetricIsShown(t *testing.T) {
	var all strings.Builder
	each(t, func(_ *testing.T, d dashboard) { all.WriteString(d.text) })
	for _, name := range written(t) {
		if !strings.Contains(all.String(), name) {
			t.Errorf("no dashboard shows %s", name)
		}
	}
}

var metricName = regexp.MustCompile(`certmedic_[a-z0-9_]*[a-z0-9]`)

// TestMetricsExist wants every metric of the dashboards to be written by internal/metrics.
func TestMetricsExist(t *testing.T) {
	known := written(t)
	each(t, func(t *testing.T, d dashboard) {
		for _, name := range slices.Compact(slices.Sorted(slices.Values(metricName.FindAllString(d.text, -1)))) {
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !slices.Contains(known, name) && !slices.Contains(known, base) {
				t.Errorf("internal/metrics does not write %s", name)
			}
		}
	})
}

// written returns the metrics' names that internal/metrics spells out.
func written(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../internal/metrics/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && metricName.FindString(text) == text && text != "" {
					names = append(names, text)
				}
			}
			return true
		})
	}
	if len(names) == 0 {
		t.Fatal("internal/metrics spells out no metric")
	}
	return names
}
