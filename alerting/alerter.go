// Package alerting tells people. It is the only package that does: a probe, a rule or a
// remedy hands over events, and alerting decides who hears of them, when, and what they
// know already.
//
// An event goes through a pipeline of its own for each receiver:
//
//	route → mute → group → dedup → pace → notify
//
// The promises: what was handed over is kept in an outbox before it is sent and leaves it
// only after its delivery, so that it survives a crash and is told at least once; every
// message of a certificate's episode carries the same dedup key; while a receiver cannot
// be reached, only the newest state waits for it; a receiver that fails never delays
// another; and [Alerter.Tell] never blocks the one who tells.
//
// Each receiver is a package below this one that implements [Notifier].
package alerting

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	stopWithin = 5 * time.Second // for deliveries after Run's context has ended
	giveUp     = time.Second     // for what does not obey even then
)

// Options are what an [Alerter] needs.
type Options struct {
	Receivers map[string]Notifier
	Routes    []Route       // empty: every receiver hears of every incident
	Outbox    Outbox        // nil: what is undelivered is lost when the process ends
	GroupWait time.Duration // how long the first event of a conversation waits for others

	// Open are the incidents that fire since before the start, each as people should know of
	// it; those of which nobody was to be told yet have no Step. What the outbox says that
	// receivers know is held against them: they are told what they missed, and of what ended.
	Open []Event

	// Acknowledged returns who looks after conversations, by the conversation, as it is kept
	// elsewhere. What receivers know of it is held against that, see TellAcks; nil: it is not.
	Acknowledged func() map[string]Ack

	// Silenced reports whether people are not to be told of an event now; nil: never. What was
	// silenced is told by Unmute, if it fires still.
	Silenced func(e Event, now time.Time) bool

	// Fallback are the receivers that are told what another one rejected for good, and what fires
	// while all who should hear of it fail.
	Fallback []string

	// Heartbeats are the receivers that hear every minute that certmedic lives, while Blind says
	// nothing: it says why certmedic does not really watch now. Nil: it always does.
	Heartbeats []string
	Blind      func(now time.Time) string

	// Voice is this member's part among several; nil: there is one, which speaks.
	Voice *Voice

	// Texts put events into a receiver's own words, by its name. Nothing but what is shown to it
	// changes.
	Texts map[string]func(Event) Event

	// Settled hears what became of an event once a receiver took it, or, with the error,
	// rejected it for good; nil: nobody does. It must not block.
	Settled func(receiver string, e Event, err error)

	Log   *slog.Logger                   // nil logs nothing
	Count func(receiver, outcome string) // nil counts nothing; see [Outcomes]
}

// Alerter tells receivers about events. Its methods may be called by any goroutine.
type Alerter struct {
	opts   Options
	queues map[string]*queue
	spool  *spool
	choir  *choir        // nil: there is one member only
	hurry  chan struct{} // closed when Run is asked to end

	keeper keeper

	telling sync.Mutex      // held while events find their receivers
	ended   map[string]bool // incidents that ended while Run was not done with what an earlier run left; nil afterwards
}

// New returns an Alerter that delivers nothing before [Alerter.Run]. It names routes to
// receivers that do not exist, all at once.
func New(opts Options) (*Alerter, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Count == nil {
		opts.Count = func(string, string) {}
	}
	if opts.Silenced == nil {
		opts.Silenced = func(Event, time.Time) bool { return false }
	}
	if opts.Blind == nil {
		opts.Blind = func(time.Time) string { return "" }
	}
	if opts.Settled == nil {
		opts.Settled = func(string, Event, error) {}
	}
	if len(opts.Routes) == 0 {
		opts.Routes = []Route{{To: slices.Sorted(maps.Keys(opts.Receivers))}}
	}
	if err := checkRoutes(opts); err != nil {
		return nil, err
	}
	a := &Alerter{
		opts:   opts,
		queues: map[string]*queue{},
		spool:  &spool{outbox: opts.Outbox, log: opts.Log},
		hurry:  make(chan struct{}),
		keeper: keeper{wake: make(chan struct{}, 1)},
		ended:  map[string]bool{},
	}
	for name := range opts.Receivers {
		a.queues[name] = newQueue(name)
	}
	a.choir = newChoir(opts.Voice, a.queues, opts.Log)
	return a, nil
}

func checkRoutes(opts Options) error {
	var errs []error
	for i, r := range opts.Routes {
		for _, name := range r.To {
			if opts.Receivers[name] == nil {
				errs = append(errs, fmt.Errorf("routes[%d]: no receiver %q", i, name))
			}
		}
	}
	for _, name := range opts.Fallback {
		if opts.Receivers[name] == nil {
			errs = append(errs, fmt.Errorf("fallback: no receiver %q", name))
		}
	}
	for _, name := range opts.Heartbeats {
		if opts.Receivers[name] == nil {
			errs = append(errs, fmt.Errorf("heartbeat: no receiver %q", name))
		}
	}
	return errors.Join(errs...)
}

// pipeline is the way of what one receiver is told, from its queue on.
func (a *Alerter) pipeline(name string) Series {
	q, drop := a.queues[name], a.drop
	to := a.opts.Receivers[name]
	count := func(outcome string) { a.opts.Count(name, outcome) }
	stages := Series{
		mute{queue: q, silenced: func(e Event, now time.Time) bool { return a.Quiet(name, e, now) }, drop: drop},
		group{queue: q, wait: a.opts.GroupWait, drop: a.replaced, hurry: a.hurry},
		dedup{queue: q, drop: drop},
		pace{queue: q, every: paceOf(to), hurry: a.hurry, drop: a.replaced},
		notify{
			receiver: to, queue: q, spool: a.spool, choir: a.choir, log: a.opts.Log, count: count, divert: a.diverter(name),
			settled: a.settler(name), texts: a.texts(name),
		},
	}
	if a.choir == nil {
		return stages
	}
	return append(Series{agree{choir: a.choir, queue: q, drop: drop}}, stages...)
}

