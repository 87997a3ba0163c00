package slackfake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	goslack "github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

// TestRules holds the fake to what Slack documents: a rule, a call, and its answer.
func TestRules(t *testing.T) {
	const certs = "C0CERTS001"
	section := func(kind, text string) string {
		return fmt.Sprintf(`[{"type":"section","text":{"type":%q,"text":%q}}]`, kind, text)
	}
	button := func(extra string) string {
		return `[{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"b"},"action_id":"a"` + extra + `}]}]`
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		rule, method string
		form         string // channel=...; blocks, text and others by name
		want         string
	}{
		{"a call needs a token", "chat.postMessage", "token=", "not_authed"},
		{"the token has to be right", "chat.postMessage", "token=xoxb-other", "invalid_auth"},
		{"the bot's token opens no socket", "apps.connections.open", "", "invalid_auth"},
		{"a method has to exist", "chat.shout", "", "unknown_method"},
		{"a channel has to exist", "chat.postMessage", "channel=#none&text=a", "channel_not_found"},
		{"a name will do to post", "chat.postMessage", "channel=#certs&text=a", ""},
		{"but not to read", "conversations.history", "channel=#certs", "channel_not_found"},
		{"nor to edit", "chat.update", "channel=#certs&ts=1.1&text=a", "channel_not_found"},
		{"a message says something", "chat.postMessage", "channel=" + certs, "no_text"},
		{"text has 40,000 characters", "chat.postMessage", "channel=" + certs + "&text=" + long(40_000), ""},
		{"and no more", "chat.postMessage", "channel=" + certs + "&text=" + long(40_001), "msg_too_long"},
		{"blocks are JSON", "chat.postMessage", "blocks=nonsense", "invalid_blocks_format"},
		{"there are 50 blocks", "chat.postMessage", "blocks=[" + strings.Repeat(`{"type":"divider"},`, 49) + `{"type":"divider"}]`, ""},
		{"and no more", "chat.postMessage", "blocks=[" + strings.Repeat(`{"type":"divider"},`, 50) + `{"type":"divider"}]`, "invalid_blocks"},
		{"a block has a known type", "chat.postMessage", `blocks=[{"type":"poem"}]`, "invalid_blocks"},
		{"and no other keys", "chat.postMessage", `blocks=[{"type":"divider","colour":"red"}]`, "invalid_blocks"},
		{"a block's id has 255 characters", "chat.postMessage", `blocks=[{"type":"divider","block_id":"` + long(256) + `"}]`, "invalid_blocks"},
		{"and is its own", "chat.postMessage", `blocks=[{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}]`, "invalid_blocks"},
		{"a section's text has 3,000 characters", "chat.postMessage", "blocks=" + section("plain_text", long(3000)), ""},
		{"and no more", "chat.postMessage", "blocks=" + section("plain_text", long(3001)), "invalid_blocks"},
		{"after escaping", "chat.postMessage", "blocks=" + section("plain_text", long(2996)+"&amp;"), "invalid_blocks"},
		{"text is not empty", "chat.postMessage", "blocks=" + section("plain_text", ""), "invalid_blocks"},
		{"a section has text or fields", "chat.postMessage", `blocks=[{"type":"section"}]`, "invalid_blocks"},
		{"a section has ten fields", "chat.postMessage", `blocks=[{"type":"section","fields":[` + strings.Repeat(`{"type":"mrkdwn","text":"a"},`, 10) + `{"type":"mrkdwn","text":"a"}]}]`, "invalid_blocks"},
		{"a field has 2,000 characters", "chat.postMessage", `blocks=[{"type":"section","fields":[{"type":"mrkdwn","text":"` + long(2001) + `"}]}]`, "invalid_blocks"},
		{"a header has 150 characters", "chat.postMessage", `blocks=[{"type":"header","text":{"type":"plain_text","text":"` + long(151) + `"}}]`, "invalid_blocks"},
		{"of plain text", "chat.postMessage", `blocks=[{"type":"header","text":{"type":"mrkdwn","text":"a"}}]`, "invalid_blocks"},
		{"a context has ten elements", "chat.postMessage", `blocks=[{"type":"context","elements":[` + strings.Repeat(`{"type":"mrkdwn","text":"a"},`, 10) + `{"type":"mrkdwn","text":"a"}]}]`, "invalid_blocks"},
		{"a button is fine", "chat.postMessage", "blocks=" + button(`,"value":"`+long(2000)+`","style":"danger"`), ""},
		{"a value has 2,000 characters", "chat.postMessage", "blocks=" + button(`,"value":"`+long(2001)+`"`), "invalid_blocks"},
		{"a style is known", "chat.postMessage", "blocks=" + button(`,"style":"pink"`), "invalid_blocks"},
		{"a confirmation says all", "chat.postMessage", "blocks=" + button(`,"confirm":{"title":{"type":"plain_text","text":"a"}}`), "invalid_blocks"},
		{"all blocks together are not too long", "chat.postMessage", "blocks=[" + strings.Repeat(strings.Trim(section("plain_text", long(2900)), "[]")+",", 4) + `{"type":"section","text":{"type":"plain_text","text":"` + long(2900) + `"}}]`, "msg_blocks_too_long"},
		{"what is reserved is escaped", "chat.postMessage", "blocks=" + section("plain_text", "a < b"), "invalid_blocks"},
		{"an ampersand too", "chat.postMessage", "blocks=" + section("mrkdwn", "a & b"), "invalid_blocks"},
		{"a link is markup", "chat.postMessage", "blocks=" + section("mrkdwn", "<https://example.com|a> <!here>"), ""},
		{"what looks like it is not", "chat.postMessage", "blocks=" + section("mrkdwn", "<javascript:a|a>"), "invalid_blocks"},
		{"preformatted text is as it is", "chat.postMessage", `blocks=[{"type":"rich_text","elements":[{"type":"rich_text_preformatted","border":0,"elements":[{"type":"text","text":"<!here> ` + "```" + `"}]}]}]`, ""},
		{"metadata is JSON", "chat.postMessage", "text=a&metadata=nonsense", "invalid_metadata_format"},
		{"with a type and a payload", "chat.postMessage", `text=a&metadata={"event_type":"a"}`, "invalid_metadata_schema"},
		{"and is not too large", "chat.postMessage", `text=a&metadata={"event_type":"a","event_payload":{"a":"` + long(8000) + `"}}`, "metadata_too_large"},
		{"a thread has a message", "chat.postMessage", "text=a&thread_ts=1.1", "thread_not_found"},
		{"an edit has one too", "chat.update", "text=a&ts=1.1", "message_not_found"},
		{"a link leads somewhere", "chat.getPermalink", "message_ts=1.1", "message_not_found"},
		{"a thread is read by its message", "conversations.replies", "ts=1.1", "thread_not_found"},
		{"a page has 999 items", "conversations.history", "limit=1000", "invalid_limit"},
		{"a cursor is one of ours", "conversations.history", "cursor=x", "invalid_cursor"},
		{"whispering needs an ear", "chat.postEphemeral", "text=a", "user_not_in_channel"},
	}
	for _, tt := range tests {
		t.Run(tt.rule+" "+tt.want, func(t *testing.T) {
			s := slackfake.Unstarted(slackfake.Options{})
			form := url.Values{"token": {s.Token}, "channel": {s.Channel}}
			for _, pair := range strings.Split(tt.form, "&") {
				name, value, _ := strings.Cut(pair, "=")
				if name == "amp;\"}}]" || name == " b\"}}]" { // part of a text with an ampersand
					continue
				}
				form.Set(name, value)
			}
			if i := strings.Index(tt.form, "blocks="); i >= 0 {
				form.Set("blocks", tt.form[i+len("blocks="):])
			}
			if got := call(t, s, tt.method, form)["error"]; got != tt.want && (got != nil || tt.want != "") {
				t.Errorf("error %v, want %q", got, tt.want)
			}
		})
	}
}

