package rules

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/certmedic/certmedic"
)

// subject is one thing that a rule is asked about, with the one above it, whose variables a
// rule may use too.
type subject struct {
	certmedic.Subject
	facts     *Facts
	parent    *subject
	endpoint  *EndpointFacts
	address   *AddressFacts
	file      *FileFacts
	undecided Undecided

	incomplete Incomplete
	support    map[string]Support
	values     []ref.Val  // of its own variables, by index: made when first asked for, once for all rules
	asked      []variable // those of the condition that is asked now: few, so that looking through them is fastest
}

// ResolveName implements CEL's activation. An undecided variable is an unknown, which CEL
// carries through && and || with three-valued logic.
func (s *subject) ResolveName(name string) (any, bool) {
	for i := range s.asked {
		if v := &s.asked[i]; v.name == name {
			return s.value(v), true
		}
	}
	return nil, false
}

// Parent implements CEL's activation; there is none.
func (s *subject) Parent() cel.Activation { return nil }

// value returns what CEL is told of a variable.
func (s *subject) value(v *variable) ref.Val {
	s = s.level(v)
	if s.values[v.index] == nil {
		s.values[v.index] = s.ask(v)
	}
	return s.values[v.index]
}

func (s *subject) ask(v *variable) ref.Val {
	if s.saysUndecided(v) != "" {
		return v.unknown
	}
	value := v.value(s)
	if value == nil {
		return v.unknown
	}
	if list, ok := value.(traits.Lister); ok && s.whyIncomplete(v) != "" {
		return &partial{list, v.unknown}
	}
	return value
}

// level returns the subject that a variable belongs to: this one, or one above it.
func (s *subject) level(v *variable) *subject {
	for s.Kind != v.about && s.parent != nil {
		s = s.parent
	}
	return s
}

// saysUndecided returns what the facts say, here or above, of why a variable is undecided.
func (s *subject) saysUndecided(v *variable) string {
	for ; s != nil; s = s.parent {
		if why := s.undecided[v.name]; why != "" {
			return why
		}
	}
	return ""
}

// whyUndecided tells why nothing can be said about a variable; "" where something can.
func (s *subject) whyUndecided(v *variable) string {
	level := s.level(v)
	if why := level.saysUndecided(v); why != "" {
		return why
	}
	if level.value(v) == v.unknown {
		return "nothing is known of " + v.name
	}
	return ""
}

// whyIncomplete tells why a variable may lack something, or returns "".
func (s *subject) whyIncomplete(v *variable) string { return s.level(v).incomplete[v.name] }

// supportOf returns what backs the value of a variable, or of one word in it.
func (s *subject) supportOf(v *variable, key string) Support { return s.level(v).support[key] }

// subjects is all that rules are asked about in one evaluation. Its memory is used again.
type subjects struct {
	room   map[certmedic.SubjectKind]int // how many variables each kind has
	all    []subject                     // the certificate or the fleet, then endpoints, addresses and files, each as in the facts
	values []ref.Val
	first  [3]int // where the endpoints, the addresses and the files begin
}

func newSubjects() *subjects {
	l := &subjects{room: map[certmedic.SubjectKind]int{}}
	for _, v := range variables() {
		l.room[v.about]++
	}
	return l
}

// subjects lists what a rule about the given kind is asked about.
func (f *Facts) subjects(about certmedic.SubjectKind) []*subject {
	l := newSubjects()
	l.gather(f)
	var all []*subject
	for i := range l.about(about) {
		all = append(all, &l.about(about)[i])
	}
	return all
}

// gather lists the subjects of the facts.
func (l *subjects) gather(f *Facts) {
	l.reset()
	l.grow(f)
	if f.Fleet != nil {
		l.add(subject{
			Subject: certmedic.Subject{Kind: certmedic.AboutFleet}, facts: f, undecided: f.Fleet.Undecided, support: f.Fleet.Support,
		})
		l.first = [3]int{1, 1, 1}
		return
	}
	c := &f.Certificate
	l.add(subject{
		Subject: certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: c.Name}, facts: f, undecided: c.Undecided, incomplete: c.Incomplete, support: c.Support,
	})
	l.first[0] = len(l.all)
	l.addEndpoints(f)
	l.first[1] = len(l.all)
	l.addAddresses(f)
	l.first[2] = len(l.all)
	l.addFiles(f)
}

// grow makes room for all subjects at once: they point at each other and must not move.
func (l *subjects) grow(f *Facts) {
	addresses := 0
	for i := range f.Endpoints {
		addresses += len(f.Endpoints[i].Addresses)
	}
	l.all = slices.Grow(l.all, 1+len(f.Endpoints)+addresses+len(f.Files))
	l.values = slices.Grow(l.values, max(l.room[certmedic.AboutCertificate], l.room[certmedic.AboutFleet])+
		len(f.Endpoints)*l.room[certmedic.AboutEndpoint]+addresses*l.room[certmedic.AboutAddress]+len(f.Files)*l.room[certmedic.AboutFile])
}

func (l *subjects) addEndpoints(f *Facts) {
	for i := range f.Endpoints {
		e := &f.Endpoints[i]
		l.add(subject{
			Subject: certmedic.Subject{Kind: certmedic.AboutEndpoint, Certificate: f.Certificate.Name, Endpoint: e.Address},
			facts:   f, parent: &l.all[0], endpoint: e, undecided: e.Undecided, incomplete: e.Incomplete, support: e.Support,
		})
	}
}

func (l *subjects) addAddresses(f *Facts) {
	for i := range f.Endpoints {
		e := &f.Endpoints[i]
		for j := range e.Addresses {
			a := &e.Addresses[j]
			l.add(subject{
				Subject: certmedic.Subject{Kind: certmedic.AboutAddress, Certificate: f.Certificate.Name, Endpoint: e.Address, Address: a.IP},
				facts:   f, parent: &l.all[l.first[0]+i], address: a, undecided: a.Undecided, incomplete: a.Incomplete, support: a.Support,
			})
		}
	}
}

func (l *subjects) addFiles(f *Facts) {
	for i := range f.Files {
		file := &f.Files[i]
		l.add(subject{
			Subject: certmedic.Subject{Kind: certmedic.AboutFile, Certificate: f.Certificate.Name, Endpoint: file.Path},
			facts:   f, parent: &l.all[0], file: file, undecided: file.Undecided, support: file.Support,
		})
	}
}

// add appends a subject with room for the values of its variables.
func (l *subjects) add(s subject) {
	from := len(l.values)
	l.values = l.values[:from+l.room[s.Kind]]
	s.values = l.values[from:]
	l.all = append(l.all, s)
}

// about lists the subjects of a kind.
func (l *subjects) about(kind certmedic.SubjectKind) []subject {
	switch kind {
	case certmedic.AboutEndpoint:
		return l.all[l.first[0]:l.first[1]]
	case certmedic.AboutAddress:
		return l.all[l.first[1]:l.first[2]]
	case certmedic.AboutFile:
		return l.all[l.first[2]:]
	}
	if l.all[0].Kind != kind {
		return nil
	}
	return l.all[:1]
}

// reset forgets the subjects, and lets go of what they pointed at.
func (l *subjects) reset() {
	clear(l.all)
	clear(l.values)
	l.all, l.values, l.first = l.all[:0], l.values[:0], [3]int{}
}
