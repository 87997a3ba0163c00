package webhook_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/webhook"
)

func TestConformance(t *testing.T) {
	alertingtest.TestNotifier(t, func(url string) alerting.Notifier {
		n, err := webhook.New(webhook.Config{URL: url}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return n
	})
}

func TestRequest(t *testing.T) {
	notification := alertingtest.Notification()
	e := notification.Events[0]
	e.Certificate.NotAfter = e.Time.Add(-time.Minute)
	notification.Events = []alerting.Event{e, {Kind: alerting.KindRenewed, Severity: certmedic.SeverityInfo}}
	requests := post(t, webhook.Config{Headers: http.Header{"X-Key": {"k"}, "User-Agent": {"other"}}, Method: "PUT"}, notification)
	if len(requests) != 2 {
		t.Fatalf("%d requests, want one for each event", len(requests))
	}
	r := requests[0]
	if r.method != "PUT" || r.header.Get("X-Key") != "k" || r.header.Get("User-Agent") != "other" || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("request %s %v", r.method, r.header)
	}
	wantJSON(t, r.body, `{
		"event": "firing", "certificate": "shop", "domains": ["shop.example.com"], "severity": "critical", "status": "firing",
		"summary": "sümmary", "reason": "reason", "not_after": "2026-02-28T23:59:00Z", "days_left": -1,
		"issuer": "CN=R11", "serial": "00af", "sha256": "ab", "timestamp": "2026-03-01T00:00:00Z",
		"dedup_key": "certmedic/shop/e1", "rule": "expired", "members": ["192.0.2.1:443"],
		"evidence": [{"source": "hook", "line": "exit 1"}], "cause": "", "cause_summary": "", "fix": "", "runbook": "", "incident": "i1",
		"not_before": null, "labels": {"team": "a"}, "stage": "", "next_step": "", "acknowledged_by": "", "undelivered": "", "drill": false}`)
	wantJSON(t, requests[1].body, `{
		"event": "renewed", "certificate": "", "domains": [], "severity": "info", "status": "firing",
		"summary": "", "reason": "", "not_after": null, "days_left": null, "issuer": "", "serial": "", "sha256": "",
		"timestamp": "0001-01-01T00:00:00Z", "dedup_key": "certmedic/shop/e1", "rule": "", "members": [],
		"evidence": [], "cause": "", "cause_summary": "", "fix": "", "runbook": "", "incident": "",
		"not_before": null, "labels": {}, "stage": "", "next_step": "", "acknowledged_by": "", "undelivered": "", "drill": false}`)
}

func TestDefaultRequest(t *testing.T) {
	r := post(t, webhook.Config{}, alertingtest.Notification())[0]
	if r.method != "POST" || r.header.Get("User-Agent") != "certmedic" {
		t.Errorf("request %s %v", r.method, r.header)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, url := range []string{"", "example.com/s3cr3t", "ftp://example.com/s3cr3t", "https:///s3cr3t", "http://a b/s3cr3t"} {
		if _, err := webhook.New(webhook.Config{URL: url}, nil); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: error %v", url, err)
		}
	}
}

type request struct {
	method string
	header http.Header
	body   []byte
}

// post sends a notification to a server that accepts it and returns what that got.
func post(t *testing.T, c webhook.Config, notification alerting.Notification) []request {
	t.Helper()
	var got []request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, request{r.Method, r.Header, body})
	}))
	defer server.Close()
	c.URL = server.URL
	n, err := webhook.New(c, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	if retry, err := n.Notify(t.Context(), notification); retry || err != nil {
		t.Fatalf("retry %v, error %v", retry, err)
	}
	return got
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
		t.Errorf("body\n got %s\nwant %s", got, want)
	}
}