func call(t *testing.T, s *slackfake.Server, method string, form url.Values) map[string]any {
	t.Helper()
	if form.Get("token") == "" && !form.Has("token") {
		form.Set("token", s.Token)
	}
	resp, err := s.Client().PostForm(s.APIURL()+method, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	answer["status"], answer["after"] = resp.StatusCode, resp.Header.Get("Retry-After")
	return answer
}

func post(t *testing.T, s *slackfake.Server, form url.Values) string {
	t.Helper()
	form.Set("channel", s.Channel)
	answer := call(t, s, "chat.postMessage", form)
	ts, _ := answer["ts"].(string)
	if ts == "" {
		t.Fatalf("answer %v", answer)
	}
	return ts
}

func TestPaceOfAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slackfake.Unstarted(slackfake.Options{})
		s.AddChannel("C0OTHER001", "other")
		first, second := post(t, s, url.Values{"text": {"a"}}), post(t, s, url.Values{"text": {"b"}})
		if first == second {
			t.Error("two messages have one timestamp")
		}
		answer := call(t, s, "chat.postMessage", url.Values{"channel": {s.Channel}, "text": {"c"}})
		if answer["status"] != 429 || answer["after"] != "1" || answer["error"] != "ratelimited" {
			t.Errorf("answer %v", answer)
		}
		if answer := call(t, s, "chat.postMessage", url.Values{"channel": {"#other"}, "text": {"c"}}); answer["ok"] != true {
			t.Errorf("another channel waits too: %v", answer)
		}
		time.Sleep(time.Second)
		post(t, s, url.Values{"text": {"c"}})
		if c := s.Counts(); c.Posts != 4 || c.Limited != 1 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestTierOfAMethod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := slackfake.Unstarted(slackfake.Options{Tiers: true})
		edit := url.Values{"channel": {s.Channel}, "ts": {post(t, s, url.Values{"text": {"a"}})}, "text": {"b"}}
		for range 50 {
			if answer := call(t, s, "chat.update", edit); answer["ok"] != true {
				t.Fatalf("answer %v", answer)
			}
		}
		if answer := call(t, s, "chat.update", edit); answer["status"] != 429 || answer["after"] != "60" {
			t.Errorf("answer %v", answer)
		}
		time.Sleep(time.Minute)
		if answer := call(t, s, "chat.update", edit); answer["ok"] != true {
			t.Errorf("answer %v", answer)
		}
	})
}

