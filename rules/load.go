package rules

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/certmedic/certmedic"
)

// DeployGrace stands in a rule's `for` for the configured grace of a deployment.
const DeployGrace = "deploy_grace"

// MaxFile is the most bytes that a rule file may have.
const MaxFile = 1 << 20

// What a rule file may hold at most, so that none takes for ever to read or to check.
const (
	maxLine       = 16 << 10
	maxDepth      = 1000 // brackets within each other
	maxRules      = 1000
	maxExpression = 4096 // bytes of a condition
	maxSummary    = 2000 // characters
	maxSteps      = 32
	maxWait       = 366 * 24 * time.Hour // of for, keep_firing_for and after
)

// nameForm is what names of rules look like; they end up in metrics and in URLs.
const nameForm = `^[a-z0-9][a-z0-9_-]{0,62}$`

// Load reads the rules of one file and compiles them. The error joins every [Problem]
// that was found, not only the first; there are no rules then.
func Load(file string, data []byte, deployGrace time.Duration) ([]Rule, error) {
	l := newLoader(file, deployGrace)
	body, err := l.parse(data)
	if err != nil {
		return nil, err
	}
	rules := l.document(body)
	if err := l.err(); err != nil {
		return nil, err
	}
	return rules, nil
}

// tooLarge says which limit a file exceeds, or returns "". What the parser needs for
// deeply nested values grows faster than their number.
func tooLarge(data []byte) string {
	if len(data) > MaxFile {
		return fmt.Sprintf("the file is larger than %d bytes", MaxFile)
	}
	line, depth := 0, 0
	for _, c := range data {
		line++
		switch c {
		case '\n':
			line = 0
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		}
		if line > maxLine {
			return fmt.Sprintf("a line is longer than %d bytes", maxLine)
		}
		if depth > maxDepth {
			return fmt.Sprintf("more than %d brackets stand within each other", maxDepth)
		}
	}
	return ""
}

// loader turns the syntax tree of a file into compiled rules and gathers what is wrong.
type loader struct {
	file     string
	lines    []string
	grace    time.Duration
	named    []named
	name     *regexp.Regexp
	anchors  map[string]ast.Node
	seen     map[string]bool // names of rules
	problems []*Problem
}

func newLoader(file string, grace time.Duration) *loader {
	return &loader{
		file: file, grace: grace, named: conditions(), name: regexp.MustCompile(nameForm),
		anchors: map[string]ast.Node{}, seen: map[string]bool{},
	}
}

// parse returns the body of the only document, nil where the file is empty.
func (l *loader) parse(data []byte) (ast.Node, error) {
	if why := tooLarge(data); why != "" {
		return nil, &Problem{File: l.file, Line: 1, Column: 1, Message: why}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	l.lines = strings.Split(string(data), "\n")
	parsed, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, yamlProblem(l.file, err)
	}
	var body ast.Node
	for _, d := range parsed.Docs {
		switch {
		case d.Body == nil:
		case body != nil:
			at := firstToken(d.Body).Position
			return nil, &Problem{File: l.file, Line: at.Line, Column: at.Column, Message: "a second document: one file holds one document"}
		default:
			body = d.Body
		}
	}
	if body != nil {
		ast.Walk(l, body)
	}
	return body, nil
}

// Visit gathers the anchors of the document, see [ast.Visitor].
func (l *loader) Visit(n ast.Node) ast.Visitor {
	if anchor, ok := n.(*ast.AnchorNode); ok {
		l.anchors[anchor.Name.GetToken().Value] = anchor.Value
	}
	return l
}

// document returns the rules of a file.
func (l *loader) document(body ast.Node) []Rule {
	if body == nil {
		return nil
	}
	list, ok := l.mapping(body, "the file", "rules")["rules"]
	if !ok {
		return nil
	}
	items := l.list(list, "rules")
	if len(items) > maxRules {
		l.problem(list, "the file holds %d rules, it may hold %d", len(items), maxRules)
		return nil
	}
	rules := make([]Rule, 0, len(items))
	for _, item := range items {
		rules = append(rules, l.rule(item))
	}
	return rules
}

func (l *loader) rule(n ast.Node) Rule {
	keys := l.mapping(n, "a rule", "name", "about", "when", "condition", "for", "keep_firing_for", "severity", "summary", "runbook", "ladder", "diagnose")
	r := Rule{
		File: l.file, Line: firstToken(n).Position.Line,
		Name: l.text(keys["name"]), About: certmedic.SubjectKind(l.text(keys["about"])),
		For: l.duration(keys["for"]), KeepFiringFor: l.duration(keys["keep_firing_for"]),
		Severity: certmedic.Severity(l.text(keys["severity"])), Runbook: l.text(keys["runbook"]),
		Unexplained: l.declined(keys["diagnose"]),
	}
	l.checkName(n, keys["name"], r.Name)
	if !validSeverity(r.Severity) {
		l.problem(or(keys["severity"], n), "rule %q: severity must be info, warning or critical, not %q", r.Name, r.Severity)
	}
	l.summary(keys["summary"], &r)
	if !slices.Contains(subjectKinds(), r.About) {
		l.problem(or(keys["about"], n), "rule %q: about must be certificate, endpoint, address, file or fleet, not %q", r.Name, r.About)
		return r
	}
	l.condition(n, keys, &r)
	l.ladder(keys["ladder"], &r)
	return r
}

func subjectKinds() []certmedic.SubjectKind {
	return []certmedic.SubjectKind{
		certmedic.AboutCertificate, certmedic.AboutEndpoint, certmedic.AboutAddress, certmedic.AboutFile, certmedic.AboutFleet,
	}
}

