package acmelog

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// legoLine is a line of lego as Go's log package writes it, behind whatever a journal or syslog
// put before it.
var legoLine = regexp.MustCompile(`(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) (?:\[(?:INFO|WARN)\] ?)?(.*)$`)

// legoNames are the names that a message is about, the certificate's first.
var legoNames = regexp.MustCompile(`^\[([^\]\s,]+)[^\]]*\] (.*)$`)

// exitStatus is how a hook of lego ended.
var exitStatus = regexp.MustCompile(`^(?:wait command: |Error: )*exit status (\d+)`)

// legoRuns returns the runs in a log of lego 0.x to 4.x. lego says nothing at its end, so a run is
// taken to be what belongs to one certificate.
func legoRuns(file string, data []byte, before int) []Run {
	p := &legoLog{file: file}
	number := before
	for line := range strings.Lines(strings.ToValidUTF8(string(data), "\uFFFD")) {
		number++
		p.take(Line{File: file, Number: number, Text: strings.TrimRight(line[:min(len(line), maxMessage)], "\r\n")})
	}
	p.finish()
	return p.runs
}

// legoLog is what is known at one place of a log of lego.
type legoLog struct {
	file   string
	runs   []Run
	run    *Run
	failed bool // what follows tells more of a failure
}

func (p *legoLog) take(l Line) {
	m := legoLine.FindStringSubmatch(l.Text)
	if m == nil {
		if p.run != nil && p.failed {
			p.more(l)
		}
		return
	}
	at, err := time.ParseInLocation("2006/01/02 15:04:05", m[1], time.Local)
	if err != nil {
		return
	}
	text, name := m[2], ""
	if n := legoNames.FindStringSubmatch(text); n != nil {
		name, text = n[1], n[2]
	}
	l.Text = told(l.Text, maxText)
	if p.run != nil && (p.failed || name != "" && name != p.run.Renewals[0].Lineage && !p.isAbout(name) || p.run.Finished && legoBegins(text)) {
		p.finish()
	}
	if p.run == nil {
		if name == "" || !legoBegins(text) {
			return
		}
		p.run = &Run{Client: Lego, Started: at, First: l, Renewals: []Renewal{{Lineage: name, Result: Begun, At: l}}}
	}
	p.run.Ended, p.run.Last = at, l
	p.said(l, text)
}

// isAbout reports whether a name is one of the certificate that is at work: its first message
// names them all.
func (p *legoLog) isAbout(name string) bool {
	return strings.Contains(p.run.First.Text, name) || !p.run.Finished
}

// legoBegins reports whether a message is the first of a renewal.
func legoBegins(text string) bool {
	for _, word := range []string{"acme: Trying renewal with", "acme: Obtaining ", "The certificate expires ", "acme: renewalInfo endpoint"} {
		if strings.HasPrefix(text, word) {
			return true
		}
	}
	return false
}

// said takes what lego said about the certificate that is at work.
func (p *legoLog) said(l Line, text string) {
	n := &p.run.Renewals[0]
	switch {
	case strings.HasPrefix(text, "Server responded with a certificate"):
		n.Result, n.Stored, n.At, p.run.Finished = Renewed, true, l, true
	case strings.HasSuffix(text, ": no renewal."), strings.HasSuffix(text, "indicates that renewal is not needed"):
		if n.Result == Begun {
			n.Result, n.At, p.run.Finished = NotDue, l, true
		}
	case n.Stored && (exitStatus.MatchString(text) || text == "hook timed out"):
		p.hook(l, text)
	case legoFails(text):
		n.Result, n.At, n.Detail, p.failed, p.run.Finished = Failed, l, said(text), true, true
		n.Cause, n.Until = why(text)
	}
}

// hook takes how the command failed that lego ran with the new certificate; it does not say
// which that was.
func (p *legoLog) hook(l Line, text string) {
	h := Hook{Kind: "deploy", Lineage: p.run.Renewals[0].Lineage, Ended: true, Failed: true, At: l, Result: l, ExitCode: -1}
	if m := exitStatus.FindStringSubmatch(text); m != nil {
		h.ExitCode, _ = strconv.Atoi(m[1])
	}
	p.run.Hooks = append(p.run.Hooks, h)
}

// legoFails reports whether lego ends with a message, because it could not get a certificate.
func legoFails(text string) bool {
	starts := []string{"Could not obtain certificates", "error: one or more domains had a problem", "acme: error:", "Could not create client", "Error while"}
	return slices.ContainsFunc(starts, func(s string) bool { return strings.HasPrefix(text, s) })
}

// more takes a further line of an error.
func (p *legoLog) more(l Line) {
	n := &p.run.Renewals[0]
	text := strings.TrimSpace(l.Text)
	n.Detail = said(n.Detail + " " + text)
	if cause, until := why(text); n.Cause == certmedic.CauseUnknown && cause != certmedic.CauseUnknown {
		l.Text = told(text, maxText)
		n.Cause, n.Until, n.At = cause, until, l
	}
	p.run.Last = Line{File: l.File, Number: l.Number, Text: told(text, maxText)}
}

func (p *legoLog) finish() {
	if p.run != nil {
		p.runs = append(p.runs, *p.run)
	}
	p.run, p.failed = nil, false
}
