package scenario_test

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// senses is what somebody who looks at a world from where the daemon stands has seen of it
// up to now: what the last probe of each place showed, and the last reading of the source.
type senses struct {
	w      *world
	now    time.Duration
	probed []time.Duration // by target, since the daemon started; never: it was not
	gone   []bool          // by target, its name did not resolve then
	seen   []sight         // by place
	source reading

	newest version   // the last one that was stored, or was served everywhere where nothing is
	ages   []float64 // at which share of their life versions were replaced
}

const never = time.Duration(-1)

// sight is what was seen of a place.
type sight struct {
	reached bool
	codes   []certmedic.FindingCode
	unsure  []certmedic.FindingCode // those that depend on whose clock is right
	shown   int                     // the version that was presented last, also before a restart; -1: none
	shownAt time.Duration           // since the daemon started; never: not since
}

// reading is what was read of the source.
type reading struct {
	done     bool
	version  int // the last one that could be read
	changed  time.Duration
	readable bool
	locked   bool
	codes    []certmedic.FindingCode
	unsure   []certmedic.FindingCode
}

func newSenses(w *world) *senses {
	s := &senses{w: w, seen: make([]sight, len(w.places)), source: reading{version: -1}}
	for i := range s.seen {
		s.seen[i].shown = -1
	}
	s.restart()
	return s
}

// restart forgets what a daemon forgets that starts again.
func (s *senses) restart() {
	s.probed, s.gone = make([]time.Duration, len(s.w.targets)), make([]bool, len(s.w.targets))
	for e := range s.probed {
		s.probed[e] = never
	}
	for p := range s.seen {
		s.seen[p] = sight{shown: s.seen[p].shown, shownAt: never}
	}
	s.source.done = false
}

// read reads the source now.
func (s *senses) read() {
	r := reading{done: true, version: s.source.version, changed: s.source.changed, readable: s.w.readable(s.now), locked: anyHolds(s.w.locks, s.now)}
	for _, k := range s.w.kept {
		if k.holds(s.now) {
			r.codes = append(r.codes, k.code)
		}
	}
	if v := s.w.stored.at(s.now); r.readable {
		if v != r.version {
			r.version, r.changed = v, s.now
		}
		r.codes, r.unsure = s.dated(v, r.codes)
		s.replaced(v)
	}
	if !s.source.done || s.source.locked && !r.locked {
		r.changed = s.now
	}
	s.source = r
}

// dated adds what dates say about a version: by the daemon's clock, and where the true one
// disagrees, unsurely.
func (s *senses) dated(v int, codes []certmedic.FindingCode) (all, unsure []certmedic.FindingCode) {
	at, wall := s.w.versions[v], s.w.wall(s.now)
	for _, date := range []struct {
		code        certmedic.FindingCode
		wall, truly bool
	}{
		{certmedic.Expired, wall > at.ends, s.now > at.ends},
		{certmedic.NotYetValid, wall < at.begins, s.now < at.begins},
	} {
		if date.wall {
			codes = append(codes, date.code)
		}
		if date.wall != date.truly {
			unsure = append(unsure, date.code)
		}
	}
	return codes, unsure
}

// probe probes an endpoint now.
func (s *senses) probe(e int) {
	s.probed[e], s.gone[e] = s.now, false
	for p := range s.seen {
		if s.w.places[p].endpoint != e {
			continue
		}
		codes := s.w.findings(p, s.now)
		s.gone[e] = s.gone[e] || slices.Contains(codes, certmedic.DNSFailed)
		now := &s.seen[p]
		now.reached = !slices.Contains(codes, certmedic.DNSFailed) && !slices.Contains(codes, certmedic.Timeout)
		now.codes, now.unsure = nil, nil
		if now.reached {
			now.shown, now.shownAt = s.w.places[p].served.at(s.now), s.now
			now.codes, now.unsure = s.dated(now.shown, codes)
		}
	}
	if everywhere, ok := s.everywhere(); ok && s.w.source == certmedic.SourceNone {
		s.replaced(everywhere)
	}
}

// everywhere returns the version that all places presented last.
func (s *senses) everywhere() (v int, ok bool) {
	for i, p := range s.seen {
		if p.shown < 0 || i > 0 && p.shown != v {
			return 0, false
		}
		v, ok = p.shown, true
	}
	return v, ok
}

