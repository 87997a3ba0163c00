package alerting

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/certmedic/certmedic"
)

// HeartbeatEvery is how often receivers of heartbeats hear that certmedic lives: somebody who
// hears nothing for a few of these has to look.
const HeartbeatEvery = time.Minute

// How long until the next attempt where there was no heartbeat.
const (
	whileBlind  = 5 * time.Second
	afterFailed = 15 * time.Second
)

// heartbeatKey is the conversation of heartbeats, in which nothing is remembered. No
// episode is named so.
const heartbeatKey = "certmedic/fleet/heartbeat"

// beat tells one receiver that certmedic lives, until the process ends. It goes past the outbox: a
// heartbeat that comes late is worth nothing.
func (a *Alerter) beat(ctx context.Context, name string) {
	said := ""
	for ctx.Err() == nil && !a.hurrying() {
		why, next := a.beatOnce(ctx, name)
		if why != said {
			level := slog.LevelInfo // as at every start, until all was judged once
			if why != "" && next != whileBlind {
				level = slog.LevelWarn
			}
			a.opts.Log.Log(ctx, level, "heartbeat", "receiver", name, "missed", why != "", "why", why)
			said = why
		}
		if sleep(ctx, next, a.hurry) != nil {
			return
		}
	}
}

// beatOnce returns why there was no heartbeat, if there was none, and when to try again.
func (a *Alerter) beatOnce(ctx context.Context, name string) (why string, next time.Duration) {
	now := time.Now()
	if why := a.opts.Blind(now); why != "" {
		return why, whileBlind
	}
	e := Event{
		Kind: KindHeartbeat, Time: now, Severity: certmedic.SeverityInfo,
		Incident: certmedic.Incident{Summary: "certmedic watches, judges and tells", DedupKey: heartbeatKey},
	}
	n := Notification{Receiver: name, Conversation: heartbeatKey, Status: StatusResolved, Events: []Event{e}}
	retry, err := a.queues[name].speak(ctx, a.opts.Receivers[name], n)
	var wait *waitError
	var asked *RetryAfterError
	switch {
	case err == nil:
		a.queues[name].heartbeat(false, nil)
		return "", HeartbeatEvery
	case errors.As(err, &wait):
		return "", max(time.Second, wait.delay)
	case errors.As(err, &asked):
		next = asked.Delay
	}
	if ctx.Err() == nil {
		a.queues[name].heartbeat(retry, err)
	}
	return clean(err.Error()), min(longestDelay, max(afterFailed, next))
}
