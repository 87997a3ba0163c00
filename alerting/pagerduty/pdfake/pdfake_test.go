package pdfake_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
)

const (
	key     = "0123456789abcdef0123456789abcdef"
	ruleset = "R123456789abcdef0123456789abcdef"
	enqueue = "https://events.pagerduty.com/v2/enqueue"
	changes = "https://events.pagerduty.com/v2/change/enqueue"
)

// post makes one call and returns the status, the headers and the body of its answer.
func post(t *testing.T, s *pdfake.Service, url, body string) (int, http.Header, string) {
	t.Helper()
	resp, err := s.Client().Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

func event(action, dedup string) string {
	payload := `, "payload": {"summary": "s", "source": "h", "severity": "critical"}`
	if action != "trigger" {
		payload = ""
	}
	return fmt.Sprintf(`{"routing_key": %q, "event_action": %q, "dedup_key": %q%s}`, key, action, dedup, payload)
}

// with returns a valid trigger in which something was replaced.
func with(old, replacement string) string {
	return strings.Replace(event("trigger", "k"), old, replacement, 1)
}

func TestWhatIsAccepted(t *testing.T) {
	long := func(n int) string { return strings.Repeat("ü", n) }
	tests := []struct {
		rule, url, body string
		status          int
		says            string
	}{
		{"a trigger is accepted", enqueue, event("trigger", "k"), 202, `"dedup_key":"k"`},
		{"without a dedup key one is made", enqueue, with(`"dedup_key": "k", `, ``), 202, `"dedup_key":"0`},
		{"broken JSON is a bad request", enqueue, `{`, 400, "JSON parse error"},
		{"one object only", enqueue, event("trigger", "k") + "{}", 400, "more than one"},
		{"UTF-8 only", enqueue, with(`"s"`, "\"\xff\""), 400, "UTF-8"},
		{"no unknown fields", enqueue, with(`"payload"`, `"payloads"`), 400, "unknown field"},
		{"a routing key has 32 characters", enqueue, with(key, "short"), 400, "routing_key"},
		{"three actions", enqueue, with("trigger", "open"), 400, "event_action"},
		{"the key of a ruleset takes alerts", enqueue, with(key, ruleset), 202, "success"},
		{"a dedup key of 255 characters", enqueue, with(`"k"`, `"`+long(255)+`"`), 202, "success"},
		{"none of 256", enqueue, with(`"k"`, `"`+long(256)+`"`), 400, "dedup_key"},
		{"an acknowledgement needs the dedup key", enqueue, event("acknowledge", ""), 400, "dedup_key"},
		{"a resolution needs the dedup key", enqueue, event("resolve", ""), 400, "dedup_key"},
		{"a trigger needs a payload", enqueue, strings.Replace(event("resolve", "k"), "resolve", "trigger", 1), 400, "payload"},
		{"a summary is needed", enqueue, with(`"summary": "s"`, `"summary": " "`), 400, "summary"},
		{"a summary of 1024 characters", enqueue, with(`"s"`, `"`+long(1024)+`"`), 202, "success"},
		{"none of 1025", enqueue, with(`"s"`, `"`+long(1025)+`"`), 400, "summary"},
		{"a source is needed", enqueue, with(`"source": "h"`, `"source": ""`), 400, "source"},
		{"four severities", enqueue, with("critical", "unknown"), 400, "severity"},
		{"a timestamp of ISO 8601", enqueue, with(`"source"`, `"timestamp": "2015-07-17T08:42:58.315+0000", "source"`), 202, "success"},
		{"no other timestamp", enqueue, with(`"source"`, `"timestamp": "today", "source"`), 400, "timestamp"},
		{"details are an object", enqueue, with(`"source"`, `"custom_details": ["a"], "source"`), 400, "custom_details"},
		{"a link needs its href", enqueue, with(`"payload"`, `"links": [{"text": "t"}], "payload"`), 400, "href"},
		{"a link may lack its text", enqueue, with(`"payload"`, `"links": [{"href": "http://e.com"}], "payload"`), 202, "success"},
		{"an image is served by https", enqueue, with(`"payload"`, `"images": [{"src": "http://e.com/i"}], "payload"`), 400, "https"},
		{"an image with all its fields", enqueue, with(`"payload"`, `"images": [{"src": "https://e.com/i", "href": "http://e.com", "alt": "a"}], "payload"`), 202, "success"},
		{"512 KB at most", enqueue, with(`"source"`, `"custom_details": {"a": "`+strings.Repeat("x", 512<<10)+`"}, "source"`), 413, "bytes"},
		{"nearly 512 KB", enqueue, with(`"source"`, `"custom_details": {"a": "`+strings.Repeat("x", 511<<10)+`"}, "source"`), 202, "success"},
		{"a change event is accepted", changes, change(key, `"summary": "s"`, ""), 202, "Change event processed"},
		{"a change event with links", changes, change(key, `"summary": "s", "source": "h", "custom_details": {"a": 1}`, `, "links": [{"href": "http://e.com"}]`), 202, "processed"},
		{"none with images", changes, change(key, `"summary": "s"`, `, "images": []`), 400, "images"},
		{"none without a summary", changes, change(key, `"source": "h"`, ""), 400, "summary"},
		{"none with a severity", changes, change(key, `"summary": "s", "severity": "info"`, ""), 400, "severity"},
		{"none with the key of a ruleset", changes, change(ruleset, `"summary": "s"`, ""), 400, "ruleset"},
		{"no other path", "https://events.pagerduty.com/v1/enqueue", event("trigger", "k"), 404, "v1"},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			s := pdfake.New(pdfake.Options{})
			status, _, body := post(t, s, tt.url, tt.body)
			if status != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("answer %d %s, want %d with %q", status, body, tt.status, tt.says)
			}
			if refused := len(s.Refusals()); (refused == 1) != (tt.status != 202) {
				t.Errorf("%d refusals: %q", refused, s.Refusals())
			}
		})
	}
}