func (l *loader) checkName(whole, n ast.Node, name string) {
	switch {
	case name == "":
		l.problem(whole, "a rule without a name")
	case !l.name.MatchString(name):
		l.problem(n, "%q is not the name of a rule: up to 63 lower-case letters, digits, - and _, a letter or a digit first", name)
	case l.seen[name]:
		l.problem(n, "a second rule named %q", name)
	}
	l.seen[name] = true
}

// condition compiles what a rule says under `when`, or under `condition`.
func (l *loader) condition(whole ast.Node, keys map[string]ast.Node, r *Rule) {
	when, condition := keys["when"], keys["condition"]
	switch {
	case when != nil && condition != nil:
		l.problem(condition, "rule %q: it has a `when` and a `condition`; one of them says when it holds", r.Name)
	case when != nil:
		r.When = l.text(when)
		r.condition = l.compile(when, r.When, r)
	case condition != nil:
		r.When = l.expand(condition, r.About)
		if r.When != "" {
			r.condition = l.compileNamed(condition, r)
		}
	default:
		l.problem(whole, "rule %q: it has neither a `when` nor a `condition`", r.Name)
	}
}

// compile checks a condition as it was written.
func (l *loader) compile(n ast.Node, when string, r *Rule) *condition {
	if why := badLength(when); why != "" {
		l.problem(n, "rule %q: %s", r.Name, why)
		return nil
	}
	compiled, problems := compile(when, r.About)
	for _, p := range problems {
		l.problemIn(n, when, p.Line, p.Column, "rule %q: %s", r.Name, p.Message)
	}
	return compiled
}

// compileNamed compiles what named conditions stand for.
func (l *loader) compileNamed(n ast.Node, r *Rule) *condition {
	if why := badLength(r.When); why != "" {
		l.problem(n, "rule %q: %s", r.Name, why)
		return nil
	}
	compiled, problems := compile(r.When, r.About)
	for _, p := range problems {
		l.problem(n, "rule %q: %s, in %s", r.Name, p.Message, r.When)
	}
	return compiled
}

func badLength(when string) string {
	switch {
	case strings.TrimSpace(when) == "":
		return "the condition is empty"
	case len(when) > maxExpression:
		return fmt.Sprintf("the condition is longer than %d bytes", maxExpression)
	}
	return ""
}

func (l *loader) summary(n ast.Node, r *Rule) {
	r.Summary = l.text(n)
	if len([]rune(r.Summary)) > maxSummary {
		l.problem(n, "rule %q: the summary is longer than %d characters", r.Name, maxSummary)
		return
	}
	var err error
	if r.summary, err = parseSummary(r.Name, r.Summary); err != nil {
		l.problem(n, "rule %q: %v", r.Name, err)
	}
}

func (l *loader) ladder(n ast.Node, r *Rule) {
	r.Ladder = []certmedic.Step{{Do: certmedic.StepNotify}}
	r.whens = []*condition{nil}
	items := l.list(n, "ladder")
	if len(items) == 0 {
		return
	}
	if len(items) > maxSteps {
		l.problem(n, "rule %q: the ladder has %d steps, it may have %d", r.Name, len(items), maxSteps)
		return
	}
	r.Ladder, r.whens = nil, nil
	for _, item := range items {
		step, when := l.step(item, r)
		if why := badStep(step, r.Ladder); why != "" {
			l.problem(item, "rule %q: %s", r.Name, why)
		}
		r.Ladder, r.whens = append(r.Ladder, step), append(r.whens, when)
	}
}

func (l *loader) step(n ast.Node, r *Rule) (certmedic.Step, *condition) {
	keys := l.mapping(n, "a step", "do", "after", "when", "severity")
	step := certmedic.Step{
		Do: certmedic.StepKind(l.text(keys["do"])), After: l.duration(keys["after"]),
		Severity: certmedic.Severity(l.text(keys["severity"])), When: l.text(keys["when"]),
	}
	if keys["when"] == nil {
		return step, nil
	}
	return step, l.compile(keys["when"], step.When, r)
}

// badStep says what is wrong with a step that stands below others, or returns "".
func badStep(s certmedic.Step, above []certmedic.Step) string {
	switch {
	case !validStep(s.Do):
		return fmt.Sprintf("do must be notify, reload, redeploy, rollback or renew, not %q", s.Do)
	case s.Severity != "" && !validSeverity(s.Severity):
		return fmt.Sprintf("severity must be info, warning or critical, not %q", s.Severity)
	case s.After < 0 || s.After > maxWait:
		return fmt.Sprintf("a step may come up to %s after the rule fired, not %s", maxWait, s.After)
	case slices.Contains(above, s):
		return "the same step twice: each is done once"
	case len(above) > 0 && s.After < above[len(above)-1].After:
		return fmt.Sprintf("a step after %s stands behind one after %s: steps stand in order of their time", s.After, above[len(above)-1].After)
	}
	return ""
}

func (l *loader) duration(n ast.Node) time.Duration {
	if n == nil {
		return 0
	}
	text := l.text(n)
	if text == DeployGrace {
		return l.grace
	}
	d, err := certmedic.ParseDuration(text)
	switch {
	case err != nil:
		l.problem(n, "%v", err)
	case d < 0:
		l.problem(n, "%q is negative", text)
	case d > maxWait:
		l.problem(n, "%q is longer than 366 days", text)
	}
	return d
}

func validSeverity(s certmedic.Severity) bool {
	return s == certmedic.SeverityInfo || s == certmedic.SeverityWarning || s == certmedic.SeverityCritical
}

func validStep(do certmedic.StepKind) bool {
	return do == certmedic.StepNotify || slices.Contains(certmedic.ActionKinds(), certmedic.ActionKind(do))
}
