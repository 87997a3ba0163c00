package pagerduty_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/pagerduty"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
)

const (
	routingKey = "0123456789abcdef0123456789abcdef"
	rulesetKey = "R123456789abcdef0123456789abcdef"
)

func newNotifier(t testing.TB, c pagerduty.Config, client *http.Client) *pagerduty.Notifier {
	t.Helper()
	if c.RoutingKey == "" {
		c.RoutingKey = routingKey
	}
	n, err := pagerduty.New(c, client)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestConformance(t *testing.T) {
	alertingtest.TestNotifier(t, func(url string) alerting.Notifier {
		return newNotifier(t, pagerduty.Config{APIURL: url}, nil)
	})
}

// full returns a notification with two incidents that fire.
func full() alerting.Notification {
	n := alertingtest.Notification()
	e := n.Events[0]
	e.Incident.Runbook, e.Incident.NextStep = "expired", "redeploy at once"
	second := e
	second.Severity = certmedic.SeverityWarning
	second.Incident = alertingtest.Incident("i2", "hook-failed", certmedic.SeverityWarning)
	second.Incident.Members = nil
	n.Events = []alerting.Event{e, second}
	n.Open = n.Events
	n.Ack = &alerting.Ack{By: "ann", Via: "slack", At: e.Time}
	return n
}

func TestPreview(t *testing.T) {
	n := newNotifier(t, pagerduty.Config{BaseURL: "https://certmedic.example.com/", RunbookURL: "https://docs.example.com/"}, nil)
	got, err := n.Preview(full())
	if err != nil {
		t.Fatal(err)
	}
	wantJSON(t, got, `[{
		"routing_key": "***", "event_action": "trigger", "dedup_key": "certmedic/shop/e1",
		"client": "certmedic", "client_url": "https://certmedic.example.com/",
		"links": [{"href": "https://docs.example.com/expired", "text": "runbook"}, {"href": "https://certmedic.example.com/", "text": "certmedic"}],
		"payload": {
			"summary": "sümmary (and 1 more)", "source": "shop.example.com", "severity": "critical", "timestamp": "2026-03-01T00:00:00Z",
			"component": "shop", "class": "expired",
			"custom_details": {
				"certificate": "shop", "labels": {"team": "a"}, "domains": ["shop.example.com"], "days_left": 0, "not_after": "2026-03-01T00:00:00Z",
				"issuer": "CN=R11", "serial": "00af", "sha256": "ab",
				"acknowledged": "by ann at 2026-03-01T00:00:00Z", "conversation": "certmedic/shop/e1",
				"incidents": [
					{"rule": "expired", "severity": "critical", "subject": "shop", "summary": "sümmary", "reason": "reason", "since": "2026-03-01T00:00:00Z",
					 "next_step": "redeploy at once", "members": ["192.0.2.1:443"], "evidence": ["hook: exit 1"], "runbook": "https://docs.example.com/expired"},
					{"rule": "hook-failed", "severity": "warning", "subject": "shop", "summary": "sümmary", "reason": "reason", "since": "2026-03-01T00:00:00Z",
					 "evidence": ["hook: exit 1"]}
				]
			}
		}
	}]`)
}

func wantJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestSeverities(t *testing.T) {
	tests := []struct {
		ours certmedic.Severity
		own  map[certmedic.Severity]string
		want string
	}{
		{certmedic.SeverityCritical, nil, "critical"},
		{certmedic.SeverityUnknown, nil, "error"},
		{certmedic.SeverityWarning, nil, "warning"},
		{certmedic.SeverityInfo, nil, "info"},
		{certmedic.SeverityWarning, map[certmedic.Severity]string{certmedic.SeverityWarning: "error"}, "error"},
	}
	for _, tt := range tests {
		fake := pdfake.New(pdfake.Options{})
		n := newNotifier(t, pagerduty.Config{Severities: tt.own}, fake.Client())
		note := full()
		note.Open[0].Severity, note.Open[1].Severity = tt.ours, certmedic.SeverityInfo
		deliver(t, n, note)
		if got := fake.Open()[0].Severity; got != tt.want {
			t.Errorf("%s with %v is %s, want %s", tt.ours, tt.own, got, tt.want)
		}
	}
}

func deliver(t *testing.T, n alerting.Notifier, note alerting.Notification) {
	t.Helper()
	if retry, err := n.Notify(t.Context(), note); err != nil || retry {
		t.Fatalf("retry %v, error %v", retry, err)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		config pagerduty.Config
		says   string
	}{
		{"no routing key", pagerduty.Config{}, "32 characters"},
		{"a routing key with a blank", pagerduty.Config{RoutingKey: " 123456789abcdef0123456789abcdef"}, "32 characters"},
		{"an api url without a scheme", pagerduty.Config{RoutingKey: routingKey, APIURL: "events.pagerduty.com/s3cr3t"}, "api url"},
		{"a page that is no address", pagerduty.Config{RoutingKey: routingKey, BaseURL: "javascript:s3cr3t"}, "url of the page"},
		{"runbooks that are no address", pagerduty.Config{RoutingKey: routingKey, RunbookURL: "/s3cr3t"}, "runbook url"},
		{"a severity that PagerDuty does not have", pagerduty.Config{RoutingKey: routingKey, Severities: map[certmedic.Severity]string{"critical": "high"}}, `no severity "high"`},
		{"a severity that we do not have", pagerduty.Config{RoutingKey: routingKey, Severities: map[certmedic.Severity]string{"bad": "info"}}, `for "bad"`},
	}
	for _, tt := range tests {
		_, err := pagerduty.New(tt.config, nil)
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), routingKey) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.says)
		}
	}
}

