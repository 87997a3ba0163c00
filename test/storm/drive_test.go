package storm_test

import (
	"context"
	"fmt"
	"os/exec"
	"sync"
	"time"
)

// subject is one who tells.
type subject interface {
	command() *exec.Cmd // to be started, again and again
	ready() bool

	set(c certificate, conversation string, what trouble) error
	// look returns the conversations of what fires by the certificates, nil where nobody answered, and
	// what the fakes hold by the conversations.
	look(ctx context.Context) (firing map[string]string, all map[string]*told)

	silence(ctx context.Context, c certificate) (id string, err error)
	silenced(ctx context.Context, id string) (bool, error)
	unsilence(ctx context.Context, c certificate) error // ends all silences of a certificate

	acknowledges() bool // whether people can say that they look after something
	acknowledge(ctx context.Context, conversation string) error
	acknowledged(ctx context.Context, conversation string) (bool, error)
}

// drive lets the stories of all certificates happen to a subject.
type drive struct {
	subject subject
	fakes   *fakes
	calm    context.Context // ends when nothing is killed any more
	end     context.Context // ends when what was not told by now counts as lost

	mu     sync.Mutex // guards all below
	firing sight
	held   sight
	next   chan struct{} // closed at the next look
	tally  tally
	wants  map[string]bool // conversations of which people must hear
	hushed map[string]bool // conversations of which nobody may hear
	broken map[string]bool // conversations whose silence did not hold
}

// sight is what a look came to, and when that began.
type sight struct {
	at     time.Time
	firing map[string]string
	all    map[string]*told
}

func newDrive(calm, end context.Context, s subject, f *fakes) *drive {
	return &drive{subject: s, fakes: f, calm: calm, end: end, next: make(chan struct{}), wants: map[string]bool{}, hushed: map[string]bool{}, broken: map[string]bool{}}
}

const lookEvery = 100 * time.Millisecond

