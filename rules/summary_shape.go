package rules

import (
	"fmt"
	"text/template"
	"text/template/parse"
)

// checkShape refuses a template that may take for ever, while everything else waits for it.
// One that loops over the members or the labels only, and not within another loop, costs no
// more than they are many.
func checkShape(t *template.Template) error {
	if len(t.Templates()) > 1 {
		return fmt.Errorf("templates within a summary are not supported")
	}
	return checkNode(t.Root, false)
}

func checkNode(n parse.Node, looping bool) error {
	switch n := n.(type) {
	case *parse.ListNode:
		return checkList(n, looping)
	case *parse.IfNode:
		return checkBranches(&n.BranchNode, looping)
	case *parse.WithNode:
		return checkBranches(&n.BranchNode, looping)
	case *parse.RangeNode:
		over := n.Pipe.String()
		switch {
		case looping:
			return fmt.Errorf("a range within a range is not supported")
		case !overList(n.Pipe):
			return fmt.Errorf("range goes over .Members or .Labels, not over %s", over)
		}
		return checkBranches(&n.BranchNode, true)
	case *parse.TemplateNode:
		return fmt.Errorf("templates within a summary are not supported")
	}
	return nil
}

func checkList(n *parse.ListNode, looping bool) error {
	if n == nil {
		return nil
	}
	for _, each := range n.Nodes {
		if err := checkNode(each, looping); err != nil {
			return err
		}
	}
	return nil
}

func checkBranches(b *parse.BranchNode, looping bool) error {
	if err := checkList(b.List, looping); err != nil {
		return err
	}
	return checkList(b.ElseList, looping)
}

// overList reports whether a range goes over one of the two lists, and nothing else.
func overList(p *parse.PipeNode) bool {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return false
	}
	of, ok := p.Cmds[0].Args[0].(*parse.FieldNode)
	return ok && len(of.Ident) == 1 && (of.Ident[0] == "Members" || of.Ident[0] == "Labels")
}
