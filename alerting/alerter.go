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

	// Told are incidents that fire since before the start. Their receivers, by the
	// routes, are assumed to know of them, except where the outbox says otherwise.
	Told []Event

	Log   *slog.Logger                   // nil logs nothing
	Count func(receiver, outcome string) // nil counts nothing; see [Outcomes]
}

// Alerter tells receivers about events. Its methods may be called by any goroutine.
type Alerter struct {
	opts   Options
	queues map[string]*queue
	spool  *spool
	hurry  chan struct{} // closed when Run is asked to end

	keeper keeper
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
	}
	for name := range opts.Receivers {
		a.queues[name] = newQueue(name)
	}
	for _, e := range opts.Told {
		e = e.presentable()
		for _, name := range receivers(opts.Routes, e) {
			a.queues[name].remember(e, delivered)
		}
	}
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
	return errors.Join(errs...)
}

// pipeline is the way of what one receiver is told, from its queue on.
func (a *Alerter) pipeline(name string) Stage {
	q, drop := a.queues[name], a.drop
	to := a.opts.Receivers[name]
	count := func(outcome string) { a.opts.Count(name, outcome) }
	return Series{
		mute{queue: q, drop: drop},
		group{queue: q, wait: a.opts.GroupWait, drop: drop, hurry: a.hurry},
		dedup{queue: q, drop: drop},
		pace{queue: q, every: paceOf(to), hurry: a.hurry, drop: drop},
		notify{receiver: to, queue: q, spool: a.spool, log: a.opts.Log, count: count},
	}
}

// Tell hands an event over. It does no I/O and never blocks. An event without a time gets
// the present one.
func (a *Alerter) Tell(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e = e.presentable()
	to := receivers(a.opts.Routes, e)
	for name, q := range a.queues {
		if slices.Contains(to, name) || q.concerns(e) {
			a.enqueue(q, Item{Event: e, slot: &slot{entry: newEntry(name, e)}})
		}
	}
}

func (a *Alerter) enqueue(q *queue, it Item) {
	a.keeper.later(it.slot, false)
	replaced, full := q.add(it)
	for _, old := range replaced {
		a.keeper.later(old.slot, true)
	}
	if full {
		a.opts.Count(q.receiver, OutcomeDropped)
		a.opts.Log.Error("notification dropped, too many wait", "receiver", q.receiver, "conversation", it.Event.Conversation())
	}
}

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
