package certmedic_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDocuments holds the rules of the house about what is not Go.
func TestDocuments(t *testing.T) {
	t.Run("the first pages exist", testFirstPages)
	t.Run("go.mod replaces nothing", testNoReplace)
	t.Run("decisions are numbered and have their three parts", testDecisions)
	t.Run("every shipped rule has its runbook", testRunbooks)
}

func testFirstPages(t *testing.T) {
	for _, name := range []string{"README.md", "CHANGELOG.md", "LICENSE", "docs/architecture.md"} {
		if info, err := os.Stat(name); err != nil {
			t.Error(err)
		} else if info.Size() == 0 {
			t.Errorf("%s is empty", name)
		}
	}
}

func testRunbooks(t *testing.T) {
	rules, err := os.ReadFile("rules/ruleset/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)^ +runbook: (\S+)$`).FindAllSubmatch(rules, -1)
	if len(named) == 0 {
		t.Fatal("no rule names a runbook")
	}
	for _, match := range named {
		page, err := os.ReadFile("docs/runbooks/" + string(match[1]) + ".md")
		if err != nil {
			t.Error(err)
			continue
		}
		for _, part := range []string{"What it means", "Why it matters", "Look", "Fix", "Roll back", "Prevent"} {
			if !bytes.Contains(page, []byte("\n## "+part+"\n")) {
				t.Errorf("runbook %s lacks the part %q", match[1], part)
			}
		}
	}
}

func testNoReplace(t *testing.T) {
	data, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if at := regexp.MustCompile(`(?m)^\s*replace\b.*`).Find(data); at != nil {
		t.Errorf("go.mod has %q", at)
	}
}

// testDecisions wants docs/adr/0001-title.md, 0002-..., without gaps.
func testDecisions(t *testing.T) {
	entries, err := os.ReadDir("docs/adr")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`^([0-9]{4})-[a-z0-9]+(-[a-z0-9]+)*\.md$`)
	for i, e := range entries {
		name := filepath.Join("docs/adr", e.Name())
		match := named.FindStringSubmatch(e.Name())
		if match == nil {
			t.Errorf("%s is not named NNNN-title.md", name)
			continue
		}
		if want := fmt.Sprintf("%04d", i+1); match[1] != want {
			t.Errorf("%s should have the number %s", name, want)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"Context", "Decision", "Consequences"} {
			if !regexp.MustCompile(`(?m)^#+ ` + part + `$`).Match(data) {
				t.Errorf("%s has no heading %s", name, part)
			}
		}
	}
}

var metricName = regexp.MustCompile(`\bcertmedic_[a-z0-9_]*[a-z0-9]\b`)

func (h *house) testMetricNames(t *testing.T) {
	known := h.knownMetrics()
	for _, top := range []string{"README.md", "dashboards", "docs", "rules"} {
		for _, name := range textFiles(t, top) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range bytes.Split(data, []byte("\n")) {
				for _, metric := range metricName.FindAllString(string(line), -1) {
					if !slices.Contains(known, baseMetric(metric)) && !slices.Contains(known, metric) {
						t.Errorf("%s:%d: no metric %s in internal/metrics", name, i+1, metric)
					}
				}
			}
		}
	}
}

// knownMetrics returns the metrics' names that internal/metrics and its parts spell out.
func (h *house) knownMetrics() []string {
	var known []string
	for _, p := range h.packages {
		if !strings.HasPrefix(p.path+"/", "internal/metrics/") {
			continue
		}
		for _, file := range p.files {
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil && metricName.FindString(text) == text {
						known = append(known, text)
					}
				}
				return true
			})
		}
	}
	return known
}

// baseMetric removes what Prometheus appends to the series of a histogram.
func baseMetric(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return base
		}
	}
	return name
}

// textFiles returns the files at or below top in which metrics are written about.
func textFiles(t *testing.T, top string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(top, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.IsDir() && slices.Contains([]string{".json", ".md", ".yml", ".yaml"}, filepath.Ext(name)) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return names
}
