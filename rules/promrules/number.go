package promrules

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// number is a number in PromQL, durations in seconds.
type number struct {
	query query
	fixed bool    // it is value, for every subject
	value float64 // of a fixed one
	else0 *query  // those for whom it is 0, unless it has a series
}

// literal is a fixed number.
func literal(v float64) number {
	text := strconv.FormatFloat(v, 'f', -1, 64)
	binds := bindsAtom
	if v < 0 {
		binds = bindsMultiply
	}
	return number{query: query{text: text, binds: binds}, fixed: true, value: v}
}

// full returns the query with its zeros.
func (n number) full() query {
	if n.else0 == nil {
		return n.query
	}
	return combine("or", n.query, operate("*", bindsMultiply, literal(0).query, *n.else0))
}

// opposite returns the comparison that holds where another does not.
func opposite(operator string) string {
	return map[string]string{
		operators.Less: operators.GreaterEquals, operators.GreaterEquals: operators.Less,
		operators.Greater: operators.LessEquals, operators.LessEquals: operators.Greater,
		operators.Equals: operators.NotEquals, operators.NotEquals: operators.Equals,
	}[operator]
}

// compare translates a comparison of words, of booleans with true and false, or of numbers.
func (t *translator) compare(operator string, left, right ast.Expr, want bool) (set, error) {
	if equal := operator == operators.Equals; equal || operator == operators.NotEquals {
		if found, ok, err := t.equal(left, right, want == equal); ok || err != nil {
			return found, err
		}
		if found, ok, err := t.equal(right, left, want == equal); ok || err != nil {
			return found, err
		}
	}
	l, err := t.number(left)
	if err != nil {
		return set{}, err
	}
	r, err := t.number(right)
	if err != nil {
		return set{}, err
	}
	if !want {
		operator = opposite(operator)
	}
	return compared(operator, l, r), nil
}

// equal translates that something is a fixed word, or true or false; ok is false where it is
// compared with anything else.
func (t *translator) equal(e, to ast.Expr, want bool) (found set, ok bool, err error) {
	if words, ok := fixed(to); ok && to.Kind() == ast.LiteralKind {
		switch {
		case t.variable(e) != "":
			found, err = t.has(t.variable(e), words, want)
		case t.label(e) != "":
			found, err = t.labelled(t.label(e), words, want)
		default:
			err = fmt.Errorf("%s has no counterpart", describe(e))
		}
		return found, true, err
	}
	if b, ok := boolean(to); ok {
		found, err = t.condition(e, want == b)
		return found, true, err
	}
	return set{}, false, nil
}

func boolean(e ast.Expr) (value, ok bool) {
	if e.Kind() != ast.LiteralKind {
		return false, false
	}
	b, ok := e.AsLiteral().(types.Bool)
	return bool(b), ok
}

// compared compares two numbers. Where a zero would not be in the set, those who have no
// series need not be asked for.
func compared(operator string, l, r number) set {
	if l.fixed && r.fixed {
		return constant(holds(operator, l.value, r.value))
	}
	left, right := l.full(), r.full()
	if r.fixed && !holds(operator, 0, r.value) {
		left = l.query
	}
	if l.fixed && !holds(operator, l.value, 0) {
		right = r.query
	}
	symbol, _ := operators.FindReverse(operator)
	return some(operate(symbol, bindsCompare, left, right))
}

func holds(operator string, l, r float64) bool {
	order := cmp.Compare(l, r)
	switch operator {
	case operators.Less:
		return order < 0
	case operators.LessEquals:
		return order <= 0
	case operators.Greater:
		return order > 0
	case operators.GreaterEquals:
		return order >= 0
	case operators.Equals:
		return order == 0
	default:
		return order != 0
	}
}

// number translates a number or a duration.
func (t *translator) number(e ast.Expr) (number, error) {
	if name := t.variable(e); name != "" {
		return t.numeric(name)
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return written(e)
	case ast.CallKind:
		return t.computed(e.AsCall())
	}
	return number{}, fmt.Errorf("%s has no counterpart", describe(e))
}

// written translates a number that is written in the condition.
func written(e ast.Expr) (number, error) {
	switch v := e.AsLiteral().(type) {
	case types.Int:
		return literal(float64(v)), nil
	case types.Uint:
		return literal(float64(v)), nil
	case types.Double:
		return literal(float64(v)), nil
	case types.Duration:
		return literal(v.Seconds()), nil
	}
	return number{}, fmt.Errorf("%s is no number", describe(e))
}