// replaced notes at which age a version was replaced.
func (s *senses) replaced(v int) {
	next := s.w.versions[v]
	if s.newest.ends != 0 && next.begins > s.newest.begins {
		s.ages = append(s.ages, float64(next.begins-s.newest.begins)/float64(s.w.life))
	}
	if next.begins > s.newest.begins || s.newest.ends == 0 {
		s.newest = next
	}
}

// recent says whether an endpoint was probed within the last five intervals, as far as the
// clock can be trusted: good, or unknown where it was not.
func (s *senses) recent(e int) truth {
	if s.probed[e] == never {
		return unknown
	}
	of := func(age time.Duration) truth {
		switch {
		case age < 49*interval/10:
			return good
		case age < 51*interval/10:
			return good | unknown
		}
		return unknown
	}
	return of(s.now-s.probed[e]) | of(s.w.wall(s.now)-s.w.wall(s.probed[e]))
}

// unprobed is bad where an endpoint was not probed for five intervals.
func (s *senses) unprobed(e int) truth {
	recent := s.recent(e)
	if s.probed[e] == never {
		return unknown
	}
	return recent&good | recent&unknown>>1
}

// at weighs what was seen of an endpoint: old news are none.
func (s *senses) at(e int, saw truth) truth {
	switch s.recent(e) {
	case good:
		return saw
	case unknown:
		return unknown
	}
	return saw | unknown
}

// silent is bad where nothing answers at an endpoint, for a reason.
func (s *senses) silent(e int, why certmedic.FindingCode) truth {
	reached := false
	for p, seen := range s.seen {
		reached = reached || seen.reached && s.w.places[p].endpoint == e
	}
	if why == certmedic.DNSFailed {
		return s.at(e, says(s.gone[e]))
	}
	return s.at(e, says(!reached && !s.gone[e]))
}

// found is bad where one of the findings is seen at a place.
func (s *senses) found(codes []certmedic.FindingCode) truth {
	if len(s.w.targets) == 0 {
		return s.foundInSource(codes) // clients get what is stored, for all that is known
	}
	all := good
	for p, seen := range s.seen {
		here := unknown
		if seen.reached {
			here = s.at(s.w.places[p].endpoint, listed(codes, seen.codes, seen.unsure))
		}
		all = all.or(here)
	}
	if s.source.locked {
		return unknown
	}
	return all
}

// chain is bad where clients cannot verify what is served. It may be told, too, that a stored
// pair does not fit, where nothing is served, and for a round that something had expired by a
// clock that was wrong.
func (s *senses) chain() truth {
	chain := s.found([]certmedic.FindingCode{certmedic.Untrusted, certmedic.IncompleteChain, certmedic.SelfSigned})
	torn := len(s.w.targets) == 0 && s.foundInSource([]certmedic.FindingCode{certmedic.KeyMismatch}) != good
	if doubt := good | bad; torn || s.found([]certmedic.FindingCode{certmedic.Expired})&doubt == doubt {
		return chain | bad
	}
	return chain
}

func listed(codes, among, unsure []certmedic.FindingCode) truth {
	in := func(list []certmedic.FindingCode) bool {
		return slices.ContainsFunc(codes, func(c certmedic.FindingCode) bool { return slices.Contains(list, c) })
	}
	if in(unsure) {
		return good | bad
	}
	return says(in(among))
}

// foundInSource is bad where one of the findings is in the last reading of the source.
func (s *senses) foundInSource(codes []certmedic.FindingCode) truth {
	r := s.source
	found := listed(codes, r.codes, r.unsure)
	switch {
	case s.w.source == certmedic.SourceNone:
		return good
	case !r.done || r.locked, found == good && !r.readable:
		return unknown
	}
	return found
}

// drift is bad where a place is seen to serve another version than the stored one.
func (s *senses) drift() truth {
	switch {
	case s.w.source == certmedic.SourceNone || len(s.w.targets) == 0:
		return good
	case !s.source.done || s.source.locked || !s.source.readable:
		return unknown
	}
	all := good
	for p := range s.seen {
		all = all.or(s.drifts(p))
	}
	return all
}

func (s *senses) drifts(p int) truth {
	seen, e, since := s.seen[p], s.w.places[p].endpoint, s.source.changed
	other := seen.shown != s.source.version
	switch {
	case s.probed[e] == never:
		return unknown
	case s.probed[e] < since && s.w.wall(s.probed[e]) >= s.w.wall(since):
		return good | bad | unknown
	case s.probed[e] < since:
		return unknown
	case !seen.reached && other && seen.shownAt != never && seen.shownAt >= since:
		return bad | unknown // it did when it was seen last
	case !seen.reached:
		return unknown
	case s.w.wall(s.probed[e]) < s.w.wall(since):
		return s.at(e, says(other)) | unknown
	}
	return s.at(e, says(other))
}

