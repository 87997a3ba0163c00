package rules

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/certmedic/certmedic"
)

// Rule is one compiled rule.
type Rule struct {
	Name          string
	About         certmedic.SubjectKind
	When          string // the CEL condition as written
	For           time.Duration
	KeepFiringFor time.Duration
	Severity      certmedic.Severity
	Summary       string // a text/template, see [SummaryData]
	Runbook       string
	Ladder        []certmedic.Step // at least one step

	condition *condition
	summary   *template.Template
}

// SummaryData is what a rule's summary may use.
type SummaryData struct {
	Subject     string
	Certificate string
	Labels      map[string]string
	Members     []string
	Reason      string
	ExpiresIn   string // of what is served soonest, such as "40 h"; empty where not known
	Stage       certmedic.Stage
}

// Adjust changes a rule without rewriting it. Zero fields change nothing.
type Adjust struct {
	For           *time.Duration
	KeepFiringFor *time.Duration
	Severity      certmedic.Severity
	Runbook       string
	Disabled      bool
	Ladder        []certmedic.Step // in place of the rule's own
}

// Adjusted returns the rules with the adjustments made, those that were disabled left out.
// An adjustment of a rule that does not exist is an error that names it.
func Adjusted(rules []Rule, adjust map[string]Adjust) ([]Rule, error) {
	for name := range adjust {
		if !slices.ContainsFunc(rules, func(r Rule) bool { return r.Name == name }) {
			return nil, fmt.Errorf("adjusting rule %q: there is no such rule", name)
		}
	}
	var out []Rule
	for _, r := range rules {
		a := adjust[r.Name]
		if a.Disabled {
			continue
		}
		if a.For != nil {
			r.For = *a.For
		}
		if a.KeepFiringFor != nil {
			r.KeepFiringFor = *a.KeepFiringFor
		}
		if a.Severity != "" {
			r.Severity = a.Severity
		}
		if a.Runbook != "" {
			r.Runbook = a.Runbook
		}
		if len(a.Ladder) > 0 {
			r.Ladder = a.Ladder
		}
		out = append(out, r)
	}
	return out, nil
}

// summarize renders the rule's summary; a template that cannot be rendered falls back to
// the rule's name, so that a bad summary never silences an alert.
func (r *Rule) summarize(data SummaryData) string {
	var b bytes.Buffer
	if err := r.summary.Execute(&b, data); err != nil {
		return r.Name + ": " + data.Subject
	}
	return strings.TrimSpace(b.String())
}
