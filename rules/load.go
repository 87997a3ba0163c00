package rules

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/certmedic/certmedic"
)

// DeployGrace stands in a rule's `for` for the configured grace of a deployment.
const DeployGrace = "deploy_grace"

// maxExpression bounds a condition, so that a rule file cannot hold one that takes
// for ever to check.
const maxExpression = 4096

// Problem is one thing that is wrong with a rule file, with its place.
type Problem struct {
	File         string
	Line, Column int
	Message      string
}

// Error returns "file:line:column: message".
func (p *Problem) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// document is the form of a rule file.
type document struct {
	Rules []ruleYAML `yaml:"rules"`
}

type ruleYAML struct {
	Name          string     `yaml:"name"`
	About         string     `yaml:"about"`
	When          string     `yaml:"when"`
	For           string     `yaml:"for"`
	KeepFiringFor string     `yaml:"keep_firing_for"`
	Severity      string     `yaml:"severity"`
	Summary       string     `yaml:"summary"`
	Runbook       string     `yaml:"runbook"`
	Ladder        []stepYAML `yaml:"ladder"`
}

type stepYAML struct {
	Do       string `yaml:"do"`
	After    string `yaml:"after"`
	Severity string `yaml:"severity"`
}

// Load reads the rules of one file and compiles them. The error joins every [Problem]
// that was found, not only the first.
func Load(file string, data []byte, deployGrace time.Duration) ([]Rule, error) {
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, yamlProblem(file, err)
	}
	docs := 0
	for _, d := range parsed.Docs {
		if d.Body == nil {
			continue
		}
		if docs++; docs > 1 {
			at := d.Body.GetToken().Position
			return nil, &Problem{file, at.Line, at.Column, "a second document: one file holds one document"}
		}
	}
	var doc document
	if err := yaml.NewDecoder(strings.NewReader(string(data)), yaml.Strict()).Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, yamlProblem(file, err)
	}
	l := loader{file: file, parsed: parsed, grace: deployGrace, seen: map[string]bool{}}
	rules := make([]Rule, 0, len(doc.Rules))
	for i, y := range doc.Rules {
		rules = append(rules, l.rule(i, y))
	}
	return rules, errors.Join(l.problems...)
}

// loader turns decoded rules into compiled ones and gathers what is wrong with them.
type loader struct {
	file     string
	parsed   *ast.File
	grace    time.Duration
	seen     map[string]bool
	problems []error
}

// problem records what is wrong with the value at a path such as "$.rules[0].when",
// down and right of where it begins.
func (l *loader) problem(path string, down, right int, format string, args ...any) {
	line, column := 1, 1
	if p, err := yaml.PathString(path); err == nil {
		if node, err := p.FilterFile(l.parsed); err == nil && node != nil {
			at := node.GetToken().Position
			line, column = at.Line+down, at.Column+right
		}
	}
	l.problems = append(l.problems, &Problem{l.file, line, column, fmt.Sprintf(format, args...)})
}

func (l *loader) rule(i int, y ruleYAML) Rule {
	at := func(key string) string { return fmt.Sprintf("$.rules[%d].%s", i, key) }
	whole := fmt.Sprintf("$.rules[%d]", i)
	r := Rule{
		Name: y.Name, About: certmedic.SubjectKind(y.About), When: y.When,
		Severity: certmedic.Severity(y.Severity), Summary: y.Summary, Runbook: y.Runbook,
	}
	switch {
	case r.Name == "":
		l.problem(whole, 0, 0, "a rule without a name")
	case l.seen[r.Name]:
		l.problem(at("name"), 0, 0, "a second rule named %q", r.Name)
	}
	l.seen[r.Name] = true
	switch r.About {
	case certmedic.AboutCertificate, certmedic.AboutEndpoint, certmedic.AboutAddress, certmedic.AboutFile, certmedic.AboutFleet:
	default:
		l.problem(whole, 0, 0, "rule %q: about must be certificate, endpoint, address, file or fleet, not %q", r.Name, y.About)
		return r
	}
	if !validSeverity(r.Severity) {
		l.problem(whole, 0, 0, "rule %q: severity must be info, warning or critical, not %q", r.Name, y.Severity)
	}
	r.For = l.duration(at("for"), y.For)
	r.KeepFiringFor = l.duration(at("keep_firing_for"), y.KeepFiringFor)
	r.Ladder = l.ladder(at("ladder"), y.Ladder)
	l.compile(whole, at("when"), &r)
	l.template(at("summary"), &r)
	return r
}

