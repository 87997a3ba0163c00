package report

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/audit"
)

// result is an audit with findings of each severity, and with texts that mean something to the
// forms.
func sample() audit.Result {
	return audit.Result{
		Time: time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC), Root: "/mnt/a`b", Status: certmedic.StatusCritical, Lineages: 2,
		Findings: []audit.Finding{
			{Code: "autorenew-off", Severity: certmedic.SeverityCritical, Subject: "shop", Place: audit.Place{File: "/etc/letsencrypt/renewal/a b.conf", Line: 7}, What: "autorenew = False", Why: "it ends.", Fix: "sed -i 7d x\nsystemctl a && b"},
			{Code: "hook-skipped", Severity: certmedic.SeverityWarning, Subject: "x|y", Place: audit.Place{File: "/hook"}, What: "<script>alert(1)</script> *bold* [link](http://x) @team", Why: "why", Fix: "# mend it"},
			{Code: "unmonitored", Severity: certmedic.SeverityInfo, What: "nobody", Why: "why", Fix: "certmedic serve"},
		},
		Checklist: []audit.Item{
			{Code: "logs", Title: "Logs are kept", State: audit.NotDone, Evidence: "a | b", Place: audit.Place{File: "/var/log", Line: 3}},
			{Code: "drilled", Title: "Drilled", State: audit.Done, Evidence: "yes"},
		},
		Unseen: []audit.Unseen{{Part: audit.PartClock, Why: "nothing runs"}},
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, sample()); err != nil {
		t.Fatal(err)
	}
	var back audit.Result
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Findings) != 3 || back.Findings[0] != sample().Findings[0] || !strings.Contains(b.String(), "a && b") {
		t.Errorf("it comes back as %+v", back)
	}
}

func TestMarkdown(t *testing.T) {
	var b bytes.Buffer
	if err := Markdown(&b, sample()); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for _, want := range []string{
		"# Audit of certificates: critical\n", "`` /mnt/a`b ``", "\n## Critical\n\n### autorenew-off\n", "`/etc/letsencrypt/renewal/a b.conf:7`",
		"      sed -i 7d x\n      systemctl a && b\n", `\*bold\*`, "| **not done** | Logs are kept | a \\| b (/var/log:3) |", "- the clock: nothing runs",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	for _, never := range []string{"<script>", "[link](", " @team"} {
		if strings.Contains(text, never) {
			t.Errorf("it holds %q", never)
		}
	}
}

// TestSARIF holds what the schema of SARIF 2.1.0 requires of the parts that are written.
func TestSARIF(t *testing.T) {
	var b bytes.Buffer
	if err := SARIF(&b, sample(), "1.2.3"); err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc["version"] != "2.1.0" || len(doc["runs"].([]any)) != 1 {
		t.Fatalf("version %v", doc["version"])
	}
	run := doc["runs"].([]any)[0].(map[string]any)
	driver := run["tool"].(map[string]any)["driver"].(map[string]any)
	rules := driver["rules"].([]any)
	if driver["name"] == "" || len(rules) != len(audit.Checks()) {
		t.Errorf("the driver has %d rules", len(rules))
	}
	seen := map[string]bool{}
	for _, r := range rules {
		rule := r.(map[string]any)
		level := rule["defaultConfiguration"].(map[string]any)["level"]
		if id := rule["id"].(string); seen[id] || !isLevel(level) {
			t.Errorf("rule %s is there twice, or has the level %v", id, level)
		}
		seen[rule["id"].(string)] = true
		for _, key := range []string{"shortDescription", "fullDescription", "help"} {
			if rule[key].(map[string]any)["text"] == "" {
				t.Errorf("rule %v has no %s", rule["id"], key)
			}
		}
	}
	results := run["results"].([]any)
	if len(results) != 3 {
		t.Fatalf("there are %d results", len(results))
	}
	for _, r := range results {
		checkResult(t, r.(map[string]any), rules)
	}
	first := results[0].(map[string]any)["locations"].([]any)[0].(map[string]any)["physicalLocation"].(map[string]any)
	if uri := first["artifactLocation"].(map[string]any)["uri"]; uri != "file:///etc/letsencrypt/renewal/a%20b.conf" {
		t.Errorf("the place is %v", uri)
	}
	if line := first["region"].(map[string]any)["startLine"]; line != 7.0 {
		t.Errorf("the line is %v", line)
	}
	if _, ok := results[2].(map[string]any)["locations"]; ok {
		t.Error("a finding without a place has one")
	}
}

func isLevel(level any) bool {
	return slices.Contains([]any{"none", "note", "warning", "error"}, level)
}

func checkResult(t *testing.T, result map[string]any, rules []any) {
	t.Helper()
	rule := rules[int(result["ruleIndex"].(float64))].(map[string]any)
	if rule["id"] != result["ruleId"] || !isLevel(result["level"]) || result["message"].(map[string]any)["text"] == "" {
		t.Errorf("result %v: its rule is %v", result, rule["id"])
	}
}
