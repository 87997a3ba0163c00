package promrules

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/certmedic/certmedic"
)

// translator says one condition in PromQL, for one scope.
type translator struct {
	scope     scope
	refs      map[int64]*ast.ReferenceInfo
	variables map[string]meaning
	interval  time.Duration
}

// condition returns those for whom a condition is as wanted: true, or false. Those for whom
// it cannot be decided are in neither set.
func (t *translator) condition(e ast.Expr, want bool) (set, error) {
	if name := t.variable(e); name != "" {
		return t.flag(name, want)
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return constant((e.AsLiteral() == types.True) == want), nil
	case ast.ComprehensionKind:
		return t.exists(e.AsComprehension(), want)
	case ast.CallKind:
		return t.call(e.AsCall(), want)
	}
	return set{}, fmt.Errorf("%s has no counterpart", describe(e))
}

func (t *translator) call(call ast.CallExpr, want bool) (set, error) {
	args := call.Args()
	switch name := call.FunctionName(); name {
	case operators.LogicalNot:
		return t.condition(args[0], !want)
	case operators.LogicalAnd, operators.LogicalOr:
		return t.both(args, want, (name == operators.LogicalAnd) == want)
	case operators.In:
		return t.in(args[0], args[1], want)
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.Equals, operators.NotEquals:
		return t.compare(name, args[0], args[1], want)
	default:
		return set{}, fmt.Errorf("%s has no counterpart", function(name))
	}
}

// both joins two conditions: by "and" or by "or".
func (t *translator) both(args []ast.Expr, want, and bool) (set, error) {
	left, err := t.condition(args[0], want)
	if err != nil {
		return set{}, err
	}
	right, err := t.condition(args[1], want)
	if err != nil {
		return set{}, err
	}
	if and {
		return left.and(right), nil
	}
	return left.or(right, t.scope), nil
}

// meaning returns what a variable is in PromQL.
func (t *translator) meaning(name string) (meaning, error) {
	m, ok := t.variables[name]
	if !ok {
		return meaning{}, fmt.Errorf("no metric tells %s", name)
	}
	return m, nil
}

// flag returns those for whom a boolean variable is as wanted.
func (t *translator) flag(name string, want bool) (set, error) {
	if name == "certificate.watched" {
		return constant(t.scope.watched == want), nil
	}
	m, err := t.meaning(name)
	switch {
	case err != nil:
		return set{}, err
	case m.managed && t.scope.watched:
		return constant(!want), nil
	case m.below != "":
		return some(t.sign(m.below, want)), nil
	case want:
		return some(t.scope.query(m.yes, level(name))), nil
	}
	return t.others(m, t.scope.query(m.yes, level(name)), level(name)), nil
}

// sign returns those for whom a number is negative, or is not.
func (t *translator) sign(name string, negative bool) query {
	operator := "<"
	if !negative {
		operator = ">="
	}
	number := t.scope.query(t.variables[name].number, level(name))
	return operate(operator, bindsCompare, number, literal(0).query)
}

// others returns everything that is not in the set of a variable, and of which that can be
// said.
func (t *translator) others(m meaning, q query, l certmedic.SubjectKind) set {
	rest := set{except: []query{q}, level: l}
	if m.seen {
		rest.except = append(rest.except, t.scope.unseen(l))
	}
	if m.open.text != "" {
		rest.except = append(rest.except, t.scope.query(m.open, l))
	}
	return rest
}

// exists translates list.exists(x, x in [...]).
func (t *translator) exists(c ast.ComprehensionExpr, want bool) (set, error) {
	step := c.LoopStep()
	if step.Kind() != ast.CallKind || step.AsCall().FunctionName() != operators.LogicalOr || c.HasIterVar2() {
		return set{}, fmt.Errorf("of what looks through lists, only exists has a counterpart")
	}
	name := t.variable(c.IterRange())
	if name == "" {
		return set{}, fmt.Errorf("exists has a counterpart for variables only")
	}
	words, err := t.chosen(step.AsCall().Args()[1], c.IterVar())
	if err != nil {
		return set{}, err
	}
	return t.has(name, words, want)
}

// chosen returns the words for which a condition about a list's element holds.
func (t *translator) chosen(e ast.Expr, element string) ([]string, error) {
	refuse := fmt.Errorf("within exists, only comparisons with fixed words have a counterpart")
	if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 2 {
		return nil, refuse
	}
	args := e.AsCall().Args()
	isElement := args[0].Kind() == ast.IdentKind && args[0].AsIdent() == element
	switch name := e.AsCall().FunctionName(); {
	case name == operators.LogicalOr:
		left, err := t.chosen(args[0], element)
		if err != nil {
			return nil, err
		}
		right, err := t.chosen(args[1], element)
		return append(left, right...), err
	case (name == operators.In || name == operators.Equals) && isElement:
		if words, ok := fixed(args[1]); ok {
			return words, nil
		}
	}
	return nil, refuse
}

