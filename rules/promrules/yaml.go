package promrules

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/common/model"
)

// preface begins every file.
const preface = `# Alerts of Prometheus that say what certmedic's own rules say. Made by "certmedic rules export":
# export again instead of editing.
#
# A rule has an alert for certificates, and another (with the label watched) for what is only watched,
# which has no name but that of its endpoint. One that becomes more severe with time has a further alert
# of the same name: let Alertmanager inhibit the milder one.
#
# They differ where something cannot be seen: certmedic then neither raises nor ends an alert, Prometheus
# ends it. certmedic keeps an alert that flaps open for longer, Prometheus does not. What is wrong with the
# chain of a certificate without endpoints is left to the rules about what is stored. That certmedic itself
# is gone no rule here can tell: alert on up == 0 of its job as well.
`

// Write writes the translations as a file of rules for Prometheus 2.42 or later, in their
// order. Rules without a counterpart are comments, with the reason.
func Write(w io.Writer, all []Translation) error {
	var b strings.Builder
	b.WriteString(preface + "groups:\n  - name: certmedic\n    rules:\n")
	found := false
	for _, t := range all {
		fmt.Fprintf(&b, "\n      # %s: %s\n", t.Rule, comment(t.When))
		if t.Reason != "" {
			fmt.Fprintf(&b, "      # It has no counterpart: %s.\n", comment(t.Reason))
		}
		for _, note := range t.Notes {
			fmt.Fprintf(&b, "      # Differently: %s.\n", comment(note))
		}
		for _, a := range t.Alerts {
			found = true
			b.WriteString(a.yaml())
		}
	}
	text := b.String()
	if !found {
		text = strings.Replace(text, "    rules:\n", "    rules: []\n", 1)
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("writing the rules: %w", err)
	}
	return nil
}

// comment puts a text on one line, without what could end the comment.
func comment(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, oneLine(text))
}

// yaml renders an alert as an item of a group's list.
func (a Alert) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "      - alert: %s\n        expr: |-\n", a.Name)
	for line := range strings.Lines(a.Expr) {
		fmt.Fprintf(&b, "          %s\n", strings.TrimSuffix(line, "\n"))
	}
	if a.For > 0 {
		fmt.Fprintf(&b, "        for: %s\n", model.Duration(a.For))
	}
	if a.KeepFiringFor > 0 {
		fmt.Fprintf(&b, "        keep_firing_for: %s\n", model.Duration(a.KeepFiringFor))
	}
	watched := ""
	if a.Watched {
		watched = `, watched: "true"`
	}
	fmt.Fprintf(&b, "        labels: {rule: %s, severity: %s%s}\n        annotations:\n          summary: %s\n", a.Rule, a.Severity, watched, quote(a.Summary))
	if a.RunbookURL != "" {
		fmt.Fprintf(&b, "          runbook_url: %s\n", quote(a.RunbookURL))
	}
	return b.String()
}

// quote renders a string for YAML, which takes JSON's.
func quote(text string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}
