// Package report writes an audit for other programs and for tickets: as JSON, as a page in
// Markdown, and as SARIF 2.1.0 for what gathers the findings of tools. The command audit calls it.
// What it is given was cleaned of secrets and control characters by package audit; what a form
// has a meaning for is escaped here.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/audit"
)

// JSON writes the whole result.
func JSON(w io.Writer, r audit.Result) error { return write(w, r) }

func write(w io.Writer, value any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // fixes are commands, in which & and > are common
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("printing JSON: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Markdown writes a page that can be pasted into a ticket: the findings by severity, and the
// checklist as a table.
func Markdown(w io.Writer, r audit.Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Audit of certificates: %s\n\n", r.Status)
	fmt.Fprintf(&b, "%s, %d certificates", r.Time.Format("2006-01-02 15:04 UTC"), r.Lineages)
	if r.Root != "" {
		fmt.Fprintf(&b, ", the tree %s", code(r.Root))
	}
	b.WriteString(".\n")
	for _, severity := range []certmedic.Severity{certmedic.SeverityCritical, certmedic.SeverityWarning, certmedic.SeverityInfo} {
		findings(&b, r, severity)
	}
	b.WriteString("\n## Checklist\n\n| | | evidence |\n|---|---|---|\n")
	for _, item := range r.Checklist {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", box(item.State), cell(item.Title), cell(withPlace(item.Evidence, item.Place)))
	}
	if len(r.Unseen) > 0 {
		b.WriteString("\n## Not seen\n\n")
	}
	for _, u := range r.Unseen {
		fmt.Fprintf(&b, "- %s: %s\n", plain(string(u.Part)), plain(u.Why))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func findings(b *strings.Builder, r audit.Result, severity certmedic.Severity) {
	last := ""
	for _, f := range r.Findings {
		if f.Severity != severity {
			continue
		}
		if last == "" {
			fmt.Fprintf(b, "\n## %s\n", strings.ToUpper(string(severity[:1]))+string(severity[1:]))
		}
		if f.Code != last {
			fmt.Fprintf(b, "\n### %s\n\n%s\n\n", f.Code, plain(f.Why))
		}
		last = f.Code
		subject := ""
		if f.Subject != "" {
			subject = code(f.Subject) + ": "
		}
		fmt.Fprintf(b, "- %s%s\n", subject, plain(f.What))
		if f.Place.File != "" {
			fmt.Fprintf(b, "  at %s\n", code(Where(f.Place)))
		}
		fmt.Fprintf(b, "\n%s\n", indented(f.Fix))
	}
}

// Where returns a place as FILE:LINE.
func Where(p audit.Place) string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

func withPlace(text string, p audit.Place) string {
	if p.File == "" {
		return text
	}
	return text + " (" + Where(p) + ")"
}

func box(s audit.State) string {
	switch s {
	case audit.Done:
		return "done"
	case audit.NotDone:
		return "**not done**"
	}
	return "evidence unknown"
}

// indented makes a block of code, in an item of a list, of some lines.
func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("      " + strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}

// plain escapes what Markdown, or HTML within it, has a meaning for.
func plain(text string) string {
	return strings.NewReplacer(
		`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "#", `\#`, "!", `\!`, "~", `\~`, "@", "@\u200b",
	).Replace(text)
}

func cell(text string) string { return strings.ReplaceAll(plain(text), "|", `\|`) }

// code marks a text as code, with as many backquotes as keep those in it.
func code(text string) string {
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	if fence != "`" {
		return fence + " " + text + " " + fence
	}
	return fence + text + fence
}
