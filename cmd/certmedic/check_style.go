package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/certmedic/certmedic"
)

// isTerminal reports whether a person reads what is written there.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// style says what the reader's device can show.
type style struct {
	signs  bool // signs and bars beyond ASCII
	colour bool
}

// styleOf returns plain text for everything but terminals, and no colour where NO_COLOR
// is set (https://no-color.org).
func styleOf(w io.Writer, getenv func(string) string) style {
	if !isTerminal(w) || getenv("TERM") == "dumb" {
		return style{}
	}
	return style{signs: true, colour: getenv("NO_COLOR") == ""}
}

// The parameters of the SGR sequences that are used (ECMA-48).
const (
	sgrBold   = "1"
	sgrDim    = "2"
	sgrRed    = "31"
	sgrGreen  = "32"
	sgrYellow = "33"
	sgrPurple = "35"
)

func (s style) paint(sgr, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

func sgrOf(status certmedic.Status) string {
	switch status {
	case certmedic.StatusOK:
		return sgrGreen
	case certmedic.StatusWarning:
		return sgrYellow
	case certmedic.StatusCritical:
		return sgrRed
	default:
		return sgrPurple
	}
}

func signOf(status certmedic.Status) string {
	switch status {
	case certmedic.StatusOK:
		return "✔"
	case certmedic.StatusWarning:
		return "▲"
	case certmedic.StatusCritical:
		return "✘"
	default:
		return "?"
	}
}

// headline names the status and the target: "✔ shop.example.com  ok" on a terminal, and
// "ok        shop.example.com" where columns are cut by programs.
func (s style) headline(status certmedic.Status, target string) string {
	if !s.signs {
		return fmt.Sprintf("%-8s  %s", status, target)
	}
	return s.paint(sgrOf(status), signOf(status)) + " " + s.paint(sgrBold, target) + "  " + s.paint(sgrOf(status), string(status))
}

func (s style) arrow() string {
	if s.signs {
		return "→"
	}
	return "->"
}

// bar draws a share in ten cells; nothing where signs cannot be shown.
func (s style) bar(share float64, status certmedic.Status) string {
	if !s.signs {
		return ""
	}
	const cells = 10
	full := int(math.Ceil(min(1, max(0, share)) * cells))
	return "  " + s.paint(sgrOf(status), strings.Repeat("▰", full)) + s.paint(sgrDim, strings.Repeat("▱", cells-full))
}

// oneLine makes a text from outside safe for a line of its own.
func oneLine(s string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(printable(s))
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// span says a duration as a person would, in its largest whole unit.
func span(d time.Duration) string {
	d = d.Abs()
	const day = 24 * time.Hour
	switch {
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
