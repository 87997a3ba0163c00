package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"

	"github.com/certmedic/certmedic"
)

// because is why a condition holds for a subject.
type because struct {
	reason   string     // such as "remaining ratio 0.21 < 0.25"
	compares bool       // the reason compares values, so that it says more than that something is so
	used     []variable // what it rests on
}

// because says why the condition holds for the subject, from the values that its parts had
// in a traced evaluation.
func (c *condition) because(s *subject) because {
	t := tracer{condition: c, root: c.ast.NativeRep()}
	s.asked = c.uses
	_, details, err := c.traced.Eval(s)
	if err != nil || details == nil {
		return because{reason: t.text(t.root.Expr())}
	}
	t.state = details.State()
	reason := t.because(t.root.Expr(), true)
	return because{reason: reason, compares: t.compares, used: t.used}
}

// longestReason is how many characters a reason and the evidence behind it may have.
const longestReason = 300

// with returns the reason with the first line of the evidence behind it, where it only says
// that something is so: "drift: 192.0.2.1:443 serves ... (and 2 more)".
func (b because) with(lines []certmedic.Evidence) string {
	if b.compares || len(lines) == 0 {
		return b.reason
	}
	more := ""
	if len(lines) > 1 {
		more = fmt.Sprintf(" (and %d more)", len(lines)-1)
	}
	text := []rune(b.reason + ": " + strings.Join(strings.Fields(lines[0].Source+" "+lines[0].Line), " "))
	if room := max(utf8.RuneCountInString(b.reason), longestReason-len(more)); len(text) > room {
		return string(text[:max(0, room-3)]) + "..." + more
	}
	return string(text) + more
}

// tracer puts the values of an evaluation into words.
type tracer struct {
	condition *condition
	root      *ast.AST
	state     interpreter.EvalState
	used      []variable
	compares  bool
	precision int // how much more precisely than usual values are shown, see [render]
}

// because says why a boolean expression is what it is.
func (t *tracer) because(e ast.Expr, holds bool) string {
	switch {
	case e.Kind() == ast.ComprehensionKind:
		return t.macro(e, holds)
	case e.Kind() == ast.SelectKind && e.AsSelect().IsTestOnly():
		return t.name(e.AsSelect().Operand()) + choose(holds, " has ", " lacks ") + strconv.Quote(e.AsSelect().FieldName())
	case t.variable(e) != nil:
		return choose(holds, "", "not ") + t.name(e)
	case e.Kind() != ast.CallKind:
		return t.quote(e, holds)
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		return t.parts(call.Args(), holds, choose(holds, " and ", ", and "))
	case operators.LogicalOr:
		return t.parts(call.Args(), holds, choose(holds, ", and ", " and "))
	case operators.LogicalNot:
		return t.because(call.Args()[0], !holds)
	case operators.Conditional:
		return t.conditional(call.Args(), holds)
	case operators.In:
		return t.membership(call.Args()[0], call.Args()[1], holds)
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.Equals, operators.NotEquals:
		return t.comparison(call, holds)
	}
	return t.test(e, holds)
}

// comparison shows both sides, precisely enough to see that they are not equal, and what is in
// the lists whose size is compared.
func (t *tracer) comparison(call ast.CallExpr, holds bool) string {
	t.compares = true
	left, right := call.Args()[0], call.Args()[1]
	t.precision = precisionFor(t.known(left), t.known(right))
	said := t.operand(left) + " " + symbol(call.FunctionName(), holds) + " " + t.operandRight(right)
	t.precision = 0
	for _, side := range call.Args() {
		if list := t.counted(side); list != nil {
			said += " with " + t.operand(list)
		}
	}
	return said
}

// known returns the value that an expression had; nil where that is not known.
func (t *tracer) known(e ast.Expr) ref.Val {
	if v := literal(e); v != nil {
		return v
	}
	v, _ := t.state.Value(e.ID())
	return v
}