func (l *loader) compile(whole, at string, r *Rule) {
	switch {
	case strings.TrimSpace(r.When) == "":
		l.problem(whole, 0, 0, "rule %q: it has no `when`", r.Name)
		return
	case len(r.When) > maxExpression:
		l.problem(at, 0, 0, "rule %q: the condition is longer than %d characters", r.Name, maxExpression)
		return
	}
	compiled, problems := compile(r.When, r.About)
	for _, p := range problems {
		line := strings.Split(r.When, "\n")[min(p.Line-1, strings.Count(r.When, "\n"))]
		l.problem(at, p.Line-1, p.Column-1, "rule %q: %s\n    %s\n    %s^", r.Name, p.Message, line, strings.Repeat(" ", p.Column-1))
	}
	r.condition = compiled
}

func (l *loader) template(at string, r *Rule) {
	text := r.Summary
	if text == "" {
		text = r.Name + ": {{.Subject}}"
	}
	t, err := template.New(r.Name).Option("missingkey=error").Parse(text)
	if err != nil {
		l.problem(at, 0, 0, "rule %q: summary: %v", r.Name, err)
		return
	}
	r.summary = t
}

func (l *loader) ladder(at string, steps []stepYAML) []certmedic.Step {
	if len(steps) == 0 {
		return []certmedic.Step{{Do: certmedic.StepNotify}}
	}
	ladder := make([]certmedic.Step, 0, len(steps))
	var last time.Duration
	for i, s := range steps {
		here := fmt.Sprintf("%s[%d]", at, i)
		step := certmedic.Step{Do: certmedic.StepKind(s.Do), After: l.duration(here+".after", s.After), Severity: certmedic.Severity(s.Severity)}
		if !validStep(step.Do) {
			l.problem(here, 0, 0, "do must be notify, reload, redeploy, rollback or renew, not %q", s.Do)
		}
		if step.Severity != "" && !validSeverity(step.Severity) {
			l.problem(here, 0, 0, "severity must be info, warning or critical, not %q", s.Severity)
		}
		if step.After < last {
			l.problem(here, 0, 0, "a step after %s stands behind one after %s: steps are climbed in order", step.After, last)
		}
		last = max(last, step.After)
		ladder = append(ladder, step)
	}
	return ladder
}

func (l *loader) duration(at, text string) time.Duration {
	switch text {
	case "":
		return 0
	case DeployGrace:
		return l.grace
	}
	d, err := certmedic.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%q is negative", text)
	}
	if err != nil {
		l.problem(at, 0, 0, "%v", err)
	}
	return d
}

func validSeverity(s certmedic.Severity) bool {
	return s == certmedic.SeverityInfo || s == certmedic.SeverityWarning || s == certmedic.SeverityCritical
}

func validStep(do certmedic.StepKind) bool {
	if do == certmedic.StepNotify {
		return true
	}
	for _, a := range certmedic.ActionKinds() {
		if do == certmedic.StepKind(a) {
			return true
		}
	}
	return false
}

// yamlProblem gives the decoder's error its place.
func yamlProblem(file string, err error) error {
	var y yaml.Error
	if errors.As(err, &y) && y.GetToken() != nil {
		at := y.GetToken().Position
		return &Problem{file, at.Line, at.Column, y.GetMessage()}
	}
	return &Problem{file, 1, 1, err.Error()}
}
