package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	goslack "github.com/slack-go/slack"
)

// hook posts to an incoming webhook: the state of the conversation, then the members for which
// that has no room. What is posted there can be neither found again nor edited.
func (t *telling) hook(ctx context.Context) error {
	if t.neverTold() && t.memory.Batch == "" && !t.of.Again {
		return nil
	}
	m, hidden := t.render()
	messages := []message{m}
	for _, r := range t.lists(hidden) {
		messages = append(messages, r.message())
	}
	if batch := idOf(t.eventIDs()...); t.memory.Batch != batch {
		t.memory.Batch, t.memory.Sent = batch, 0
	}
	for _, m := range messages[min(t.memory.Sent, len(messages)):] {
		if err := t.n.postHook(ctx, m); err != nil {
			return err
		}
		t.shows(m)
		t.called()
		t.memory.Sent++
		t.remember()
	}
	return nil
}

// postHook posts one message. The URL is the secret, and the channel.
func (n *Notifier) postHook(ctx context.Context, m message) error {
	off := false
	body, err := json.Marshal(goslack.WebhookMessage{
		Text: m.text, Blocks: &goslack.Blocks{BlockSet: m.blocks}, UnfurlLinks: &off, UnfurlMedia: &off,
	})
	if err != nil {
		return err
	}
	return n.call(ctx, methodHook, "", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.config.WebhookURL, bytes.NewReader(body))
		if err != nil {
			return withoutURL(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := doer{n.http}.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}
