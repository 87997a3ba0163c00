package rules

import (
	"cmp"
	"maps"
	"slices"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"

	"github.com/certmedic/certmedic"
)

// Tally is what a rule says of everything that it is asked about at one moment.
type Tally struct {
	Rule      string                `json:"rule"`
	About     certmedic.SubjectKind `json:"about"`
	Subjects  int                   `json:"subjects"`
	Holds     int                   `json:"holds"`
	Undecided int                   `json:"undecided"` // nothing can be said now
	Errors    int                   `json:"errors"`    // it cannot be asked, which is a mistake of the rule

	Error   string   `json:"error,omitempty"`          // the first of these
	Missing []string `json:"missing_labels,omitempty"` // labels that it asks for by name and that no subject has, sorted
}

// Matches returns of how many subjects the condition holds, or may hold as far as is known.
// A rule that matches none of a whole inventory is likely to have a mistake in a name or a
// label.
func (t Tally) Matches() int { return t.Holds + t.Undecided }

// Survey asks every rule about all facts, and changes nothing.
func (e *Engine) Survey(all []Facts) []Tally {
	tallies := make([]Tally, len(e.rules))
	absent := make([]map[string][]variable, len(e.rules))
	for i := range e.rules {
		tallies[i] = Tally{Rule: e.rules[i].Name, About: e.rules[i].About}
		absent[i] = e.rules[i].labels()
	}
	own := e.scratch.Get().(*scratch)
	defer e.scratch.Put(own)
	defer own.end()
	for j := range all {
		own.begin(all[j])
		for i := range e.rules {
			about := own.subjects.about(e.rules[i].About)
			for k := range about {
				tallies[i].take(e.rules[i].condition.judge(&about[k]))
				maps.DeleteFunc(absent[i], func(label string, tables []variable) bool { return about[k].mayHave(label, tables) })
			}
		}
	}
	for i := range tallies {
		if tallies[i].Subjects > 0 {
			tallies[i].Missing = slices.Sorted(maps.Keys(absent[i]))
		}
	}
	return tallies
}

// labels returns the labels that the rule and the steps of its ladder ask for by name, each
// with the tables that they look in.
func (r *Rule) labels() map[string][]variable {
	all := map[string][]variable{}
	for _, c := range append([]*condition{r.condition}, r.whens...) {
		if c == nil {
			continue
		}
		for _, a := range c.labels {
			i := slices.IndexFunc(c.uses, func(v variable) bool { return v.name == a.variable })
			all[a.word] = append(all[a.word], c.uses[i])
		}
	}
	return all
}

// mayHave reports whether one of the tables has a label, or is not known.
func (s *subject) mayHave(label string, tables []variable) bool {
	return slices.ContainsFunc(tables, func(v variable) bool {
		table, known := s.value(&v).(traits.Container)
		return !known || table.Contains(types.String(label)) == types.True
	})
}

func (t *Tally) take(v verdict, err error) {
	t.Subjects++
	switch {
	case err != nil:
		t.Errors++
		t.Error = cmp.Or(t.Error, err.Error())
	case v == yes:
		t.Holds++
	case v == undecided:
		t.Undecided++
	}
}

// Inventory returns what is known of certificates by their configuration alone: names,
// labels, addresses and protocols. Everything else is undecided.
func Inventory(certificates []certmedic.Certificate) []Facts {
	unknown := Undecided{}
	fixed := []string{
		"certificate.name", "certificate.labels", "certificate.watched", "certificate.members",
		"endpoint.address", "endpoint.protocol", "endpoint.labels", "file.path",
	}
	for _, v := range variables() {
		if !slices.Contains(fixed, v.name) {
			unknown[v.name] = "the inventory does not tell"
		}
	}
	all := []Facts{{Fleet: &FleetFacts{Undecided: unknown}}}
	for i := range certificates {
		all = append(all, inventoried(&certificates[i], unknown))
	}
	return all
}

func inventoried(c *certmedic.Certificate, unknown Undecided) Facts {
	f := Facts{Certificate: CertificateFacts{Name: c.Name, Labels: c.Labels, Watched: c.Watched, Undecided: unknown}}
	for _, e := range c.Endpoints {
		f.Certificate.Members = append(f.Certificate.Members, e.Address)
		f.Endpoints = append(f.Endpoints, EndpointFacts{
			Address: e.Address, Protocol: e.Protocol, Labels: e.Labels, Addresses: []AddressFacts{{IP: e.Address}},
		})
	}
	if c.Source.Cert != "" {
		f.Files = append(f.Files, FileFacts{Path: c.Source.Cert})
	}
	return f
}
