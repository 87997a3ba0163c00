// Package slack tells a Slack channel: one message for each conversation, which is edited in
// place, with a thread below it of what happened in order. It speaks with a bot token; or,
// with an incoming webhook, it only posts.
//
// It holds no state that a restart would lose. The message and how far its thread has come
// are kept by [alerting.Notification.Remember] after each call that succeeded, so that a
// retry never repeats what was done; and where an answer was lost, the message is looked for
// in the channel by its metadata before another one is posted.
//
// What others wrote is never markup: it goes into plain_text and preformatted text only,
// with the characters escaped that Slack reserves, and with the limits counted after that.
// Methods keep to their tiers by [alerting.Wait]; an error of Slack that stays true is
// permanent; the token is in no error.
package slack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	goslack "github.com/slack-go/slack"

	"github.com/certmedic/certmedic/alerting"
)

// Notifier tells one channel.
type Notifier struct {
	config Config
	http   *http.Client
	api    *goslack.Client
	limits *Limits
	id     string  // of the channel, once an answer has named it
	listed reading // of the channels, to find that id
	beat   memory  // of the heartbeat's message, which Slack keeps
}

var (
	_ alerting.Notifier  = (*Notifier)(nil)
	_ alerting.Previewer = (*Notifier)(nil)
)

// New returns a notifier. Where client is nil it makes one of its own, which uses the proxy
// of the environment.
func New(c Config, client *http.Client) (*Notifier, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	n := &Notifier{config: c, http: newHTTPClient(client, cmp.Or(c.Timeout, defaultTimeout)), limits: c.Limits}
	if n.limits == nil {
		n.limits = NewLimits()
	}
	endpoint := strings.TrimSuffix(cmp.Or(c.APIURL, defaultAPIURL), "/") + "/"
	n.api = goslack.New(c.Token, goslack.OptionAPIURL(endpoint), goslack.OptionHTTPClient(doer{n.http}))
	return n, nil
}

// Notify posts or edits the conversation's message and adds to its thread, as far as Slack's
// pace allows; then it asks to be called again by [alerting.Wait], and goes on from there.
func (n *Notifier) Notify(ctx context.Context, of alerting.Notification) (retry bool, err error) {
	if len(of.Events) == 0 {
		return false, errors.New("slack: a notification without events")
	}
	t := &telling{n: n, of: of, v: newView(of), memory: readMemory(of.Memory)}
	switch {
	case t.v.beats():
		return judge(t.heartbeat(ctx))
	case n.config.WebhookURL != "":
		return judge(t.hook(ctx))
	}
	return judge(t.tell(ctx))
}

// Preview returns the message as it would be posted, as JSON with its text and its blocks.
func (n *Notifier) Preview(of alerting.Notification) ([]byte, error) {
	if len(of.Events) == 0 {
		return nil, errors.New("slack: a notification without events")
	}
	t := &telling{n: n, of: of, v: newView(of)}
	m, _ := t.render()
	return json.MarshalIndent(map[string]any{"text": m.text, "blocks": m.blocks}, "", "  ")
}

// channel is where messages are posted: the ID where it is known.
func (n *Notifier) channel() string { return cmp.Or(n.id, n.config.Channel) }

// telling is one attempt to tell about a conversation.
type telling struct {
	n        *Notifier
	of       alerting.Notification
	v        view
	memory   memory
	reposted bool
}

func (t *telling) tell(ctx context.Context) error {
	if t.memory.TS == "" && t.of.Again {
		if err := t.find(ctx, ""); err != nil {
			return err
		}
	}
	switch {
	case t.memory.TS != "":
		if err := t.edit(ctx); err != nil {
			return err
		}
	case t.neverTold():
		return nil
	default:
		if err := t.post(ctx); err != nil {
			return err
		}
	}
	return t.follow(ctx)
}

// neverTold reports whether all is over before anybody was told of it.
func (t *telling) neverTold() bool {
	if len(t.of.Open) > 0 {
		return false
	}
	for _, e := range t.of.Events {
		if e.Kind != alerting.KindResolved && e.Kind != alerting.KindAcknowledged && e.Kind != alerting.KindUnacknowledged || e.Undelivered != "" {
			return false
		}
	}
	return true
}

