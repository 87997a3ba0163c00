package click_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/slack/click"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

const pressed = `{"type":"block_actions","user":{"id":"U1","name":"ada"},"channel":{"id":"C1","name":"certs"},"container":{"message_ts":"1.0"},
	"actions":[{"action_id":"certmedic_ack","action_ts":"946684800.5","value":"v"}],"response_url":"RESPONSE"}`

func TestParse(t *testing.T) {
	c, err := click.Parse([]byte(pressed))
	if err != nil {
		t.Fatal(err)
	}
	want := click.Click{
		ID: "U1/C1/1.0/certmedic_ack/946684800.5", At: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		User: "U1", Name: "ada", Channel: "C1", Named: "certs", Action: "certmedic_ack", Value: "v",
	}
	if c.ID != want.ID || !c.At.Equal(want.At) || c.User != want.User || c.Name != want.Name || c.Channel != want.Channel ||
		c.Named != want.Named || c.Action != want.Action || c.Value != want.Value || c.Person() != "ada (Slack U1)" {
		t.Errorf("read %+v by %q", c, c.Person())
	}
	for _, row := range []struct {
		about, old, put string
		other           bool
	}{
		{"something else than a button", "block_actions", "view_submission", true},
		{"no JSON", "{", "", false},
		{"a user without an ID", `"id":"U1"`, `"id":""`, false},
		{"a user whose ID is markup", `"id":"U1"`, `"id":"<!here>"`, false},
		{"no time", "946684800.5", "now", false},
	} {
		_, err := click.Parse([]byte(strings.Replace(pressed, row.old, row.put, 1)))
		if err == nil || errors.Is(err, click.ErrOther) != row.other {
			t.Errorf("%s: %v", row.about, err)
		}
	}
}

func TestNamesAreOneHarmlessLine(t *testing.T) {
	c, err := click.Parse([]byte(strings.Replace(pressed, `"ada"`, `"ada\u202e\n\u001b[31m root `+strings.Repeat("x", 500)+`"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(c.Person(), "\n\x1b\u202e") || len([]rune(c.Person())) > 120 {
		t.Errorf("named %q", c.Person())
	}
}

func TestAnAnswerIsForOnePersonAndNoMarkup(t *testing.T) {
	s := slackfake.New(slackfake.Options{})
	defer s.Close()
	c, err := click.Parse(s.Payload(slackfake.Click{User: "U1", Action: "certmedic_ack", Value: "v"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Answer(t.Context(), s.Client(), "done <!channel> & *more*"); err != nil {
		t.Fatal(err)
	}
	all := s.Responses()
	if len(all) != 1 || all[0].Text != "done &lt;!channel&gt; &amp; *more*" || all[0].Type != "ephemeral" || all[0].Replace {
		t.Errorf("answered %+v", all)
	}
}

func TestAFailedAnswerDoesNotSayWhereTo(t *testing.T) {
	refuses := httptest.NewServer(http.NotFoundHandler())
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	defer refuses.Close()
	for _, to := range []string{refuses.URL + "/secret", gone.URL + "/secret", "file:///secret", "https:///secret", ""} {
		c, err := click.Parse([]byte(strings.Replace(pressed, "RESPONSE", to, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Answer(t.Context(), http.DefaultClient, "x"); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", to, err)
		}
	}
}
