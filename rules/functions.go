package rules

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/certmedic/certmedic"
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

// badConstants finds calls whose constant argument can only ever be an error. CEL has validators
// for some of these, which do not say what is wrong.
func badConstants(checked *cel.Ast) []*conditionError {
	var problems []*conditionError
	info := checked.NativeRep().SourceInfo()
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || len(e.AsCall().Args()) == 0 {
			return
		}
		args := e.AsCall().Args()
		last := args[len(args)-1]
		if why := badConstant(e.AsCall().FunctionName(), literal(last)); why != "" {
			problems = append(problems, wrong(info.GetStartLocation(last.ID()), "%s", why))
		}
	}))
	return problems
}

// badConstant says why a function gives an error whenever its last argument is this literal,
// or returns "".
func badConstant(function string, argument ref.Val) string {
	text, isText := argument.(types.String)
	switch {
	case argument == nil:
		return ""
	case function == funcDays:
		return errorText(days(argument))
	case function == funcShare:
		return errorText(share(types.Duration{}, argument))
	case isText && function == overloads.TypeConvertDuration:
		return badSpan(string(text))
	case isText && function == overloads.TypeConvertTimestamp && types.IsError(text.ConvertToType(types.TimestampType)):
		return fmt.Sprintf("invalid time %q: write it like 2026-01-31T12:00:00Z", text)
	case isText && function == overloads.Matches:
		if _, err := regexp.Compile(string(text)); err != nil {
			return fmt.Sprintf("invalid regular expression %q: %s", text, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
	}
	return ""
}

func errorText(v ref.Val) string {
	if err, ok := v.(*types.Err); ok {
		return err.Error()
	}
	return ""
}

// badSpan says why a text is no duration in CEL, which has no days, and how to write what was
// meant; "" where it is one.
func badSpan(text string) string {
	if !types.IsError(types.String(text).ConvertToType(types.DurationType)) {
		return ""
	}
	d, err := certmedic.ParseDuration(text)
	switch {
	case err != nil:
		return fmt.Sprintf("invalid duration %q: write duration(\"72h\"), with h, m and s, or days(3)", text)
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("invalid duration %q: write days(%d)", text, d/(24*time.Hour))
	}
	return fmt.Sprintf("invalid duration %q: write duration(%q)", text, d)
}