// remember keeps the memory. That it is not durable is the outbox's to report; the message is
// then found again by its metadata.
func (t *telling) remember() {
	if t.of.Remember == nil {
		return
	}
	if data, err := json.Marshal(t.memory); err == nil {
		_ = t.of.Remember(data)
	}
}

// post posts the conversation's message.
func (t *telling) post(ctx context.Context) error {
	m, _ := t.render()
	posted, err := t.send(ctx, t.n.channel(), m, goslack.MsgOptionMetadata(t.metadata(t.eventIDs())))
	if err != nil {
		return err
	}
	t.n.id = posted.Channel
	t.n.limits.named(t.n.config.Channel, posted.Channel)
	t.memory.Channel, t.memory.TS = posted.Channel, posted.Timestamp
	t.shows(m)
	t.called()
	t.memory.saw(t.eventIDs()...)
	t.remember()
	return nil
}

// send posts a message, or a reply where an option says so, and returns its place.
func (t *telling) send(ctx context.Context, to string, m message, options ...goslack.MsgOption) (posted goslack.Msg, err error) {
	err = t.n.call(ctx, methodPost, to, func(ctx context.Context) error {
		channel, ts, answer, err := t.n.api.PostMessageWithResponseContext(ctx, to, append(options, m.options()...)...)
		if err == nil && (ts == "" || channel == "") {
			return errUnnamed
		}
		posted = goslack.Msg{Channel: channel, Timestamp: ts, ThreadTimestamp: answer.ThreadTimestamp}
		return err
	})
	return posted, err
}

var errUnnamed = errors.New("the answer names no message")

// edit brings the message up to date. Where that is not possible any more it posts another.
func (t *telling) edit(ctx context.Context) error {
	m, _ := t.render()
	if m.hash() == t.memory.Shown {
		return nil
	}
	if wait := t.memory.untilEdit(); wait > 0 && !t.n.limits.none {
		return alerting.Wait(wait)
	}
	err := t.n.call(ctx, methodUpdate, t.memory.Channel, func(ctx context.Context) error {
		options := append(m.options(), goslack.MsgOptionMetadata(t.metadata(t.eventIDs())))
		_, ts, _, err := t.n.api.UpdateMessageContext(ctx, t.memory.Channel, t.memory.TS, options...)
		if err == nil && ts == "" {
			return errUnnamed
		}
		return err
	})
	switch {
	case gone(err) && !t.reposted:
		return t.repost(ctx, err)
	case err != nil:
		return err
	}
	t.shows(m)
	t.remember()
	return nil
}

// gone reports whether a message cannot be edited or answered to any more.
func gone(err error) bool {
	return says(err, "message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "is_archived",
		"not_in_channel", "thread_not_found", "cannot_reply_to_message")
}

// repost posts another message in place of one that is gone, with a link to that.
func (t *telling) repost(ctx context.Context, why error) error {
	t.reposted = true
	old := t.memory
	link := ""
	if !says(why, "message_not_found", "thread_not_found") {
		link = t.linkTo(ctx, old)
	}
	t.n.id = "" // the channel may be another one by now
	t.memory.Channel, t.memory.TS, t.memory.Shown, t.memory.Named, t.memory.Continues = "", "", "", nil, link
	if t.of.Again {
		if err := t.find(ctx, old.TS); err != nil {
			return err
		}
	}
	if t.memory.TS != "" {
		return t.edit(ctx)
	}
	return t.post(ctx)
}

// linkTo returns the address of a message, or nothing where Slack does not tell.
func (t *telling) linkTo(ctx context.Context, m memory) string {
	link := ""
	err := t.n.call(ctx, methodLink, m.Channel, func(ctx context.Context) (err error) {
		link, err = t.n.api.GetPermalinkContext(ctx, &goslack.PermalinkParameters{Channel: m.Channel, Ts: m.TS})
		return err
	})
	if err != nil || !isWebAddress(link) {
		return ""
	}
	return link
}