func TestWhatIsKept(t *testing.T) {
	s := slackfake.Unstarted(slackfake.Options{Burst: 100})
	metadata := func(c string) string {
		return `{"event_type":"certmedic","event_payload":{"conversation":"` + c + `"}}`
	}
	blocks := `[{"type":"header","text":{"type":"plain_text","text":"a &amp; b"}}]`
	root := post(t, s, url.Values{"text": {"a"}, "blocks": {blocks}, "metadata": {metadata("c1")}})
	reply := post(t, s, url.Values{"text": {"r"}, "thread_ts": {root}})
	for range 5 {
		post(t, s, url.Values{"text": {"other"}})
	}
	if answer := call(t, s, "chat.update", url.Values{"channel": {s.Channel}, "ts": {root}, "text": {"b"}}); answer["ok"] != true {
		t.Fatalf("answer %v", answer)
	}
	m := s.In("c1")
	if len(m) != 1 || m[0].Text != "b" || m[0].Shown() != "a & b" || m[0].Edits != 1 {
		t.Errorf("an edit without blocks and metadata changes them: %+v", m)
	}
	if answer := call(t, s, "chat.postMessage", url.Values{"channel": {s.Channel}, "text": {"x"}, "thread_ts": {reply}}); answer["error"] != "cannot_reply_to_message" {
		t.Errorf("a reply has a thread of its own: %v", answer)
	}

	api := goslack.New(s.Token, goslack.OptionAPIURL(s.APIURL()), goslack.OptionHTTPClient(s.Client()))
	var found []goslack.Message
	pages := 0
	for p := (&goslack.GetConversationHistoryParameters{ChannelID: s.Channel, Limit: 4, IncludeAllMetadata: true}); ; pages++ {
		page, err := api.GetConversationHistoryContext(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, page.Messages...)
		if p.Cursor = page.ResponseMetaData.NextCursor; !page.HasMore {
			break
		}
	}
	if len(found) != 6 || pages != 1 || found[5].Metadata.EventPayload["conversation"] != "c1" || found[0].Text != "other" {
		t.Errorf("%d messages on %d pages, want the newest first, without threads: %+v", len(found), pages+1, found)
	}
	thread, _, _, err := api.GetConversationRepliesContext(t.Context(), &goslack.GetConversationRepliesParameters{ChannelID: s.Channel, Timestamp: root})
	if err != nil || len(thread) != 2 || thread[0].Timestamp != root || thread[1].ThreadTimestamp != root || thread[0].Metadata.EventType != "" {
		t.Errorf("thread %+v, %v", thread, err)
	}

	s.CloseEdits(s.Channel, "edit_window_closed")
	if answer := call(t, s, "chat.update", url.Values{"channel": {s.Channel}, "ts": {root}, "text": {"b"}}); answer["error"] != "edit_window_closed" {
		t.Errorf("answer %v", answer)
	}
	s.Delete(root)
	if answer := call(t, s, "chat.update", url.Values{"channel": {s.Channel}, "ts": {root}, "text": {"b"}}); answer["error"] != "message_not_found" {
		t.Errorf("answer %v", answer)
	}
	lost := post(t, s, url.Values{"text": {"r"}, "thread_ts": {root}})
	if all := s.Messages(); all[len(all)-1].TS != lost {
		t.Error("an answer to a deleted message is not in the channel")
	}
	s.CloseChannel(s.Channel, "is_archived")
	if answer := call(t, s, "chat.postMessage", url.Values{"channel": {s.Channel}, "text": {"x"}}); answer["error"] != "is_archived" {
		t.Errorf("answer %v", answer)
	}
}

