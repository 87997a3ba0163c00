package slack

import (
	"context"
	"errors"
	"time"

	"github.com/certmedic/certmedic/alerting"
)

// beatSince is how far back the message of earlier heartbeats is looked for.
const beatSince = 30 * 24 * time.Hour

// heartbeat says that certmedic lives, in one message that is edited at every beat. After a
// start the message is looked for in the channel, as nothing is kept of it.
func (t *telling) heartbeat(ctx context.Context) error {
	if t.n.config.WebhookURL != "" {
		return permanent{errors.New("an incoming webhook cannot edit messages, and so cannot carry a heartbeat")}
	}
	t.memory = t.n.beat
	if t.memory.TS == "" {
		t.of.Again = true
		if err := t.find(ctx, ""); err != nil {
			t.n.beat.Search = t.memory.Search
			return err
		}
	}
	do := t.edit
	if t.memory.TS == "" {
		do = t.post
	}
	err := do(ctx)
	t.n.beat = memory{Channel: t.memory.Channel, TS: t.memory.TS}
	return err
}

// permanent is an error of which no retry makes anything else.
type permanent struct{ error }

// beats reports whether the notification is a heartbeat.
func (v view) beats() bool { return v.main.Kind == alerting.KindHeartbeat }
