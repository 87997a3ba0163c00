package rules

import (
	"errors"
	"fmt"
	"strings"
	"text/template"

	"github.com/certmedic/certmedic"
)

// maxRendered is the most bytes that a summary may become.
const maxRendered = 16 << 10

// SummaryData is what a rule's summary may use.
type SummaryData struct {
	Subject     string
	Certificate string
	Labels      map[string]string
	Members     []string
	Reason      string
	ExpiresIn   string // of what is served soonest, such as "40 h"; empty where not known, or ended
	Stage       certmedic.Stage
	Approval    string // the plan that waits for a person: what, its ID and until when; empty where none does
}

// parseSummary reads the template of a rule's summary and tries it, once with all that it
// may use and once without any of it: one that cannot be rendered is an error. Labels that
// are not there render as nothing.
func parseSummary(rule, text string) (*template.Template, error) {
	if strings.TrimSpace(text) == "" {
		text = rule + ": {{.Subject}}"
	}
	t, err := template.New("summary").Option("missingkey=zero").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading the %s", strings.TrimPrefix(err.Error(), "template: "))
	}
	if err := checkShape(t); err != nil {
		return nil, err
	}
	full := SummaryData{
		Subject: "shop.example.com:443", Certificate: "shop", Labels: map[string]string{"team": "payments"},
		Members: []string{"192.0.2.1:443"}, Reason: "expired", ExpiresIn: "40 h", Stage: certmedic.StageStored,
		Approval: "redeploy, plan bodig-rusam, until 2026-03-02T12:00:00Z",
	}
	for _, data := range []SummaryData{full, {}} {
		if _, err := execute(t, data); err != nil {
			return nil, fmt.Errorf("rendering the %s", strings.TrimPrefix(err.Error(), "template: "))
		}
	}
	return t, nil
}

// summarize renders the rule's summary; a template that cannot be rendered falls back to
// the rule's name, so that a bad summary never silences an alert.
func (r *Rule) summarize(data SummaryData) string {
	text, err := execute(r.summary, data)
	if err != nil {
		return r.Name + ": " + data.Subject
	}
	return text
}

// Summarize renders the rule's summary, for those who want to see what it would say.
func (r Rule) Summarize(data SummaryData) string { return r.summarize(data) }

func execute(t *template.Template, data SummaryData) (string, error) {
	var b bounded
	if err := t.Execute(&b, data); err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// bounded keeps what is written to it, up to a limit.
type bounded []byte

// Write implements [io.Writer].
func (b *bounded) Write(p []byte) (int, error) {
	if len(*b)+len(p) > maxRendered {
		return 0, errors.New("it becomes too long")
	}
	*b = append(*b, p...)
	return len(p), nil
}
