package watchdog

import (
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

// speaking returns the observations that say which version of this certificate the
// addresses serve, one for each address: where a server has certificates for both types of
// key, the one of the stored leaf's type, else the usual one. The others are of somebody
// else's certificates; only what was found in them counts.
func (e *entry) speaking(all []certmedic.AddressObservation) []certmedic.AddressObservation {
	usual := func(a certmedic.AddressObservation) bool { return a.Variant == certmedic.VariantUsual }
	if !slices.ContainsFunc(all, func(a certmedic.AddressObservation) bool { return !usual(a) }) {
		return all
	}
	leaf, _ := e.stored.Leaf()
	class := inspect.KeyClass(leaf)
	of := func(address string, variant certmedic.Variant) bool {
		return slices.ContainsFunc(all, func(a certmedic.AddressObservation) bool {
			return a.Address == address && a.Variant == variant && !usual(a)
		})
	}
	var speaking []certmedic.AddressObservation
	for _, a := range all {
		if !usual(a) && a.Variant == class || usual(a) && !of(a.Address, class) {
			speaking = append(speaking, a)
		}
	}
	return speaking
}

// speaks reports whether the observation is one of [entry.speaking].
func (e *entry) speaks(a certmedic.AddressObservation, all []certmedic.AddressObservation) bool {
	return slices.ContainsFunc(e.speaking(all), func(s certmedic.AddressObservation) bool {
		return s.Address == a.Address && s.Variant == a.Variant
	})
}

// spokenOf renders where an observation was made, for people.
func spokenOf(endpoint string, a certmedic.AddressObservation) string {
	return spoken(place(endpoint, a.Address)) + a.Variant.Note()
}