// numeric translates a variable that is a number.
func (t *translator) numeric(name string) (number, error) {
	m, err := t.meaning(name)
	switch {
	case err != nil:
		return number{}, err
	case m.number.text == "":
		return number{}, fmt.Errorf("%s has no counterpart here", name)
	case m.managed && t.scope.watched:
		return literal(0), nil
	}
	every := strconv.FormatFloat(t.interval.Seconds(), 'f', -1, 64)
	m.number.text = strings.ReplaceAll(m.number.text, "INTERVAL", every)
	n := number{query: t.scope.query(m.number, level(name))}
	if m.zero {
		everything := t.scope.everything(level(name))
		n.else0 = &everything
	}
	return n, nil
}

// computed translates functions and arithmetic.
func (t *translator) computed(call ast.CallExpr) (number, error) {
	args := call.Args()
	switch name := call.FunctionName(); name {
	case "duration":
		return duration(args[0])
	case operators.Negate:
		return t.arithmetic(operators.Subtract, literal(0), args[0])
	case "days":
		return t.arithmetic(operators.Multiply, literal((24 * time.Hour).Seconds()), args[0])
	case "share", operators.Add, operators.Subtract, operators.Multiply, operators.Divide:
		left, err := t.number(args[0])
		if err != nil {
			return number{}, err
		}
		if name == "share" {
			name = operators.Multiply
		}
		return t.arithmetic(name, left, args[1])
	case "size":
		return t.size(args)
	default:
		return number{}, fmt.Errorf("%s has no counterpart", function(name))
	}
}

func duration(e ast.Expr) (number, error) {
	words, ok := fixed(e)
	if !ok || len(words) != 1 {
		return number{}, fmt.Errorf("a duration that is computed has no counterpart")
	}
	d, err := time.ParseDuration(words[0])
	if err != nil {
		return number{}, fmt.Errorf("the duration %q: %w", words[0], err)
	}
	return literal(d.Seconds()), nil
}

func (t *translator) arithmetic(operator string, left number, e ast.Expr) (number, error) {
	right, err := t.number(e)
	if err != nil {
		return number{}, err
	}
	if left.fixed && right.fixed {
		return folded(operator, left.value, right.value)
	}
	binds := bindsAdd
	if operator == operators.Multiply || operator == operators.Divide {
		binds = bindsMultiply
	}
	symbol, _ := operators.FindReverse(operator)
	return number{query: operate(symbol, binds, left.full(), right.full())}, nil
}

func folded(operator string, l, r float64) (number, error) {
	switch operator {
	case operators.Add:
		return literal(l + r), nil
	case operators.Subtract:
		return literal(l - r), nil
	case operators.Multiply:
		return literal(l * r), nil
	}
	return number{}, fmt.Errorf("a division of fixed numbers has no counterpart")
}

// size translates the length of a list.
func (t *translator) size(args []ast.Expr) (number, error) {
	name := ""
	if len(args) == 1 {
		name = t.variable(args[0])
	}
	m, ok := t.variables[name]
	if !ok || m.series == "" {
		return number{}, fmt.Errorf("the size of %s has no counterpart", cmp.Or(name, "an expression"))
	}
	if m.managed && t.scope.watched {
		return literal(0), nil
	}
	var matchers []string
	if extra := excluded(name, t.scope.watched); len(extra) > 0 {
		matchers = append(matchers, noneOf(m.label, extra))
	}
	each := t.words(m, level(name), matchers...)
	by := strings.Join(each.by, ", ")
	words := strings.Replace(each.text, "group by ("+by, "group by ("+by+", "+m.label, 1)
	rest := set{level: level(name)}
	if m.seen {
		rest.except = []query{t.scope.unseen(level(name))}
	}
	none := rest.query(t.scope, level(name))
	return number{query: query{"count by (" + by + ") (" + words + ")", bindsAtom, each.by}, else0: &none}, nil
}

// oneOf matches a label that is one of these words, noneOf one that is none of them.
func oneOf(label string, words []string) string  { return match(label, "=", words) }
func noneOf(label string, words []string) string { return match(label, "!", words) }

func match(label, operator string, words []string) string {
	if len(words) == 1 && operator == "!" {
		operator = "!="
	}
	if len(words) == 1 {
		return label + operator + strconv.Quote(words[0])
	}
	quoted := make([]string, 0, len(words))
	for _, w := range slices.Compact(slices.Clone(words)) {
		quoted = append(quoted, regexp.QuoteMeta(w))
	}
	return label + operator + "~" + strconv.Quote(strings.Join(quoted, "|"))
}
