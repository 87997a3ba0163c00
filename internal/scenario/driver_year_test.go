package scenario_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/rules"
)

// epoch is the daemon's date at the beginning of every world.
func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// moment is when something happens, or when it is worth looking.
type moment struct {
	at    time.Duration
	probe bool // all endpoints are probed at once, as after a change of the source
}

// moments lists, in order, when a world is judged in any case: when something changes or can
// first be seen, around each date, and from time to time.
func (w *world) moments(stride time.Duration) []moment {
	var all []moment
	source := func(t time.Duration) { all = append(all, moment{at: t}, moment{t + 200*time.Millisecond, true}) }
	for _, c := range w.stored {
		source(c.at)
	}
	for _, l := range w.locks {
		source(l.from)
		source(l.to)
	}
	for _, k := range w.kept {
		source(k.from)
		source(k.to)
	}
	for _, d := range w.down {
		all = append(all, moment{at: d.from - time.Millisecond})
		source(d.to)
	}
	for _, l := range w.clock {
		all = append(all, moment{at: l.at})
	}
	all = append(all, w.probes()...)
	all = append(all, w.dates()...)
	for t := time.Duration(0); t <= year; t += stride {
		all = append(all, moment{at: t})
	}
	all = slices.DeleteFunc(all, func(m moment) bool { return m.at < 0 || m.at > year || anyHolds(w.down, m.at) })
	slices.SortFunc(all, func(a, b moment) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.rank(), b.rank())) })
	return slices.CompactFunc(all, func(a, b moment) bool { return a.at == b.at })
}

// rank puts a moment with a probe before the same one without.
func (m moment) rank() int {
	if m.probe {
		return 0
	}
	return 1
}

// probes lists the probes that can see something for the first time, with those after them.
func (w *world) probes() (all []moment) {
	seen := func(t time.Duration) {
		for e := range w.targets {
			next := w.tick(e, t) + interval
			all = append(all, moment{at: next}, moment{at: next + interval})
		}
	}
	for _, p := range w.places {
		for _, c := range p.served {
			seen(c.at)
		}
	}
	for _, s := range w.served {
		seen(s.from)
		seen(s.to)
	}
	for _, t := range w.targets {
		for _, g := range t.gaps {
			seen(g.to)
			for _, rounds := range []time.Duration{0, 3, 4, 5, 6, 7, 12} {
				all = append(all, moment{at: g.from + rounds*interval})
			}
		}
	}
	return all
}

// dates lists moments just before and just after the dates of each version, while it is in
// place.
func (w *world) dates() (all []moment) {
	for i, v := range w.versions {
		at := []time.Duration{v.begins, v.ends, v.ends - min(w.life/10, 7*day), v.ends - w.life/4, v.ends - w.life*5/12, v.ends - 21*day}
		for _, o := range v.window {
			at = append(at, o.at, o.window.to)
		}
		for _, t := range at {
			if w.stored.at(t) == i || slices.ContainsFunc(w.places, func(p place) bool { return p.served.at(t) == i }) {
				all = append(all, moment{at: t - interval*3/2}, moment{at: t + interval*3/2})
			}
		}
	}
	return all
}

// tick returns the last moment up to t at which an endpoint is probed by turn.
func (w *world) tick(e int, t time.Duration) time.Duration {
	phase := w.targets[e].phase
	return (t-phase)/interval*interval + phase
}

// run is one world on its way through the year.
type run struct {
	w      *world
	s      *senses
	oracle *oracle
	sim    *watchdog.Simulation
	change func(*rules.Facts)

	told   reading // the last reading that the simulation was told
	window *offer  // the last window
	firing map[subject]bool
	report report
}

// report is what came out.
type report struct {
	worlds, moments  int
	incidents        map[string]int // by rule
	musts            map[string]int // by rule, how often one had to begin
	began, ended     int
	missed, spurious []string
}

func (r *report) add(o report) {
	r.worlds, r.moments, r.began, r.ended = r.worlds+o.worlds, r.moments+o.moments, r.began+o.began, r.ended+o.ended
	for rule, n := range o.incidents {
		r.incidents[rule] += n
	}
	for rule, n := range o.musts {
		r.musts[rule] += n
	}
	r.missed, r.spurious = append(r.missed, o.missed...), append(r.spurious, o.spurious...)
}

func emptyReport() report { return report{incidents: map[string]int{}, musts: map[string]int{}} }

// live takes a world through its year.
func live(w *world, engine *rules.Engine, finer int, change func(*rules.Facts)) report {
	r := newRun(w, engine, change)
	planned := w.moments(max(6*time.Hour, w.life/50) / time.Duration(finer))
	var last, woken time.Duration // woken: when a timer of the rules runs out; 0: none does
	for len(planned) > 0 {
		m := planned[0]
		if woken != 0 && woken < m.at {
			m = moment{woken, true}
		} else {
			planned = planned[1:]
		}
		restarted := r.lay(last, m.at)
		if restarted {
			r.restart()
		}
		r.look(m)
		jump := w.offset(m.at) - w.offset(last)
		woken = r.judge(passed{m.at - last, jump.Abs(), restarted || jump != 0})
		if anyHolds(w.down, woken) {
			woken = 0
		}
		last = m.at
	}
	for key := range r.firing {
		r.report.spurious = append(r.report.spurious, r.story(key, nil, "does not end"))
	}
	return r.report
}

