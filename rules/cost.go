package rules

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
)

// maxCost is how many steps a condition may take for one subject when all lists and strings
// in the facts are as long as they can be. One look through all members of the largest
// certificate is some 100,000 steps, and a step some ten nanoseconds; looking through the
// members once for each member is a thousand times that and refused.
const maxCost = 5_000_000

// How long the things that rules ask about can be, in entries and bytes. Names are at most
// what the CAs grant for one certificate, findings at most all codes.
const (
	mostWords    = 100
	mostMembers  = 10_000
	mostLabels   = 64
	longestText  = 4096
	longestWord  = 300 // a DNS name is at most 253 bytes long, an address has a port too
	membersNamed = "certificate.members"
)

// tooCostly finds a condition that could take too long.
func tooCostly(env *cel.Env, checked *cel.Ast) []*conditionError {
	estimate, err := env.EstimateCost(checked, lengths{})
	if err != nil {
		return []*conditionError{{1, 1, err.Error()}}
	}
	if estimate.Max <= maxCost {
		return nil
	}
	return []*conditionError{{1, 1, fmt.Sprintf(
		"the condition could take %d steps for one subject, more than the %d that are allowed: it looks through lists within lists, or for patterns in long texts", estimate.Max, maxCost,
	)}}
}

// lengths tells CEL how long the values of variables can be.
type lengths struct{}

// EstimateSize implements CEL's estimator.
func (lengths) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	path := node.Path()
	if len(path) == 0 {
		return nil
	}
	word, key := upTo(longestWord), upTo(longestWord)
	size := upTo(longestText)
	switch {
	case strings.HasPrefix(path[len(path)-1], "@"):
		size = word
	case node.Type().Kind() == types.MapKind:
		size = upTo(mostLabels)
		size.Key, size.Elem = &key, &word
	case node.Type().Kind() == types.ListKind && path[0] == membersNamed:
		size = upTo(mostMembers)
		size.Elem = &word
	case node.Type().Kind() == types.ListKind:
		size = upTo(mostWords)
		size.Elem = &word
	}
	return &size
}

// EstimateCallCost implements CEL's estimator: days and share are one step each.
func (lengths) EstimateCallCost(function, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	if function != funcDays && function != funcShare {
		return nil
	}
	return &cost.CallEstimate{CostEstimate: cost.FixedCostEstimate(1)}
}

func upTo(n uint64) cost.SizeEstimate { return cost.SizeEstimate{Max: n} }
