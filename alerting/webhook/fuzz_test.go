package webhook_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/template"
	"github.com/certmedic/certmedic/alerting/webhook"
)

// FuzzBody lets every string of an event be anything: the default body and that of a template are
// JSON in which it is a value, and a template's bounds hold.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		"", "shop", `"}, {"a": "`, "{{.reason}}", "</script>", "\x00\u2028\u202e", "\xff\xfe", strings.Repeat("🔒", 100), `\`, "a\nb", strings.Repeat(`"\`, 200),
	} {
		f.Add(s)
	}
	own, err := template.Parse("page", `{"text": {{json .summary}}, "names": {{json .domains}}, "short": {{json (cut 20 .reason)}}}`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := alertingtest.Notification()
		e := &n.Events[0]
		e.Incident.Summary, e.Incident.Reason, e.Incident.Members = s, s, []string{s}
		e.Incident.Evidence = []certmedic.Evidence{{Source: s, Line: s}}
		e.Certificate.Name, e.Certificate.Domains, e.Certificate.Labels = s, []string{s}, map[string]string{s: s}
		want := strings.ToValidUTF8(s, "\uFFFD")
		var body struct {
			Summary, Certificate string
			Members              []string
		}
		show(t, webhook.Config{}, n, &body)
		if same := []string{body.Summary, body.Certificate, body.Members[0]}; len(s) < 1000 && utf8.ValidString(s) && (same[0] != want || same[1] != want || same[2] != want) {
			t.Errorf("%q became %q", s, same)
		}
		var page struct{ Text, Short string }
		show(t, webhook.Config{Template: own}, n, &page)
		if utf8.ValidString(s) && page.Text != want || utf8.RuneCountInString(page.Short) > 20 || !utf8.ValidString(page.Short) {
			t.Errorf("%q became %q and %q", s, page.Text, page.Short)
		}
	})
}

// show reads what would be sent.
func show(t *testing.T, c webhook.Config, n alerting.Notification, into any) {
	t.Helper()
	c.URL = "http://127.0.0.1:1/"
	w, err := webhook.New(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := w.Preview(n)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}
