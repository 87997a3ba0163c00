package webhook_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/template"
	"github.com/certmedic/certmedic/alerting/webhook"
)

func parse(t *testing.T, text string) *template.Template {
	t.Helper()
	parsed, err := template.Parse("page.tmpl", text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// A status page, as many have it: changed by PATCH, with a body of its own form.
const statusPage = `{"component": {"status": {{if eq .status "firing"}}"major_outage"{{else}}"operational"{{end}},
	"description": {{json (printf "%s (%s)" .summary (upper .severity))}}, "names": {{json .domains}}, "left": {{json .days_left}}}}`

func TestTemplate(t *testing.T) {
	notification := alertingtest.Notification()
	notification.Events[0].Incident.Summary = `"quoted" {{.reason}} </script>`
	r := post(t, webhook.Config{Method: http.MethodPatch, Template: parse(t, statusPage)}, notification)[0]
	if r.method != http.MethodPatch || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("request %s %v", r.method, r.header)
	}
	wantJSON(t, r.body, `{"component": {"status": "major_outage",
		"description": "\"quoted\" {{.reason}} </script> (CRITICAL)", "names": ["shop.example.com"], "left": 0}}`)
}

func TestTemplateOfAnotherForm(t *testing.T) {
	c := webhook.Config{ContentType: "text/plain; charset=utf-8", Template: parse(t, "{{.certificate}}: {{.summary}}")}
	r := post(t, c, alertingtest.Notification())[0]
	if string(r.body) != "shop: sümmary" || r.header.Get("Content-Type") != c.ContentType {
		t.Errorf("body %q, headers %v", r.body, r.header)
	}
}

func TestTemplatesThatGiveNoJSONAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"a value without quotes":             `{"text": {{.summary}}}`,
		"quotes instead of json":             `{"text": "{{range .evidence}}{{.line}}{{end}}"}`,
		"nothing":                            ``,
		"only for some events it goes wrong": `{{if eq .event "heartbeat"}}beat{{else}}{}{{end}}`,
	} {
		_, err := webhook.New(webhook.Config{URL: "http://127.0.0.1", Template: parse(t, text)}, nil)
		if err == nil || !strings.Contains(err.Error(), "not valid JSON") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestEveryAttemptForAnEventHasTheSameKey(t *testing.T) {
	notification := alertingtest.Notification()
	keys := map[string]bool{}
	for range 2 {
		keys[post(t, webhook.Config{}, notification)[0].header.Get("Idempotency-Key")] = true
	}
	if len(keys) != 1 || keys[""] {
		t.Errorf("keys %v, want one", keys)
	}
	notification.Events[0].Kind = alerting.KindResolved
	if key := post(t, webhook.Config{}, notification)[0].header.Get("Idempotency-Key"); keys[key] {
		t.Error("another event has the same key")
	}
}

func TestTheEndIsNotSentWhereItIsNotWanted(t *testing.T) {
	notification := alertingtest.Notification()
	resolved := notification.Events[0]
	resolved.Kind = alerting.KindResolved
	notification.Events = append(notification.Events, resolved)
	if got := len(post(t, webhook.Config{SkipResolved: true}, notification)); got != 1 {
		t.Errorf("%d requests, want the firing one alone", got)
	}
}

func TestPreviewIsWhatIsSent(t *testing.T) {
	notification := alertingtest.Notification()
	for _, c := range []webhook.Config{{}, {Template: parse(t, statusPage)}} {
		sent := post(t, c, notification)[0].body
		c.URL = "http://127.0.0.1"
		n, err := webhook.New(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := n.Preview(notification)
		if err != nil || strings.TrimSpace(string(shown)) != strings.TrimSpace(string(sent)) {
			t.Errorf("shown %s, %v; sent %s", shown, err, sent)
		}
	}
}
