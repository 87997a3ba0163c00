package syslog

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/internal/redact"
)

// The most characters of the fields of a record (RFC 5424, section 6).
const (
	maxHost = 255
	maxTag  = 48
)

// dataID names our structured data. 32473 is the number that RFC 5612 sets aside for those who
// have none of their own.
const dataID = "certmedic@32473"

const (
	valueRunes = 300 // of a value of structured data
	maxMembers = 20  // that are named in a record
)

// pair is a value of structured data with its name.
type pair struct{ name, value string }

// record writes an event as one line.
func (n *Notifier) record(notification alerting.Notification, e alerting.Event) string {
	priority := n.facility*8 + level(e)
	text := body.Line(redact.Plain(message(e)))
	pairs := n.pairs(body.Of(notification, e))
	most := maxRecord
	if n.config.Network == UDP || n.config.Network == Local {
		most = maxDatagram
	}
	if n.config.Network == Local {
		var values strings.Builder
		for _, p := range pairs {
			fmt.Fprintf(&values, " %s=%q", p.name, p.value)
		}
		head := fmt.Sprintf("<%d>%s %s[%d]: ", priority, e.Time.Local().Format(time.Stamp), n.config.Tag, n.pid)
		return bounded(head+text+values.String(), most)
	}
	head := fmt.Sprintf("<%d>1 %s %s %s %d %s ", priority, timestamp(e.Time), cmp.Or(n.hostname, "-"), n.config.Tag, n.pid, e.Kind)
	// What is left out is a value at the end of the structured data, never a part of its form.
	data := structured(pairs, most-len(head)-min(len(text), most/4)-1)
	return bounded(head+data+" "+text, most)
}

// pairs says in short what the body says.
func (n *Notifier) pairs(b body.Body) []pair {
	days := ""
	if b.DaysLeft != nil {
		days = strconv.Itoa(*b.DaysLeft)
	}
	all := []pair{
		{"certificate", b.Certificate},
		{"severity", string(b.Severity)},
		{"status", string(b.Status)},
		{"rule", b.Rule},
		{"incident", b.Incident},
		{"dedup_key", b.DedupKey},
		{"reason", b.Reason},
		{"cause", b.CauseText()},
		{"days_left", days},
		{"stage", string(b.Stage)},
		{"sha256", string(b.SHA256)},
		{"issuer", b.Issuer},
		{"serial", b.Serial},
		{"next_step", b.NextStep},
		{"acknowledged_by", b.AcknowledgedBy},
		{"undelivered", b.Undelivered},
		{"runbook", cmp.Or(body.Runbook(n.config.RunbookURL, b.Runbook), b.Runbook)},
	}
	if b.Drill {
		all = append([]pair{{"drill", "true"}}, all...)
	}
	for _, member := range b.Members[:min(len(b.Members), maxMembers)] {
		all = append(all, pair{"member", member})
	}
	if more := len(b.Members) - maxMembers; more > 0 {
		all = append(all, pair{"more_members", strconv.Itoa(more)})
	}
	for line := range strings.Lines(b.Fix) { // one in a line, so that none becomes part of a comment
		all = append(all, pair{"fix", line})
	}
	for _, ev := range b.Evidence {
		all = append(all, pair{"evidence", ev.Source + ": " + ev.Line})
	}
	var known []pair
	for _, p := range all {
		if p.value = redact.Truncate(body.Line(redact.Plain(p.value)), valueRunes); p.value != "" {
			known = append(known, p)
		}
	}
	return known
}

// structured writes as many pairs as fit into so many bytes.
func structured(pairs []pair, most int) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`) // RFC 5424, section 6.3.3
	var out strings.Builder
	out.WriteString("[" + dataID)
	for _, p := range pairs {
		text := " " + p.name + `="` + escape.Replace(p.value) + `"`
		if out.Len()+len(text)+1 > most {
			break
		}
		out.WriteString(text)
	}
	out.WriteString("]")
	return out.String()
}

// message is the text for people.
func message(e alerting.Event) string {
	text := string(e.Kind) + ": "
	if name := e.Certificate.Name; name != "" && !strings.Contains(e.Incident.Summary, name) {
		text += name + ": "
	}
	text += e.Incident.Summary
	if e.Drill {
		text = "DRILL: " + text
	}
	return text
}

// level is the severity of a record (RFC 5424, section 6.2.1).
func level(e alerting.Event) int {
	const critical, failed, warning, notice, info = 2, 3, 4, 5, 6
	switch {
	case e.Kind == alerting.KindHeartbeat:
		return info
	case e.Kind != alerting.KindFiring && e.Kind != alerting.KindUpdate:
		return notice
	case e.Severity == certmedic.SeverityCritical:
		return critical
	case e.Severity == certmedic.SeverityUnknown:
		return failed
	case e.Severity == certmedic.SeverityWarning:
		return warning
	default:
		return info
	}
}

func timestamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// token returns the printable characters of a text as a field that ends at a blank.
func token(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, text)
	return text[:min(len(text), most)]
}

// bounded cuts a record between two characters.
func bounded(record string, most int) string {
	if len(record) <= most {
		return record
	}
	for most > 0 && !utf8.RuneStart(record[most]) {
		most--
	}
	return record[:most]
}
