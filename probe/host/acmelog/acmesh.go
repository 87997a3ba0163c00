package acmelog

import (
	"regexp"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// acmeshLine is a line of acme.sh: its date in brackets, as date(1) writes it where it runs,
// which is of a form that is known only in some languages.
var acmeshLine = regexp.MustCompile(`\[([^\]]{8,60}\d\d:\d\d:\d\d[^\]]{0,24})\] (.*)$`)

// acmeshDates are the forms of date(1) in English, and acme.sh's own.
var acmeshDates = []string{"Mon Jan _2 15:04:05 MST 2006", "Mon _2 Jan 15:04:05 MST 2006", "Mon _2 Jan 2006 03:04:05 PM MST", "Mon Jan _2 03:04:05 PM MST 2006", "2006-01-02T15:04:05-07:00"}

// acmeshRuns returns the runs in a log of acme.sh, as its option --log, a journal or cron keep it.
func acmeshRuns(file string, data []byte, before int) []Run {
	p := &acmeshLog{file: file}
	number := before
	for line := range strings.Lines(strings.ToValidUTF8(string(data), "\uFFFD")) {
		number++
		line = strings.TrimRight(line[:min(len(line), maxMessage)], "\r\n")
		if m := acmeshLine.FindStringSubmatch(line); m != nil {
			p.take(Line{File: file, Number: number, Text: told(line, maxText)}, m[1], plain(m[2]))
		}
	}
	p.finish()
	return p.runs
}

// plain takes away the colours that acme.sh puts around what it is proud of.
func plain(text string) string { return strings.TrimSpace(told(text, maxOutput)) }

// acmeshLog is what is known at one place of a log of acme.sh.
type acmeshLog struct {
	file string
	runs []Run
	run  *Run
	cron bool // it began as one that looks at all certificates
}

func (p *acmeshLog) take(l Line, date, text string) {
	name, begins := acmeshBegins(text)
	starts := text == "===Starting cron==="
	if starts || begins && p.run != nil && !p.cron && name != p.name() {
		p.finish()
	}
	if p.run == nil {
		if !starts && !begins {
			return
		}
		p.run, p.cron = &Run{Client: ACMESh, First: l, Started: acmeshTime(date)}, starts
	}
	p.run.Last, p.run.Ended = l, acmeshTime(date)
	if begins && name != p.name() {
		p.run.Renewals = append(p.run.Renewals, Renewal{Lineage: name, Result: Begun, At: l})
	}
	if text == "===End cron===" {
		p.run.Finished = true
		p.finish()
		return
	}
	if len(p.run.Renewals) > 0 {
		p.said(&p.run.Renewals[len(p.run.Renewals)-1], l, text)
	}
}

// name returns the certificate that is at work, empty where none is.
func (p *acmeshLog) name() string {
	if p.run == nil || len(p.run.Renewals) == 0 {
		return ""
	}
	return p.run.Renewals[len(p.run.Renewals)-1].Lineage
}

// acmeshBegins reports whether a message begins a certificate, and which.
func acmeshBegins(text string) (string, bool) {
	for _, word := range []string{"Renew: '", "Renewing: '", "Single domain='", "Main_domain='"} {
		if rest, ok := strings.CutPrefix(text, word); ok {
			name, _, _ := strings.Cut(rest, "'")
			return name, name != ""
		}
	}
	return "", false
}

// acmeshFailures are how it begins to say that it failed.
var acmeshFailures = []string{
	"Create new order error", "Could not get nonce", "Cannot init API", "Can not init api", "Error, can not get domain token entry",
	"Error adding TXT record to domain", "Error add txt for domain", "Sign failed", "Signing failed", "Please refer to https://curl.haxx.se",
	"Please refer to https://www.gnu.org/software/wget", "Error renewing ", "Error renew ", "new-authz error", "It seems the CA server is busy",
}

// said takes what acme.sh said about the certificate that is at work.
func (p *acmeshLog) said(n *Renewal, l Line, text string) {
	lower := strings.ToLower(text)
	switch {
	case strings.HasPrefix(text, "Skip, Next renewal time is"), strings.HasPrefix(text, "Skipping. Next renewal time is"):
		n.Result, n.At = NotDue, l
		p.run.Finished = p.run.Finished || !p.cron
	case strings.HasPrefix(lower, "cert success"):
		n.Result, n.Stored, n.At = Renewed, true, l
		p.run.Finished = p.run.Finished || !p.cron
	case strings.HasPrefix(text, "Run reload cmd: "), strings.HasPrefix(text, "Running reload cmd: "), strings.HasPrefix(text, "Run Le_ReloadCmd: "):
		_, command, _ := strings.Cut(text, ": ")
		p.run.Hooks = append(p.run.Hooks, Hook{Kind: "reload", Command: command, Lineage: n.Lineage, At: l})
	case strings.HasPrefix(lower, "reload success"):
		p.reloaded(l, false)
	case strings.HasPrefix(lower, "reload error for"):
		p.reloaded(l, true)
	default:
		p.fails(n, l, text)
	}
}

// reloaded notes how the reload ended that was started last. Its exit code is not told.
func (p *acmeshLog) reloaded(l Line, failed bool) {
	if n := len(p.run.Hooks); n > 0 {
		h := &p.run.Hooks[n-1]
		h.Ended, h.Failed = true, failed
		if failed {
			h.ExitCode, h.Result = -1, l
		}
	}
}

// fails takes why a certificate was not renewed: the first that is known of, else the first.
func (p *acmeshLog) fails(n *Renewal, l Line, text string) {
	detail := ""
	for _, mark := range []string{":Verify error:", ":Verify error detail:", ": Verification error details:", ":Challenge error:", ":Verification error:"} {
		if _, rest, ok := strings.Cut(text, mark); ok {
			detail = rest
		}
	}
	for _, word := range acmeshFailures {
		if strings.HasPrefix(text, word) {
			detail = text
		}
	}
	if detail == "" {
		return
	}
	cause, until := why(detail)
	if cause == certmedic.CauseUnknown && detail != text {
		cause = verification(strings.ToLower(detail))
	}
	if n.Result != Failed || n.Cause == certmedic.CauseUnknown && cause != certmedic.CauseUnknown {
		n.Result, n.Cause, n.Until, n.Detail, n.At = Failed, cause, until, said(detail), l
	}
	p.run.Finished = p.run.Finished || !p.cron
}

// verification tells apart what acme.sh quotes of the CA without its type.
func verification(lower string) certmedic.Cause {
	switch {
	case strings.Contains(lower, "invalid response from"):
		return ofRefusal("unauthorized", lower)
	case strings.Contains(lower, "nxdomain"), strings.Contains(lower, "servfail"), strings.Contains(lower, "dns problem"), strings.Contains(lower, "no valid ip addresses"):
		return certmedic.CauseDNSFailed
	case strings.Contains(lower, "caa record"):
		return certmedic.CauseCAAForbids
	case strings.Contains(lower, "connection refused"), strings.Contains(lower, "timeout"):
		return ofConnection(lower)
	case strings.Contains(lower, "txt record"):
		return certmedic.CauseChallengeUnauthorized
	}
	return certmedic.CauseUnknown
}

// acmeshTime reads a date; zero where its form is not known.
func acmeshTime(date string) time.Time {
	for _, layout := range acmeshDates {
		if t, err := time.ParseInLocation(layout, strings.TrimSpace(date), time.Local); err == nil {
			return t
		}
	}
	return time.Time{}
}

func (p *acmeshLog) finish() {
	if p.run != nil {
		p.runs = append(p.runs, *p.run)
	}
	p.run, p.cron = nil, false
}
