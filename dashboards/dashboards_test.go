// Package dashboards holds the Grafana dashboard as a plain file, to be imported or
// provisioned as it is. Its test reads it as Grafana's dashboard linter would, and wants
// every metric in it to be one that internal/metrics writes.
package dashboards

import (
	"encoding/json"
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
)

type dashboard struct {
	UID           string
	Title         string
	Description   string
	Editable      *bool
	SchemaVersion int
	Templating    struct{ List []variable }
	Annotations   struct{ List []target }
	Panels        []panel
}

type variable struct {
	Name, Label, Type, AllValue, Definition string
	Multi, IncludeAll                       bool
	Refresh                                 int
	Datasource                              source
}

type source struct{ Type, UID string }

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  source
	GridPos     struct{ X, Y, W, H int }
	Targets     []target
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct{ Steps []struct{ Value *float64 } }
		}
		Overrides []struct {
			Properties []struct {
				ID    string
				Value any
			}
		}
	}
}

type target struct {
	RefID, Expr, Format string
	Instant             bool
	Datasource          source
}

func load(t *testing.T) dashboard {
	t.Helper()
	data, err := os.ReadFile("certmedic.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d dashboard) targets() []target {
	all := slices.Clone(d.Annotations.List)
	for _, p := range d.Panels {
		all = append(all, p.Targets...)
	}
	return all
}

func TestFrame(t *testing.T) {
	d := load(t)
	if d.UID == "" || len(d.UID) > 40 || d.Title == "" || d.Description == "" {
		t.Errorf("uid %q, title %q, description %q", d.UID, d.Title, d.Description)
	}
	if d.Editable == nil || *d.Editable {
		t.Error("it can be edited in place")
	}
	if d.SchemaVersion < 39 {
		t.Errorf("schema version %d is older than Grafana 11", d.SchemaVersion)
	}
}

func TestVariables(t *testing.T) {
	variables := map[string]variable{}
	for _, v := range load(t).Templating.List {
		variables[v.Name] = v
	}
	if v := variables["datasource"]; v.Type != "datasource" || v.Label != "Data Source" {
		t.Errorf("datasource is %+v", v)
	}
	for name, label := range map[string]string{"job": "Job", "instance": "Instance", "certificate": "Certificate"} {
		v := variables[name]
		if v.Type != "query" || v.Label != label || !v.Multi || !v.IncludeAll || v.AllValue == "" {
			t.Errorf("%s is %+v", name, v)
		}
		if v.Refresh != 2 || v.Datasource.UID != "${datasource}" || !strings.HasPrefix(v.Definition, "label_values(certmedic_") {
			t.Errorf("%s is asked for with %q, at %+v, refresh %d", name, v.Definition, v.Datasource, v.Refresh)
		}
	}
	for _, target := range load(t).targets() {
		for _, match := range regexp.MustCompile(`\$([a-z]+)\b`).FindAllStringSubmatch(target.Expr, -1) {
			if _, ok := variables[match[1]]; !ok {
				t.Errorf("%s uses $%s, which does not exist", target.Expr, match[1])
			}
		}
	}
}

func TestPanels(t *testing.T) {
	types := []string{"row", "stat", "table", "timeseries", "state-timeline"}
	units := []string{"none", "s", "percentunit", "ops"}
	seen := map[int]bool{}
	for _, p := range load(t).Panels {
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
		for i, step := range p.FieldConfig.Defaults.Thresholds.Steps {
			if first := i == 0; first != (step.Value == nil) {
				t.Errorf("panel %q: only the first threshold has no value", p.Title)
			} else if i > 1 && *step.Value <= *p.FieldConfig.Defaults.Thresholds.Steps[i-1].Value {
				t.Errorf("panel %q: its thresholds do not rise", p.Title)
			}
		}
	}
}

func TestGrid(t *testing.T) {
	taken := map[[2]int]string{}
	for _, p := range load(t).Panels {
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
}

var (
	selector = regexp.MustCompile(`certmedic_[a-z0-9_]+(\{[^}]*\})?(\[[^\]]*\])?`)
	window   = regexp.MustCompile(`(?:rate|increase|irate|changes)\(certmedic_[a-z0-9_]+\{[^}]*\}\[\$__rate_interval\]\)`)
	matchers = regexp.MustCompile(`^certmedic_[a-z0-9_]+\{job=~"\$job",instance=~"\$instance"[^}]*\}`)
)

func TestQueries(t *testing.T) {
	for _, target := range load(t).targets() {
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
		windowed := window.ReplaceAllString(e, "")
		for _, s := range selector.FindAllString(e, -1) {
			if !matchers.MatchString(s) {
				t.Errorf("%s: %s does not ask for the job and the instance", e, s)
			}
		}
		for _, s := range selector.FindAllString(windowed, -1) {
			name := metricName.FindString(s)
			if strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_bucket") || strings.Contains(s, "[") {
				t.Errorf("%s: a counter is read over [$__rate_interval]", e)
			}
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

var metricName = regexp.MustCompile(`certmedic_[a-z0-9_]*[a-z0-9]`)

// TestMetricsExist wants every metric of the dashboard to be written by internal/metrics.
func TestMetricsExist(t *testing.T) {
	known := written(t)
	data, err := os.ReadFile("certmedic.json")
	if err != nil {
		t.Fatal(err)
	}
	names := metricName.FindAllString(string(data), -1)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		base := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		if !slices.Contains(known, name) && !slices.Contains(known, base) {
			t.Errorf("internal/metrics does not write %s", name)
		}
	}
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
