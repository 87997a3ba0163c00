package diagnose

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
)

var update = flag.Bool("update", false, "write docs/causes.md anew")

const page = "../../docs/causes.md"

// TestDocs holds docs/causes.md against the causes and their words.
func TestDocs(t *testing.T) {
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	have := string(data)
	want := section(section(have, "codes", codesTable()), "guide", guideTable())
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		have = want
	}
	if have != want {
		t.Error("docs/causes.md is not of these words: run go test ./internal/diagnose -run TestDocs -update")
	}
	rows := regexp.MustCompile(`(?m)^\| ([0-9]+) \|[^|]*(?:\\\|[^|]*)*\| ([^|]+) \|`).FindAllStringSubmatch(have, -1)
	for i, row := range rows {
		if row[1] != fmt.Sprint(i+1) {
			t.Errorf("row %d has the number %s", i+1, row[1])
		}
		for _, code := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[2], -1) {
			if !slices.Contains(certmedic.Causes(), certmedic.Cause(code[1])) {
				t.Errorf("row %s has the code %q, which is none", row[1], code[1])
			}
		}
	}
	if len(rows) != 36 {
		t.Errorf("the page has %d numbered causes, want 36", len(rows))
	}
}

// section replaces what stands between a section's marks.
func section(text, name, content string) string {
	begin := strings.Index(text, "<!-- begin "+name)
	end := strings.Index(text, "<!-- end "+name)
	if begin < 0 || end < begin {
		return text + "\n(the marks of " + name + " are missing)\n"
	}
	line := begin + strings.Index(text[begin:], "\n") + 1
	return text[:line] + "\n" + content + "\n" + text[end:]
}

func codesTable() string {
	var b strings.Builder
	b.WriteString("| code | what it means | look |\n|---|---|---|\n")
	for _, cause := range certmedic.Causes() {
		e := Explain(cause)
		fmt.Fprintf(&b, "| `%s` | %s | `%s` |\n", cause, cell(e.Means), cell(e.Look))
	}
	return b.String()
}

func guideTable() string {
	var b strings.Builder
	b.WriteString("| it says | code | what it means | look | fix |\n|---|---|---|---|---|\n")
	for _, e := range Guide() {
		fmt.Fprintf(&b, "| %s | `%s` | %s | `%s` | %s |\n", cell(e.Says), e.Cause, cell(e.Means), cell(e.Look), cell(e.Fix))
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
