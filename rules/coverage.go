package rules

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Covered is what asking a rule about facts came to, for tests of rules that want to know
// what they tried.
type Covered struct {
	Reasons []bool // by side of the condition, which the outermost || join: the rule held because of it
	Not     bool   // it did not hold for something that it was asked about
}

// Sides returns how many alternatives the rule's condition has: what its outermost || join,
// 1 where there is none.
func (r *Rule) Sides() int { return len(r.sides()) }

func (r *Rule) sides() []ast.Expr {
	var sides []ast.Expr
	for rest := []ast.Expr{r.condition.ast.NativeRep().Expr()}; len(rest) > 0; {
		e := rest[0]
		rest = rest[1:]
		if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.LogicalOr {
			rest = append(append([]ast.Expr{}, e.AsCall().Args()...), rest...)
			continue
		}
		sides = append(sides, e)
	}
	return sides
}

// Cover asks every rule about the facts, changes nothing, and returns what that came to in
// the order of the rules.
func (e *Engine) Cover(f Facts) []Covered {
	own := e.scratch.Get().(*scratch)
	defer e.scratch.Put(own)
	own.begin(f)
	defer own.end()
	all := make([]Covered, len(e.rules))
	for i := range e.rules {
		about := own.subjects.about(e.rules[i].About)
		all[i].Reasons = make([]bool, e.rules[i].Sides())
		for j := range about {
			all[i].take(&e.rules[i], &about[j])
		}
	}
	return all
}

// take asks the rule about one subject.
func (c *Covered) take(r *Rule, s *subject) {
	switch v, _ := r.condition.judge(s); v {
	case no:
		c.Not = true
	case yes:
		_, details, err := r.condition.traced.Eval(s)
		if err != nil {
			return
		}
		for i, side := range r.sides() {
			value, known := details.State().Value(side.ID())
			c.Reasons[i] = c.Reasons[i] || known && value == types.True
		}
	}
}
