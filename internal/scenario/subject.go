package scenario

import (
	"slices"

	"github.com/certmedic/certmedic"
)

// memberNames returns the names of the members that a story calls so.
func (w *world) memberNames(name string) []string {
	chosen, err := w.choose(name)
	if err != nil {
		return []string{name}
	}
	var names []string
	for _, a := range chosen {
		names = append(names, a.endpoint.config.Address)
	}
	return names
}

// subjects returns what a subject of a story means for rules about something, each by one name.
func (w *world) subjects(name string, about certmedic.SubjectKind) []string {
	chosen, err := w.choose(name)
	below := about == certmedic.AboutEndpoint || about == certmedic.AboutAddress
	if err != nil || !below && w.cert(name) != nil {
		return []string{name}
	}
	var names []string
	for _, a := range chosen {
		for i, address := range a.endpoint.addresses {
			if about == certmedic.AboutAddress && (a.address < 0 || a.address == i) {
				names = append(names, a.endpoint.config.Address+" at "+address)
			}
		}
		if about != certmedic.AboutAddress {
			names = append(names, a.endpoint.config.Address)
		}
	}
	return names
}

// isAbout reports whether a subject is what a story calls so.
func (p *play) isAbout(s certmedic.Subject, name string) bool {
	switch {
	case name == "", name == s.String():
		return true
	case s.Kind == certmedic.AboutFleet:
		return name == "fleet"
	case s.Kind == certmedic.AboutCertificate:
		return false
	}
	return slices.Contains(p.world.subjects(name, s.Kind), s.String())
}
