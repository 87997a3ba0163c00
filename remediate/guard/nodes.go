package guard

import (
	"slices"

	"github.com/certmedic/certmedic"
)

// NodesUnreachable is the reason of the outcome of a roll-out in which every host that could be
// reached is done.
const NodesUnreachable = "nodes_unreachable"

// proven reports whether an action shows that what it did helps: it healed, or it would have but for
// hosts that could not be reached.
func proven(a certmedic.Action) bool {
	if a.Outcome.Kind == certmedic.OutcomeHealed {
		return true
	}
	return a.Outcome.Reason == NodesUnreachable && slices.ContainsFunc(a.Nodes, func(n certmedic.NodeStatus) bool {
		return n.State == certmedic.NodeDone && n.Want == a.Version
	})
}
