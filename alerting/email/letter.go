package email

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/internal/redact"
)

const maxLines = 2000 // of a list; no message is cut below it

// letter is what a message says, before it becomes text or HTML.
type letter struct {
	Subject  string
	Sections []section
	Foot     []row
}

// section is about one event, or one of the incidents that are still open.
type section struct {
	Title string
	Color string // of its border, for HTML
	Rows  []row
}

// row is a name with one line or several.
type row struct {
	Name  string
	Lines []string
	Link  string // where the only line leads; empty: nowhere
	Fixed bool   // what commands wrote
}

func (n *Notifier) letterOf(notification alerting.Notification) letter {
	l := letter{Subject: subject(notification, headline(notification))}
	said := map[string]bool{}
	for _, e := range notification.Events {
		said[e.Incident.ID] = true
		l.Sections = append(l.Sections, section{Title: title(e), Color: color(e), Rows: n.rowsOf(e)})
	}
	if also := alsoOpen(notification, said); len(also) > 0 {
		l.Sections = append(l.Sections, section{Title: "Still open", Color: color(notification.Open[0]), Rows: []row{{Lines: also}}})
	}
	if ack := notification.Ack; ack != nil {
		l.Foot = append(l.Foot, row{Name: "looked after by", Lines: []string{ack.By + " since " + clock(ack.At)}})
	}
	l.Foot = append(l.Foot, row{Name: "conversation", Lines: []string{notification.Conversation}})
	if n.config.BaseURL != "" {
		l.Foot = append(l.Foot, row{Name: "certmedic", Lines: []string{n.config.BaseURL}, Link: n.config.BaseURL})
	}
	return l
}

// headline is the event that a message is named after: the worst that fires, or the first.
func headline(n alerting.Notification) alerting.Event {
	if n.Status == alerting.StatusFiring && len(n.Open) > 0 && aboutIncidents(n.Events) {
		return n.Open[0]
	}
	return n.Events[0]
}

func aboutIncidents(events []alerting.Event) bool {
	return slices.ContainsFunc(events, func(e alerting.Event) bool { return e.Incident.ID != "" })
}

// subject returns the subject of a message: one line, whatever is in the event.
func subject(n alerting.Notification, e alerting.Event) string {
	state := strings.ToUpper(strings.ReplaceAll(string(e.Kind), "_", " "))
	if e.Kind == alerting.KindUpdate || e.Kind == alerting.KindResolved && n.Status == alerting.StatusFiring {
		state = "FIRING" // something of the conversation still does
	}
	text := "[" + state + "] "
	if e.Drill {
		text = "[DRILL] " + text
	}
	if state == "FIRING" {
		text += string(e.Severity) + ": "
	}
	if name := e.Certificate.Name; name != "" && !strings.Contains(e.Incident.Summary, name) {
		text += name + ": "
	}
	return header(text + e.Incident.Summary)
}

// header returns a text as that of a header: one line of bounded length, in which nothing is an
// encoded word (RFC 2047), which mail programs would show as what it stands for.
func header(text string) string {
	text = strings.ReplaceAll(body.Line(redact.Plain(text)), "=?", "= ?")
	return redact.Truncate(text, maxSubject)
}

// title is the first line about an event.
func title(e alerting.Event) string {
	text := string(e.Severity) + ": " + e.Incident.Summary
	switch {
	case e.Kind == alerting.KindResolved:
		text = "resolved: " + e.Incident.Summary
	case e.Kind == alerting.KindAcknowledged, e.Kind == alerting.KindUnacknowledged:
		text = string(e.Kind) + ": " + e.Incident.Summary
	case e.Kind.News(), e.Kind == alerting.KindHeartbeat:
		text = e.Incident.Summary
	}
	if e.Drill {
		text = "DRILL, nothing is wrong: " + text
	}
	return body.Line(text)
}

func color(e alerting.Event) string {
	switch {
	case e.Kind != alerting.KindFiring && e.Kind != alerting.KindUpdate:
		return "#2e7d32"
	case e.Severity == certmedic.SeverityCritical, e.Severity == certmedic.SeverityUnknown:
		return "#c62828"
	case e.Severity == certmedic.SeverityWarning:
		return "#ef6c00"
	default:
		return "#1565c0"
	}
}