func TestFaults(t *testing.T) {
	s := slackfake.New(slackfake.Options{Burst: 100})
	defer s.Close()
	s.Fail(func(_ string, call int) slackfake.Fault {
		return []slackfake.Fault{{Drop: true}, {Status: 503, RetryAfter: "7"}, {Error: "fatal_error"}, {}}[call-1]
	})
	form := url.Values{"token": {s.Token}, "channel": {s.Channel}, "text": {"a"}}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if _, err := client.PostForm(s.APIURL()+"chat.postMessage", form); err == nil {
		t.Error("the answer was not lost")
	}
	if len(s.Messages()) != 1 {
		t.Error("the work was")
	}
	for _, want := range []string{"fault", "fatal_error", `"ok":true`} {
		resp, err := client.PostForm(s.APIURL()+"chat.postMessage", form)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%d %s, want %q", resp.StatusCode, body, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.Fail(func(string, int) slackfake.Fault { cancel(); return slackfake.Fault{Delay: time.Hour} })
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.APIURL()+"chat.postMessage", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(req); err == nil {
		t.Error("it was not delayed")
	}
}

func TestIncomingWebhook(t *testing.T) {
	tests := []struct {
		rule, path, body string
		status           int
		want             string
	}{
		{"a message", "", `{"text":"a"}`, 200, "ok"},
		{"another secret", "x", `{"text":"a"}`, 403, "invalid_token"},
		{"no message", "", `{}`, 400, "no_text"},
		{"no JSON", "", `text=a`, 400, "invalid_payload"},
		{"what a webhook does not take", "", `{"text":"a","thread_ts":"1.1"}`, 400, "invalid_payload"},
		{"blocks that are none", "", `{"text":"a","blocks":[{"type":"poem"}]}`, 400, "invalid_blocks"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			s := slackfake.Unstarted(slackfake.Options{})
			resp, err := s.Client().Post(s.WebhookURL()+tt.path, "application/json", strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != tt.status || string(body) != tt.want {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, body, tt.status, tt.want)
			}
		})
	}
}

