package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// because says why the condition holds for the subject, from the values that its parts had
// in a traced evaluation ("remaining ratio 0.21 < 0.25"), and which variables it used.
func (c *condition) because(s subject) (reason string, used []string) {
	_, details, err := c.traced.Eval(&activation{c.byName, s})
	if err != nil || details == nil {
		return "", nil
	}
	t := tracer{refs: c.ast.NativeRep().ReferenceMap(), state: details.State(), words: c.words}
	reason = t.explain(c.ast.NativeRep().Expr())
	return reason, t.used
}

type tracer struct {
	refs  map[int64]*ast.ReferenceInfo
	state interpreter.EvalState
	words []string // of the condition
	used  []string
}

// explain renders the parts of a true expression that made it true.
func (t *tracer) explain(e ast.Expr) string {
	if e.Kind() == ast.ComprehensionKind {
		return t.explainList(e.AsComprehension().IterRange())
	}
	if e.Kind() != ast.CallKind {
		return t.operand(e)
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		return t.explain(call.Args()[0]) + " and " + t.explain(call.Args()[1])
	case operators.LogicalOr:
		return t.explainOr(call.Args())
	case operators.LogicalNot:
		return "not " + strings.TrimSuffix(t.operand(call.Args()[0]), " false")
	case operators.In:
		return t.operand(call.Args()[1]) + " has " + t.operand(call.Args()[0])
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.Equals, operators.NotEquals:
		op, _ := operators.FindReverse(call.FunctionName())
		return t.operand(call.Args()[0]) + " " + op + " " + t.value(call.Args()[1])
	}
	return t.operand(e)
}

// explainOr keeps the branches that hold; the others say nothing about why.
func (t *tracer) explainOr(branches []ast.Expr) string {
	var parts []string
	for _, b := range branches {
		if v, ok := t.state.Value(b.ID()); ok && v == types.True {
			parts = append(parts, t.explain(b))
		}
	}
	return strings.Join(parts, ", and ")
}

// explainList says which of the words of a condition are in the list that it looks through.
func (t *tracer) explainList(list ast.Expr) string {
	named := t.operand(list)
	value, _ := t.state.Value(list.ID())
	held, ok := value.(traits.Lister)
	if !ok {
		return named
	}
	var found []string
	for _, word := range t.words {
		if held.Contains(types.String(word)) == types.True {
			found = append(found, strconv.Quote(word))
		}
	}
	return named + " has " + strings.Join(found, ", ")
}

// operand renders a variable with its value, or just a value.
func (t *tracer) operand(e ast.Expr) string {
	info, ok := t.refs[e.ID()]
	if !ok || info.Name == "" {
		return t.value(e)
	}
	t.used = append(t.used, info.Name)
	short := strings.ReplaceAll(info.Name[strings.LastIndex(info.Name, ".")+1:], "_", " ")
	v, ok := t.state.Value(e.ID())
	if !ok || v == types.True {
		return short
	}
	if _, isList := v.(interface{ Size() ref.Val }); isList && v.Type() != types.StringType {
		return short
	}
	return short + " " + render(v)
}

func (t *tracer) value(e ast.Expr) string {
	if info, ok := t.refs[e.ID()]; ok && info.Name != "" {
		t.used = append(t.used, info.Name)
	}
	if e.Kind() == ast.CallKind {
		for _, arg := range e.AsCall().Args() {
			if info, ok := t.refs[arg.ID()]; ok && info.Name != "" {
				t.used = append(t.used, info.Name)
			}
		}
	}
	if v, ok := t.state.Value(e.ID()); ok {
		return render(v)
	}
	if e.Kind() == ast.LiteralKind {
		return render(e.AsLiteral())
	}
	return "?"
}

func render(v ref.Val) string {
	switch v := v.(type) {
	case types.Duration:
		return duration(v.Duration)
	case types.Double:
		return strconv.FormatFloat(float64(v), 'g', 3, 64)
	case types.String:
		return strconv.Quote(string(v))
	}
	return fmt.Sprint(v.Value())
}

// duration renders a duration the way a person would say it.
func duration(d time.Duration) string {
	switch abs := d.Abs(); {
	case abs >= 72*time.Hour:
		return fmt.Sprintf("%.1f d", d.Hours()/24)
	case abs >= 2*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	case abs >= 2*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

var _ cel.Activation = (*activation)(nil)
