package alerting

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Simulation is an [Alerter] on a clock of the caller's: what it is told goes through the same
// stages to the same notifiers, without goroutines, and without those stages that wait, because it
// is the caller who lets time pass. Notifiers must not keep to a pace of their own. Scenario tests
// of rules tell by it. It is for one goroutine.
type Simulation struct {
	a         *Alerter
	pipelines map[string]Series
	now       time.Time
}

// Simulate returns a Simulation that has told nobody anything yet. Of the options it uses what is
// about routes, silences, texts and failures.
func Simulate(opts Options) (*Simulation, error) {
	a, err := New(opts)
	if err != nil {
		return nil, err
	}
	s := &Simulation{a: a, pipelines: map[string]Series{}}
	for name := range opts.Receivers {
		for _, stage := range a.pipeline(name) {
			switch stage := stage.(type) {
			case group, pace:
				continue
			case mute:
				stage.silenced = func(e Event, _ time.Time) bool { return a.Quiet(name, e, s.now) }
				s.pipelines[name] = append(s.pipelines[name], stage)
			default:
				s.pipelines[name] = append(s.pipelines[name], stage)
			}
		}
	}
	return s, nil
}

// Tell hands over an event, which has a time. It is sent by [Simulation.Deliver].
func (s *Simulation) Tell(e Event) { s.a.Tell(e) }

// Acknowledge tells everybody who knows of a conversation that somebody looks after it, and reports
// whether anybody does.
func (s *Simulation) Acknowledge(conversation string, ack Ack) bool {
	return s.a.Acknowledge(conversation, ack)
}

// Unmute tells what was silenced and is not any more.
func (s *Simulation) Unmute(now time.Time) { s.a.Unmute(now) }

// Deliver sends what has waited for the group wait by now, receiver by receiver. The error is that of
// a notifier that did not take a message and would take it later.
func (s *Simulation) Deliver(ctx context.Context, now time.Time) error {
	s.now = now
	for _, name := range slices.Sorted(maps.Keys(s.pipelines)) {
		q := s.a.queues[name]
		for q.due(now.Add(-s.a.opts.GroupWait)) {
			b, _ := q.take()
			if left, err := s.pipelines[name].Exec(ctx, b); err != nil {
				q.putBack(left, true, s.a.drop)
				return fmt.Errorf("telling %q: %w", name, err)
			}
			q.put()
		}
	}
	s.a.keeper.work(s.a.spool)
	return nil
}

// due reports whether the conversation that comes next waits since then, or longer.
func (q *queue) due(since time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.order) > 0 && !q.waiting[q.order[0]].Since.After(since)
}

// put says that what was taken last is not in hand any more.
func (q *queue) put() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inFlight, q.inHand = time.Time{}, nil
}
