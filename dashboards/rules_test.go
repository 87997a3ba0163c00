package dashboards_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// alertRule is an alerting rule as Prometheus reads it.
type alertRule struct {
	Alert, Expr, For string
	KeepFiringFor    string            `yaml:"keep_firing_for"`
	Labels           map[string]string `yaml:"labels"`
	Annotations      map[string]string `yaml:"annotations"`
}

// TestAlertRules reads the alerts that are handed out beside the dashboards: each has what
// people are told, where to read on, and asks for metrics that internal/metrics writes.
func TestAlertRules(t *testing.T) {
	for _, file := range []string{"certmedic.rules.yml", "prometheus/certmedic.up.yml"} {
		t.Run(file, func(t *testing.T) { testAlertRules(t, file) })
	}
}

func testAlertRules(t *testing.T, name string) {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []alertRule
		}
	}
	if err := yaml.UnmarshalWithOptions(data, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	known := written(t)
	count := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			count++
			if !strings.HasPrefix(r.Alert, "Certmedic") || r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
				t.Errorf("alert %q has the labels %q and the annotations %q", r.Alert, r.Labels, r.Annotations)
			}
			if problem := unbalanced(r.Expr); problem != "" {
				t.Errorf("alert %q: %s in %s", r.Alert, problem, r.Expr)
			}
			checkRunbook(t, r)
			for _, name := range metricName.FindAllString(r.Expr, -1) {
				if !slices.Contains(known, name) {
					t.Errorf("alert %q: internal/metrics does not write %s", r.Alert, name)
				}
			}
		}
	}
	if count == 0 {
		t.Error("there is no alert")
	}
}

func checkRunbook(t *testing.T, r alertRule) {
	t.Helper()
	link := r.Annotations["runbook_url"]
	_, page, found := strings.Cut(link, "/docs/runbooks/")
	if !found {
		t.Errorf("alert %q has the runbook %q", r.Alert, link)
		return
	}
	if _, err := os.Stat("../docs/runbooks/" + page); err != nil {
		t.Errorf("alert %q: %v", r.Alert, err)
	}
}

// TestExamples wants the example for Prometheus to name the rule files that there are.
func TestExamples(t *testing.T) {
	data, err := os.ReadFile("prometheus/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	var example struct {
		RuleFiles []string `yaml:"rule_files"`
	}
	if err := yaml.Unmarshal(data, &example); err != nil {
		t.Fatal(err)
	}
	want := []string{"certmedic.rules.yml"}
	for _, name := range []string{"certmedic.recording.yml", "certmedic.up.yml"} {
		if _, err := os.Stat("prometheus/" + name); err != nil {
			t.Error(err)
		}
		want = append(want, name)
	}
	if !slices.Equal(example.RuleFiles, want) {
		t.Errorf("it names %q, want %q", example.RuleFiles, want)
	}
}
