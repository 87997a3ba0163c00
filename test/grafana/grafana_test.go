package grafana_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The parts of a dashboard that its queries are in, as Grafana reads them.
type (
	dashboard struct {
		UID         string
		Templating  struct{ List []variable }
		Annotations struct{ List []target }
		Panels      []panel
	}
	variable struct {
		Name, Type, AllValue, Definition string
		Multi, IncludeAll                bool
	}
	panel struct {
		Title       string
		Targets     []target
		FieldConfig struct {
			Overrides []struct {
				Matcher struct{ ID, Options string }
			}
		}
		Transformations []struct {
			ID      string
			Options struct {
				IndexByName  map[string]int
				RenameByName map[string]string
				Conversions  []struct{ TargetField string }
			}
		}
	}
	target struct {
		Name, RefID, Expr, LegendFormat, Format, TitleFormat string
		Instant                                              bool
	}
)

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(t), "dashboards", "grafana", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var all []dashboard
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// choice is what is chosen for each variable; nil is All.
type choice map[string][]string

// interpolate puts what was chosen into a query, as Grafana does for Prometheus.
func (d *dashboard) interpolate(expr string, c choice, s span) string {
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			expr = strings.ReplaceAll(expr, "$"+v.Name, v.value(c[v.Name]))
		}
	}
	rate := max(4*scrapeEvery, scrapeEvery+scrapeEvery) // the step is as long as the interval
	expr = strings.ReplaceAll(expr, "$__rate_interval", rate.String())
	return strings.ReplaceAll(expr, "$__range", fmt.Sprintf("%ds", int(s.to.Sub(s.from).Seconds())))
}

// value is what stands for a variable in a query.
func (v *variable) value(chosen []string) string {
	if chosen == nil {
		return v.AllValue
	}
	escaped := make([]string, 0, len(chosen))
	for _, one := range chosen {
		text := strings.ReplaceAll(regexp.QuoteMeta(one), `\`, `\\`)
		escaped = append(escaped, text)
	}
	if len(escaped) == 1 {
		return escaped[0]
	}
	return "(" + strings.Join(escaped, "|") + ")"
}

// options asks which values a variable can have.
func (p *prometheus) options(d *dashboard, v *variable, c choice, s span) ([]string, error) {
	match := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(v.Definition)
	if match == nil {
		return nil, fmt.Errorf("the variable %q asks %q", v.Name, v.Definition)
	}
	values := s.values()
	values.Set("match[]", d.interpolate(match[1], c, s))
	var all []string
	err := p.get("/api/v1/label/"+match[2]+"/values", values, &all)
	return all, err
}

// ask asks a query of a panel as its panel does.
func (p *prometheus) ask(d *dashboard, q *target, c choice, s span) ([]series, error) {
	expr := d.interpolate(q.Expr, c, s)
	if strings.Contains(expr, "$") && regexp.MustCompile(`\$[a-z_]+`).MatchString(expr) {
		return nil, fmt.Errorf("something is left to fill in: %s", expr)
	}
	if q.Instant {
		return p.now(expr, s)
	}
	return p.over(expr, s)
}

func TestInterpolation(t *testing.T) {
	d := dashboard{}
	d.Templating.List = []variable{{Name: "job", Type: "query", AllValue: ".+"}, {Name: "one", Type: "query"}}
	s := span{time.Unix(0, 0), time.Unix(90, 0)}
	for _, row := range []struct {
		about, expr string
		chosen      choice
		want        string
	}{
		{"all", `a{job=~"$job"}`, nil, `a{job=~".+"}`},
		{"one with a dot", `a{job=~"$job"}`, choice{"job": {"a.b"}}, `a{job=~"a\\.b"}`},
		{"two", `a{job=~"$job"}`, choice{"job": {"a", "b"}}, `a{job=~"(a|b)"}`},
		{"windows", `rate(a[$__rate_interval]) + b[$__range]`, nil, `rate(a[4s]) + b[90s]`},
	} {
		if got := d.interpolate(row.expr, row.chosen, s); got != row.want {
			t.Errorf("%s: %s", row.about, got)
		}
	}
}

// names returns what the series and columns of a panel are called.
func (p *panel) names(refs map[string][]series) []string {
	var all []string
	for _, q := range p.Targets {
		for _, s := range refs[q.RefID] {
			all = append(all, legend(q.LegendFormat, s.labels))
			for l := range s.labels {
				all = append(all, l)
			}
		}
		if len(p.Targets) == 1 {
			all = append(all, "Value")
		}
		all = append(all, "Value #"+q.RefID)
	}
	for _, t := range p.Transformations {
		for _, as := range t.Options.RenameByName {
			all = append(all, as)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func legend(format string, labels map[string]string) string {
	return regexp.MustCompile(`\{\{(\w+)\}\}`).ReplaceAllStringFunc(format, func(l string) string { return labels[strings.Trim(l, "{}")] })
}

// columns returns the fields that transformations take for granted.
func (p *panel) columns() []string {
	var all []string
	for _, t := range p.Transformations {
		for name := range t.Options.IndexByName {
			all = append(all, name)
		}
		for name := range t.Options.RenameByName {
			all = append(all, name)
		}
		for _, c := range t.Options.Conversions {
			all = append(all, c.TargetField)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