func change(routingKey, payload, rest string) string {
	return fmt.Sprintf(`{"routing_key": %q, "payload": {%s}%s}`, routingKey, payload, rest)
}

func TestTheLifeOfIncidents(t *testing.T) {
	tests := []struct {
		rule  string
		do    []string // "trigger", "acknowledge", "resolve" by the API; "ann acknowledges", ... by a person
		want  string   // states of the incidents with the dedup key, in their order
		pages int
		drops int
	}{
		{"a trigger opens an incident and calls somebody", []string{"trigger"}, "triggered", 1, 0},
		{"a second trigger is a line in its log", []string{"trigger", "trigger", "trigger"}, "triggered", 1, 0},
		{"an acknowledgement silences", []string{"trigger", "acknowledge"}, "acknowledged", 1, 0},
		{"a trigger on an acknowledged incident is silent", []string{"trigger", "acknowledge", "trigger"}, "acknowledged", 1, 0},
		{"a resolution ends", []string{"trigger", "resolve"}, "resolved", 1, 0},
		{"an acknowledged incident can be resolved", []string{"trigger", "acknowledge", "resolve"}, "resolved", 1, 0},
		{"a trigger after the end opens a new incident", []string{"trigger", "resolve", "trigger"}, "resolved triggered", 2, 0},
		{"an acknowledgement without an open alert is dropped", []string{"acknowledge"}, "", 0, 1},
		{"a resolution without an open alert is dropped", []string{"resolve", "trigger"}, "triggered", 1, 1},
		{"both are dropped after the end", []string{"trigger", "resolve", "resolve", "acknowledge"}, "resolved", 1, 2},
		{"a person acknowledges", []string{"trigger", "ann acknowledges", "trigger"}, "acknowledged", 1, 0},
		{"an acknowledgement that ran out calls again", []string{"trigger", "ann acknowledges", "unacknowledged"}, "triggered", 2, 0},
		{"a person resolves, and the next trigger is a new incident", []string{"trigger", "ann resolves", "trigger"}, "resolved triggered", 2, 0},
		{"a reassignment calls somebody else", []string{"trigger", "reassigned"}, "triggered", 2, 0},
		{"an escalation calls the next", []string{"trigger", "escalated"}, "triggered", 2, 0},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			s := pdfake.New(pdfake.Options{})
			for _, what := range tt.do {
				do(t, s, what)
			}
			var states []string
			for _, i := range s.Of("k") {
				states = append(states, i.Status)
			}
			if got := strings.Join(states, " "); got != tt.want || s.Pages("k") != tt.pages || s.Counts().Dropped != tt.drops {
				t.Errorf("%s, %d pages, %d dropped; want %s, %d, %d", got, s.Pages("k"), s.Counts().Dropped, tt.want, tt.pages, tt.drops)
			}
		})
	}
}