// rowsOf says everything that is known about an event.
func (n *Notifier) rowsOf(e alerting.Event) []row {
	in, c := e.Incident, e.Certificate
	rows := []row{
		{Name: "not delivered", Lines: lines(e.Undelivered)},
		{Name: "because", Lines: lines(in.Reason)},
		{Name: "cause", Lines: lines(in.CauseText())},
		{Name: "fix", Lines: lines(in.Fix), Fixed: true},
	}
	if c.Name != "" {
		rows = append(rows, row{Name: "certificate", Lines: []string{c.Name}}, row{Name: "names", Lines: c.Domains})
	}
	if days, ok := c.DaysLeft(e.Time); ok {
		rows = append(rows, row{Name: "valid until", Lines: []string{fmt.Sprintf("%s (%s)", clock(c.NotAfter), left(days))}})
	}
	rows = append(rows,
		row{Name: "stage", Lines: lines(string(c.Stage))},
		row{Name: "issuer", Lines: lines(c.Issuer)},
		row{Name: "serial", Lines: lines(c.Serial)},
		row{Name: fmt.Sprintf("affected (%d)", len(in.Members)), Lines: some(in.Members)},
	)
	var evidence []string
	for _, ev := range in.Evidence {
		evidence = append(evidence, ev.Source+": "+ev.Line)
	}
	rows = append(rows, row{Name: "evidence", Lines: some(evidence), Fixed: true}, row{Name: "next", Lines: lines(in.NextStep)})
	if e.Approval != nil {
		rows = append(rows, row{Name: "to approve", Lines: lines(e.Approval.Summary + " (certmedic approve " + e.Approval.ID + ")")})
	}
	if address := body.Runbook(n.config.RunbookURL, in.Runbook); address != "" {
		rows = append(rows, row{Name: "runbook", Lines: []string{address}, Link: address})
	}
	return slices.DeleteFunc(rows, func(r row) bool { return len(r.Lines) == 0 })
}

func alsoOpen(n alerting.Notification, said map[string]bool) []string {
	var all []string
	for _, e := range n.Open {
		if !said[e.Incident.ID] {
			all = append(all, title(e))
		}
	}
	return some(all)
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// some bounds a list and says how much is left out.
func some(all []string) []string {
	if len(all) <= maxLines {
		return all
	}
	return append(slices.Clone(all[:maxLines]), fmt.Sprintf("and %d more", len(all)-maxLines))
}

func left(days int) string {
	switch {
	case days < 0:
		return fmt.Sprintf("expired, %d days ago", -days)
	case days == 1:
		return "1 day left"
	default:
		return fmt.Sprintf("%d days left", days)
	}
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// text returns the letter for people who read text.
func (l letter) text() string {
	var out strings.Builder
	for _, s := range l.Sections {
		fmt.Fprintf(&out, "%s\n%s\n\n", s.Title, strings.Repeat("-", min(72, len([]rune(s.Title)))))
		writeRows(&out, s.Rows)
		out.WriteString("\n")
	}
	writeRows(&out, l.Foot)
	return out.String()
}

func writeRows(out *strings.Builder, rows []row) {
	for _, r := range rows {
		if len(r.Lines) == 1 && r.Name != "" {
			fmt.Fprintf(out, "%-16s %s\n", r.Name+":", r.Lines[0])
			continue
		}
		if r.Name != "" {
			fmt.Fprintf(out, "%s:\n", r.Name)
		}
		for _, line := range r.Lines {
			fmt.Fprintf(out, "    %s\n", line)
		}
	}
}

// page is the HTML of a letter. Mail programs take styles at the elements alone.
var page = template.Must(template.New("letter").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Subject}}</title></head>
<body style="font-family: sans-serif; font-size: 14px; color: #212121">
{{- range .Sections}}
<div style="border-left: 4px solid {{.Color}}; padding-left: 12px; margin-bottom: 20px">
<h2 style="font-size: 16px; margin: 0 0 8px">{{.Title}}</h2>
{{template "rows" .Rows}}
</div>
{{- end}}
<div style="color: #616161; font-size: 12px">{{template "rows" .Foot}}</div>
</body></html>
{{define "rows"}}<table style="border-collapse: collapse">
{{- range .}}
<tr><th style="text-align: left; vertical-align: top; padding: 2px 16px 2px 0; font-weight: normal; color: #616161">{{.Name}}</th><td style="padding: 2px 0">
{{- if .Link}}<a href="{{.Link}}">{{index .Lines 0}}</a>{{else}}{{$fixed := .Fixed}}{{range .Lines}}<div{{if $fixed}} style="font-family: monospace; white-space: pre-wrap"{{end}}>{{.}}</div>{{end}}{{end}}</td></tr>
{{- end}}
</table>{{end}}`))

func (l letter) html() (string, error) {
	var out strings.Builder
	err := page.Execute(&out, l)
	return out.String(), err
}
