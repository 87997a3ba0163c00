package scenario

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/rules"
)

// picture is what certmedic knows of one certificate.
type picture struct {
	w      *world
	of     *cert
	sim    *watchdog.Simulation
	failed *failures
	loans  int       // rollbacks so far
	back   bool      // a rollback was told just now
	turns  time.Time // of certmedic's clock; when a date of what is stored has passed; zero: none will
}

// look probes the certificate's endpoints and judges it.
func (p *picture) look(t time.Time) glance {
	now := p.w.wall(t)
	if !p.turns.IsZero() && !now.Before(p.turns) {
		p.read(now)
	}
	deployed := p.probe(now)
	p.sim.Budget(p.of.budget(now))
	result := p.sim.Judge(now, p.override)
	p.failed.note(t, result.Errors)
	g := glanceOf(t, result, p.w.skew)
	g.deployed = deployed
	if turn := p.turns.Add(-p.w.skew); !p.turns.IsZero() && (g.next.IsZero() || turn.Before(g.next)) {
		g.next = turn
	}
	return g
}

// read reads the certificate's source, and reports whether it holds another version than
// before. It is read again when a date of what it holds has passed.
func (p *picture) read(now time.Time) (renewed bool) {
	p.turns = time.Time{}
	if p.of.stored != nil {
		p.turns = p.of.stored.turns(now)
	}
	stored, problems := p.of.reading(now)
	return p.sim.Store(now, stored, problems)
}

// probe probes all of the certificate's endpoints that are probed at all.
func (p *picture) probe(now time.Time) (deployed bool) {
	var round []certmedic.Observation
	for _, e := range p.of.serves {
		if !e.gone && e.gap.IsZero() {
			round = append(round, e.observe(now))
		}
	}
	return p.sim.Round(now, round)
}

// How far time hops at most while nothing changes: a part of the shortest lifetime.
const (
	strides    = 64
	mostStride = 2 * 24 * time.Hour
)

// plan returns the dates of the versions in play, and a stride that fits their lifetimes.
func (p *picture) plan() (time.Duration, []time.Time) {
	stride, dates := mostStride, slices.Clone(p.of.dates)
	for v := range p.of.inPlay() {
		stride = min(stride, v.facts.Lifetime()/strides)
		dates = append(dates, v.facts.NotBefore, v.facts.NotAfter)
	}
	return stride, dates
}

func (p *picture) clone() actor {
	c := *p
	c.sim, c.failed = p.sim.Clone(), p.failed.clone()
	return &c
}

// override puts the facts of the story in place of those that were seen.
func (p *picture) override(f *rules.Facts) {
	p.of.facts.certificate(&f.Certificate)
	for i := range f.Endpoints {
		for _, e := range p.of.serves {
			if len(e.facts) > 0 && e.config.Address == f.Endpoints[i].Address {
				e.facts.endpoint(&f.Endpoints[i])
			}
		}
	}
}

// glanceOf turns what the rules said into a glance. Skew is how far their clock is ahead.
func glanceOf(t time.Time, result rules.Result, skew time.Duration) glance {
	g := glance{at: t, transitions: result.Transitions, failing: reasons(result.Errors)}
	if !result.Next.IsZero() {
		g.next = result.Next.Add(-skew)
	}
	var b strings.Builder
	for _, in := range result.State.Instances {
		b.WriteString(in.Rule + "|" + in.Subject.String() + "|" + string(in.State))
		if in.Undecided != "" {
			b.WriteString("|undecided")
		}
		if !in.ClearedAt.IsZero() {
			b.WriteString("|cleared")
		}
		b.WriteByte('\n')
	}
	for _, e := range result.Errors {
		b.WriteString("error " + e.Rule + "\n")
	}
	g.standing = b.String()
	return g
}

// failures are the rules that could not be asked about a certificate, and since when.
type failures struct{ changes []failed }

type failed struct {
	at  time.Time
	why map[string]string // by rule
}

// reasons returns, by rule, why rules could not be asked.
func reasons(errors []rules.RuleError) map[string]string {
	why := map[string]string{}
	for _, e := range errors {
		why[e.Rule] = e.Err.Error()
	}
	return why
}

// note takes the errors of a judgement.
func (f *failures) note(t time.Time, errors []rules.RuleError) {
	if len(errors) == 0 && len(f.changes) == 0 {
		return
	}
	now := failed{at: t, why: reasons(errors)}
	if n := len(f.changes); n > 0 && maps.Equal(f.changes[n-1].why, now.why) {
		return
	}
	f.changes = append(f.changes, now)
}

// at returns the errors of the last judgement up to a time.
func (f *failures) at(t time.Time) map[string]string {
	for _, change := range slices.Backward(f.changes) {
		if !change.at.After(t) {
			return change.why
		}
	}
	return nil
}

func (f *failures) clone() *failures { return &failures{changes: slices.Clone(f.changes)} }

// fleet is what certmedic knows of itself.
type fleet struct {
	w        *world
	engine   *rules.Engine
	interval time.Duration
	began    time.Time
	state    rules.State
}

// look judges certmedic itself.
func (f *fleet) look(t time.Time) glance {
	facts := f.facts(t)
	result := f.engine.Evaluate(f.w.wall(t), rules.Facts{Fleet: &facts}, f.state)
	f.state = result.State
	return glanceOf(t, result, f.w.skew)
}

// facts returns what rules may ask about certmedic itself.
func (f *fleet) facts(t time.Time) rules.FleetFacts {
	facts := watchdog.FleetFacts(f.w.wall(t), f.self(t), f.interval, f.w.configs(), f.w.failed(t))
	f.w.fleet.fleet(&facts)
	return facts
}

// self tells how certmedic is: a round is over when every endpoint was probed once more, and
// the CA's clock is right.
func (f *fleet) self(t time.Time) watchdog.Self {
	last := t
	for _, e := range f.w.endpoints {
		if !e.gone && !e.gap.IsZero() {
			last = earlier(last, e.gap)
		}
	}
	return watchdog.Self{Since: f.w.wall(f.began), LastRound: f.w.wall(last), ClockSkew: &f.w.skew}
}

// plan returns when rules began and ceased to fail.
func (f *fleet) plan() (time.Duration, []time.Time) {
	var dates []time.Time
	for _, c := range f.w.certs {
		for _, change := range c.seen().failed.changes {
			dates = append(dates, change.at)
		}
	}
	return mostStride, dates
}

func (f *fleet) clone() actor {
	c := *f
	return &c
}

// configs returns the certificates as they are configured.
func (w *world) configs() []*certmedic.Certificate {
	all := make([]*certmedic.Certificate, 0, len(w.certs))
	for _, c := range w.certs {
		all = append(all, &c.config)
	}
	return all
}

// seen is what certmedic knows of the certificate now.
func (c *cert) seen() *picture { return c.walker.actor.(*picture) }

// looked returns when the certificate was looked at last; now, where nobody looks.
func (c *cert) looked(now time.Time) time.Time {
	if c.walker == nil {
		return now
	}
	return c.walker.last.at
}

// failed returns the rules that could not be asked at a time, by certificate.
func (w *world) failed(t time.Time) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, c := range w.certs {
		if why := c.seen().failed.at(t); len(why) > 0 {
			all[c.config.Name] = why
		}
	}
	return all
}
