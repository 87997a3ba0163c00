package scenario

import (
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// blanks names every place at which something should stand, and nothing does. The decoder
// would take it for a key that is not there: an expectation of nothing is met for ever.
func blanks(n ast.Node) []error { return blanksIn(n, false, false) }

// blanksIn looks into a node. Nulls is whether the values of a mapping may be null, texts
// whether texts below it may be empty.
func blanksIn(n ast.Node, nulls, texts bool) (problems []error) {
	switch n := n.(type) {
	case *ast.AnchorNode:
		return blanksIn(n.Value, nulls, texts)
	case ast.MapNode:
		for each := n.MapRange(); each.Next(); {
			problems = append(problems, blanksBehind(each.Key(), each.Value(), nulls, texts)...)
		}
	case *ast.SequenceNode:
		for _, item := range n.Values {
			if item.Type() == ast.NullType {
				problems = append(problems, placeOf(item).problem("an item of a list is empty"))
			}
			problems = append(problems, blanksIn(item, false, texts)...)
		}
	case ast.ScalarNode:
		if s, ok := n.GetValue().(string); ok && !texts && strings.TrimSpace(s) == "" {
			return []error{placeOf(n).problem("the text is empty")}
		}
	}
	return problems
}

// blanksBehind looks at a key and its value. A certificate or a version of which there is
// nothing to say may have none, null takes back what the CA or the story said, and the values
// of labels and facts may be empty texts.
func blanksBehind(key ast.Node, value ast.Node, nulls, texts bool) []error {
	name := key.GetToken().Value
	if value.Type() == ast.NullType {
		if nulls {
			return nil
		}
		return []error{placeOf(key).problem("nothing stands behind %q; an empty list is []", name+":")}
	}
	switch name {
	case "certs", "versions", "ari":
		nulls = true
	case "facts":
		nulls, texts = true, true
	case "labels":
		texts = true
	default:
		nulls = nulls && texts // a level below facts
	}
	return blanksIn(value, nulls, texts)
}