// in translates a word in a list: of two, one is a variable and the other is fixed.
func (t *translator) in(left, right ast.Expr, want bool) (set, error) {
	if words, ok := fixed(left); ok && t.variable(right) != "" {
		return t.has(t.variable(right), words, want)
	}
	if words, ok := fixed(right); ok && t.variable(left) != "" {
		return t.has(t.variable(left), words, want)
	}
	if words, ok := fixed(right); ok && t.label(left) != "" {
		return t.labelled(t.label(left), words, want)
	}
	return set{}, fmt.Errorf("`in` has a counterpart for a variable and fixed words only")
}

// has returns those of whose words, or whose word, one is in a list.
func (t *translator) has(name string, words []string, want bool) (set, error) {
	switch name {
	case "certificate.name":
		return t.named(words, want), nil
	case "certificate.labels":
		return t.labelled(words[0], []string{""}, !want)
	}
	m, err := t.meaning(name)
	if err != nil {
		return set{}, err
	}
	extra := excluded(name, t.scope.watched)
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return slices.Contains(extra, w) })
	switch {
	case slices.Contains(words, ""):
		return set{}, fmt.Errorf("an empty %s has no counterpart", name)
	case m.managed && t.scope.watched, len(words) == 0:
		return constant(!want), nil
	}
	q := t.words(m, level(name), oneOf(m.label, words))
	if want {
		return some(q), nil
	}
	return t.others(m, q, level(name)), nil
}

// words groups the series of a list or a word that match.
func (t *translator) words(m meaning, l certmedic.SubjectKind, matchers ...string) query {
	series := m.series
	if t.scope.watched && m.watched != "" {
		series = m.watched
	}
	return t.scope.query(form{"group by () (" + series + m.value + ")", bindsAtom}, l, matchers...)
}

// named returns the certificates of these names; what is only watched is named by its
// endpoint.
func (t *translator) named(words []string, want bool) set {
	label := t.scope.name()
	if want {
		return some(t.scope.matching(oneOf(label, words)))
	}
	return some(t.scope.matching(noneOf(label, words)))
}

// labelled returns the certificates whose label has one of these values, or has another. To
// have no value is to lack the label: whoever lacks it is asked for nothing else.
func (t *translator) labelled(label string, values []string, want bool) (set, error) {
	plain := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	if !plain.MatchString(label) || slices.Contains(taken(), label) {
		return set{}, fmt.Errorf("no metric has the label %q of a certificate by that name", label)
	}
	lacks := slices.Contains(values, "")
	switch {
	case lacks && len(values) > 1:
		return set{}, fmt.Errorf("a label that is empty has no counterpart")
	case want:
		return some(t.scope.matching(oneOf(label, values))), nil
	case lacks:
		return some(t.scope.matching(label + `!=""`)), nil
	}
	return some(t.scope.matching(noneOf(label, values), label+`!=""`)), nil
}

// taken lists the labels of the metrics that a certificate's own never replace.
func taken() []string {
	return []string{
		"certificate", "endpoint", "address", "stage", "code", "sha256", "serial", "issuer", "subject",
		"version", "cipher", "group", "variant", "job", "instance", "le", "quantile",
	}
}

// label returns which label of a certificate an expression looks up, "" for others.
func (t *translator) label(e ast.Expr) string {
	switch e.Kind() {
	case ast.SelectKind:
		if s := e.AsSelect(); !s.IsTestOnly() && t.variable(s.Operand()) == "certificate.labels" {
			return s.FieldName()
		}
	case ast.CallKind:
		args := e.AsCall().Args()
		if e.AsCall().FunctionName() != operators.Index || t.variable(args[0]) != "certificate.labels" {
			return ""
		}
		if words, ok := fixed(args[1]); ok && args[1].Kind() == ast.LiteralKind {
			return words[0]
		}
	}
	return ""
}

// variable returns the name of the CEL variable that an expression is, "" for others.
func (t *translator) variable(e ast.Expr) string {
	if info, ok := t.refs[e.ID()]; ok && info.Value == nil {
		return info.Name
	}
	return ""
}

// fixed returns the words that are written in an expression, a list or one.
func fixed(e ast.Expr) (words []string, ok bool) {
	switch e.Kind() {
	case ast.LiteralKind:
		word, ok := e.AsLiteral().(types.String)
		return []string{string(word)}, ok
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			if element.Kind() == ast.ListKind {
				return nil, false
			}
			word, ok := fixed(element)
			if !ok {
				return nil, false
			}
			words = append(words, word...)
		}
		return words, true
	}
	return nil, false
}

// describe names an expression in a reason.
func describe(e ast.Expr) string {
	switch e.Kind() {
	case ast.CallKind:
		return function(e.AsCall().FunctionName())
	case ast.SelectKind:
		return "." + e.AsSelect().FieldName()
	case ast.LiteralKind:
		return fmt.Sprint(e.AsLiteral().Value())
	}
	return "an expression"
}

// function names a function or an operator as people write it.
func function(name string) string {
	if !strings.ContainsFunc(name, unicode.IsLetter) {
		return strconv.Quote(strings.ReplaceAll(name, "_", ""))
	}
	return strings.Trim(name, "_@") + "()"
}
