package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// Coverage says what of the rules tests have tried. A rule is covered when it fired. Its
// branches are the sides that the outermost || of its condition joins, each covered when the
// rule held because of it at a step of a test or when it fired; and one more, covered when
// the rule was asked and did not hold. What stands deeper in a condition is not counted.
type Coverage struct {
	Rules []RuleCoverage `json:"rules"` // in the order of the rules
}

// RuleCoverage is what tests have tried of one rule.
type RuleCoverage struct {
	Rule  string `json:"rule"`
	Fired bool   `json:"fired"`
	Sides []bool `json:"sides"` // by side of the condition
	Not   bool   `json:"not"`
}

// Merge returns what two lots of tests have tried together.
func (c Coverage) Merge(other Coverage) Coverage {
	merged := Coverage{Rules: make([]RuleCoverage, 0, len(c.Rules))}
	for _, r := range c.Rules {
		r.Sides = slices.Clone(r.Sides)
		merged.Rules = append(merged.Rules, r)
	}
	for _, r := range other.Rules {
		i := slices.IndexFunc(merged.Rules, func(m RuleCoverage) bool { return m.Rule == r.Rule && len(m.Sides) == len(r.Sides) })
		if i < 0 {
			r.Sides = slices.Clone(r.Sides)
			merged.Rules = append(merged.Rules, r)
			continue
		}
		merged.Rules[i].add(r)
	}
	return merged
}

func (r *RuleCoverage) add(other RuleCoverage) {
	r.Fired, r.Not = r.Fired || other.Fired, r.Not || other.Not
	for i := range r.Sides {
		r.Sides[i] = r.Sides[i] || other.Sides[i]
	}
}

// Fired returns how many rules fired, and the names of those that never did.
func (c Coverage) Fired() (fired int, never []string) {
	for _, r := range c.Rules {
		if r.Fired {
			fired++
		} else {
			never = append(never, r.Rule)
		}
	}
	return fired, never
}

// Branches returns how many branches there are, and in words those that were not tried.
func (c Coverage) Branches() (total int, untried []string) {
	for _, r := range c.Rules {
		total += len(r.Sides) + 1
		if !r.Not {
			untried = append(untried, r.Rule+" was never seen not to hold")
		}
		for i, reason := range r.Sides {
			if !reason && len(r.Sides) > 1 {
				untried = append(untried, fmt.Sprintf("side %d of %d of %s was never the reason", i+1, len(r.Sides), r.Rule))
			} else if !reason {
				untried = append(untried, r.Rule+" never held")
			}
		}
	}
	return total, untried
}

// unmet says which demands of a file its tests do not meet.
func (f *File) unmet(c Coverage) (problems []string) {
	fired, never := c.Fired()
	if short(fired, len(c.Rules), f.demands.rules) {
		problems = append(problems, fmt.Sprintf("coverage: %d of %d rules fired, %s demanded; never: %s",
			fired, len(c.Rules), share(f.demands.rules), strings.Join(never, ", ")))
	}
	total, untried := c.Branches()
	if short(total-len(untried), total, f.demands.branches) {
		problems = append(problems, fmt.Sprintf("coverage: %d of %d branches were tried, %s demanded: %s",
			total-len(untried), total, share(f.demands.branches), strings.Join(untried, "; ")))
	}
	return problems
}

func short(have, of int, demand float64) bool { return float64(have) < demand*float64(of)-1e-9 }

func share(x float64) string { return fmt.Sprintf("%.4g%%", x*100) }

// tallies gathers the coverage of one test.
type tallies struct {
	rules []rules.Rule
	all   Coverage
	seen  int // up to where the log was read
}

func newTallies(all []rules.Rule) *tallies {
	t := &tallies{rules: all}
	for i := range all {
		t.all.Rules = append(t.all.Rules, RuleCoverage{Rule: all[i].Name, Sides: make([]bool, all[i].Sides())})
	}
	return t
}

// take counts which rules fired since it was called last, and where something happened, or a
// step has expectations, asks every rule about the world as it is seen now.
func (t *tallies) take(p *play, at time.Time, expected bool) {
	ask := expected
	for _, h := range p.log[t.seen:] {
		ask = ask || h.judged()
		if h.transition.Kind == certmedic.TransitionFiring {
			i := slices.IndexFunc(t.rules, func(r rules.Rule) bool { return r.Name == h.transition.Incident.Rule })
			t.all.Rules[i].Fired = true
		}
	}
	t.seen = len(p.log)
	if !ask || t.done() {
		return
	}
	for _, facts := range p.facts(at) {
		for i, seen := range p.engine.Cover(facts) {
			t.all.Rules[i].add(RuleCoverage{Sides: seen.Reasons, Not: seen.Not})
		}
	}
}

// done reports whether nothing is left to try but that rules fire.
func (t *tallies) done() bool {
	return !slices.ContainsFunc(t.all.Rules, func(r RuleCoverage) bool { return !r.Not || slices.Contains(r.Sides, false) })
}

// facts returns what the rules are asked about now.
func (p *play) facts(at time.Time) []rules.Facts {
	now := p.world.wall(at)
	all := make([]rules.Facts, 0, len(p.world.certs)+1)
	for _, c := range p.world.certs {
		f := c.seen().sim.Facts(now)
		c.seen().override(&f)
		all = append(all, f)
	}
	own := p.fleet.actor.(*fleet).facts(at)
	return append(all, rules.Facts{Fleet: &own})
}
