package rules

import (
	"slices"

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
}

// Matches returns of how many subjects the condition holds, or may hold as far as is known.
// A rule that matches none of a whole inventory is likely to have a mistake in a name or a
// label.
func (t Tally) Matches() int { return t.Holds + t.Undecided }

// Survey asks every rule about all facts, and changes nothing.
func (e *Engine) Survey(all []Facts) []Tally {
	tallies := make([]Tally, 0, len(e.rules))
	for i := range e.rules {
		r := &e.rules[i]
		t := Tally{Rule: r.Name, About: r.About}
		for j := range all {
			for _, s := range all[j].subjects(r.About) {
				t.take(r.condition.judge(s))
			}
		}
		tallies = append(tallies, t)
	}
	return tallies
}

func (t *Tally) take(v verdict, err error) {
	t.Subjects++
	switch {
	case err != nil:
		t.Errors++
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
