package rules

import (
	"math"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The functions that conditions may use besides CEL's own.
const (
	funcDays  = "days"
	funcShare = "share"
)

// functions declares days(n) and share(x).
func functions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function(funcDays, cel.Overload("days_int", []*cel.Type{cel.IntType}, cel.DurationType, cel.UnaryBinding(days)),
			cel.Overload("days_double", []*cel.Type{cel.DoubleType}, cel.DurationType, cel.UnaryBinding(days))),
		cel.Function(funcShare, cel.Overload("share_of_lifetime", []*cel.Type{cel.DurationType, cel.DoubleType}, cel.DurationType, cel.BinaryBinding(share))),
		cel.Macros(cel.GlobalMacro(funcShare, 1, shareOfLifetime)),
	}
}

// shareOfLifetime turns share(0.33) into a third of the certificate's lifetime.
func shareOfLifetime(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	return f.NewCall(funcShare, f.NewSelect(f.NewIdent("certificate"), "lifetime"), args[0]), nil
}

// days is n times 24 hours.
func days(n ref.Val) ref.Val {
	switch n := n.(type) {
	case types.Int:
		return nanoseconds(float64(n)*float64(24*time.Hour), funcDays, n)
	case types.Double:
		return nanoseconds(float64(n)*float64(24*time.Hour), funcDays, n)
	}
	return types.MaybeNoSuchOverloadErr(n)
}

// share is a part of a lifetime: from none of it to all of it.
func share(lifetime, part ref.Val) ref.Val {
	life, okLife := lifetime.(types.Duration)
	x, okPart := part.(types.Double)
	switch {
	case !okLife || !okPart:
		return types.MaybeNoSuchOverloadErr(part)
	case math.IsNaN(float64(x)) || x < 0 || x > 1:
		return types.NewErr("share(%v): a share of the lifetime is a number from 0.0 to 1.0", x)
	}
	return nanoseconds(float64(life.Duration)*float64(x), funcShare, x)
}

// nanoseconds gives a duration, or an error where it is none or longer than one can be, which
// is 292 years.
func nanoseconds(ns float64, function string, argument ref.Val) ref.Val {
	if math.IsNaN(ns) || math.Abs(ns) >= math.MaxInt64 {
		return types.NewErr("%s(%v): no duration is that long", function, argument)
	}
	return types.Duration{Duration: time.Duration(ns)}
}

// badConstants finds calls whose constant argument can only ever be an error.
func badConstants(checked *cel.Ast) []*conditionError {
	var problems []*conditionError
	info := checked.NativeRep().SourceInfo()
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		args := e.AsCall().Args()
		var out ref.Val
		switch e.AsCall().FunctionName() {
		case funcDays:
			if n := literal(args[0]); n != nil {
				out = days(n)
			}
		case funcShare:
			if x := literal(args[1]); x != nil {
				out = share(types.Duration{}, x)
			}
		}
		if err, ok := out.(*types.Err); ok {
			at := info.GetStartLocation(args[len(args)-1].ID())
			problems = append(problems, &conditionError{at.Line(), at.Column() + 1, err.Error()})
		}
	}))
	return problems
}
