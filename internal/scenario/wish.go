package scenario

import (
	"fmt"
	"slices"

	"github.com/certmedic/certmedic"
)

// wish is an action that rules ask for now, and what its certificate's mode makes of it.
type wish struct {
	do          certmedic.ActionKind
	certificate string
	mode        certmedic.Mode
}

func (w wish) String() string { return fmt.Sprintf("%s of %s (%s)", w.do, w.certificate, w.mode) }

// wishes returns the actions that the rules ask for now. One that its certificate does not
// allow is only observed.
func (p *play) wishes() []wish {
	var all []wish
	for _, c := range p.world.certs {
		for _, kind := range c.seen().sim.Wants() {
			one := wish{kind, c.config.Name, c.config.Mode}
			if !c.config.Allows(kind) {
				one.mode = certmedic.ModeObserve
			}
			if !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	return all
}
