package sd

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// yamlError is a mistake at a line.
type yamlError struct {
	line int
	text string
}

func (e *yamlError) Error() string { return e.text }

func wrong(n ast.Node, format string, args ...any) error {
	return &yamlError{n.GetToken().Position.Line, fmt.Sprintf(format, args...)}
}

// parseYAML returns the line of the mistake where there is one. Anchors, aliases and tags
// are refused: a small file could become a huge one.
func parseYAML(data []byte) ([]Group, int, error) {
	if tooDeep(data) {
		return nil, 0, fmt.Errorf("more than %d lists or mappings stand within each other", maxDepth)
	}
	file, err := parser.ParseBytes(data, 0)
	var located yaml.Error
	if errors.As(err, &located) && located.GetToken() != nil {
		return nil, located.GetToken().Position.Line, errors.New(located.GetMessage())
	}
	switch {
	case err != nil:
		return nil, 0, err
	case len(file.Docs) > 1:
		return nil, 0, errors.New("there is more than one document")
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		return nil, 0, nil
	}
	groups, err := groupsOf(file.Docs[0].Body)
	var mistake *yamlError
	if errors.As(err, &mistake) {
		return nil, mistake.line, mistake
	}
	return groups, 0, nil
}

func groupsOf(n ast.Node) ([]Group, error) {
	values, err := list(n, "the file")
	if err != nil {
		return nil, err
	}
	var groups []Group
	for _, value := range values {
		g, err := groupOf(value)
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
	}
	return groups, nil
}

func groupOf(n ast.Node) (Group, error) {
	var g Group
	entries, err := mapping(n, "a group")
	if err != nil {
		return g, err
	}
	for _, entry := range entries {
		switch key := entry.Key.GetToken().Value; key {
		case "targets":
			g.Targets, err = targetsOf(entry.Value)
		case "labels":
			g.Labels, err = labelsOf(entry.Value)
		default:
			err = wrong(entry.Key, "unknown key %q", key)
		}
		if err != nil {
			return g, err
		}
	}
	return g, nil
}

func targetsOf(n ast.Node) ([]string, error) {
	values, err := list(n, "targets")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, value := range values {
		text, err := scalar(value, "a target")
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

func labelsOf(n ast.Node) (map[string]string, error) {
	entries, err := mapping(n, "labels")
	if err != nil {
		return nil, err
	}
	labels := map[string]string{}
	for _, entry := range entries {
		name, err := scalar(entry.Key, "the name of a label")
		if err != nil {
			return nil, err
		}
		if labels[name], err = scalar(entry.Value, "a label"); err != nil {
			return nil, err
		}
	}
	return labels, nil
}

// list returns the elements of a list; null is an empty one.
func list(n ast.Node, what string) ([]ast.Node, error) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		return n.Values, nil
	case *ast.NullNode:
		return nil, nil
	default:
		return nil, wrong(n, "%s must be a list, not %s", what, kind(n))
	}
}

// mapping returns the entries of a mapping; null is an empty one.
func mapping(n ast.Node, what string) ([]*ast.MappingValueNode, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	case *ast.NullNode:
		return nil, nil
	default:
		return nil, wrong(n, "%s must be a mapping, not %s", what, kind(n))
	}
}

// scalar returns the text of a value as it is written; a number or a word such as true
// stands for its text, as in Prometheus.
func scalar(n ast.Node, what string) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	default:
		return "", wrong(n, "%s must be a string, not %s", what, kind(n))
	}
}

func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.NullNode:
		return "null"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias, which are not used here"
	case *ast.TagNode:
		return "a tag, which are not used here"
	default:
		return "a value"
	}
}