// TestErrorsSayWhatPagerDutySays holds what go-pagerduty loses of an answer.
func TestErrorsSayWhatPagerDutySays(t *testing.T) {
	tests := []struct {
		name, contentType, body, says string
	}{
		{"its status, message and errors", "application/json", `{"status":"invalid event","message":"Event object is invalid","errors":["'payload.summary' is missing"]}`, "invalid event: Event object is invalid: 'payload.summary' is missing"},
		{"the same without a content type", "text/plain", `{"status":"throttle exceeded","message":"too quickly"}`, "throttle exceeded: too quickly"},
		{"what a proxy says, in one line", "text/html", "<h1>no\r\n\x1b[31mway</h1>", "<h1>no way</h1>"},
		{"not the routing key", "application/json", `{"status":"invalid key","message":"` + routingKey + `"}`, "invalid key: ***"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.contentType)
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(tt.body))
			}))
			defer server.Close()
			retry, err := newNotifier(t, pagerduty.Config{APIURL: server.URL}, nil).Notify(t.Context(), full())
			if retry || err == nil || !strings.Contains(err.Error(), "status 400") || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("retry %v, error %v, want %q", retry, err, tt.says)
			}
		})
	}
}

func TestABodyIsSentAgainInFull(t *testing.T) {
	var sizes []int64
	answers := []int{http.StatusServiceUnavailable, http.StatusAccepted}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sizes = append(sizes, r.ContentLength)
		w.WriteHeader(answers[len(sizes)-1])
	}))
	defer server.Close()
	n := newNotifier(t, pagerduty.Config{APIURL: server.URL}, nil)
	if retry, err := n.Notify(t.Context(), full()); !retry || err == nil {
		t.Fatalf("retry %v, error %v", retry, err)
	}
	deliver(t, n, full())
	if len(sizes) != 2 || sizes[0] < 100 || sizes[1] != sizes[0] {
		t.Errorf("bodies of %d bytes", sizes)
	}
}

func news(kind alerting.Kind, summary string) alerting.Event {
	e := alertingtest.Notification().Events[0]
	e.Kind, e.Severity, e.Incident = kind, certmedic.SeverityInfo, certmedic.Incident{Summary: summary}
	return e
}

