package grafana_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"
)

// rule is a rule of Prometheus.
type rule struct {
	Alert, Record, Expr string
	Labels              map[string]string
}

// handedOut returns the rules that are handed out.
func handedOut(t *testing.T) []rule {
	t.Helper()
	var all []rule
	for _, name := range ruleFiles() {
		text, err := os.ReadFile(filepath.Join(root(t), "dashboards", name))
		if err != nil {
			t.Fatal(err)
		}
		var file struct{ Groups []struct{ Rules []rule } }
		if err := yaml.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		for _, g := range file.Groups {
			all = append(all, g.Rules...)
		}
	}
	return all
}

// testRules asks every rule, and wants those that record to have something to record.
func (s *scene) testRules(t *testing.T) {
	for _, r := range handedOut(t) {
		got, err := s.now(r.Expr, s.span)
		if err != nil {
			t.Errorf("%s%s: %v", r.Alert, r.Record, err)
		}
		if r.Record != "" && len(got) == 0 {
			t.Errorf("%s records nothing", r.Record)
		}
	}
	var asked struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := s.get("/api/v1/rules", nil, &asked); err != nil {
		t.Fatal(err)
	}
	for _, g := range asked.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				t.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
}

// testAlerts wants the alerts of the scene, those that still wait included.
func (s *scene) testAlerts(t *testing.T) {
	want := []string{
		"CertmedicExpired expired", "CertmedicExpiryImminent expired", "CertmedicExpiryImminent imminent",
		"CertmedicHookFailed stuck", "CertmedicNotifierFailing ", "CertmedicRenewalOverdue expired", "CertmedicRenewalOverdue imminent",
		"CertmedicRenewalOverdue overdue", "CertmedicRenewedNotServed split", "CertmedicRenewedNotServed stuck", "CertmedicRolledBack loaned",
		"CertmedicRuleError ", "CertmedicStoredInvalid budget", "CertmedicStoredInvalid expired", "CertmedicUnreachable down",
	}
	var active struct {
		Alerts []struct{ Labels map[string]string }
	}
	if err := s.get("/api/v1/alerts", nil, &active); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range active.Alerts {
		got = append(got, a.Labels["alertname"]+" "+a.Labels["certificate"])
	}
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, want) {
		t.Errorf("the alerts are\n%q, want\n%q", got, want)
	}
}
