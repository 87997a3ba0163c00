package diagnose

import (
	"fmt"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/probe/host/acmelog"
)

// said is evidence from anywhere.
func said(source, format string, args ...any) certmedic.Evidence {
	return certmedic.Evidence{Source: source, Line: fmt.Sprintf(format, args...)}
}

// at is evidence from a line of a file; line 0 stands for the whole file.
func at(file string, line int, text string) certmedic.Evidence {
	return certmedic.Evidence{Source: place(file, line), Line: text}
}

func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// logged is a line of a client's log, none where it has no text.
func logged(l acmelog.Line) []certmedic.Evidence {
	if l.Text == "" {
		return nil
	}
	return []certmedic.Evidence{l.Evidence()}
}

// output is what a command wrote: the last lines of it, which tell how it ended.
func output(source, text string) []certmedic.Evidence {
	const most = 3
	lines := strings.Split(strings.TrimSpace(redact.Text(redact.Plain(text))), "\n") // as a whole: a key has many lines
	var out []certmedic.Evidence
	for _, line := range lines[max(0, len(lines)-most):] {
		if strings.TrimSpace(line) != "" {
			out = append(out, certmedic.Evidence{Source: source, Line: line, Output: true})
		}
	}
	return out
}

// command returns words as a line that a person can paste into a shell, however the words
// are made.
func command(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		q, err := syntax.Quote(word, syntax.LangBash)
		if err != nil { // only for a NUL, which no name of a file has
			q = "''"
		}
		quoted[i] = q
	}
	return strings.Join(quoted, " ")
}

// remark returns words to a person as a comment of the shell, in a line of its own whatever they
// quote, with the commands below it.
func remark(words string, commands ...string) string {
	return strings.TrimSpace("# " + strings.Join(strings.Fields(redact.Plain(words)), " ") + "\n" + then(commands...))
}

// then joins commands so that each runs only where the one before it succeeded.
func then(commands ...string) string {
	var present []string
	for _, c := range commands {
		if c != "" {
			present = append(present, c)
		}
	}
	return strings.Join(present, " && ")
}

// when tells a moment, to the second, in UTC.
func when(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// span says a duration in its largest whole unit.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Abs(); {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	default:
		return fmt.Sprintf("%d seconds", d/time.Second)
	}
}

// holds reports whether a text has one of the marks, whatever their case.
func holds(text string, marks ...string) bool {
	text = strings.ToLower(text)
	for _, mark := range marks {
		if strings.Contains(text, mark) {
			return true
		}
	}
	return false
}
