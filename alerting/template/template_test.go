package template_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/alerting/template"
)

func fill(t *testing.T, text string) string {
	t.Helper()
	parsed, err := template.Parse("page", text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	sample := body.Sample()
	out, err := parsed.Fill(body.Of(sample, sample.Events[0]))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return string(out)
}

func TestFunctions(t *testing.T) {
	tests := map[string][][2]string{
		"json":    {{`{{json .evidence}}`, `[{"line":"exit 1: \"nginx\" is busy","output":true,"source":"deploy hook 10-nginx"}]`}, {`{{json .days_left}}`, "1"}},
		"upper":   {{`{{upper .severity}}`, "CRITICAL"}},
		"lower":   {{`{{lower .issuer}}`, "cn=r11,o=let's encrypt,c=us"}},
		"join":    {{`{{join ", " .domains}}`, "shop.example.com, www.shop.example.com"}},
		"line":    {{"{{line \"a\\n b\"}}", "a b"}},
		"cut":     {{`{{cut 4 .certificate}}`, "shop"}, {`{{cut 3 .certificate}}`, "sh…"}, {`{{cut 0 .certificate}}`, "shop"}},
		"date":    {{`{{date "2006-01-02" .not_after}}`, "2026-03-02"}},
		"days":    {{`{{days .days_left}}`, "1 day"}, {`{{days 12.0}}`, "12 days"}, {`{{days -3.0}}`, "expired 3 days ago"}},
		"default": {{`{{default "nobody" ""}} {{default "nobody" .acknowledged_by}}`, "nobody ann"}},
		"keys":    {{`{{range keys .labels}}{{.}}{{end}}`, "team"}},
	}
	docs, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range template.Functions() {
		if len(tests[name]) == 0 {
			t.Errorf("there is no test of %s", name)
		}
		if !regexp.MustCompile("(?m)^\\| [^|]*`" + name + "`").Match(docs) {
			t.Errorf("docs/webhooks.md does not say what %s gives", name)
		}
	}
	for _, rows := range tests {
		for _, row := range rows {
			if got := fill(t, row[0]); got != row[1] {
				t.Errorf("%s gives %q, want %q", row[0], got, row[1])
			}
		}
	}
}

func TestWhatIsNotKnownGivesNothing(t *testing.T) {
	parsed, err := template.Parse("page", `<{{date "2006" .not_after}}|{{days .days_left}}|{{default "-" .not_after}}>`)
	if err != nil {
		t.Fatal(err)
	}
	out, err := parsed.Fill(body.Of(alerting.Notification{}, alerting.Event{}))
	if err != nil || string(out) != "<||->" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestValuesAreNeverTemplates(t *testing.T) {
	n := alertingtest.Notification()
	n.Events[0].Incident.Summary = `{{json .}}{{template "x"}}`
	parsed, err := template.Parse("page", "{{.summary}}")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := parsed.Fill(body.Of(n, n.Events[0])); err != nil || string(out) != n.Events[0].Incident.Summary {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMistakesAreFoundAtOnce(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"a key that is misspelt":                   {"\n{{.sumary}}", `page:2:`},
		"a mistake for some events alone":          {`{{if eq .event "heartbeat"}}{{.oops}}{{end}}`, `for an event "heartbeat"`},
		"a form that is broken":                    {"{{if}}", "page:1:"},
		"a function that is not there":             {"{{env \"HOME\"}}", `function "env" not defined`},
		"a template that is not there":             {`{{template "x"}}`, `"x"`},
		"a template that calls itself for ever":    {`{{define "x"}}{{template "x" .}}{{end}}{{template "x" .}}`, "exceeded maximum template depth"},
		"a template that gives far too much":       {`{{range .domains}}{{range $.members}}{{printf "%1000000d" 1}}{{end}}{{end}}`, "more than"},
		"a date that is none":                      {`{{date "2006" .summary}}`, "is no time"},
		"a value that is taken for something else": {`{{join ", " .summary}}`, "page:1:"},
	} {
		if _, err := template.Parse("page", tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "page.tmpl")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := template.ReadFile(path); err == nil {
		t.Error("a file that is not there is read")
	}
	write(`{{.summary}}{{define "subject"}}{{.certificate}}{{end}}`, 0o644)
	parsed, err := template.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !parsed.Defines("subject") || parsed.Defines("html") {
		t.Error("what it defines is not known")
	}
	sample := body.Sample()
	if out, err := parsed.FillNamed("subject", body.Of(sample, sample.Events[0])); err != nil || string(out) != "shop" {
		t.Errorf("%q, %v", out, err)
	}
	write("{{.summary}}", 0o646)
	if _, err := template.ReadFile(path); err == nil || !strings.Contains(err.Error(), "may be written by others") {
		t.Errorf("a file that others may write: %v", err)
	}
	write(strings.Repeat("x", 300<<10), 0o644)
	if _, err := template.ReadFile(path); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file: %v", err)
	}
}

func FuzzFill(f *testing.F) {
	f.Add("a\"b\n", 3)
	parsed, err := template.Parse("page", `{"a": {{json .summary}}, "b": {{json (cut 20 .reason)}}, "c": {{json (join "," .members)}}}`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, members int) {
		n := alertingtest.Notification()
		e := &n.Events[0]
		e.Incident.Summary, e.Incident.Reason, e.Incident.Members = text, text, make([]string, max(0, members)%100)
		if _, err := parsed.Fill(body.Of(n, *e)); err != nil && len(text) < 1000 {
			t.Error(err)
		}
	})
}
