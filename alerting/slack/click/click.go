// Package click reads what Slack says when a person presses a button under a message, and answers
// that person. The app gives it the payloads that come through Socket Mode and over signed HTTP, once
// it is known that they are Slack's.
//
// It promises that every click has an ID by which a repeated delivery is recognised, that names of
// others are one line without control characters, and that an answer is text and never markup. A
// response URL is a secret: it is in no error.
package click

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic/internal/redact"
)

// ErrOther says that a payload is not about a button that was pressed.
var ErrOther = errors.New("not a click on a button")

const (
	maxName   = 80  // characters of a name
	maxAnswer = 500 // characters of an answer, with room to be escaped within the 3,000 of a block
)

// Click is one button that a person pressed.
type Click struct {
	ID      string    // the same in every delivery of it
	At      time.Time // by Slack's clock
	User    string    // the ID of who pressed it (U...)
	Name    string    // the name of that user; empty: unknown. Not unique, and not to be trusted
	Channel string    // the ID of the message's channel
	Named   string    // the name of the channel, as far as Slack tells it
	Action  string    // the action ID of the button
	Value   string    // what the button carries

	response string
}

// payload is an interaction of the type block_actions, as far as it is read.
type payload struct {
	Type        string  `json:"type"`
	User        account `json:"user"`
	Channel     account `json:"channel"`
	ResponseURL string  `json:"response_url"`
	Container   struct {
		MessageTS string `json:"message_ts"`
	} `json:"container"`
	Actions []struct {
		ActionID string `json:"action_id"`
		ActionTS string `json:"action_ts"`
		Value    string `json:"value"`
	} `json:"actions"`
}

// account is a user or a channel.
type account struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Username string `json:"username"`
}

var userID = regexp.MustCompile(`^[UW][A-Z0-9]{1,30}$`)

// Parse reads a payload. The error is [ErrOther] where it is about something else than a button.
func Parse(data []byte) (Click, error) {
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return Click{}, errors.New("reading a click: it is not valid JSON") // the cause would quote it
	}
	if p.Type != "block_actions" || len(p.Actions) == 0 {
		return Click{}, ErrOther
	}
	pressed := p.Actions[0]
	at, err := moment(pressed.ActionTS)
	switch {
	case err != nil:
		return Click{}, err
	case !userID.MatchString(p.User.ID):
		return Click{}, errors.New("reading a click: it names no user")
	}
	c := Click{
		At: at, User: p.User.ID, Name: line(p.User.Name), Channel: line(p.Channel.ID), Named: line(p.Channel.Name),
		Action: pressed.ActionID, Value: pressed.Value, response: p.ResponseURL,
	}
	if c.Name == "" {
		c.Name = line(p.User.Username)
	}
	c.ID = strings.Join([]string{c.User, c.Channel, p.Container.MessageTS, c.Action, pressed.ActionTS}, "/")
	return c, nil
}

// moment reads a timestamp of Slack, seconds with a fraction.
func moment(ts string) (time.Time, error) {
	whole, _, _ := strings.Cut(ts, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, errors.New("reading a click: it has no time")
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// line is a name of others in one line.
func line(s string) string {
	return redact.Truncate(strings.Join(strings.Fields(redact.Plain(s)), " "), maxName)
}

// Person names who pressed the button, by the ID that is theirs alone: "ada (Slack U012AB3CD)".
func (c Click) Person() string {
	if c.Name == "" {
		return "Slack " + c.User
	}
	return c.Name + " (Slack " + c.User + ")"
}

// Answer tells the one who pressed the button, and nobody else. It makes one attempt.
func (c Click) Answer(ctx context.Context, client *http.Client, text string) error {
	u, err := url.Parse(c.response)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("answering a click: Slack named no address for it")
	}
	text = escape(redact.Truncate(text, maxAnswer))
	body, err := json.Marshal(map[string]any{
		"response_type": "ephemeral", "replace_original": false, "text": text,
		"blocks": []any{map[string]any{"type": "section", "text": map[string]any{"type": "plain_text", "text": text, "emoji": false}}},
	})
	if err != nil {
		return fmt.Errorf("answering a click: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.response, bytes.NewReader(body))
	if err != nil {
		return errors.New("answering a click: the address is not valid")
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("answering a click: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answering a click: status %d", resp.StatusCode)
	}
	return nil
}

// escape escapes the characters that Slack reserves, so that no name becomes a mention or a link.
func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