// watch looks again and again until ctx ends.
func (d *drive) watch(ctx context.Context) {
	for ctx.Err() == nil {
		at := time.Now()
		asking, cancel := context.WithTimeout(ctx, 5*time.Second)
		firing, all := d.subject.look(asking)
		cancel()
		d.mu.Lock()
		d.held = sight{at: at, all: all}
		if firing != nil {
			d.firing = sight{at: at, firing: firing}
		}
		close(d.next)
		d.next = make(chan struct{})
		d.mu.Unlock()
		pause(ctx, lookEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// enough is how long a certificate waits for people to be told before its story goes on. Whether they
// ever were is judged at the end.
const enough = time.Minute

// until waits for something to be so at a look, and reports whether it ever was.
func (d *drive) until(what string, holds func() bool) bool {
	return d.within(d.end, what, holds)
}

// within is until, as long as ctx lasts.
func (d *drive) within(ctx context.Context, what string, holds func() bool) bool {
	for {
		d.mu.Lock()
		so, next := holds(), d.next
		d.mu.Unlock()
		if so {
			return true
		}
		select {
		case <-next:
		case <-ctx.Done():
			d.mu.Lock()
			defer d.mu.Unlock()
			d.tally.whyLocked("in vain it was waited until %s", what)
			return false
		}
	}
}

// walk is the way of one certificate through the storm.
type walk struct {
	*drive
	c       certificate
	episode int
	talk    string // the conversation of the present episode, as far as it is known
	quiet   string // the conversation that was silenced last
	changed time.Time
}

// run lets stories happen to a certificate until nothing is killed any more.
func (w *walk) run(lasting story) {
	w.rest(3 * time.Second)
	if lasting != nil {
		lasting(w)
	}
	for all := stories(); w.calm.Err() == nil; {
		all[w.c.dice.IntN(len(all))](w)
		w.rest(2 * time.Second)
	}
}

// rest lets some time pass, up to most.
func (w *walk) rest(most time.Duration) {
	pause(w.calm, time.Duration(w.c.dice.Int64N(int64(most))))
}

// is changes what is wrong with the certificate.
func (w *walk) is(what trouble) {
	if w.talk == "" {
		w.episode++
		w.talk = fmt.Sprintf("certmedic/%s/%d", w.c.name, w.episode) // where the storm names them itself
	}
	if err := w.subject.set(w.c, w.talk, what); err != nil {
		w.fault("changing %s: %v", w.c.name, err)
	}
	w.changed = time.Now()
}

// seen waits until the trouble fires.
func (w *walk) seen() {
	w.until(w.c.name+" fires", func() bool {
		conversation, fires := w.firing.firing[w.c.name]
		if !fires || w.firing.at.Before(w.changed) {
			return false
		}
		w.talk = conversation
		return true
	})
}

// mended mends the certificate and waits until nothing fires.
func (w *walk) mended() {
	w.is(fine)
	w.until(w.c.name+" fires no more", func() bool {
		_, fires := w.firing.firing[w.c.name]
		return !fires && w.firing.at.After(w.changed)
	})
	w.talk = ""
}

// told waits until people were told in both places.
func (w *walk) told() {
	w.mu.Lock()
	w.wants[w.talk] = true
	w.mu.Unlock()
	w.soonHeard("everybody hears of", func(k *told) bool { return k.triggers > 0 && k.posts > 0 })
}

// ends mends the certificate, and waits until people know.
func (w *walk) ends() {
	conversation := w.talk
	w.mended()
	w.talk = conversation
	w.soonHeard("everybody hears of the end of", func(k *told) bool { return !k.open && k.over })
	w.talk = ""
}

// soonHeard waits until the fakes hold something of the conversation, or long enough.
func (w *walk) soonHeard(what string, so func(k *told) bool) {
	ctx, cancel := context.WithTimeout(w.end, enough)
	defer cancel()
	w.within(ctx, what+" "+w.talk, func() bool {
		k := w.held.all[w.talk]
		return k != nil && so(k)
	})
}

// heard waits until the fakes hold something of the conversation.
func (w *walk) heard(what string, so func(k *told) bool) bool {
	return w.until(what+" "+w.talk, func() bool {
		k := w.held.all[w.talk]
		return k != nil && so(k)
	})
}

// confirm does something until it is answered with success.
func (w *walk) confirm(do func(ctx context.Context) error) bool {
	for {
		ctx, cancel := context.WithTimeout(w.end, 5*time.Second)
		err := do(ctx)
		cancel()
		if err == nil {
			return true
		}
		if w.end.Err() != nil {
			return false
		}
		pause(w.end, 50*time.Millisecond)
	}
}

func breaks(w *walk) {
	w.is(gone)
	w.seen()
	w.told()
	w.rest(2 * time.Second)
	w.ends()
}

func worsens(w *walk) {
	w.is(soon)
	w.seen()
	w.told()
	w.rest(3 * time.Second) // it may climb its ladder
	w.is(gone)
	w.rest(2 * time.Second)
	w.ends()
}

// flaps is over before anybody has to be told; nobody who was may be left in the dark.
func flaps(w *walk) {
	for range 1 + w.c.dice.IntN(4) {
		w.is(gone)
		w.rest(800 * time.Millisecond)
		w.is(fine)
		w.talk = ""
		w.rest(400 * time.Millisecond)
	}
	pause(w.end, time.Second) // what was read before this change is judged by then
	w.mended()
}

// isTakenOver has a person say on the command line that they look after it.
func isTakenOver(w *walk) {
	w.is(soon)
	w.seen()
	w.told()
	w.takenOver()
	if w.c.dice.IntN(2) == 0 {
		w.is(gone) // people are called again
	}
	w.rest(time.Second)
	w.ends()
}

func (w *walk) takenOver() {
	if !w.subject.acknowledges() {
		return
	}
	if w.confirm(func(ctx context.Context) error { return w.subject.acknowledge(ctx, w.talk) }) {
		w.acknowledgedThere("by command")
	}
}

// acknowledgedThere waits until everybody knows that somebody looks after it.
func (w *walk) acknowledgedThere(how string) {
	at := time.Now()
	known := w.heard("everybody hears who looks after", func(k *told) bool { return k.paged && k.shown })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tally.acks++
	if k := w.held.all[w.talk]; !known && k != nil {
		w.tally.forgottenAcks++
		w.tally.whyLocked("%s was acknowledged %s at %s: PagerDuty says so: %v; the channel: %v", w.talk, how, at.UTC().Format(time.StampMilli), k.paged, k.shown)
	}
}

// isPagedAway has a person say so in PagerDuty.
func isPagedAway(w *walk) {
	w.is(gone)
	w.seen()
	w.told()
	if w.subject.acknowledges() && w.fakes.pager.Acknowledge(w.talk, "ann") == nil {
		w.acknowledgedThere("in PagerDuty")
	}
	w.rest(time.Second)
	w.ends()
}

// hush adds a silence and returns when that was confirmed.
func (w *walk) hush() (id string) {
	w.confirm(func(ctx context.Context) (err error) {
		id, err = w.subject.silence(ctx, w.c)
		return err
	})
	return id
}

// speak ends a silence, and any whose adding was never answered.
func (w *walk) speak(id string) {
	there := false
	asked := w.confirm(func(ctx context.Context) (err error) {
		there, err = w.subject.silenced(ctx, id)
		return err
	})
	w.mu.Lock()
	w.tally.silences++
	if asked && !there {
		w.broken[w.quiet] = true
		w.tally.whyLocked("the silence %s of %s is gone", id, w.quiet)
	}
	w.mu.Unlock()
	w.confirm(func(ctx context.Context) error { return w.subject.unsilence(ctx, w.c) })
}

// hushedNow says that nobody may hear of the present episode.
func (w *walk) hushedNow(hushed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quiet, w.hushed[w.talk] = w.talk, hushed
	if k := w.held.all[w.talk]; !hushed && k != nil && k.triggers+k.posts > 0 {
		w.broken[w.talk] = true
		w.tally.whyLocked("%s was told although it was silenced", w.talk)
	}
}

func isSilenced(w *walk) {
	id := w.hush()
	w.is(gone)
	w.seen()
	w.hushedNow(true)
	w.rest(2 * time.Second)
	w.mended()
	w.speak(id)
}

// isUnsilenced is told when its silence ends.
func isUnsilenced(w *walk) {
	id := w.hush()
	w.is(gone)
	w.seen()
	w.hushedNow(true)
	w.rest(2 * time.Second)
	w.hushedNow(false)
	w.speak(id)
	w.told()
	w.ends()
}

func lastsTakenOver(w *walk) {
	w.is(gone)
	w.seen()
	w.told()
	w.takenOver()
	<-w.calm.Done()
	if w.subject.acknowledges() {
		known := false
		w.confirm(func(ctx context.Context) (err error) {
			known, err = w.subject.acknowledged(ctx, w.talk)
			return err
		})
		w.mu.Lock()
		w.tally.acks++
		if !known {
			w.tally.forgottenAcks++
			w.tally.whyLocked("it is forgotten who looks after %s", w.talk)
		}
		w.mu.Unlock()
	}
	w.ends()
}

func lastsSilenced(w *walk) {
	id := w.hush()
	w.is(gone)
	w.seen()
	w.hushedNow(true)
	<-w.calm.Done()
	w.mended()
	w.speak(id)
}

// fault notes what is wrong with the storm itself.
func (d *drive) fault(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.faults = append(d.tally.faults, fmt.Sprintf(format, args...))
}