func do(t *testing.T, s *pdfake.Service, what string) {
	t.Helper()
	var err error
	switch what {
	case "ann acknowledges":
		err = s.Acknowledge("k", "ann")
	case "ann resolves":
		err = s.Resolve("k", "ann")
	case "unacknowledged":
		err = s.Unacknowledge("k", "")
	case "reassigned":
		err = s.Reassign("k", "ann", "bob")
	case "escalated":
		err = s.Escalate("k", "bob")
	default:
		if status, _, body := post(t, s, enqueue, event(what, "k")); status != 202 {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

func TestAnotherRoutingKeyIsAnotherAlert(t *testing.T) {
	s := pdfake.New(pdfake.Options{})
	post(t, s, enqueue, event("trigger", "k"))
	post(t, s, enqueue, strings.Replace(event("resolve", "k"), key, ruleset, 1))
	if len(s.Open()) != 1 || s.Counts().Dropped != 1 {
		t.Errorf("%d open, %d dropped", len(s.Open()), s.Counts().Dropped)
	}
}

func TestAnUnknownRoutingKeyIsRefused(t *testing.T) {
	s := pdfake.New(pdfake.Options{Keys: []string{ruleset}})
	if status, _, _ := post(t, s, enqueue, event("trigger", "k")); status != 403 || len(s.Open()) != 0 {
		t.Errorf("status %d, %d open", status, len(s.Open()))
	}
}

func TestTheWindowSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pdfake.New(pdfake.Options{})
		for i := range 120 {
			time.Sleep(100 * time.Millisecond) // the window holds 12 s of calls
			if status, _, _ := post(t, s, enqueue, event("trigger", fmt.Sprint(i))); status != 202 {
				t.Fatalf("call %d: %d", i, status)
			}
		}
		status, header, _ := post(t, s, enqueue, event("trigger", "late"))
		if status != 429 || header.Get("Retry-After") != "49" || header.Get("Ratelimit-Reset") != "49" {
			t.Errorf("status %d, %v", status, header)
		}
		if status, _, _ := post(t, s, changes, change(key, `"summary": "s"`, "")); status != 429 {
			t.Errorf("a change event: status %d, want it to count too", status)
		}
		if status, _, _ := post(t, s, enqueue, strings.Replace(event("trigger", "k"), key, ruleset, 1)); status != 202 {
			t.Errorf("another routing key: status %d", status)
		}
		time.Sleep(48*time.Second + 100*time.Millisecond) // the first call is a minute ago
		first, _, _ := post(t, s, enqueue, event("trigger", "next"))
		second, _, _ := post(t, s, enqueue, event("trigger", "next"))
		if first != 202 || second != 429 || len(s.Of("late")) != 0 {
			t.Errorf("status %d, then %d; late: %v", first, second, s.Of("late"))
		}
	})
}

