package scenario

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

// tap shows what goes to a service, and what that answers.
type tap struct {
	next http.RoundTripper
	took func(path string, request, answer []byte)
}

// RoundTrip lets the service answer.
func (t tap) RoundTrip(r *http.Request) (*http.Response, error) {
	request, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(request))
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	if resp.StatusCode < 300 {
		t.took(r.URL.Path, request, answer)
	}
	return resp, nil
}

// tookSlack keeps a message of Slack's.
func (t *teller) tookSlack(path string, request, answer []byte) {
	form, err := url.ParseQuery(string(request))
	var said struct {
		OK bool   `json:"ok"`
		TS string `json:"ts"`
	}
	if err != nil || json.Unmarshal(answer, &said) != nil || !said.OK {
		return
	}
	shown := slackfake.Message{Text: form.Get("text"), Blocks: json.RawMessage(form.Get("blocks"))}.Shown()
	m := message{receiver: receiverSlack, op: opPost, key: said.TS, text: shown}
	switch {
	case path == "/api/chat.update":
		m.op = opUpdate
	case path != "/api/chat.postMessage":
		return
	case form.Get("thread_ts") != "":
		m.op, m.key = opReply, form.Get("thread_ts")
	}
	t.sent = append(t.sent, m)
}

// tookPager keeps an event of PagerDuty's, unless it is about nothing that is open.
func (t *teller) tookPager(path string, request, _ []byte) {
	var event struct {
		Action   string `json:"event_action"`
		DedupKey string `json:"dedup_key"`
		Payload  struct {
			Severity string `json:"severity"`
		} `json:"payload"`
	}
	var all map[string]any
	if json.Unmarshal(request, &event) != nil || json.Unmarshal(request, &all) != nil {
		return
	}
	m := message{receiver: receiverPager, op: event.Action, key: event.DedupKey, severity: event.Payload.Severity}
	of := t.pager.Of(m.key)
	switch {
	case path == "/v2/change/enqueue":
		m.op = actionChange
	case len(of) == 0:
		return
	case m.op == actionTrigger && len(of[len(of)-1].Events) > 1:
		m.op = opUpdate
	}
	delete(all, "routing_key")
	m.text = strings.Join(textsIn(all), "\n")
	t.sent = append(t.sent, m)
}

// textsIn returns all texts of a value that was JSON.
func textsIn(v any) (all []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			all = append(all, textsIn(item)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all = append(all, textsIn(v[key])...)
		}
	}
	return all
}
