package rules

import (
	"errors"
	"fmt"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/certmedic/certmedic"
)

// verdict is what a condition says about a subject: it holds, it does not, or nothing can
// be said now.
type verdict int

const (
	no verdict = iota
	yes
	undecided
)

// condition is a compiled `when`. The traced program records the value of every
// sub-expression, for the sentence that says why it holds.
type condition struct {
	byName map[string]variable
	uses   []string // the variables that it asks for
	words  []string // the strings that it compares them with, such as finding codes
	ast    *cel.Ast
	fast   cel.Program
	traced cel.Program
}

// conditionError is a problem of a `when`, at a place within its text. Line and Column
// count from 1.
type conditionError struct {
	Line, Column int
	Message      string
}

func (e *conditionError) Error() string { return e.Message }

// compile checks a condition strictly: unknown names, wrong types, durations and regular
// expressions that cannot be, and anything that is not a boolean are errors here and not
// a rule that silently never fires. It returns every problem that it found.
func compile(when string, about certmedic.SubjectKind) (*condition, []*conditionError) {
	env, err := environment(about)
	if err != nil {
		return nil, []*conditionError{{1, 1, err.Error()}}
	}
	checked, issues := env.Compile(when)
	if issues != nil && issues.Err() != nil {
		var problems []*conditionError
		for _, e := range issues.Errors() {
			problems = append(problems, &conditionError{e.Location.Line(), e.Location.Column() + 1, e.Message})
		}
		return nil, problems
	}
	if checked.OutputType() != cel.BoolType {
		return nil, []*conditionError{{1, 1, fmt.Sprintf("the condition is a %s, it must be true or false", checked.OutputType())}}
	}
	c := &condition{byName: map[string]variable{}, ast: checked}
	for _, v := range visible(about) {
		c.byName[v.name] = v
	}
	c.uses, c.words = mentions(checked)
	fast, errFast := env.Program(checked, cel.EvalOptions(cel.OptOptimize))
	traced, errTraced := env.Program(checked, cel.EvalOptions(cel.OptTrackState))
	if err := errors.Join(errFast, errTraced); err != nil {
		return nil, []*conditionError{{1, 1, err.Error()}}
	}
	c.fast, c.traced = fast, traced
	return c, nil
}

// environment declares the variables and functions that conditions may use.
func environment(about certmedic.SubjectKind) (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.ExtendedValidations(),
		cel.CrossTypeNumericComparisons(true),
		cel.Function("days", cel.Overload("days_int", []*cel.Type{cel.IntType}, cel.DurationType, cel.UnaryBinding(days)),
			cel.Overload("days_double", []*cel.Type{cel.DoubleType}, cel.DurationType, cel.UnaryBinding(days))),
		cel.Function("share", cel.Overload("share_of_lifetime", []*cel.Type{cel.DurationType, cel.DoubleType}, cel.DurationType, cel.BinaryBinding(share))),
		cel.Macros(cel.GlobalMacro("share", 1, shareOfLifetime)),
	}
	for _, v := range visible(about) {
		options = append(options, cel.Variable(v.name, v.typ))
	}
	return cel.NewEnv(options...)
}

// shareOfLifetime turns share(0.33) into a third of the certificate's lifetime.
func shareOfLifetime(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	return f.NewCall("share", f.NewSelect(f.NewIdent("certificate"), "lifetime"), args[0]), nil
}

func days(n ref.Val) ref.Val {
	switch n := n.(type) {
	case types.Int:
		return types.Duration{Duration: time.Duration(n) * 24 * time.Hour}
	case types.Double:
		return types.Duration{Duration: time.Duration(float64(n) * float64(24*time.Hour))}
	}
	return types.MaybeNoSuchOverloadErr(n)
}

func share(lifetime, part ref.Val) ref.Val {
	life, okLife := lifetime.(types.Duration)
	x, okPart := part.(types.Double)
	if !okLife || !okPart {
		return types.MaybeNoSuchOverloadErr(part)
	}
	return types.Duration{Duration: time.Duration(float64(life.Duration) * float64(x))}
}

// judge asks the condition about a subject. An error means that the rule itself is
// broken for this subject, for example by a label that is not there.
func (c *condition) judge(s subject) (verdict, error) {
	out, _, err := c.fast.Eval(&activation{c.byName, s})
	if err != nil {
		return undecided, fmt.Errorf("evaluating the condition for %q: %w", s.String(), err)
	}
	switch {
	case types.IsUnknown(out):
		return undecided, nil
	case out == types.True:
		return yes, nil
	}
	for _, name := range c.uses {
		if s.incomplete(name) != "" {
			return undecided, nil
		}
	}
	return no, nil
}

// mentions lists the variables and the string literals of an expression.
func mentions(checked *cel.Ast) (variables, words []string) {
	refs := checked.NativeRep().ReferenceMap()
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if info, ok := refs[e.ID()]; ok && info.Name != "" && info.Value == nil {
			variables = append(variables, info.Name)
		}
		if e.Kind() != ast.LiteralKind {
			return
		}
		if word, ok := e.AsLiteral().(types.String); ok {
			words = append(words, string(word))
		}
	}))
	return variables, words
}
