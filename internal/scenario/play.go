package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/rules"
)

// test is one test of a file.
type test struct {
	form testForm
	at   place
}

// check plays the world of the test without anybody looking, and returns what is wrong with
// the test.
func (t *test) check(start time.Time) (problems []error) {
	w, err := build(t.form.Given.value, start)
	if err != nil {
		return []error{err}
	}
	last := time.Duration(-1)
	for _, s := range t.form.Steps {
		step := s.value
		if step.At == nil {
			problems = append(problems, s.at.problem("a step without `at`"))
			continue
		}
		if at := time.Duration(*step.At); at <= last || at < 0 {
			problems = append(problems, s.at.problem("the step at %s does not come after the one before it", at))
		}
		last = time.Duration(*step.At)
		w.now = start.Add(last)
		problems = append(problems, w.change(step.happens()))
		if step.SlackClick != nil {
			problems = append(problems, step.SlackClick.value.check(w, step.SlackClick.at))
		}
		if step.Expect != nil {
			problems = append(problems, w.checkExpected(*step.Expect)...)
		}
	}
	for _, n := range t.form.Never {
		problems = append(problems, w.checkNever(n))
	}
	return append(problems, t.idle())
}

// idle tells that a test cannot fail, whatever the rules say.
func (t *test) idle() error {
	expects := slices.ContainsFunc(t.form.Steps, func(s placed[stepForm]) bool { return s.value.Expect != nil })
	switch {
	case len(t.form.Steps) == 0:
		return t.at.problem("a test without steps: nothing happens, and nothing is judged")
	case !expects && len(t.form.Never) == 0 && t.form.Waiting == "":
		return t.at.problem("a test that expects nothing cannot fail: a step may `expect`, a test may say what happens `never`")
	}
	return nil
}

func (s *stepForm) expected() expectForm {
	if s.Expect == nil {
		return expectForm{}
	}
	return s.Expect.value
}

// play is a test while it is played.
type play struct {
	test     *test
	file     string // its name
	world    *world
	engine   *rules.Engine
	grid     grid
	fleet    *walker
	step     bool // every round is looked at
	log      []happening
	told     int                          // up to where the log was held against expected notifications
	events   int                          // the same of events
	errors   int                          // the same of rules that could not be asked
	failing  map[string]map[string]string // by certificate, "" for the fleet: the rules that cannot be asked, and why
	cover    *tallies
	failed   []Failure
	compiled []rules.Rule

	teller         *teller           // nil where the test speaks of no messages
	spoken         int               // up to where the teller heard of the log
	slacked, paged int               // up to where messages were held against expected ones
	keys           map[string]string // dedup keys, by what the story calls them
}

// happening is something that rules said, or that was seen, at a time.
type happening struct {
	at          time.Time // true time
	certificate string    // "" of the fleet
	event       alerting.Kind
	failing     string // a rule that cannot be asked from now on
	why         string
	transition  certmedic.Transition
	news        watchdog.News // what people may be told of it, where the test speaks of messages
}

// judged reports whether it is something that rules said.
func (h happening) judged() bool { return h.event == "" && h.failing == "" }

// begin makes everything that takes part in a test.
func (f *File) begin(t *test, all []rules.Rule, everyRound bool) (*play, error) {
	w, err := build(t.form.Given.value, f.start)
	if err != nil {
		return nil, err
	}
	p := &play{
		test: t, file: f.Path, world: w, engine: rules.New(all), compiled: all, grid: grid{f.start, f.interval}, step: everyRound,
		cover: newTallies(all), failing: map[string]map[string]string{}, keys: map[string]string{},
	}
	if t.form.speaks() {
		if p.teller, err = newTeller(w.wall(f.start)); err != nil {
			return nil, err
		}
	}
	for _, c := range w.certs {
		seen := &picture{w: w, of: c, sim: watchdog.Simulate(c.config, p.engine, f.interval), failed: &failures{}}
		seen.sim.Denies(w.isDenied)
		c.walker = &walker{actor: seen, grid: p.grid, tell: func(g glance) { p.note(c.config.Name, g) }}
	}
	own := &fleet{w: w, engine: p.engine, interval: f.interval, began: f.start}
	p.fleet = &walker{actor: own, grid: p.grid, tell: func(g glance) { p.note("", g) }}
	return p, nil
}

// note keeps what a look came to.
func (p *play) note(certificate string, g glance) {
	if g.deployed {
		p.happened(g.at, certificate, alerting.KindDeployed)
	}
	for _, rule := range slices.Sorted(maps.Keys(g.failing)) {
		if _, before := p.failing[certificate][rule]; !before {
			p.log = append(p.log, happening{at: g.at, certificate: certificate, failing: rule, why: g.failing[rule]})
		}
	}
	p.failing[certificate] = g.failing
	for _, t := range g.transitions {
		p.log = append(p.log, happening{at: g.at, certificate: certificate, transition: t, news: p.newsOf(g.at, certificate, watchdog.NewsIncident, t)})
	}
}