// counted returns the variable whose size an expression is, where it is short enough to be
// shown; nil otherwise.
func (t *tracer) counted(e ast.Expr) ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Size {
		return nil
	}
	of := e.AsCall().Target()
	if !e.AsCall().IsMemberFunction() {
		of = e.AsCall().Args()[0]
	}
	list, ok := t.known(of).(traits.Lister)
	if !ok || t.variable(of) == nil || !shownWhole(list) {
		return nil
	}
	return of
}

// parts joins those parts that made a conjunction or a disjunction what it is.
func (t *tracer) parts(all []ast.Expr, holds bool, separator string) string {
	var said []string
	for _, e := range all {
		if v, ok := t.state.Value(e.ID()); ok && v == types.Bool(holds) {
			said = append(said, t.because(e, holds))
		}
	}
	return strings.Join(said, separator)
}

// conditional says which way `a ? b : c` went, and why that is what it is.
func (t *tracer) conditional(args []ast.Expr, holds bool) string {
	v, ok := t.state.Value(args[0].ID())
	if way, isBool := v.(types.Bool); ok && isBool {
		return t.because(args[0], bool(way)) + " and " + t.because(args[choose(bool(way), 1, 2)], holds)
	}
	return t.because(args[1], holds)
}

// symbol is how a comparison is written that holds, or the opposite of one that does not.
func symbol(function string, holds bool) string {
	if !holds {
		switch function {
		case operators.Less:
			function = operators.GreaterEquals
		case operators.LessEquals:
			function = operators.Greater
		case operators.Greater:
			function = operators.LessEquals
		case operators.GreaterEquals:
			function = operators.Less
		case operators.Equals:
			function = operators.NotEquals
		case operators.NotEquals:
			function = operators.Equals
		}
	}
	written, _ := operators.FindReverse(function)
	return written
}

// membership says what is in a list or a table, or is not.
func (t *tracer) membership(item, list ast.Expr, holds bool) string {
	switch {
	case list.Kind() == ast.ListKind:
		t.compares = true
		return t.operand(item) + choose(holds, " is one of ", " is none of ") + t.value(list)
	case holds:
		return t.name(list) + " has " + t.operandRight(item)
	}
	return t.operand(list) + " lacks " + t.operandRight(item)
}

// test puts calls such as a.startsWith(b) into words; any other one is quoted.
func (t *tracer) test(e ast.Expr, holds bool) string {
	call := e.AsCall()
	args := call.Args()
	if call.IsMemberFunction() {
		args = append([]ast.Expr{call.Target()}, args...)
	}
	var verb string
	switch call.FunctionName() {
	case overloads.Contains:
		verb = choose(holds, " contains ", " does not contain ")
	case overloads.StartsWith:
		verb = choose(holds, " starts with ", " does not start with ")
	case overloads.EndsWith:
		verb = choose(holds, " ends with ", " does not end with ")
	case overloads.Matches:
		verb = choose(holds, " matches ", " does not match ")
	}
	if verb == "" || len(args) != 2 {
		return t.quote(e, holds)
	}
	t.compares = true
	return t.operand(args[0]) + verb + t.operandRight(args[1])
}

// macro says which entries of a list made `exists` true: the words of the condition that are
// in the list, else the entry at which it stopped looking. Other macros are quoted.
func (t *tracer) macro(e ast.Expr, holds bool) string {
	called, ok := t.root.SourceInfo().GetMacroCall(e.ID())
	if !ok || !holds || called.Kind() != ast.CallKind || called.AsCall().FunctionName() != operators.Exists {
		return t.quote(e, holds)
	}
	loop := e.AsComprehension()
	value, _ := t.state.Value(loop.IterRange().ID())
	list, _ := value.(traits.Container)
	var found []string
	var last ref.Val
	ast.PreOrderVisit(loop.LoopStep(), ast.NewExprVisitor(func(inner ast.Expr) {
		if word, ok := literal(inner).(types.String); ok && list != nil && list.Contains(word) == types.True {
			found = append(found, render(word, 0))
		}
		if inner.Kind() == ast.IdentKind && inner.AsIdent() == loop.IterVar() {
			last, _ = t.state.Value(inner.ID())
		}
	}))
	if len(found) == 0 && last != nil {
		found = append(found, render(last, 0))
	}
	if len(found) == 0 {
		return t.quote(e, holds)
	}
	return t.name(loop.IterRange()) + " has " + strings.Join(found, ", ")
}

