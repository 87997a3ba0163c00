package scenario

import (
	"time"

	"github.com/certmedic/certmedic"
)

// glance is what one look at a certificate or at the fleet came to.
type glance struct {
	at          time.Time // true time
	transitions []certmedic.Transition
	deployed    bool
	failing     map[string]string // rules that could not be asked, and why
	standing    string            // which incidents are open, and how they stand
	next        time.Time         // true time; when a timer of the rules runs out; zero: none does
}

// news reports whether the look found something that the one before it had not.
func (g glance) news(before glance) bool {
	return len(g.transitions) > 0 || g.deployed || g.standing != before.standing
}

// actor is who looks at the world, and judges what it sees.
type actor interface {
	look(t time.Time) glance
	clone() actor
	plan() (stride time.Duration, dates []time.Time)
}

// grid is when endpoints are probed: from a start on, at an interval.
type grid struct {
	start    time.Time
	interval time.Duration
}

// after returns the first round after t.
func (g grid) after(t time.Time) time.Time {
	return g.start.Add((t.Sub(g.start)/g.interval + 1) * g.interval)
}

// before returns the last round before t.
func (g grid) before(t time.Time) time.Time {
	return g.start.Add((t.Sub(g.start) - 1) / g.interval * g.interval)
}

// walker lets time pass for an actor. While nothing changes it hops from round to round in
// strides; where a stride changes something it goes back and halves it, until it has found
// the round in which that happens. No stride leads over a date, such as the end of a version,
// because something may hold just before or after it. What comes and goes within a stride far
// from any date, by the clock alone, is not seen: no rule speaks of less than a stride, which
// is a sixty-fourth of a lifetime, but by what is left until a date.
type walker struct {
	actor  actor
	grid   grid
	stride time.Duration // at most the interval: every round is looked at
	dates  []time.Time
	last   glance
	turn   time.Time // a round up to which something changes, as was found
	tell   func(glance)
}

// walk lets time pass up to a moment, at which the world changes: that moment is looked at
// by the caller.
func (w *walker) walk(to time.Time) {
	for {
		at := w.grid.after(w.last.at)
		end := to
		if w.last.next.After(w.last.at) {
			at, end = earlier(at, w.last.next), earlier(to, w.last.next)
		}
		if !at.Before(to) {
			return
		}
		if !w.hop(earlier(w.date(end), w.last.at.Add(w.stride+1))) {
			w.look(at)
		}
	}
}

// date returns the next date before a moment, or the round behind the one before; else the
// moment.
func (w *walker) date(until time.Time) time.Time {
	for _, d := range w.dates {
		for _, at := range []time.Time{d, d.Add(w.grid.interval)} {
			if at.After(w.last.at) {
				until = earlier(until, at)
			}
		}
	}
	return until
}

// look looks at the world, and tells what it sees.
func (w *walker) look(at time.Time) {
	w.last = w.actor.look(at)
	w.tell(w.last)
}

// hop passes as many rounds before the limit as nothing happens in, and reports whether
// there were any.
func (w *walker) hop(limit time.Time) bool {
	near, far := w.grid.after(w.last.at), w.grid.before(limit)
	if w.turn.After(w.last.at) {
		far = earlier(far, w.halfway())
	}
	for far.After(near) {
		ahead := w.actor.clone()
		seen := ahead.look(far)
		if !seen.news(w.last) {
			w.actor, w.last = ahead, seen
			return true
		}
		w.turn = far
		far = w.halfway()
	}
	return false
}

// halfway returns the round halfway to the turn.
func (w *walker) halfway() time.Time {
	return w.grid.before(w.last.at.Add(w.turn.Sub(w.last.at)/2 + 1))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