func (p *play) happened(at time.Time, certificate string, kind alerting.Kind) {
	news := p.newsOf(p.world.wall(at), certificate, watchdog.NewsKind(kind), certmedic.Transition{})
	p.log = append(p.log, happening{at: at, certificate: certificate, event: kind, news: news})
}

// run plays the test to its end.
func (p *play) run(ctx context.Context) error {
	p.given()
	for i, s := range p.test.form.Steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("playing %q: %w", p.test.form.Name, err)
		}
		step := s.value
		at := p.world.start.Add(time.Duration(*step.At))
		if i == 0 && at.After(p.world.start) { // else the first step is at the start
			p.look(p.world.start)
		}
		p.walk(at)
		if err := p.take(ctx, s); err != nil {
			return err
		}
		p.expect(s.at, step.expected())
		p.cover.take(p, at, step.Expect != nil)
	}
	for _, n := range p.test.form.Never {
		p.never(n)
	}
	return nil
}

// given shows certmedic the world as it is given. Nothing is judged yet: the first step may be
// at the same moment.
func (p *play) given() {
	start := p.world.start
	for _, c := range p.world.certs {
		p.report(c, start)
		c.seen().probe(p.world.wall(start))
		c.walker.last.at = start
	}
	p.fleet.last.at = start
}

// walk lets time pass up to a step.
func (p *play) walk(to time.Time) {
	from := len(p.log)
	for _, w := range p.walkers() {
		w.stride, w.dates = w.actor.plan()
		if p.step {
			w.stride = 0
		}
		w.walk(to)
	}
	slices.SortStableFunc(p.log[from:], func(a, b happening) int { return a.at.Compare(b.at) })
	p.world.now = to
}

// walkers returns those who look at the world; the fleet, which is made up of the others,
// comes last.
func (p *play) walkers() []*walker {
	all := make([]*walker, 0, len(p.world.certs)+1)
	for _, c := range p.world.certs {
		all = append(all, c.walker)
	}
	return append(all, p.fleet)
}

// take has happen what a step says, and people told of it.
func (p *play) take(ctx context.Context, s placed[stepForm]) error {
	if err := p.speak(ctx); err != nil {
		return err
	}
	if err := p.click(ctx, s); err != nil {
		return err
	}
	if err := p.turn(s.value.happens()); err != nil {
		return err
	}
	if err := p.speak(ctx); err != nil {
		return err
	}
	return p.send(ctx, s.at)
}

// turn has the world change, and everybody look at it.
func (p *play) turn(f changeForm) error {
	if err := p.world.change(f); err != nil {
		return err
	}
	if f.Restart {
		p.restart()
	}
	p.look(p.world.now)
	return nil
}

// look has everybody look at the world as it is now.
func (p *play) look(at time.Time) {
	for _, c := range p.world.certs {
		p.report(c, at)
	}
	for _, w := range p.walkers() {
		w.look(at)
	}
}

// report has certmedic read a certificate's source, if it changed, and tells it the rest of
// what is new.
func (p *play) report(c *cert, at time.Time) {
	seen, now := c.seen(), p.world.wall(at)
	if c.unread && seen.read(now) {
		p.happened(at, c.config.Name, alerting.KindRenewed)
	}
	for _, tell := range c.news {
		tell(seen, now)
	}
	if seen.back {
		seen.back = false
		p.happened(at, c.config.Name, alerting.KindRolledBack)
	}
	c.unread, c.news = false, nil
}

// restart has certmedic forget what a restart forgets.
func (p *play) restart() {
	for _, c := range p.world.certs {
		c.seen().sim.Restart()
		c.unread = c.config.Source.Kind != certmedic.SourceNone
	}
	own := p.fleet.actor.(*fleet)
	own.state, own.began = rules.Thaw(own.state), p.world.now
}

// open returns the incidents that are open now, the fleet's last.
func (p *play) open() []certmedic.Incident {
	var all []certmedic.Incident
	for _, c := range p.world.certs {
		all = append(all, c.seen().sim.Open()...)
	}
	for _, in := range p.fleet.actor.(*fleet).state.Instances {
		all = append(all, in.Incident)
	}
	return slices.DeleteFunc(all, func(in certmedic.Incident) bool { return !in.Open() })
}

// about returns what the rule of a name is about.
func (p *play) about(name string) (certmedic.SubjectKind, error) {
	i := slices.IndexFunc(p.compiled, func(r rules.Rule) bool { return r.Name == name })
	if i < 0 {
		return "", errors.New("there is no rule " + cmp.Or(name, "without a name"))
	}
	return p.compiled[i].About, nil
}
