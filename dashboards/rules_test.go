package dashboards

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

// TestAlertRules reads the alerts that are handed out beside the dashboard: each has what
// people are told, where to read on, and asks for metrics that internal/metrics writes.
func TestAlertRules(t *testing.T) {
	data, err := os.ReadFile("certmedic.rules.yml")
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
