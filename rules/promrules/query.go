package promrules

import (
	"fmt"
	"slices"
	"strings"
)

// The operators of PromQL by how strongly they bind.
const (
	bindsOr = iota
	bindsAnd
	bindsCompare
	bindsAdd
	bindsMultiply
	bindsAtom
)

// query is a piece of PromQL.
type query struct {
	text  string
	binds int
	by    []string // the labels of its series, a set for each level; nil for a plain number
}

// in renders the query as an operand of an operator; weaker operators are put in brackets.
func (q query) in(operator int) string {
	if q.binds < operator {
		return "(" + q.text + ")"
	}
	return q.text
}

// after renders it as the right operand of an operator that does not associate.
func (q query) after(operator int) string { return q.in(operator + 1) }

// wide is how many characters of a line are enough.
const wide = 100

// combine joins two sets of one level by "and", "or" or "unless".
func combine(operator string, left, right query) query {
	binds := bindsAnd
	if operator == "or" {
		binds = bindsOr
	}
	space, match, operand := " ", on(left, right), right.after(binds)
	if len(left.text)+len(right.text) > wide {
		space = "\n"
	}
	if associates := operator == "or" || operator == "and" && match == ""; associates && right.binds == binds {
		operand = right.text
	}
	return query{left.in(binds) + space + operator + match + " " + operand, binds, left.by}
}

// on names the labels by which the series of two levels are matched; nothing where they
// have the same ones.
func on(left, right query) string {
	if slices.Equal(left.by, right.by) {
		return ""
	}
	coarse := left.by
	if len(right.by) < len(left.by) {
		coarse = right.by
	}
	return " on (" + strings.Join(coarse, ", ") + ")"
}

// operate joins two numbers by an operator of arithmetic or comparison.
func operate(operator string, binds int, left, right query) query {
	by, match := left.by, ""
	switch {
	case left.by == nil:
		by = right.by
	case right.by == nil || slices.Equal(left.by, right.by):
	case len(left.by) > len(right.by):
		match = on(left, right) + " group_left ()"
	default:
		by, match = right.by, on(left, right)+" group_right ()"
	}
	text := fmt.Sprintf("%s %s%s %s", left.in(binds), operator, match, right.after(binds))
	return query{text, binds, by}
}
