package audit

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated pages anew")

// TestDocs holds docs/audit.md against the checks: every code, with its severity, why and fix.
func TestDocs(t *testing.T) {
	const page = "../../docs/audit.md"
	want := document()
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not up to date: go test ./internal/audit -run TestDocs -update", page)
	}
}

func document() []byte {
	var b bytes.Buffer
	b.WriteString(`# What an audit looks for

` + "`certmedic audit`" + ` looks at the certificates of a host, at the hooks, timers, permissions and configurations around them, and
says what will fail at the next renewal, what hides a failure, and what nobody has ever tried. It changes nothing, takes no lock
of certbot and runs no program. With ` + "`--root DIR`" + ` it looks at a mounted tree, to which the process is confined before it looks;
what only a running host has is then told as not seen.

Exit codes: 0 nothing at or above a warning, 1 a warning, 2 something critical. ` + "`--only`" + ` and ` + "`--skip`" + ` take the codes below,
` + "`--severity`" + ` leaves out what is less. ` + "`--format`" + ` is text, json, markdown, or sarif (SARIF 2.1.0) for what gathers the findings of
tools. This page is written by ` + "`go test ./internal/audit -run TestDocs -update`" + `.
`)
	last := ""
	for _, c := range Checks() {
		if c.Subject != last {
			fmt.Fprintf(&b, "\n## %s\n\n| code | severity | what | why | fix |\n|---|---|---|---|---|\n", strings.ToUpper(c.Subject[:1])+c.Subject[1:])
		}
		last = c.Subject
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", c.Code, c.Severity, cell(c.About), cell(c.Why), cell(c.Fix))
	}
	b.WriteString("\n## The checklist\n\nEach line is done, not done, or its evidence is unknown. Nothing is done without evidence, which is shown with its place.\n\n| code | line |\n|---|---|\n")
	for _, item := range checklist(&Facts{}) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", item.Code, cell(item.Title))
	}
	b.WriteString("\nWhat only people can say is named in certmedic.yml, under `audit`: `runbook`, `contacts` and `outside`; see [configuration](configuration.md).\n")
	return b.Bytes()
}

func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(text)
}
