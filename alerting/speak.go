package alerting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Previewer is implemented by notifiers that can show what they would send, without sending it.
// Preview changes nothing, and may be called by any goroutine.
type Previewer interface {
	Preview(n Notification) ([]byte, error)
}

// inTurn calls f once nobody else speaks to the receiver: notifiers are called by one goroutine
// at a time.
func (q *queue) inTurn(ctx context.Context, f func(ctx context.Context) error) error {
	select {
	case q.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-q.turn }()
	return f(ctx)
}

// speak makes one attempt to deliver.
func (q *queue) speak(ctx context.Context, to Notifier, n Notification) (retry bool, err error) {
	retry = true // where there is no turn before the end
	err = q.inTurn(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, sendTimeout)
		defer cancel()
		var err error
		retry, err = to.Notify(ctx, n)
		return err
	})
	return retry, err
}

// texts returns what puts events into a receiver's own words.
func (a *Alerter) texts(receiver string) func(Event) Event {
	if own := a.opts.Texts[receiver]; own != nil {
		return func(e Event) Event { return own(a.choir.outward(e)).presentable() }
	}
	return a.choir.outward
}

func worded(events []Event, texts func(Event) Event) []Event {
	var out []Event
	for _, e := range events {
		out = append(out, texts(e))
	}
	return out
}

// tryTimeout bounds a trial, the pauses of the receiver's pace included.
const tryTimeout = 30 * time.Second

// Try tells one receiver a story of one conversation now, each event by itself, past routes,
// silences and the outbox: for tests of receivers. Its error has what the service says. What the
// receiver may have taken is told to its end.
func (a *Alerter) Try(ctx context.Context, receiver string, story ...Event) error {
	q := a.queues[receiver]
	if q == nil {
		return fmt.Errorf("there is no receiver %q", receiver)
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	n := Notification{Receiver: receiver}
	n.Remember = func(memory json.RawMessage) error { n.Memory = memory; return nil }
	var errs []error
	for _, e := range story {
		n = n.next(e, a.texts(receiver))
		retry, err := a.try(ctx, receiver, n)
		if err == nil {
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %s", e.Kind, clean(err.Error())))
		if !retry {
			break
		}
	}
	return errors.Join(errs...)
}

// next is the notification of an event that follows the events of another notification.
func (n Notification) next(e Event, texts func(Event) Event) Notification {
	e = e.presentable()
	known := map[string]told{}
	for _, o := range n.Open {
		known[o.Incident.ID] = told{state: delivered, event: o}
	}
	n.Conversation, n.Events = e.Conversation(), []Event{texts(e)}
	n.Open = openAfter(known, []Item{{Event: n.Events[0]}})
	n.Status = statusOf(n.Open)
	return n
}

// try makes one attempt, once the receiver's pace allows it.
func (a *Alerter) try(ctx context.Context, receiver string, n Notification) (retry bool, err error) {
	q := a.queues[receiver]
	for {
		retry, err = q.speak(ctx, a.opts.Receivers[receiver], n)
		var wait *waitError
		if !errors.As(err, &wait) {
			break
		}
		if sleep(ctx, wait.delay, nil) != nil {
			return true, err
		}
	}
	switch {
	case err == nil:
		q.succeeded()
		a.opts.Count(receiver, OutcomeDelivered)
	case !retry:
		q.rejected(err)
		a.opts.Count(receiver, OutcomeRejected)
	}
	return retry, err
}

// Preview returns what a receiver would send about an event, and sends nothing. Of one that
// cannot show it, it is the event as JSON, and own is false.
func (a *Alerter) Preview(receiver string, e Event) (shown []byte, own bool, err error) {
	to := a.opts.Receivers[receiver]
	if to == nil {
		return nil, false, fmt.Errorf("there is no receiver %q", receiver)
	}
	n := Notification{Receiver: receiver}.next(e, a.texts(receiver))
	if p, ok := to.(Previewer); ok {
		shown, err = p.Preview(n)
		return shown, true, err
	}
	shown, err = json.MarshalIndent(n.Events[0], "", "  ")
	return shown, false, err
}
