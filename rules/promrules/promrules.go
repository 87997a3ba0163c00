package promrules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"cel.dev/cel-go/common/ast"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// Alert is one alerting rule of Prometheus.
type Alert struct {
	Name          string // in Prometheus's usual form, such as CertmedicHookFailed
	Rule          string // whose alert it is, as the label of that name says
	Expr          string // PromQL
	For           time.Duration
	KeepFiringFor time.Duration
	Severity      certmedic.Severity
	Watched       bool   // it is about what is only watched
	Summary       string // a template of Prometheus
	RunbookURL    string // empty where the rule has no runbook
}

// Translation is a rule in PromQL: its alerts, or the reason why there are none.
type Translation struct {
	Rule   string
	When   string   // the CEL condition
	Alerts []Alert  // each covers other subjects, or is a later step of the ladder
	Notes  []string // what the alerts say a little differently
	Reason string   // why the rule has no counterpart; empty where there are alerts
}

// Runbooks is where the runbooks of the shipped rules are published.
const Runbooks = "https://github.com/certmedic/certmedic/blob/main/docs/runbooks/"

// Options say what expressions depend on besides their rules.
type Options struct {
	Interval time.Duration // between two probes of an endpoint; must not be 0
	Runbooks string        // the URL below which runbooks are found, such as "https://host/runbooks/"
}

// Translate says a rule in PromQL.
func Translate(r rules.Rule, o Options) Translation {
	out := Translation{Rule: r.Name, When: r.When}
	known := meanings()
	expression := r.Expression()
	used := variables(expression)
	if r.About == certmedic.AboutFile {
		out.Reason = "files have no series of their own"
		return out
	}
	for _, s := range scopes(r.About, used) {
		t := &translator{s, expression.ReferenceMap(), known, o.Interval}
		holds, err := t.condition(expression.Expr(), true)
		if err != nil {
			out.Alerts, out.Reason = nil, err.Error()
			return out
		}
		if !holds.none {
			out.Alerts = append(out.Alerts, alerts(r, holds.query(s, r.About).text, s, o)...)
		}
	}
	if len(out.Alerts) == 0 {
		out.Reason = "it holds for nothing that has metrics"
	}
	out.Notes = notes(r, used, known)
	return out
}

// variables lists what an expression asks for, each once.
func variables(expression *ast.AST) []string {
	names := map[string]bool{}
	for _, info := range expression.ReferenceMap() {
		if info.Name != "" && info.Value == nil {
			names[info.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// alerts returns the alert of a rule, and one for each step of its ladder that raises the
// severity when the alert has fired for long.
func alerts(r rules.Rule, expr string, s scope, o Options) []Alert {
	a := Alert{
		Name: alertName(r.Name), Rule: r.Name, Expr: expr, For: r.For, KeepFiringFor: r.KeepFiringFor, Severity: r.Severity,
		Watched: s.watched, Summary: summary(r, s),
	}
	switch {
	case strings.Contains(r.Runbook, "://"):
		a.RunbookURL = r.Runbook
	case r.Runbook != "" && o.Runbooks != "":
		a.RunbookURL = o.Runbooks + r.Runbook + ".md"
	}
	all := []Alert{a}
	for _, step := range r.Ladder {
		if !escalates(step) || step.When != "" {
			continue
		}
		later := a
		later.For, later.Severity = r.For+step.After, step.Severity
		all = append(all, later)
	}
	return all
}

func escalates(step certmedic.Step) bool {
	return step.Do == certmedic.StepNotify && step.Severity != ""
}

// notes lists what the alerts of a rule say differently.
func notes(r rules.Rule, used []string, known map[string]meaning) []string {
	var all []string
	for _, name := range used {
		if note := known[name].note; note != "" {
			all = append(all, note)
		}
	}
	for _, step := range r.Ladder {
		if escalates(step) && step.When != "" {
			all = append(all, fmt.Sprintf("that it becomes %s once %s is left out", step.Severity, oneLine(step.When)))
		}
	}
	return all
}

// alertName turns "hook-failed" into "CertmedicHookFailed".
func alertName(rule string) string {
	var b strings.Builder
	b.WriteString("Certmedic")
	for _, word := range strings.FieldsFunc(rule, func(r rune) bool { return r == '-' || r == '_' }) {
		letters := []rune(word)
		letters[0] = unicode.ToUpper(letters[0])
		b.WriteString(string(letters))
	}
	return b.String()
}

// oneLine renders a condition on one line.
func oneLine(when string) string { return strings.Join(strings.Fields(when), " ") }