// servedNewer is bad where a place serves a version that was issued after the stored one.
func (s *senses) servedNewer() truth {
	all := good
	for p, seen := range s.seen {
		if here := s.drifts(p); here&bad != 0 && seen.shown > s.source.version {
			all = all.or(here&^unknown | here&unknown>>2)
		}
	}
	return all
}

// split is bad where two places are seen to serve different versions.
func (s *senses) split() truth {
	surely, maybe, whole := -1, -1, true // a version that is seen, and one that may be
	differ, mayDiffer, all := false, false, true
	for p, seen := range s.seen {
		recent := s.recent(s.w.places[p].endpoint)
		if !seen.reached || recent == unknown {
			all, whole = false, false
			continue
		}
		mayDiffer = mayDiffer || maybe >= 0 && maybe != seen.shown
		maybe = seen.shown
		if recent != good {
			whole = false
			continue
		}
		differ = differ || surely >= 0 && surely != seen.shown
		surely = seen.shown
	}
	switch {
	case s.source.locked:
		return unknown
	case differ:
		return bad
	case mayDiffer:
		return bad | unknown
	case whole:
		return good
	case all:
		return good | unknown
	}
	return unknown
}

// past is bad after a moment, by every clock.
func (s *senses) past(limit time.Duration) truth {
	return says(s.now > limit) | says(s.w.wall(s.now) > limit)
}

// ends lists when what clients see ends, also of places that cannot be reached now.
func (s *senses) ends() (all []time.Duration, sure bool) {
	if len(s.w.targets) == 0 && s.source.version >= 0 {
		return []time.Duration{s.w.versions[s.source.version].ends}, s.source.readable
	}
	for _, seen := range s.seen {
		if seen.shown >= 0 {
			all = append(all, s.w.versions[seen.shown].ends)
		}
	}
	return all, len(all) > 0
}

// ended is bad where something that is served has expired.
func (s *senses) ended() truth { return s.before(0) }

// ending is bad within the last tenth of the life, the last week of a long one.
func (s *senses) ending() truth { return s.before(min(s.w.life/10, 7*day)) }

func (s *senses) before(left time.Duration) truth {
	ends, sure := s.ends()
	if len(ends) == 0 {
		return unknown
	}
	now := s.past(slices.Min(ends) - left)
	if !sure {
		return now | unknown
	}
	return now
}

// overdue is bad where the newest version should have been replaced by now: the CA's window
// has ended; else it is older than its predecessors became; else a quarter of its life is
// left, five twelfths of a short one, three weeks of a long one.
func (s *senses) overdue() truth {
	v, sure := s.source.version, s.source.readable
	if s.w.source == certmedic.SourceNone {
		v, sure = s.soonest()
	}
	switch {
	case v < 0 || !sure || s.w.source != certmedic.SourceNone && !s.source.done:
		return unknown
	case s.servedNewer() != good:
		return good | bad | unknown // which one is the newest?
	}
	from, to := s.due(s.w.versions[v])
	return s.past(from) | s.past(to)
}

func (s *senses) soonest() (v int, ok bool) {
	v = -1
	for _, seen := range s.seen {
		if seen.shown >= 0 && (v < 0 || s.w.versions[seen.shown].ends < s.w.versions[v].ends) {
			v = seen.shown
		}
	}
	return v, v >= 0
}

// due returns when the replacement of a version begins to be late, at the earliest and at
// the latest.
func (s *senses) due(v version) (from, to time.Duration) {
	for _, o := range v.window {
		if o.at <= s.now {
			from, to = o.window.to, o.window.to
		}
	}
	if from != 0 {
		return from, to
	}
	ages := slices.Concat(s.w.ages, s.ages)
	if ages = ages[max(0, len(ages)-10):]; len(ages) >= 3 {
		slices.Sort(ages)
		low, high := ages[(len(ages)-1)/2], ages[len(ages)/2]
		life := float64(s.w.life)
		return v.begins + time.Duration(max(0.59, min(low, 0.97))*life), v.begins + time.Duration(min(max(0.61, high+0.11), 0.99)*life)
	}
	left := min(s.w.life/4, 21*day)
	if s.w.life < 10*day {
		left = s.w.life * 5 / 12
	}
	return v.ends - left, v.ends - left
}