func TestNewsAreChangeEvents(t *testing.T) {
	fake := pdfake.New(pdfake.Options{})
	n := newNotifier(t, pagerduty.Config{BaseURL: "https://certmedic.example.com/"}, fake.Client())
	note := alerting.Notification{Conversation: "certmedic/shop", Status: alerting.StatusResolved}
	note.Events = []alerting.Event{news(alerting.KindRenewed, "a new version"), news(alerting.KindDeployed, ""), news(alerting.KindRolledBack, "back")}
	deliver(t, n, note)
	changes := fake.Changes()
	if len(changes) != 3 || len(fake.Incidents()) != 0 || fake.Counts().Dropped != 0 {
		t.Fatalf("%+v, incidents %+v", changes, fake.Incidents())
	}
	data, err := json.Marshal(changes[0])
	if err != nil {
		t.Fatal(err)
	}
	wantJSON(t, data, `{"RoutingKey": "`+routingKey+`", "Summary": "a new version", "Source": "shop.example.com",
		"Links": [{"href": "https://certmedic.example.com/", "text": "certmedic"}],
		"Details": {"event": "renewed", "certificate": {"certificate": "shop", "labels": {"team": "a"}, "domains": ["shop.example.com"],
			"days_left": 0, "not_after": "2026-03-01T00:00:00Z", "issuer": "CN=R11", "serial": "00af", "sha256": "ab"}}}`)
	if changes[1].Summary != "deployed shop" {
		t.Errorf("summary %q", changes[1].Summary)
	}
}

func TestTheKeyOfARulesetTakesNoNews(t *testing.T) {
	fake := pdfake.New(pdfake.Options{})
	n := newNotifier(t, pagerduty.Config{RoutingKey: rulesetKey}, fake.Client())
	deliver(t, n, alerting.Notification{Events: []alerting.Event{news(alerting.KindRenewed, "r")}, Status: alerting.StatusResolved})
	if calls := fake.Counts().Calls; calls != 0 {
		t.Errorf("%d calls", calls)
	}
	if retry, err := n.Notify(t.Context(), alerting.Notification{Events: []alerting.Event{news(alerting.KindHeartbeat, "")}}); retry || err == nil {
		t.Errorf("a heartbeat: retry %v, error %v", retry, err)
	}
}

func TestChangeEventsAreSentOnce(t *testing.T) {
	fake := pdfake.New(pdfake.Options{Fault: func(call int) pdfake.Fault {
		if call == 2 {
			return pdfake.Fault{Status: http.StatusServiceUnavailable}
		}
		return pdfake.Fault{}
	}})
	n := newNotifier(t, pagerduty.Config{}, fake.Client())
	note := alerting.Notification{Events: []alerting.Event{news(alerting.KindRenewed, "r"), news(alerting.KindDeployed, "d")}, Status: alerting.StatusResolved}
	note.Remember = func(memory json.RawMessage) error { note.Memory = memory; return nil }
	if retry, err := n.Notify(t.Context(), note); !retry || err == nil {
		t.Fatalf("retry %v, error %v", retry, err)
	}
	deliver(t, n, note)
	if changes := fake.Changes(); len(changes) != 2 || changes[1].Summary != "d" {
		t.Errorf("%+v", changes)
	}
}

func TestLimitsAreSharedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := pdfake.New(pdfake.Options{})
		limits := pagerduty.NewLimits()
		notifiers := []alerting.Notifier{
			newNotifier(t, pagerduty.Config{Limits: limits}, fake.Client()),
			newNotifier(t, pagerduty.Config{Limits: limits}, fake.Client()),
		}
		sent := 0
		for i := range 300 {
			note := full()
			note.Conversation = fmt.Sprint("certmedic/shop/e", i)
			if retry, err := notifiers[i%2].Notify(t.Context(), note); err == nil {
				sent++
			} else if !retry || !strings.Contains(err.Error(), "limits") {
				t.Fatalf("retry %v, error %v", retry, err)
			}
			time.Sleep(100 * time.Millisecond) // 30 s in all
		}
		if counts := fake.Counts(); sent != 120 || counts.Calls != 120 {
			t.Errorf("%d sent, %+v", sent, counts)
		}
		time.Sleep(30*time.Second + 50*time.Millisecond) // the first was a minute ago
		deliver(t, notifiers[0], full())
		if counts := fake.Counts(); counts.Throttled != 0 {
			t.Errorf("%+v", counts)
		}
	})
}