// Slack's own library connects, acknowledges, and comes back after a disconnect.
func TestSocketMode(t *testing.T) {
	s := slackfake.New(slackfake.Options{})
	defer s.Close()
	api := goslack.New(s.Token, goslack.OptionAPIURL(s.APIURL()), goslack.OptionAppLevelToken(s.AppToken))
	client := socketmode.New(api)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	connected, clicks := make(chan bool, 10), make(chan goslack.InteractionCallback, 10)
	go func() {
		defer close(done)
		_ = client.RunContext(ctx) // ends with the context
	}()
	go serve(ctx, client, connected, clicks)
	<-connected

	again, err := s.Client().Get(s.URL + "/link?ticket=ticket-1")
	if err != nil || again.StatusCode != http.StatusForbidden {
		t.Errorf("a ticket is good for two connections: %v, %v", again, err)
	}
	m := slackfake.Message{Channel: s.Channel, TS: "1.1", Text: "a"}
	payload := s.Payload(slackfake.Click{User: "U0ALICE", Name: "alice", Message: m, Action: "certmedic_ack", Value: "v"})
	if _, err := s.Interact(ctx, "e1", payload); err != nil {
		t.Fatal(err)
	}
	got := <-clicks
	if got.User.ID != "U0ALICE" || got.User.Name != "alice" || got.Container.MessageTs != "1.1" || len(got.ActionCallback.BlockActions) != 1 || got.ActionCallback.BlockActions[0].Value != "v" {
		t.Errorf("click %+v", got)
	}
	whisper(t, s, got.ResponseURL)

	s.Disconnect("refresh_requested")
	<-connected
	if _, err := s.Interact(ctx, "e1", payload); err != nil {
		t.Errorf("after a disconnect: %v", err)
	}
	cancel()
	<-done
}

// whisper answers a click as often as Slack allows, and once more.
func whisper(t *testing.T, s *slackfake.Server, to string) {
	t.Helper()
	for i := range 6 {
		resp, err := s.Client().Post(to, "application/json", strings.NewReader(`{"text":"done","response_type":"ephemeral"}`))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if (resp.StatusCode == http.StatusOK) != (i < 5) {
			t.Errorf("use %d: status %d", i+1, resp.StatusCode)
		}
	}
	if r := s.Responses(); len(r) != 5 || r[0] != (slackfake.Response{Text: "done", Type: "ephemeral"}) {
		t.Errorf("responses %+v", r)
	}
}

func serve(ctx context.Context, client *socketmode.Client, connected chan<- bool, clicks chan<- goslack.InteractionCallback) {
	for {
		select {
		case e := <-client.Events:
			switch e.Type {
			case socketmode.EventTypeHello:
				connected <- true
			case socketmode.EventTypeInteractive:
				_ = client.AckCtx(ctx, e.Request.EnvelopeID, nil)
				if click, ok := e.Data.(goslack.InteractionCallback); ok {
					clicks <- click
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

func TestSignedRequest(t *testing.T) {
	s := slackfake.Unstarted(slackfake.Options{})
	for name, secret := range map[string]string{"the app's secret": "", "another": "other"} {
		r, err := s.Signed(t.Context(), "http://certmedic.invalid/", json.RawMessage(`{"type":"block_actions"}`), time.Now(), secret)
		if err != nil {
			t.Fatal(err)
		}
		v, err := goslack.NewSecretsVerifier(r.Header, s.SigningSecret)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(&v, r.Body); err != nil {
			t.Fatal(err)
		}
		if err := v.Ensure(); (err == nil) != (secret == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
