package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// printElsewhere shows what a plan does on other hosts.
func (e *environment) printElsewhere(all []deploy.Elsewhere) {
	for _, there := range all {
		fmt.Fprintf(e.stdout, "on       %s\n", printable(strings.Join(there.Hosts, ", ")))
		for _, f := range there.Files {
			fmt.Fprintf(e.stdout, "  install  %s (%s)\n", printable(f.To), fileOf(f))
		}
		for _, c := range there.Commands {
			fmt.Fprintf(e.stdout, "  run      %s: %s\n", c.Phase, printable(strings.Join(c.Argv, " ")))
			if c.For > 0 {
				fmt.Fprintf(e.stdout, "           again and again for %s\n", c.For)
			}
		}
	}
}

// printNodes shows how an action went on each node.
func (e *environment) printNodes(nodes []certmedic.NodeStatus) {
	sorted := slices.SortedStableFunc(slices.Values(nodes), func(a, b certmedic.NodeStatus) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Destination, b.Destination))
	})
	for _, n := range sorted {
		fmt.Fprintf(e.stdout, "  %s on %s: %s", printable(n.Destination), printable(n.Node), strings.ReplaceAll(string(n.State), "_", " "))
		if n.Version != "" {
			fmt.Fprintf(e.stdout, ", it has %s", n.Version.Short())
		}
		if n.Detail != "" {
			fmt.Fprintf(e.stdout, ": %s", printable(n.Detail))
		}
		fmt.Fprintln(e.stdout)
	}
}