func TestThrottledCallsPauseAll(t *testing.T) {
	tests := []struct {
		name   string
		header http.Header
		pause  time.Duration
	}{
		{"as long as Retry-After says", http.Header{"Retry-After": {"7"}}, 7 * time.Second},
		{"as long as ratelimit-reset says", http.Header{"ratelimit-reset": {"9"}}, 9 * time.Second},
		{"30 s where nothing says", nil, 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := pdfake.New(pdfake.Options{Fault: func(call int) pdfake.Fault {
					if call == 1 {
						return pdfake.Fault{Status: http.StatusTooManyRequests, Header: tt.header}
					}
					return pdfake.Fault{}
				}})
				limits := pagerduty.NewLimits()
				first := newNotifier(t, pagerduty.Config{Limits: limits}, fake.Client())
				other := newNotifier(t, pagerduty.Config{Limits: limits}, fake.Client())
				retry, err := first.Notify(t.Context(), full())
				var asked *alerting.RetryAfterError
				if !retry || errors.As(err, &asked) != (tt.header != nil) {
					t.Errorf("retry %v, error %v", retry, err)
				}
				time.Sleep(tt.pause - time.Millisecond)
				if _, err := other.Notify(t.Context(), full()); err == nil || fake.Counts().Calls != 1 {
					t.Errorf("error %v, %d calls", err, fake.Counts().Calls)
				}
				time.Sleep(time.Millisecond)
				deliver(t, other, full())
			})
		})
	}
}

func TestADrillIsMarked(t *testing.T) {
	fake := pdfake.New(pdfake.Options{})
	n := newNotifier(t, pagerduty.Config{}, fake.Client())
	note := full()
	note.Open[0].Drill = true
	deliver(t, n, note)
	payload := fake.Open()[0].Events[0].Payload
	if payload.Summary != "[DRILL] sümmary (and 1 more)" || payload.Details["drill"] != true {
		t.Errorf("payload %+v", payload)
	}
}

func TestNewsBesideAnAlert(t *testing.T) {
	tests := []struct {
		name    string
		answer  int // to the change event; 0: it is taken
		wantErr bool
	}{
		{"both are taken", 0, false},
		{"refused news does not make the alert a refused one", http.StatusBadRequest, false},
		{"news that may be taken later is tried again", http.StatusBadGateway, true},
	}
	for _, tt := range tests {
		fake := pdfake.New(pdfake.Options{Fault: func(call int) pdfake.Fault {
			if call == 2 {
				return pdfake.Fault{Status: tt.answer}
			}
			return pdfake.Fault{}
		}})
		note := full()
		note.Events = append(note.Events, news(alerting.KindDeployed, "d"))
		retry, err := newNotifier(t, pagerduty.Config{}, fake.Client()).Notify(t.Context(), note)
		if (err != nil) != tt.wantErr || retry != tt.wantErr || len(fake.Open()) != 1 {
			t.Errorf("%s: retry %v, error %v, open %+v", tt.name, retry, err, fake.Open())
		}
	}
}

func TestACauseUpdatesTheAlert(t *testing.T) {
	fake := pdfake.New(pdfake.Options{})
	n := newNotifier(t, pagerduty.Config{}, fake.Client())
	note := alertingtest.Notification()
	var memory json.RawMessage
	note.Remember = func(m json.RawMessage) error { memory = m; return nil }
	note.Open = note.Events
	deliver(t, n, note)
	note.Memory = memory
	note.Events[0].Kind, note.Events[0].Incident = alerting.KindUpdate, alertingtest.Diagnosed(note.Events[0].Incident)
	deliver(t, n, note)
	open := fake.Open()
	if len(open) != 1 {
		t.Fatalf("%d alerts are open, want the one", len(open))
	}
	preview, err := n.Preview(note)
	if err != nil || !strings.Contains(string(preview), `exit code 1 (hook_failed)"`) || !strings.Contains(string(preview), `# mend the hook, then\ncertmedic redeploy shop`) {
		t.Errorf("%v, %s", err, preview)
	}
}
