package scenario_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// Times of a world are counted from its beginning, on a clock that never errs. What the
// daemon's clock shows is [world.wall].
const (
	day      = 24 * time.Hour
	year     = 365 * day
	troubled = 340 * day // no trouble begins later, so that every incident can end
	interval = time.Minute
)

// span is a stretch of time, its end not included.
type span struct{ from, to time.Duration }

func (s span) holds(t time.Duration) bool { return s.from <= t && t < s.to }

func anyHolds(spans []span, t time.Duration) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.holds(t) })
}

// version is one leaf that the world's CA issued.
type version struct {
	begins, ends time.Duration
	window       []offer // what the CA suggests, each from its moment on
}

// offer is a renewal window that the CA names from a moment on.
type offer struct {
	at     time.Duration
	window span
}

// change says which version is in place from a moment on.
type change struct {
	at      time.Duration
	version int
}

// history is what was in place when, in the order of time.
type history []change

func (h history) at(t time.Duration) int {
	v := -1
	for _, c := range h {
		if c.at > t {
			break
		}
		v = c.version
	}
	return v
}

// spell is something that is wrong for a while, at one place, or at a whole endpoint.
type spell struct {
	span
	endpoint int
	place    int // -1: every place of the endpoint
	code     certmedic.FindingCode
}

// place is one address of an endpoint, with what it serves.
type place struct {
	endpoint int
	address  string
	served   history
}

// target is an endpoint, with when it is probed.
type target struct {
	certmedic.Endpoint
	phase time.Duration // of its probes within the interval
	gaps  []span        // in which it is not probed
}

// leap is a moment from which on the daemon's clock is wrong by an offset.
type leap struct{ at, offset time.Duration }

// world is the truth about one certificate for a year.
type world struct {
	name     string
	source   certmedic.SourceKind // none: somebody else's, watched only
	life     time.Duration
	ages     []float64 // of the predecessors, in certbot's archive
	versions []version
	stored   history
	places   []place
	targets  []target
	served   []spell // what is wrong where it is served; timeout and dns_failed: unreachable and gone
	kept     []spell // what is wrong with the source
	locks    []span
	down     []span // the daemon does not run
	clock    []leap
}

// wall returns what the daemon's clock shows, counted as the world counts.
func (w *world) wall(t time.Duration) time.Duration { return t + w.offset(t) }

func (w *world) offset(t time.Duration) time.Duration {
	var off time.Duration
	for _, l := range w.clock {
		if l.at <= t {
			off = l.offset
		}
	}
	return off
}

// readable reports whether the source can be read.
func (w *world) readable(t time.Duration) bool {
	return !slices.ContainsFunc(w.kept, func(s spell) bool { return s.holds(t) && s.code == certmedic.FileMissing })
}

// findings lists what is wrong at a place, without what follows from dates.
func (w *world) findings(p int, t time.Duration) (codes []certmedic.FindingCode) {
	for _, s := range w.served {
		if s.holds(t) && s.endpoint == w.places[p].endpoint && (s.place < 0 || s.place == p) && !slices.Contains(codes, s.code) {
			codes = append(codes, s.code)
		}
	}
	return codes
}

// habit is how the owner of a certificate renews it.
type habit struct {
	life   time.Duration
	at     float64 // share of the life at which it is replaced
	jitter float64
	late   float64 // how often that is forgotten for a while
	dead   float64 // how often until it has expired
}

func habits() []habit {
	return []habit{
		{6 * day, 1.0 / 2, 0.04, 0.03, 0.015},
		{45 * day, 2.0 / 3, 0.04, 0.12, 0.08},
		{90 * day, 2.0 / 3, 0.04, 0.15, 0.1},
		{398 * day, 368.0 / 398, 0.004, 0.3, 0.2},
	}
}

// builder makes a world from a seed.
type builder struct {
	*rand.Rand
	w        *world
	h        habit
	advised  bool // the CA names windows
	stubborn bool // replaced at 80 % of its life, as its predecessors and its windows tell
}

