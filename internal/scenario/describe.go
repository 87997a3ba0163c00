package scenario

import (
	"fmt"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// describe renders an incident for people.
func describe(in certmedic.Incident) string {
	return fmt.Sprintf("%s %s of %s (%s), because: %s; %d members", in.State, in.Rule, nameOf(in.Subject), in.Severity, in.Reason, len(in.Members))
}

// nameOf returns a subject's name, as stories have it.
func nameOf(s certmedic.Subject) string {
	if s.Kind == certmedic.AboutFleet {
		return "fleet"
	}
	return s.String()
}

// String renders an expected incident as it is written.
func (f alertForm) String() string {
	parts := []string{}
	add := func(key, value string) {
		if value != "" {
			parts = append(parts, key+": "+value)
		}
	}
	add("rule", f.Rule)
	add("subject", f.Subject)
	if f.State != certmedic.StateFiring {
		add("state", string(f.State))
	}
	add("severity", string(f.Severity))
	add("because", f.Because)
	add("summary", f.Summary)
	if f.Members != nil {
		add("members", fmt.Sprint(f.Members.count))
		if f.Members.names != nil {
			parts[len(parts)-1] = "members: [" + strings.Join(f.Members.names, ", ") + "]"
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// String renders a notification for people.
func (n notification) String() string {
	if n.event() {
		return string(n.kind) + " " + n.incident.Subject.Certificate
	}
	return string(n.kind) + " " + n.incident.Rule + " of " + nameOf(n.incident.Subject) + " (" + string(n.incident.Severity) + "): " + n.incident.Summary
}

// String renders an expected notification.
func (f notificationForm) String() string {
	return strings.Join(strings.Fields(fmt.Sprint(f.Kind, " ", f.Rule, " ", f.Subject, " ", f.Severity, " ", strings.Join(f.Contains, ", "))), " ")
}

// String renders an expected action.
func (f wantForm) String() string {
	return strings.Join(strings.Fields(fmt.Sprint(f.Do, " ", f.Certificate, " ", f.Mode)), " ")
}

// mode returns the expected mode: propose is another word for plan.
func (f wantForm) mode() certmedic.Mode {
	if f.Mode == "propose" {
		return certmedic.ModePlan
	}
	return certmedic.Mode(f.Mode)
}

// maxLines bounds how much of a list is shown.
const maxLines = 20

// list renders items below each other.
func list[T any](items []T, render func(T) string) string {
	var b strings.Builder
	for i, item := range items {
		if i == maxLines {
			fmt.Fprintf(&b, "\n  and %d more", len(items)-i)
			break
		}
		b.WriteString("\n  " + strings.ReplaceAll(render(item), "\n", "\n  "))
	}
	if len(items) == 0 {
		return " nothing"
	}
	return b.String()
}

// when renders a virtual time, with how long after the start it is.
func when(t time.Time, after time.Duration) string {
	return t.UTC().Format("2006-01-02 15:04:05") + " (+" + days(after) + ")"
}

// days renders a duration with days, such as 20d5m.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	whole, rest := d/day, (d % day).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(rest, zero) {
			rest = rest[:len(rest)-2]
		}
	}
	switch {
	case whole == 0:
		return rest
	case d%day == 0:
		return fmt.Sprintf("%dd", whole)
	}
	return fmt.Sprintf("%dd%s", whole, rest)
}
