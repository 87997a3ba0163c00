package alerting

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
)

// Run delivers until ctx ends, beginning with what an earlier run has left in the outbox.
// Then it delivers for up to five seconds more what can be delivered at once; the rest
// stays in the outbox. It owns all goroutines of the Alerter and is called once. The
// error says that a receiver or the outbox did not let go in time.
func (a *Alerter) Run(ctx context.Context) error {
	a.resume(ctx)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var workers, keeping sync.WaitGroup
	for name := range a.queues {
		workers.Go(func() { a.deliver(work, name) })
		if to, ok := a.opts.Receivers[name].(Refresher); ok {
			workers.Go(func() { a.refresh(work, name, to) })
		}
	}
	for _, name := range a.opts.Heartbeats {
		workers.Go(func() { a.beat(work, name) })
	}
	workers.Go(func() { a.listen(work) })
	done := make(chan struct{})
	keeping.Go(func() { a.keeper.run(a.spool, done) })

	<-ctx.Done()
	close(a.hurry)
	timer := time.AfterFunc(stopWithin, cancel)
	defer timer.Stop()
	stopped := make(chan struct{})
	go func() {
		workers.Wait()
		close(done)
		keeping.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
		return nil
	case <-time.After(stopWithin + giveUp):
		return errors.New("stopping alerting: a receiver or the outbox does not answer")
	}
}

// resume takes up what an earlier run has kept: what was told, and what is still to be. Then
// receivers are told what they missed. An outbox that cannot be read stops nobody from being
// told what is new.
func (a *Alerter) resume(ctx context.Context) {
	deliveries, err := a.spool.deliveries()
	if err != nil {
		a.opts.Log.Error("what was told in an earlier run is not known, some of it may be told again", "err", err)
	}
	gone := map[string]int{}
	for _, d := range deliveries {
		if q := a.queues[d.Receiver]; q != nil {
			q.recall(a.leave(d))
		} else {
			gone[d.Receiver] += len(d.Told)
		}
	}
	for name, incidents := range gone {
		a.opts.Log.Warn("a receiver that was told is gone: it will hear no end", "receiver", name, "incidents", incidents)
	}
	a.choir.open(ctx, deliveries)
	a.requeue()
	a.catchUp()
	for _, q := range a.queues {
		for _, conversation := range q.conversations() {
			a.forgetOver(ctx, q, conversation)
		}
	}
}

// forgetOver forgets what is kept of a conversation that is over.
func (a *Alerter) forgetOver(ctx context.Context, q *queue, conversation string) {
	if !q.forgetOver(conversation) {
		return
	}
	if certificate, shared := certificateOf(conversation); shared && a.choir != nil && a.choir.Speaks(certificate) {
		a.choir.settle(ctx, q, conversation, false)
	}
	if err := a.spool.settle(a.choir.delivery(q, conversation), nil); err != nil {
		a.opts.Log.Error("a conversation that is over is not forgotten", "err", err)
	}
}

// catchUp holds what receivers know against what fires: an earlier run may have ended between
// the rules' word and its way into the outbox.
func (a *Alerter) catchUp() {
	open := map[string]bool{}
	for _, e := range a.opts.Open {
		open[e.Incident.ID] = true
		if e.Step.Do != "" {
			a.tell(e, true)
		}
	}
	a.telling.Lock()
	maps.DeleteFunc(open, func(id string, _ bool) bool { return a.ended[id] })
	a.ended = nil
	a.telling.Unlock()
	now := time.Now()
	for name, q := range a.queues {
		for _, e := range q.knownEvents() {
			if open[e.Incident.ID] && !a.choir.former(e) || q.ends(e) || !a.choir.catches(e) {
				continue
			}
			if e.Kind != KindResolved { // or its end was rejected, and is told once more
				e.Kind, e.Time, e.Step = KindResolved, now, certmedic.Step{}
			}
			a.enqueue(q, Item{Event: e, slot: &slot{entry: newEntry(name, e)}})
		}
	}
	a.opts.Open = nil
	a.TellAcks(now)
}

// requeue queues what an earlier run has not delivered.
func (a *Alerter) requeue() {
	slots, err := a.spool.pending()
	if err != nil {
		a.opts.Log.Error("notifications of an earlier run are not known", "err", err)
	}
	for _, sl := range slots {
		q := a.queues[sl.entry.Receiver]
		if q == nil {
			a.opts.Log.Warn("notification dropped, its receiver is gone", "receiver", sl.entry.Receiver)
			a.spool.done(sl)
			continue
		}
		again := a.choir.mayHaveSent(q, sl.entry.Event)
		switch {
		case again:
			q.doubt(sl.entry.Event)
		case sl.entry.Event.Kind.about():
			a.spool.done(sl) // what still holds is among the open ones, and other members know of what ended
			continue
		}
		a.enqueue(q, Item{Event: sl.entry.Event, again: again, late: true, slot: sl})
	}
}

// deliver is the loop of one receiver.
func (a *Alerter) deliver(ctx context.Context, name string) {
	q, pipeline := a.queues[name], a.pipeline(name)
	for ctx.Err() == nil {
		b, ok := q.take()
		if !ok {
			if !a.more(ctx, q) {
				return
			}
			continue
		}
		if left, err := pipeline.Exec(ctx, b); err != nil {
			var wait *waitError
			first := errors.As(err, &wait) || errors.Is(err, errChanged) // what only waits for its turn keeps its place
			q.putBack(left, first, a.replaced)
			if a.hurrying() {
				return
			}
		}
		a.forgetOver(ctx, q, b.Conversation)
	}
}

// more waits until the queue holds something, and reports false when nothing will come.
func (a *Alerter) more(ctx context.Context, q *queue) bool {
	select {
	case <-q.wake:
		return true
	case <-a.hurry:
		return !q.oldest().IsZero()
	case <-ctx.Done():
		return false
	}
}

func (a *Alerter) hurrying() bool {
	select {
	case <-a.hurry:
		return true
	default:
		return false
	}
}

// maxUnkept bounds what waits for a disk that hangs. Beyond it, an event is kept only
// right before it is sent.
const maxUnkept = 100_000

// keeper brings events to the outbox soon after they were told, without making the
// teller wait for the disk.
type keeper struct {
	wake chan struct{} // holds a token when something waits

	mu    sync.Mutex // guards queue
	queue []chore
}

type chore struct {
	slot *slot
	done bool // take it out, rather than put it in
}

func (k *keeper) later(sl *slot, done bool) {
	k.mu.Lock()
	if len(k.queue) < maxUnkept || done {
		k.queue = append(k.queue, chore{sl, done})
	}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run ends when done is closed and everything is kept.
func (k *keeper) run(s *spool, done <-chan struct{}) {
	for open := true; open; {
		select {
		case <-k.wake:
		case <-done:
			open = false
		}
		k.work(s)
	}
}

func (k *keeper) work(s *spool) {
	k.mu.Lock()
	chores := k.queue
	k.queue = nil
	k.mu.Unlock()
	for len(chores) > 0 {
		slots := alike(chores)
		if chores[0].done {
			s.done(slots...)
		} else {
			s.save(slots...)
		}
		chores = chores[len(slots):]
	}
}

// maxChores bounds what is done at once: so long a delivery may have to wait for the disk.
const maxChores = 500

// alike returns the slots of the first chores, up to one of the other kind.
func alike(chores []chore) []*slot {
	var slots []*slot
	for _, c := range chores {
		if c.done != chores[0].done || len(slots) == maxChores {
			break
		}
		slots = append(slots, c.slot)
	}
	return slots
}