// settler tells what became of items.
func (a *Alerter) settler(name string) func([]Item, error) {
	return func(items []Item, err error) {
		for _, it := range items {
			a.opts.Settled(name, it.Event, err)
		}
	}
}

// Quiet reports whether a receiver is not told of an event now: because of a silence, or because
// its routes want it told at another time.
func (a *Alerter) Quiet(name string, e Event, now time.Time) bool {
	if a.opts.Silenced(e, now) {
		return true
	}
	_, later := hearers(a.opts.Routes, e, now)
	return slices.Contains(later, name)
}

// Hearers returns who hears of an event by its routes, now or when their hours come, sorted.
func (a *Alerter) Hearers(e Event) []string { return a.hearers(e.presentable()) }

// hearers is Hearers of an event that is presentable.
func (a *Alerter) hearers(e Event) []string {
	at, later := hearers(a.opts.Routes, e, time.Now())
	all := append(at, later...)
	slices.Sort(all)
	return slices.Compact(all)
}

// Tell hands an event over. It does no I/O and never blocks. An event without a time gets
// the present one.
func (a *Alerter) Tell(e Event) { a.tell(e, false) }

// tell hands an event over; one that is late may be older than what waits.
func (a *Alerter) tell(e Event, late bool) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if a.choir != nil {
		e = a.choir.among(e)
	}
	e = e.presentable()
	a.telling.Lock()
	defer a.telling.Unlock()
	switch {
	case late && a.ended[e.Incident.ID]:
		return
	case e.Kind == KindResolved && a.ended != nil:
		a.ended[e.Incident.ID] = true
	}
	to := a.hearers(e)
	if e.Kind == KindResolved && a.known(e) {
		to = nil // whom nobody told of it has nothing to hear
	}
	for name, q := range a.queues {
		if slices.Contains(to, name) || q.concerns(e) {
			a.enqueue(q, Item{Event: e, late: late, slot: &slot{entry: newEntry(name, e)}})
		}
	}
	a.standIn(e, to)
}

// known reports whether a receiver knows of an event's incident, or is about to.
func (a *Alerter) known(e Event) bool {
	for _, q := range a.queues {
		if q.concerns(e) {
			return true
		}
	}
	return false
}

func (a *Alerter) enqueue(q *queue, it Item) {
	a.keeper.later(it.slot, false) // before anything that it replaces is taken out
	replaced, full := q.add(it)
	for _, old := range replaced {
		a.keeper.later(old.slot, true)
	}
	if full {
		a.opts.Count(q.receiver, OutcomeDropped)
		a.opts.Log.Error("notification dropped, too many wait", "receiver", q.receiver, "conversation", it.Event.Conversation())
	}
}

// diverter hands what a receiver rejected for good to the others of the fallback. What came there in
// this way is not handed on: where that rejects it, it is lost, and in the log.
func (a *Alerter) diverter(name string) func([]Item, error) {
	return func(items []Item, err error) {
		for _, it := range items {
			e := it.Event
			if e.Undelivered != "" || a.queues[name].owes(e) {
				continue
			}
			e.Undelivered = fmt.Sprintf("%s rejected it: %s", name, clean(err.Error()))
			for _, to := range a.opts.Fallback {
				if to != name {
					a.enqueue(a.queues[to], Item{Event: e, late: true, slot: &slot{entry: newEntry(to, e)}})
				}
			}
		}
	}
}

// Unmute tells what was silenced, or waited for the hours of its routes, and does not any more.
// Call it when a silence ends, and now and then, because silences run out and hours come.
func (a *Alerter) Unmute(now time.Time) {
	a.telling.Lock() // an end that is told meanwhile has to find what it ends
	defer a.telling.Unlock()
	for name, q := range a.queues {
		for _, e := range q.unmute(func(e Event, t told) bool { return a.Quiet(name, e, now) || a.choir.quiet(e, t, now) }) {
			a.enqueue(q, Item{Event: e, late: true, slot: &slot{entry: newEntry(name, e)}})
		}
	}
}

// Tells reports whether a receiver knows of an incident of a conversation, or may, whoever told it.
func (a *Alerter) Tells(conversation string) bool {
	for _, q := range a.queues {
		if len(q.knownIn(conversation)) > 0 {
			return true
		}
	}
	return false
}

// Key returns what receivers know a conversation by: its name, but for those of [SharedConversation].
func (a *Alerter) Key(conversation string) string { return a.choir.key(conversation) }

// replaced takes an item out of the outbox in whose place a newer one is sent, once that is in there.
func (a *Alerter) replaced(it Item) { a.keeper.later(it.slot, true) }

// drop takes an item that will not be sent out of the outbox.
func (a *Alerter) drop(it Item) { a.spool.done(it.slot) }

// QueueOldest returns since when the oldest event waits for its delivery, the zero time
// where none does.
func (a *Alerter) QueueOldest() time.Time {
	var oldest time.Time
	for _, q := range a.queues {
		if t := q.oldest(); !t.IsZero() && (oldest.IsZero() || t.Before(oldest)) {
			oldest = t
		}
	}
	return oldest
}
