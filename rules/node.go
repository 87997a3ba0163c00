package rules

import (
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/certmedic/certmedic/internal/hint"
)

// mapping returns the values of a mapping by their keys. Keys that are not known and keys
// that are given twice are problems; a key whose value is null is left out.
func (l *loader) mapping(n ast.Node, what string, known ...string) map[string]ast.Node {
	values := map[string]ast.Node{}
	seen := map[string]bool{}
	for _, e := range l.entries(n, what) {
		key := e.Key.GetToken().Value
		switch {
		case !slices.Contains(known, key):
			l.problem(e.Key, "%s has no key %q%s", what, key, hint.OrAll(key, known))
			continue
		case seen[key]:
			l.problem(e.Key, "the key %q is given twice", key)
			continue
		}
		seen[key] = true
		if value := l.resolve(e.Value); value != nil {
			values[key] = value
		}
	}
	return values
}

// entries returns the entries of a mapping as they were written.
func (l *loader) entries(n ast.Node, what string) []*ast.MappingValueNode {
	switch n := l.resolve(n).(type) {
	case nil:
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	default:
		l.problem(n, "%s must be a mapping of keys to values", what)
	}
	return nil
}

// list returns the values of a list.
func (l *loader) list(n ast.Node, what string) []ast.Node {
	switch n := l.resolve(n).(type) {
	case nil:
	case *ast.SequenceNode:
		return n.Values
	default:
		l.problem(n, "%s must be a list", what)
	}
	return nil
}

// text returns a plain value as text; empty where there is none.
func (l *loader) text(n ast.Node) string {
	switch n := l.resolve(n).(type) {
	case nil:
	case *ast.TagNode:
		l.problem(n, "YAML tags such as %q are not used here", n.GetToken().Value)
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case ast.ScalarNode:
		return n.GetToken().Value
	default:
		l.problem(n, "must be a text")
	}
	return ""
}

// declined reports whether a key that is true by default is false.
func (l *loader) declined(n ast.Node) bool {
	switch text := l.text(n); {
	case n == nil, text == "true":
		return false
	case text == "false":
		return true
	default:
		l.problem(n, "must be true or false, not %q", text)
		return false
	}
}

// resolve returns the value that an anchor or an alias stands for, and nil for null.
func (l *loader) resolve(n ast.Node) ast.Node {
	if alias, ok := n.(*ast.AliasNode); ok {
		target, known := l.anchors[alias.Value.GetToken().Value]
		if !known {
			l.problem(n, "no anchor %q", alias.Value.GetToken().Value)
			return nil
		}
		n = target
	}
	if anchor, ok := n.(*ast.AnchorNode); ok {
		n = anchor.Value
	}
	if n == nil || n.Type() == ast.NullType {
		return nil
	}
	return n
}

// or returns the node, or the other one where there is none.
func or(n, otherwise ast.Node) ast.Node {
	if n == nil {
		return otherwise
	}
	return n
}
