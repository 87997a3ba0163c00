package slack_test

import (
	"strings"
	"testing"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/slack"
)

// TestAnEndpointIsOnePlace shows two incidents, of which one names endpoints and the other their
// addresses.
func TestAnEndpointIsOnePlace(t *testing.T) {
	n, err := slack.New(slack.Config{Token: "xoxb-1", Channel: "#certs"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	of := alertingtest.Notification()
	overdue, expired := of.Events[0], of.Events[0]
	overdue.Incident.ID, overdue.Incident.Members = "i2", []string{"web.example.com:443", "mail.example.com:25"}
	expired.Incident.Members = []string{"web.example.com:443 at 192.0.2.1:443", "web.example.com:443 at 192.0.2.2:443"}
	of.Events = []alerting.Event{overdue, expired}
	of.Open = of.Events
	shown, err := n.Preview(of)
	if err != nil {
		t.Fatal(err)
	}
	const want = "Affected (3): mail.example.com:25, web.example.com:443 at 192.0.2.1:443, web.example.com:443 at 192.0.2.2:443"
	if !strings.Contains(string(shown), want) {
		t.Errorf("want %q in\n%s", want, shown)
	}
}