func TestFaults(t *testing.T) {
	tests := []struct {
		rule   string
		fault  pdfake.Fault
		status int // 0: no answer
		open   int
	}{
		{"an answer instead of processing", pdfake.Fault{Status: 503, Header: http.Header{"retry-after": {"7"}}, Body: "b"}, 503, 0},
		{"processed without an answer", pdfake.Fault{Lost: true}, 0, 1},
		{"slow", pdfake.Fault{Delay: time.Millisecond}, 202, 1},
		{"too slow for the one who calls", pdfake.Fault{Delay: time.Hour}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			s := pdfake.New(pdfake.Options{Fault: func(int) pdfake.Fault { return tt.fault }})
			server := httptest.NewServer(s)
			defer server.Close()
			for _, client := range []*http.Client{server.Client(), s.Client()} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/v2/enqueue", strings.NewReader(event("trigger", "k")))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/json")
				status := 0
				if resp, err := client.Do(req); err == nil {
					status = resp.StatusCode
					resp.Body.Close()
				}
				if status != tt.status || len(s.Open()) != tt.open {
					t.Errorf("status %d, %d open; want %d, %d", status, len(s.Open()), tt.status, tt.open)
				}
			}
		})
	}
}

// hook is somebody who receives webhooks.
type hook struct {
	mu       sync.Mutex
	got      []string // event types with the X-Webhook-Id
	statuses []int    // to answer, the last for all that follow
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	kind, _, _ := strings.Cut(strings.SplitN(string(body), `"event_type":"`, 2)[1], `"`)
	signed := r.Header.Get("X-Pagerduty-Signature") == pdfake.Sign(body, "new", "old")
	h.got = append(h.got, fmt.Sprintf("%s %v", kind, signed))
	w.WriteHeader(h.statuses[0])
	if len(h.statuses) > 1 {
		h.statuses = h.statuses[1:]
	}
}

func TestWebhooks(t *testing.T) {
	const triggered, acknowledged, resolved = "incident.triggered true", "incident.acknowledged true", "incident.resolved true"
	tests := []struct {
		rule     string
		statuses []int
		got      []string
		outcomes []string
	}{
		{"they come in order, signed by every secret", []int{202}, []string{triggered, acknowledged, resolved}, []string{"202", "202", "202"}},
		{"500 and 429 are tried again", []int{500, 429, 200}, []string{triggered, triggered, triggered, acknowledged, resolved}, []string{"200", "200", "200"}},
		{"400 is dropped", []int{400, 200}, []string{triggered, acknowledged, resolved}, []string{"dropped: 400", "200", "200"}},
		{"five attempts at most", []int{503, 503, 503, 503, 503, 200}, []string{triggered, triggered, triggered, triggered, triggered, acknowledged, resolved}, []string{"dropped after 5 attempts: 503 <nil>", "200", "200"}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			h := &hook{statuses: tt.statuses}
			server := httptest.NewServer(h)
			defer server.Close()
			s := pdfake.New(pdfake.Options{Retry: time.Microsecond})
			s.Subscribe(server.URL, "old")
			s.Rotate("new", "old")
			for _, what := range []string{"trigger", "ann acknowledges", "trigger", "resolve"} {
				do(t, s, what)
			}
			outcomes := s.Deliver(t.Context(), server.Client())
			if !slices.Equal(outcomes, tt.outcomes) || !slices.Equal(h.got, tt.got) {
				t.Errorf("outcomes %q\n got %q\nwant %q\n got %q", outcomes, h.got, tt.outcomes, tt.got)
			}
		})
	}
}

func TestThreeDropsDisableASubscription(t *testing.T) {
	h := &hook{statuses: []int{400}}
	server := httptest.NewServer(h)
	defer server.Close()
	s := pdfake.New(pdfake.Options{})
	s.Subscribe(server.URL, "secret")
	for range 3 {
		do(t, s, "trigger")
		do(t, s, "ann resolves")
	}
	if outcomes := s.Deliver(t.Context(), server.Client()); len(outcomes) != 3 || len(h.got) != 3 {
		t.Errorf("%q, got %q", outcomes, h.got)
	}
	do(t, s, "trigger")
	if outcomes := s.Deliver(t.Context(), server.Client()); outcomes != nil {
		t.Errorf("a disabled subscription got %q", outcomes)
	}
}
