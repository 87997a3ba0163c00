package rules

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// partial is a list that may lack something: what is in it is in it, of what is not nothing
// can be said. CEL carries that on: a condition that holds by what is there holds, one that
// rests on something being absent, or on how much there is, is undecided.
type partial struct {
	traits.Lister
	unknown *types.Unknown
}

// Contains implements traits.Container.
func (p *partial) Contains(value ref.Val) ref.Val {
	if found := p.Lister.Contains(value); found == types.True {
		return found
	}
	return p.unknown
}

// Size implements traits.Sizer.
func (p *partial) Size() ref.Val { return p.unknown }

// Equal implements ref.Val.
func (p *partial) Equal(ref.Val) ref.Val { return p.unknown }

// Add implements traits.Adder.
func (p *partial) Add(ref.Val) ref.Val { return p.unknown }

// Fold implements traits.Foldable, by which CEL looks through lists: what is there, and then
// something unknown.
func (p *partial) Fold(f traits.Folder) {
	at := types.Int(0)
	for it := p.Iterator(); it.HasNext() == types.True; at++ {
		if !f.FoldEntry(at, it.Next()) {
			return
		}
	}
	f.FoldEntry(at, p.unknown)
}
