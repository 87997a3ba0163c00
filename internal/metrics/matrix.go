package metrics

import (
	"cmp"
	"maps"
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// seat is where a version is served to clients of one type of key.
type seat struct{ node, address, keyType string }

// installation is where a version is installed.
type installation struct{ destination, node string }

// matrix writes which nodes serve the newest stored version and which have it. An address that several
// endpoints share serves it where all of them do. What is not known is left out.
func (r *renderer) matrix(v *watchdog.View) {
	serves, has := map[seat]bool{}, map[installation]bool{}
	for _, row := range v.Rows {
		if row.Address != "" && !row.Foreign && row.Verdict != watchdog.VerdictUnknown {
			at := seat{row.Node, row.Address, row.KeyType}
			before, there := serves[at]
			serves[at] = row.Verdict == watchdog.VerdictServed && (before || !there)
		}
		node := row.Node
		if len(v.Certs.Nodes) == 0 {
			node = certmedic.LocalHost // whoever serves it, it is installed here
		}
		for _, d := range row.Deployed {
			if d.Known && row.Stored != "" {
				has[installation{d.Destination, node}] = d.Version == row.Stored
			}
		}
	}
	chosen := maps.Clone(v.Labels)
	maps.DeleteFunc(chosen, func(name, _ string) bool {
		return slices.Contains([]string{"node", "key_type", "destination"}, labelName(name))
	})
	bySeat := func(a, b seat) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.address, b.address), cmp.Compare(a.keyType, b.keyType))
	}
	for _, at := range slices.SortedFunc(maps.Keys(serves), bySeat) {
		r.gauge("certmedic_node_serves", "1 if the newest stored version is served there, 0 if it is not, or not always.").
			add(bit(serves[at]), identity(v, chosen, label{"node", at.node}, label{"address", at.address}, label{"key_type", at.keyType}))
	}
	byPlace := func(a, b installation) int {
		return cmp.Or(cmp.Compare(a.destination, b.destination), cmp.Compare(a.node, b.node))
	}
	for _, at := range slices.SortedFunc(maps.Keys(has), byPlace) {
		r.gauge("certmedic_node_deployed", "1 if the newest stored version is installed there, as far as certmedic knows.").
			add(bit(has[at]), identity(v, chosen, label{"destination", at.destination}, label{"node", at.node}))
	}
}
