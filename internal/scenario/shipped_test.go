package scenario_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/scenario"
)

// TestShipped runs the scenario tests of the rules that certmedic ships.
func TestShipped(t *testing.T) {
	files, err := filepath.Glob("../../rules/ruleset/scenarios/*.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	runFiles(t, files)
}

// TestExamples runs the scenarios of this package's own folder.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("testdata/*.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	runFiles(t, files)
}

func runFiles(t *testing.T, files []string) {
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			file, err := scenario.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			report, err := file.Run(t.Context(), scenario.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range report.Tests {
				t.Logf("%s: %s in %s", r.State, r.Name, r.Duration)
				if r.State == scenario.Failed {
					for _, f := range r.Failures {
						t.Error(f)
					}
				}
			}
			for _, unmet := range report.Unmet {
				t.Error(unmet)
			}
		})
	}
}

// TestTheDocumentedExample plays the example of the documentation, by the shipped rules alone.
func TestTheDocumentedExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/rules-testing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	file, err := scenario.Parse("rules-testing.md", []byte(strings.Replace(example, "shipped, edge.rules.yml", "shipped", 1)))
	if err != nil {
		t.Fatal(err)
	}
	report, err := file.Run(t.Context(), scenario.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() {
		t.Error(report.Text(true))
	}
}
