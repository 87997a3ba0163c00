package rules

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/certmedic/certmedic"
)

// Rule is one compiled rule.
type Rule struct {
	File          string // where it stands
	Line          int
	Name          string
	About         certmedic.SubjectKind
	When          string // the CEL condition as written, or what its named conditions stand for
	For           time.Duration
	KeepFiringFor time.Duration
	Severity      certmedic.Severity
	Summary       string // a text/template, see [SummaryData]
	Runbook       string
	Ladder        []certmedic.Step // at least one step
	Unexplained   bool             // what keeps a version on its way is not why it holds: no diagnosis is asked for

	condition *condition
	whens     []*condition // of the steps of the ladder, in its order; nil for one without
	summary   *template.Template
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
// The error names every rule that does not exist, and every step that cannot be.
func Adjusted(rules []Rule, adjust map[string]Adjust) ([]Rule, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(adjust)) {
		if !slices.ContainsFunc(rules, func(r Rule) bool { return r.Name == name }) {
			errs = append(errs, fmt.Errorf("adjusting rule %q: there is no such rule", name))
		}
	}
	var out []Rule
	for _, r := range rules {
		a := adjust[r.Name]
		if a.Disabled {
			continue
		}
		for _, err := range r.adjust(a) {
			errs = append(errs, fmt.Errorf("adjusting rule %q: %w", r.Name, err))
		}
		out = append(out, r)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

func (r *Rule) adjust(a Adjust) []error {
	if a.For != nil {
		r.For = *a.For
	}
	if a.KeepFiringFor != nil {
		r.KeepFiringFor = *a.KeepFiringFor
	}
	if r.For < 0 || r.For > maxWait || r.KeepFiringFor < 0 || r.KeepFiringFor > maxWait {
		return []error{errors.New("for and keep_firing_for lie between 0 and 366 days")}
	}
	r.Severity = cmp.Or(a.Severity, r.Severity)
	r.Runbook = cmp.Or(a.Runbook, r.Runbook)
	if len(a.Ladder) == 0 {
		return nil
	}
	return r.replaceLadder(a.Ladder)
}

// replaceLadder gives the rule another ladder.
func (r *Rule) replaceLadder(ladder []certmedic.Step) []error {
	if len(ladder) > maxSteps {
		return []error{fmt.Errorf("the ladder has %d steps, it may have %d", len(ladder), maxSteps)}
	}
	var errs []error
	whens := make([]*condition, len(ladder))
	for i, step := range ladder {
		if why := badStep(step, ladder[:i]); why != "" {
			errs = append(errs, fmt.Errorf("step %d (%s): %s", i+1, step.Do, why))
		}
		if step.When == "" {
			continue
		}
		if why := badLength(step.When); why != "" {
			errs = append(errs, fmt.Errorf("step %d (%s): %s", i+1, step.Do, why))
			continue
		}
		var problems []*conditionError
		whens[i], problems = compile(step.When, r.About)
		for _, p := range problems {
			errs = append(errs, fmt.Errorf("step %d (%s): %s\n%s", i+1, step.Do, p.Message, p.excerpt(step.When)))
		}
	}
	r.Ladder, r.whens = slices.Clone(ladder), whens
	return errs
}

// excerpt shows where in the text of a condition the problem is.
func (e *conditionError) excerpt(when string) string {
	lines := strings.Split(when, "\n")
	return excerpt(lines[min(max(e.Line, 1), len(lines))-1], e.Column)
}