func newRun(w *world, engine *rules.Engine, change func(*rules.Facts)) *run {
	cert := certmedic.Certificate{Name: w.name, Watched: w.source == certmedic.SourceNone, Source: certmedic.Source{Kind: w.source, Lineage: w.name}}
	for _, t := range w.targets {
		cert.Endpoints = append(cert.Endpoints, t.Endpoint)
	}
	s := newSenses(w)
	r := &run{
		w: w, s: s, oracle: newOracle(s), sim: watchdog.Simulate(cert, engine, interval), change: change,
		firing: map[subject]bool{}, report: emptyReport(),
	}
	r.report.worlds = 1
	return r
}

// restart has the daemon start again, after it did not run for a while.
func (r *run) restart() {
	r.sim.Restart()
	r.s.restart()
	r.told = reading{}
}

// look has the simulation see what the daemon would have seen by a moment.
func (r *run) look(m moment) {
	for e, t := range r.w.targets {
		tick := r.w.tick(e, m.at)
		if tick >= 0 && tick > r.s.probed[e] && !anyHolds(t.gaps, tick) && !r.lay(tick, m.at) {
			r.probe(e, tick)
		}
	}
	r.s.now = m.at
	r.s.read()
	r.tell()
	for e, t := range r.w.targets {
		if m.probe && !anyHolds(t.gaps, m.at) {
			r.probe(e, m.at)
		}
	}
	r.s.now = m.at
}

// lay reports whether the daemon did not run at some time from a moment to another.
func (r *run) lay(from, to time.Duration) bool {
	return slices.ContainsFunc(r.w.down, func(d span) bool { return d.from <= to && from < d.to })
}

// probe has an endpoint probed.
func (r *run) probe(e int, at time.Duration) {
	r.s.now = at
	r.s.probe(e)
	t := r.w.targets[e]
	o := certmedic.Observation{Endpoint: t.Endpoint, Time: r.date(at)}
	versions := map[int]bool{}
	for p, seen := range r.s.seen {
		if r.w.places[p].endpoint == e {
			o.Addresses = append(o.Addresses, r.handshake(p, seen))
			if seen.reached {
				versions[seen.shown] = true
			}
		}
	}
	if r.s.gone[e] {
		o.Addresses = []certmedic.AddressObservation{{
			Address: t.Address, Stage: certmedic.ProbeResolve,
			Error: &certmedic.ProbeError{Reason: certmedic.DNSFailed, Detail: "no such host", Gone: true},
		}}
	}
	if len(versions) > 1 {
		o.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.SplitServing, "two versions")}
	}
	r.sim.Observe(o)
}

func (r *run) handshake(p int, seen sight) certmedic.AddressObservation {
	a := certmedic.AddressObservation{Address: r.w.places[p].address, Protocol: "tls", Stage: certmedic.ProbeConnect}
	if !seen.reached {
		a.Error = &certmedic.ProbeError{Reason: certmedic.Timeout, Detail: "no answer"}
		return a
	}
	a.Stage, a.TLS, a.Chain = certmedic.ProbeDone, &certmedic.TLSFacts{Version: "TLS 1.3"}, []certmedic.CertFacts{r.leaf(seen.shown)}
	for _, c := range seen.codes {
		a.Findings = append(a.Findings, certmedic.NewFinding(c, string(c)))
	}
	return a
}

func (r *run) leaf(v int) certmedic.CertFacts {
	at := r.w.versions[v]
	id := certmedic.Fingerprint(fmt.Sprintf("%064x", v+1))
	return certmedic.CertFacts{
		Subject: "CN=" + r.w.name, SHA256: id, SPKISHA256: id, KeyType: "ec256",
		NotBefore: epoch().Add(at.begins), NotAfter: epoch().Add(at.ends), DNSNames: []string{r.w.name},
	}
}

// date is what the daemon's clock shows.
func (r *run) date(t time.Duration) time.Time { return epoch().Add(r.w.wall(t)) }

// tell hands on the reading of the source and the CA's window, where they are news.
func (r *run) tell() {
	now, was := r.s.source, r.told
	if r.w.source == certmedic.SourceNone {
		return
	}
	if !was.done || was.version != now.version || was.locked != now.locked || was.readable != now.readable || !slices.Equal(was.codes, now.codes) {
		r.store(now)
		r.told = now
	}
	var window *offer
	for i, o := range r.w.versions[now.version].window {
		if o.at <= r.s.now {
			window = &r.w.versions[now.version].window[i]
		}
	}
	if window != r.window && window != nil {
		r.sim.Window(r.leaf(now.version).SHA256, &rules.Window{Start: epoch().Add(window.window.from), End: epoch().Add(window.window.to)})
		r.window = window
	}
}

