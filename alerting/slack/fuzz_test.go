package slack_test

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/slack"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

// hostile is what certificates, servers and hooks may say.
func hostile() []string {
	return []string{
		"<!channel> <!here> <!everyone> <@U123> <#C123> <https://evil.example|shop.example.com>",
		"&lt;!channel&gt; &amp;lt;", "``` *bold* _it_ ~gone~ `code` > quote\n> quote\n• item", ":skull: @here #certs https://evil.example",
		"a\u200b\u200d\u202eb\ufeff\u2066", "\x1b[31m\x00\x07", "\x07", "\xff\xfe", strings.Repeat("<&>", 5000), strings.Repeat("🔒", 9000),
		strings.Repeat(`"\`, 9000), strings.Repeat("\n", 9000), strings.Repeat("e\u0301", 9000), "<!date^0^{date}|x>",
	}
}

func TestNothingIsMarkup(t *testing.T) {
	for _, s := range hostile() {
		checkHostile(t, s)
	}
}

// FuzzMessage lets every string of a notification be anything: Slack takes the message, and
// there is no markup in it but ours.
func FuzzMessage(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkHostile(t, s) })
}

func checkHostile(t *testing.T, s string) {
	t.Helper()
	fake := slackfake.Unstarted(slackfake.Options{Burst: 10_000})
	e := alertingtest.Notification().Events[0]
	e.Incident.Summary, e.Incident.Reason, e.Incident.NextStep, e.Incident.Runbook = s, s, s, s
	e.Incident.Members = append(e.Incident.Members, s, s+"2", s+"3")
	e.Incident.Evidence = []certmedic.Evidence{{Source: s, Line: s}, {Source: "hook", Line: s, Output: true}}
	e.Incident.Cause, e.Incident.CauseSummary, e.Incident.Fix = certmedic.CauseHookFailed, s, s
	e.Incident.DedupKey, e.Certificate.Name, e.Certificate.Issuer, e.Certificate.Domains = s, s, s, []string{s}
	e.Undelivered, e.Approval = "ops: "+s, &alerting.Approval{ID: "a", Hash: s, Summary: s, Expires: e.Time.Add(time.Hour)}
	also, news, over := e, e, e
	also.Incident.ID, news.Kind, over.Kind = "i2", alerting.KindRenewed, alerting.KindResolved
	firing := alerting.Notification{
		Conversation: "c1", Status: alerting.StatusFiring, Events: []alerting.Event{e, also}, Open: []alerting.Event{e, also},
		Ack: &alerting.Ack{By: s, Via: s},
	}
	for _, of := range []alerting.Notification{
		firing,
		{Conversation: "c2", Status: alerting.StatusResolved, Events: []alerting.Event{news}},
		{Conversation: "c3", Status: alerting.StatusResolved, Events: []alerting.Event{over}},
	} {
		n, err := slack.New(slack.Config{
			Token: fake.Token, Channel: fake.Channel, APIURL: fake.APIURL(), Buttons: true, BaseURL: "https://certmedic.example.com/",
			RunbookURL: "https://runbooks.example.com/", Limits: slack.Unlimited(), // so that the threads are written, too
		}, fake.Client())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Notify(t.Context(), of); err != nil {
			t.Fatalf("%.100q: %v", s, err)
		}
	}
	if c := fake.Counts(); c.Refused > 0 || c.Posts != 3 {
		t.Fatalf("%.100q: %+v", s, c)
	}
	said := fake.Messages()
	for _, m := range fake.Messages() {
		said = append(said, fake.Replies(m.TS)...)
	}
	for _, m := range said {
		for _, found := range m.Markup() {
			ours := strings.HasPrefix(found, "<http") && strings.HasSuffix(found, "|Runbook>") ||
				found == "<https://certmedic.example.com/|certmedic>" || strings.HasPrefix(found, "<!date^") && strings.HasSuffix(found, " UTC>")
			if !ours {
				t.Errorf("%.100q is markup: %q", s, found)
			}
		}
		if strings.ContainsFunc(m.Shown()+m.Text, func(r rune) bool { return unicode.Is(unicode.Cf, r) || unicode.IsControl(r) && r != '\n' }) {
			t.Errorf("%.100q: something cannot be seen", s)
		}
	}
}
