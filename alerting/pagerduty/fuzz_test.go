package pagerduty_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/pagerduty"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
)

// large returns a notification about n incidents with n members, domains and lines of evidence
// each, in which every text is text.
func large(text string, n int) alerting.Notification {
	texts := make([]string, n)
	evidence := make([]certmedic.Evidence, n)
	labels := map[string]string{}
	for i := range n {
		texts[i] = fmt.Sprint(i, text)
		evidence[i] = certmedic.Evidence{Source: text, Line: text}
		labels[texts[i]] = text
	}
	note := alerting.Notification{
		Receiver: "oncall", Conversation: "certmedic/" + text + "/e1", Status: alerting.StatusFiring,
		Ack: &alerting.Ack{By: text, At: time.Unix(0, 0)},
	}
	for i := range n {
		note.Open = append(note.Open, alerting.Event{
			Kind: alerting.KindFiring, Severity: certmedic.SeverityCritical, Undelivered: text, Drill: true,
			Approval: &alerting.Approval{ID: text, Summary: text},
			Incident: certmedic.Incident{
				ID: fmt.Sprint(i), Rule: text, Subject: certmedic.Subject{Kind: certmedic.AboutEndpoint, Endpoint: text}, Summary: text, Reason: text,
				Runbook: text, Cause: certmedic.CauseHookFailed, CauseSummary: text, Fix: text, Members: texts, Evidence: evidence, NextStep: text,
			},
			Certificate: alerting.Facts{Name: text, Labels: labels, Domains: texts, Issuer: text, Serial: text, SHA256: certmedic.Fingerprint(text)},
		})
	}
	note.Events = note.Open
	return note
}

// accepts sends an alert and a change event, and lets the fake check them.
func accepts(t *testing.T, note alerting.Notification) *pdfake.Service {
	t.Helper()
	fake := pdfake.New(pdfake.Options{})
	n := newNotifier(t, pagerduty.Config{BaseURL: "https://certmedic.example.com/", RunbookURL: "https://docs.example.com/"}, fake.Client())
	if len(note.Events) > 0 {
		e := note.Events[0]
		e.Kind = alerting.KindRenewed
		note.Events = append(note.Events[:len(note.Events):len(note.Events)], e)
	}
	deliver(t, n, note)
	if counts := fake.Counts(); counts.Refused > 0 || counts.Accepted != counts.Calls {
		t.Fatalf("%+v: %q", counts, fake.Refusals())
	}
	for _, i := range fake.Incidents() {
		if utf8.RuneCountInString(i.Summary) > 1024 || len(i.Key) > 255 || !utf8.ValidString(i.Summary) {
			t.Errorf("summary %q, key %q", i.Summary, i.Key)
		}
	}
	return fake
}

func FuzzLimits(f *testing.F) {
	for _, text := range []string{"", " ", "a", "\x00", "\xff", "<", "\u202e", strings.Repeat("😀", 1100), strings.Repeat("\"", 3000), strings.Repeat("<\n", 700)} {
		f.Add(text, uint8(3))
	}
	f.Add(strings.Repeat("<>&", 700), uint8(11))
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		accepts(t, large(text, int(n%16)+1))
	})
}

func TestEverythingIsBounded(t *testing.T) {
	accepts(t, large(strings.Repeat("\x01<\u2028", 1000), 16))
}

func TestThreeHundredMembersAreNamed(t *testing.T) {
	note := large("host.example.com:443", 1)
	members := make([]string, 300)
	for i := range members {
		members[i] = fmt.Sprintf("host-%d.example.com:443 at 192.0.2.%d:443", i, i%256)
	}
	note.Open[0].Incident.Members = members
	fake := accepts(t, note)
	said := fmt.Sprint(fake.Open()[0].Events[0].Payload.Details)
	for _, m := range members {
		if !strings.Contains(said, m) {
			t.Fatalf("%q is missing", m)
		}
	}
}

func TestWhatIsLeftOutIsCounted(t *testing.T) {
	note := large("host", 1)
	note.Open[0].Incident.Members = make([]string, 1234)
	details := accepts(t, note).Open()[0].Events[0].Payload.Details
	incident := details["incidents"].([]any)[0].(map[string]any)
	if incident["members_left_out"] != float64(234) || len(incident["members"].([]any)) != 1000 || details["more"] != "https://certmedic.example.com/" {
		t.Errorf("left out %v, more %v", incident["members_left_out"], details["more"])
	}
}
