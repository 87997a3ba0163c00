package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
)

// printDiagnosis prints a diagnosis for people, or as JSON.
func (e *environment) printDiagnosis(r diagnose.Result) error {
	text := ""
	if e.json {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false) // the fix is a command, in which & and > are common
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(r); err != nil {
			return fail(fmt.Errorf("printing JSON: %w", err))
		}
		text = escapeUnprintable(strings.TrimSuffix(b.String(), "\n")) + "\n"
	} else {
		text = diagnosisText(r, diagnosisStyle(e))
	}
	_, err := io.WriteString(e.stdout, text)
	return err
}

// diagnosisStyle is that of check; a terminal that does not show UTF-8 gets ASCII.
func diagnosisStyle(e *environment) style {
	s := styleOf(e.stdout, e.getenv)
	locale := or(or(e.getenv("LC_ALL"), e.getenv("LC_CTYPE")), e.getenv("LANG"))
	upper := strings.ToUpper(locale)
	s.signs = s.signs && (strings.Contains(upper, "UTF-8") || strings.Contains(upper, "UTF8"))
	return s
}

// diagnosisText writes a diagnosis for people.
func diagnosisText(r diagnose.Result, s style) string {
	b := &textBlock{style: s}
	status := statusOf(r)
	b.line(s.headline(status, oneLine(r.Subject)) + ", " + strings.ReplaceAll(string(r.Cause), "_", " "))
	b.line("")
	b.picture(r.Way)
	b.line("")
	b.field("cause", string(r.Cause)+", "+sureness(r.Confidence))
	b.field("what", oneLine(r.Summary))
	b.evidence(r.Evidence)
	b.fix(r.Fix)
	for _, also := range r.Also {
		b.line("")
		b.field("also", string(also.Cause)+", "+sureness(also.Confidence))
		b.evidence(also.Evidence)
		b.fix(also.Fix)
	}
	for i, u := range r.Unseen {
		if r.Cause == certmedic.CauseUnknown {
			break // it is the evidence
		}
		if i == 0 {
			b.line("")
		}
		b.field("not seen", oneLine(string(u.Part)+": "+u.Why))
	}
	return b.String()
}

func statusOf(r diagnose.Result) certmedic.Status {
	switch r.ExitCode() {
	case 0:
		return certmedic.StatusOK
	case 2:
		return certmedic.StatusCritical
	default:
		return certmedic.StatusUnknown
	}
}

// sureness says a confidence in words.
func sureness(confidence float64) string {
	switch {
	case confidence >= diagnose.Certain:
		return "as good as certain"
	case confidence >= diagnose.Excluded:
		return "likely: nothing else is left"
	case confidence >= diagnose.Guessed:
		return "a guess"
	default:
		return "nothing points to a cause"
	}
}

// step shows how far a step came.
func (s style) step(r diagnose.Reach) (sign, sgr, arrow string) {
	switch {
	case r == diagnose.Reached && s.signs:
		return "✔ ", sgrGreen, " ──► "
	case r == diagnose.Reached:
		return "+ ", sgrGreen, " --> "
	case r == diagnose.Stopped && s.signs:
		return "✘ ", sgrRed, " ··· "
	case r == diagnose.Stopped:
		return "X ", sgrRed, " ... "
	case s.signs:
		return "· ", sgrDim, " ··· "
	default:
		return ". ", sgrDim, " ... "
	}
}

// picture draws the way, with versions and times under it.
func (b *textBlock) picture(way []diagnose.Step) {
	var stages, details, times strings.Builder
	for i, step := range way {
		sign, sgr, arrow := b.style.step(step.Reach)
		name, detail, day := sign+string(step.Stage), oneLine(step.Detail), ""
		if !step.Time.IsZero() {
			day = step.Time.UTC().Format("2006-01-02 15:04")
		}
		width := max(utf8.RuneCountInString(name), utf8.RuneCountInString(detail), len(day))
		stages.WriteString(b.style.paint(sgr, name))
		if i < len(way)-1 {
			stages.WriteString(b.style.paint(sgrDim, strings.Repeat(" ", width-utf8.RuneCountInString(name))+arrow))
			detail, day = pad(detail, width+5), pad(day, width+5)
		}
		details.WriteString(detail)
		times.WriteString(day)
	}
	for _, line := range []string{stages.String(), details.String(), times.String()} {
		if text := strings.TrimRight(line, " "); text != "" {
			b.line("  " + text)
		}
	}
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func (b *textBlock) evidence(evidence []certmedic.Evidence) {
	for _, e := range evidence {
		b.field("evidence", oneLine(e.Source))
		b.line(strings.Repeat(" ", 15) + b.style.paint(sgrDim, "| ") + oneLine(e.Line))
	}
}

// fix writes commands one below the other, so that they can be pasted.
func (b *textBlock) fix(fix string) {
	word := "fix"
	for line := range strings.Lines(fix) {
		b.field(word, b.style.paint(sgrBold, oneLine(strings.TrimSuffix(line, "\n"))))
		word = ""
	}
}
