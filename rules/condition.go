package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
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
	uses   []variable // what it asks for, each once
	words  []string   // the strings that it compares them with, such as finding codes
	labels []ask      // the labels that it asks for by their names
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

// wrong describes a problem at a place that CEL gave. CEL counts columns from 0, and says -1
// where it knows no place, as of an expression that is nested too deeply: that is the beginning.
func wrong(at common.Location, format string, args ...any) *conditionError {
	return &conditionError{max(at.Line(), 1), max(at.Column(), 0) + 1, fmt.Sprintf(format, args...)}
}

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
			problems = append(problems, wrong(e.Location, "%s", e.Message))
		}
		return nil, problems
	}
	if checked.OutputType() != cel.BoolType {
		return nil, []*conditionError{{1, 1, fmt.Sprintf("the condition is a %s, it must be true or false", checked.OutputType())}}
	}
	asks := asksOf(checked.NativeRep())
	if problems := slices.Concat(badConstants(checked), badWords(checked, asks), tooCostly(env, checked)); len(problems) > 0 {
		return nil, problems
	}
	c := &condition{ast: checked, labels: labelsAsked(asks)}
	c.uses, c.words = mentions(checked, about)
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
		cel.ASTValidators(cel.ValidateHomogeneousAggregateLiterals()), // of the others see badConstants
		cel.EnableMacroCallTracking(),                                 // reasons quote macros as they were written
		cel.CrossTypeNumericComparisons(true),
	}
	options = append(options, functions()...)
	for _, v := range visible(about) {
		options = append(options, cel.Variable(v.name, v.typ))
	}
	return cel.NewEnv(options...)
}

// judge asks the condition about a subject. An error means that the rule itself is
// broken for this subject, for example by a label that is not there.
func (c *condition) judge(s *subject) (verdict, error) {
	s.asked = c.uses
	out, _, err := c.fast.Eval(s)
	if err != nil && c.incomplete(s) {
		return undecided, nil // it may be no mistake of the rule that something is not there
	}
	if err != nil {
		return undecided, fmt.Errorf("evaluating the condition for %q: %w", s.String(), err)
	}
	switch {
	case types.IsUnknown(out):
		return undecided, nil
	case out == types.True:
		return yes, nil
	}
	return no, nil
}

// incomplete reports whether something that the condition asks for may lack something.
func (c *condition) incomplete(s *subject) bool {
	return slices.ContainsFunc(c.uses, func(v variable) bool { return s.whyIncomplete(&v) != "" })
}

// why names what kept the condition from being decided.
func (c *condition) why(s *subject) string {
	for i := range c.uses {
		if w := cmp.Or(s.whyUndecided(&c.uses[i]), s.whyIncomplete(&c.uses[i])); w != "" {
			return w
		}
	}
	return "undecided"
}

// mentions lists the variables and the string literals of an expression, each once.
func mentions(checked *cel.Ast, about certmedic.SubjectKind) (uses []variable, words []string) {
	refs, known := checked.NativeRep().ReferenceMap(), visible(about)
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if word, ok := literal(e).(types.String); ok && !slices.Contains(words, string(word)) {
			words = append(words, string(word))
		}
		info, ok := refs[e.ID()]
		if !ok {
			return
		}
		named := func(v variable) bool { return v.name == info.Name }
		if i := slices.IndexFunc(known, named); i >= 0 && !slices.ContainsFunc(uses, named) {
			uses = append(uses, known[i])
		}
	}))
	return uses, words
}

// literal returns the value of a literal; nil of anything else.
func literal(e ast.Expr) ref.Val {
	if e.Kind() != ast.LiteralKind {
		return nil
	}
	return e.AsLiteral()
}