// quote shows an expression as it is written, with the values of its variables.
func (t *tracer) quote(e ast.Expr, holds bool) string {
	said := choose(holds, "", "not ") + t.text(e)
	var values []string
	for _, v := range t.within(e) {
		values = append(values, t.valueOf(v))
	}
	if len(values) > 0 {
		said += " with " + strings.Join(values, ", ")
	}
	return said
}

// operand renders one side of a comparison: a variable or a calculation with its value.
func (t *tracer) operand(e ast.Expr) string {
	if literal(e) != nil || e.Kind() == ast.ListKind || isQuantity(e) {
		return t.value(e)
	}
	v, ok := t.state.Value(e.ID())
	if !ok || v == types.True {
		return t.name(e)
	}
	if _, table := v.(traits.Mapper); table {
		return t.name(e)
	}
	return t.name(e) + " " + render(v, t.precision)
}

// operandRight renders the other side, where a calculation is said by its value alone.
func (t *tracer) operandRight(e ast.Expr) string {
	if e.Kind() == ast.CallKind && t.variable(e) == nil {
		return t.value(e)
	}
	return t.operand(e)
}

// isQuantity reports whether an expression is a way to write a duration or a time.
func isQuantity(e ast.Expr) bool {
	return e.Kind() == ast.CallKind &&
		slices.Contains([]string{funcDays, funcShare, overloads.TypeConvertDuration, overloads.TypeConvertTimestamp}, e.AsCall().FunctionName())
}

// value renders the value of an expression.
func (t *tracer) value(e ast.Expr) string {
	t.within(e)
	if v := t.known(e); v != nil {
		return render(v, t.precision)
	}
	return t.text(e)
}

// name says what is asked for: "remaining ratio" is certificate.remaining_ratio. What is
// more than a variable is shown as it is written.
func (t *tracer) name(e ast.Expr) string {
	t.within(e)
	if v := t.variable(e); v != nil {
		return spoken(v.name)
	}
	return t.text(e)
}

func spoken(variable string) string {
	_, short, _ := strings.Cut(variable, ".")
	return strings.ReplaceAll(short, "_", " ")
}

// valueOf renders a variable with its value.
func (t *tracer) valueOf(v variable) string {
	said := spoken(v.name)
	ast.PreOrderVisit(t.root.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if named := t.variable(e); named != nil && named.name == v.name {
			said = t.operand(e)
		}
	}))
	return said
}

// variable returns the variable that an expression is; nil where it is something else.
func (t *tracer) variable(e ast.Expr) *variable {
	info, ok := t.root.ReferenceMap()[e.ID()]
	if !ok {
		return nil
	}
	i := slices.IndexFunc(t.condition.uses, func(v variable) bool { return v.name == info.Name })
	if i < 0 {
		return nil
	}
	return &t.condition.uses[i]
}

// within returns the variables within an expression, and notes that the reason rests on them.
func (t *tracer) within(e ast.Expr) []variable {
	var found []variable
	add := func(list []variable, v variable) []variable {
		if slices.ContainsFunc(list, func(known variable) bool { return known.name == v.name }) {
			return list
		}
		return append(list, v)
	}
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(inner ast.Expr) {
		if v := t.variable(inner); v != nil {
			found, t.used = add(found, *v), add(t.used, *v)
		}
	}))
	return found
}

// levels matches what stands before the names of variables.
var levels = regexp.MustCompile(`\b(certificate|endpoint|address|file|fleet)\.`)

// text returns an expression as it is written, on one line and without the levels of its
// variables.
func (t *tracer) text(e ast.Expr) string {
	written, err := cel.ExprToString(e, t.root.SourceInfo())
	if err != nil {
		return "the condition holds"
	}
	return levels.ReplaceAllString(strings.Join(strings.Fields(written), " "), "")
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