// build makes the i-th world of a seed. One of twenty certificates lives for six days only,
// because such a one has a hundred and twenty renewals in the year.
func build(seed uint64, i int) *world {
	b := &builder{Rand: rand.New(rand.NewPCG(seed, uint64(i))), w: &world{}}
	b.h = habits()[[]int{1, 2, 3, 1, 2, 3, 2, 1, 3, 2, 1, 0, 1, 2, 3, 1, 2, 3, 2, 1}[i%20]]
	b.w.life = b.h.life
	b.w.source = []certmedic.SourceKind{certmedic.SourceCertbot, certmedic.SourceFiles, certmedic.SourceNone, certmedic.SourceCertbot}[b.IntN(4)]
	b.w.name = fmt.Sprintf("%03d-%s-%dd", i, map[certmedic.SourceKind]string{"": "watched", "files": "files", "certbot": "certbot"}[b.w.source], b.h.life/day)
	if b.w.source == certmedic.SourceCertbot {
		b.advised = b.chance(0.35)
		b.stubborn = b.h.life == 90*day && b.chance(0.5)
	}
	b.habitual()
	b.surroundings()
	b.lives()
	b.troubles()
	return b.w
}

func (b *builder) chance(p float64) bool { return b.Float64() < p }

// between draws evenly from a range.
func (b *builder) between(from, to time.Duration) time.Duration {
	return from + time.Duration(b.Float64()*float64(to-from))
}

// lasting draws a duration such that short and long ones are equally likely.
func (b *builder) lasting(from, to time.Duration) time.Duration {
	d := from
	for d < to && b.chance(0.75) {
		d = d * 3 / 2
	}
	return min(to, b.between(d, d*3/2))
}

func (b *builder) part(share float64) time.Duration {
	return time.Duration(share * float64(b.h.life))
}

// habitual gives some certificates a past from which their renewal can be learnt.
func (b *builder) habitual() {
	if b.stubborn {
		b.h.at = 0.8
	}
	if b.w.source == certmedic.SourceCertbot && (b.stubborn || b.chance(0.5)) {
		for range 3 + b.IntN(6) {
			b.w.ages = append(b.w.ages, b.h.at*(1+b.h.jitter*(2*b.Float64()-1)))
		}
	}
}

// surroundings makes the endpoints with their addresses. A few certificates have none.
func (b *builder) surroundings() {
	n := 1 + b.IntN(2)
	if b.w.source == certmedic.SourceFiles && b.chance(0.25) {
		n = 0
	}
	for e := range n {
		address := fmt.Sprintf("w%d.%s.example.com:443", e, b.w.name)
		ep := certmedic.Endpoint{Address: address, Protocol: "tls"}
		b.w.targets = append(b.w.targets, target{Endpoint: ep, phase: b.between(0, interval)})
		for range 1 + b.IntN(2) {
			b.w.places = append(b.w.places, place{endpoint: e, address: fmt.Sprintf("192.0.2.%d:443", len(b.w.places)+1)})
		}
	}
}

// lives makes the versions, one after the other, each with its deployment.
func (b *builder) lives() {
	issued := -b.between(time.Hour, b.part(b.h.at*0.95))
	b.issue(issued)
	b.w.stored = append(b.w.stored, change{issued, 0})
	for p := range b.w.places {
		b.w.places[p].served = history{{issued, 0}}
	}
	for {
		next := b.next(issued)
		if next > year-time.Hour {
			return
		}
		b.renew(next)
		issued = next
	}
}

// issue adds a version. CAs date the beginning back by an hour; a CA whose clock is ahead
// does the contrary.
func (b *builder) issue(at time.Duration) {
	begins := at - time.Hour
	if at > 0 && at < troubled && b.chance(0.02) {
		begins = at + b.between(10*time.Minute, 5*time.Hour)
	}
	v := version{begins: begins, ends: begins + b.h.life}
	if b.advised {
		v.window = []offer{{at + 5*time.Minute, span{begins + b.part(b.h.at*0.94), begins + b.part(b.h.at*1.06)}}}
	}
	b.w.versions = append(b.w.versions, v)
}

// next says when the version that was issued last is replaced.
func (b *builder) next(issued time.Duration) time.Duration {
	usual := issued + b.part(b.h.at*(1+b.h.jitter*(2*b.Float64()-1)))
	v := &b.w.versions[len(b.w.versions)-1]
	end := issued + b.h.life + 5*day
	switch {
	case end > troubled:
		return usual
	case b.advised && issued > 0 && b.chance(0.15):
		from := issued + b.part(0.2+0.2*b.Float64())
		v.window = append(v.window, offer{from, span{from, from + b.part(0.05)}})
		return from + b.part(0.01+0.1*b.Float64())
	case b.chance(b.h.dead):
		return v.ends + b.between(time.Hour, 4*day)
	case b.chance(b.h.late):
		return issued + b.part(0.75+0.24*b.Float64())
	}
	return usual
}