func (r *run) store(now reading) {
	stored := certmedic.Stored{Time: r.date(r.s.now), Path: "/live/" + r.w.name + "/cert.pem", Lock: certmedic.Lock{State: certmedic.LockFree}}
	if now.locked {
		stored.Lock = certmedic.Lock{State: certmedic.LockHeld, Path: "/.certbot.lock", PID: 1}
	}
	var problems []certmedic.Finding
	for _, c := range now.codes {
		finding := certmedic.NewFinding(c, string(c))
		if c == certmedic.Expired || c == certmedic.NotYetValid {
			problems = append(problems, finding)
		} else {
			stored.Findings = append(stored.Findings, finding)
		}
	}
	if now.readable {
		stored.Chain, stored.Names = []certmedic.CertFacts{r.leaf(now.version)}, []string{r.w.name}
		for v := range now.version + 1 {
			stored.Known = append(stored.Known, r.leaf(v).SHA256)
		}
		if r.w.source == certmedic.SourceCertbot {
			stored.Ages = r.archived(now.version)
		}
	}
	r.sim.Store(stored.Time, stored, problems)
}

// archived lists the ages that certbot's archive tells.
func (r *run) archived(version int) []float64 {
	ages := slices.Clone(r.w.ages)
	for v := range version {
		ages = append(ages, float64(r.w.versions[v+1].begins-r.w.versions[v].begins)/float64(r.w.life))
	}
	return ages[max(0, len(ages)-20):]
}

// judge has the rules and the oracle judge the moment and compares them. It returns when to
// look again.
func (r *run) judge(p passed) (again time.Duration) {
	t := r.s.now
	result := r.sim.Judge(r.date(t), r.change)
	r.report.moments++
	for _, c := range result.Transitions {
		switch c.Kind {
		case certmedic.TransitionFiring:
			r.report.incidents[c.Incident.Rule]++
			r.report.began++
		case certmedic.TransitionResolved:
			r.report.ended++
		}
	}
	for _, e := range result.Errors {
		r.report.spurious = append(r.report.spurious, r.story(subject{rule: e.Rule}, nil, e.Err.Error()))
	}
	clear(r.firing)
	open := r.sim.Open()
	for _, in := range open {
		if in.State == certmedic.StateFiring {
			r.firing[subject{in.Rule, in.Subject.Endpoint}] = true
		}
	}
	r.compare(p)
	if !result.Next.IsZero() {
		return t + max(time.Millisecond, result.Next.Sub(r.date(t)))
	}
	return 0
}

// compare holds what is firing against what the oracle says.
func (r *run) compare(p passed) {
	for _, a := range r.oracle.alarms {
		must := a.mustFire
		a.step(r.s.now, a.claim.of(r.s, a.target), p)
		if a.mustFire && !must {
			r.report.musts[a.rule]++
		}
		missed, spurious := a.mustFire && !r.firing[a.subject], r.firing[a.subject] && !a.mayFire
		switch {
		case a.wrong:
		case missed:
			r.report.missed = append(r.report.missed, r.story(a.subject, a, "must be firing"))
		case spurious:
			r.report.spurious = append(r.report.spurious, r.story(a.subject, a, "must not be firing"))
		}
		a.wrong = missed || spurious
	}
	for key := range r.firing {
		if !r.oracle.known[key] {
			r.oracle.known[key] = true
			r.report.spurious = append(r.report.spurious, r.story(key, nil, "has no cause"))
		}
	}
}

// story says what is wrong, and what there was to see.
func (r *run) story(key subject, a *watched, what string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s: %s %s", r.w.name, r.s.now, r.date(r.s.now).Format(time.DateTime), strings.TrimSpace(key.rule+" "+key.endpoint), what)
	if a != nil {
		fmt.Fprintf(&b, "; it may be %03b (bad, held %s to %s, clear %s to %s)", a.last, a.heldMin, a.heldMax, a.clearMin, a.clearMax)
	}
	fmt.Fprintf(&b, "\n    source %+v, clock %s", r.s.source, r.w.offset(r.s.now))
	c := r.sim.Facts(r.date(r.s.now)).Certificate
	fmt.Fprintf(&b, "\n    facts: drift %t newer %t split %t findings %v; renewal due in %s by %q, ends in %s; undecided %v, incomplete %v",
		c.Drift, c.ServedNewer, c.Split, c.Findings, c.RenewalDueIn, c.RenewalBasis, c.ServedExpiresIn, c.Undecided, c.Incomplete)
	for p, seen := range r.s.seen {
		fmt.Fprintf(&b, "\n    place %d probed %s ago: %+v", p, r.s.now-r.s.probed[r.w.places[p].endpoint], seen)
	}
	for _, in := range r.sim.Open() {
		if in.Rule == key.rule {
			fmt.Fprintf(&b, "\n    because %s %v", in.Reason, in.Evidence)
		}
	}
	return b.String()
}
