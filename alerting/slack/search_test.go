package slack_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/slack"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

// Slack's pace stops a search over many pages in its midst. It goes on from there, or it would never
// come to its end, and nothing would be told.
func TestALongSearchComesToItsEnd(t *testing.T) {
	dropped := func(method string, call int) slackfake.Fault {
		return slackfake.Fault{Drop: method == "chat.postMessage" && call == 1}
	}
	t.Run("through the channels of a large workspace", func(t *testing.T) {
		scene(t, slack.Config{Channel: "#certs"}, func(s *stage) {
			for i := range 1500 {
				s.fake.AddChannel(fmt.Sprintf("C0000%05d", i), fmt.Sprint("team-", i))
			}
			s.forgetful = true
			s.fake.Fail(dropped)
			s.listed(s.config)
			if c := s.fake.Counts(); c.Posts != 1 || c.Limited > 0 {
				s.Errorf("counts %+v", c)
			}
		})
	})
	t.Run("through a busy channel, when others have just searched", func(t *testing.T) {
		scene(t, slack.Config{}, func(s *stage) {
			begin := time.Now()
			for range 450 {
				time.Sleep(2 * time.Second)
				resp, err := s.fake.Client().Post(s.fake.WebhookURL(), "application/json", strings.NewReader(`{"text":"hello"}`))
				if err != nil || resp.StatusCode != http.StatusOK {
					s.Fatal(resp, err)
				}
			}
			time.Sleep(time.Minute)
			n := s.with(slack.Config{Limits: slack.NewLimits()})
			for i := range 6 {
				e := s.event(alerting.KindFiring, fmt.Sprint("i", i), certmedic.SeverityWarning)
				e.Incident.DedupKey, e.Incident.FiringAt = fmt.Sprint("certmedic/shop/", i), begin
				of := s.firing(e)
				of.Again = true
				s.deliverBy(n, of)
			}
			if c := s.fake.Counts(); c.Limited > 0 || c.Lookups > 30 {
				s.Errorf("counts %+v", c)
			}
		})
	})
}

// listed delivers by one notifier, which lost the answer to its first message and does not know the
// channel's ID.
func (s *stage) listed(c slack.Config) {
	s.Helper()
	n, again := s.with(c), false
	of := s.firing(s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning))
	of.Remember = func(memory json.RawMessage) error { of.Memory = memory; return nil }
	for range 200 {
		of.Again = again
		_, err := n.Notify(s.Context(), of)
		if err == nil {
			return
		}
		again = true
		time.Sleep(time.Second)
	}
	s.Error("never delivered")
}

// A clock that is set back must not keep a message from being edited until it has caught up.
func TestAClockThatWasSetBackDoesNotHoldEdits(t *testing.T) {
	scene(t, slack.Config{}, func(s *stage) {
		s.deliver(s.firing(s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)))
		var memory map[string]any
		if err := json.Unmarshal(s.memory["certmedic/shop/e1"], &memory); err != nil {
			s.Fatal(err)
		}
		memory["edited"] = time.Now().Add(time.Hour)
		s.memory["certmedic/shop/e1"], _ = json.Marshal(memory)
		begin := time.Now()
		s.deliver(s.resolved(nil, s.event(alerting.KindResolved, "i1", certmedic.SeverityWarning)))
		if took := time.Since(begin); took > 10*time.Second {
			s.Errorf("edited after %v", took)
		}
		s.wantShown(s.only(), "🟢 Resolved")
	})
}

// What Slack asks for is believed up to an hour: nobody means more, and people have to hear.
func TestAnAbsurdRetryAfterIsNotObeyed(t *testing.T) {
	for _, after := range []string{"86400", "Fri, 31 Dec 2999 23:59:59 GMT"} {
		scene(t, slack.Config{}, func(s *stage) {
			s.fake.Fail(func(_ string, call int) slackfake.Fault {
				if call == 1 {
					return slackfake.Fault{Status: http.StatusTooManyRequests, RetryAfter: after}
				}
				return slackfake.Fault{}
			})
			n := s.build()
			of := s.firing(s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning))
			if retry, err := n.Notify(s.Context(), of); err == nil || !retry {
				s.Fatalf("retry %v, error %v", retry, err)
			}
			time.Sleep(time.Hour + time.Second)
			s.deliverBy(n, of)
		})
	}
}