// renew issues a version and has it stored and served.
func (b *builder) renew(at time.Duration) {
	b.issue(at)
	v := len(b.w.versions) - 1
	ready := at // when the deployment is over
	if b.w.source == certmedic.SourceCertbot {
		ready = at + b.between(5*time.Second, 50*time.Second)
		if at < troubled && b.chance(0.05) {
			ready = at + b.lasting(time.Minute, 5*time.Hour)
		}
		b.w.locks = append(b.w.locks, span{at - 30*time.Second, ready})
	}
	stored := at
	if b.w.source != certmedic.SourceNone && at < troubled && b.chance(0.03) {
		stored = ready + b.lasting(5*time.Second, 6*time.Hour) // issued elsewhere, and served first
	}
	if b.w.source != certmedic.SourceNone {
		b.w.stored = append(b.w.stored, change{stored, v})
	}
	failed := at < troubled && b.chance(0.15)
	for p := range b.w.places {
		served := b.between(at+time.Millisecond, max(at+1500*time.Millisecond, ready-500*time.Millisecond))
		if failed && b.chance(0.7) {
			served = ready + b.lasting(time.Minute, min(3*day, b.h.life/12))
		}
		b.w.places[p].served = append(b.w.places[p].served, change{served, v})
	}
}

// troubles spreads what has nothing to do with renewals over the year.
func (b *builder) troubles() {
	for e := range b.w.targets {
		b.w.targets[e].gaps = b.spans(3, 2*time.Minute, 2*day)
		b.at(e, certmedic.DNSFailed, b.spans(1, 30*time.Second, day))
		b.at(e, certmedic.Timeout, b.spans(3, 20*time.Second, 12*time.Hour))
		for _, code := range []certmedic.FindingCode{
			certmedic.Untrusted, certmedic.IncompleteChain, certmedic.NameMismatch, certmedic.ChainExpiring,
			certmedic.WeakSignature, certmedic.MustStapleMissing, certmedic.Revoked,
		} {
			b.at(e, code, b.spans(1, 30*time.Second, 2*day))
		}
	}
	if len(b.w.targets) > 0 && b.chance(0.1) {
		from := b.between(day, troubled-day)
		for i := range time.Duration(20) {
			b.at(0, certmedic.SelfSigned, []span{{from + i*3*interval, from + i*3*interval + interval}})
		}
	}
	if b.w.source != certmedic.SourceNone {
		for _, code := range []certmedic.FindingCode{certmedic.LineageBroken, certmedic.FileMissing, certmedic.KeyMismatch} {
			for _, s := range b.spans(1, 5*time.Second, day) {
				b.w.kept = append(b.w.kept, spell{span: s, code: code})
			}
		}
	}
	b.w.down = b.spans(3, 5*time.Second, 20*time.Minute)
	b.leaps()
}

// leaps makes the daemon's clock wrong for some hours, in some worlds.
func (b *builder) leaps() {
	for range b.IntN(3) {
		from := b.between(day, troubled-day)
		if n := len(b.w.clock); n > 0 && from < b.w.clock[n-1].at+2*day {
			continue
		}
		off := []time.Duration{-2 * time.Hour, time.Hour}[b.IntN(2)]
		b.w.clock = append(b.w.clock, leap{from, off}, leap{from + b.between(30*time.Minute, 5*time.Hour), 0})
	}
}

// at makes something wrong at an endpoint, or at one place of it.
func (b *builder) at(endpoint int, code certmedic.FindingCode, spans []span) {
	for _, s := range spans {
		p := -1
		if code != certmedic.DNSFailed && b.chance(0.4) {
			p = slices.IndexFunc(b.w.places, func(p place) bool { return p.endpoint == endpoint })
		}
		b.w.served = append(b.w.served, spell{s, endpoint, p, code})
	}
}

// spans draws up to n spans, in the order of time and apart from each other.
func (b *builder) spans(n int, from, to time.Duration) []span {
	var all []span
	for range b.IntN(n + 1) {
		begin := b.between(day, troubled-to)
		s := span{begin, begin + b.lasting(from, to)}
		if !slices.ContainsFunc(all, func(o span) bool { return s.from <= o.to+time.Hour && o.from <= s.to+time.Hour }) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b span) int { return int(a.from - b.from) })
	return all
}
