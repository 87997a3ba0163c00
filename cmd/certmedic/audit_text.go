package main

import (
	"fmt"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/internal/audit/report"
)

// maxShown is how many findings of one code are shown to people; other forms have them all.
const maxShown = 20

// auditText writes an audit for people: the findings by severity and code, then the checklist.
func auditText(r audit.Result, s style) string {
	b := &textBlock{style: s}
	counts := map[certmedic.Severity]int{}
	for _, f := range r.Findings {
		counts[f.Severity]++
	}
	subject := "this host"
	if r.Root != "" {
		subject = oneLine(r.Root)
	}
	b.line(s.headline(r.Status, fmt.Sprintf("%s, %d certificates: %d critical, %d warnings, %d remarks", subject, r.Lineages,
		counts[certmedic.SeverityCritical], counts[certmedic.SeverityWarning], counts[certmedic.SeverityInfo])))
	for rest := r.Findings; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Code == rest[0].Code {
			n++
		}
		b.ofCode(rest[:n])
		rest = rest[n:]
	}
	b.checklist(r.Checklist)
	for i, u := range r.Unseen {
		if i == 0 {
			b.line("")
		}
		b.field("not seen", oneLine(string(u.Part)+": "+u.Why))
	}
	return b.String()
}

// ofCode writes the findings of one code.
func (b *textBlock) ofCode(findings []audit.Finding) {
	first := findings[0]
	b.line("")
	b.line(b.style.paint(sgrOf(statusOfSeverity(first.Severity)), fmt.Sprintf("%-8s", first.Severity)) + "  " + b.style.paint(sgrBold, first.Code))
	why, fix := "", ""
	for _, f := range findings[:min(len(findings), maxShown)] {
		if f.Subject != "" {
			b.field("where", oneLine(f.Subject)+placed(f.Place))
		} else if f.Place.File != "" {
			b.field("where", oneLine(report.Where(f.Place)))
		}
		b.field("what", oneLine(f.What))
		if f.Why != why {
			b.field("why", oneLine(f.Why))
		}
		if f.Fix != fix {
			b.fix(f.Fix)
		}
		why, fix = f.Why, f.Fix
	}
	if more := len(findings) - maxShown; more > 0 {
		b.field("", fmt.Sprintf("and %d more: --format json has them all", more))
	}
}

func placed(p audit.Place) string {
	if p.File == "" {
		return ""
	}
	return ", " + oneLine(report.Where(p))
}

func statusOfSeverity(s certmedic.Severity) certmedic.Status {
	return certmedic.StatusOf(certmedic.Finding{Severity: s})
}

// checklist writes the operational checklist.
func (b *textBlock) checklist(items []audit.Item) {
	b.line("")
	b.line(b.style.paint(sgrBold, "Checklist"))
	for _, item := range items {
		sign, sgr := "?", sgrPurple
		switch {
		case item.State == audit.Done && b.style.signs:
			sign, sgr = "✔", sgrGreen
		case item.State == audit.Done:
			sign, sgr = "+", sgrGreen
		case item.State == audit.NotDone && b.style.signs:
			sign, sgr = "✘", sgrRed
		case item.State == audit.NotDone:
			sign, sgr = "X", sgrRed
		}
		b.line("  " + b.style.paint(sgr, sign+" "+pad(string(item.State), 16)) + "  " + oneLine(item.Title))
		b.line(strings.Repeat(" ", 22) + b.style.paint(sgrDim, oneLine(item.Evidence)+placed(item.Place)))
	}
}
