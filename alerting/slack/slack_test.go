package slack_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/slack"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

func TestConformance(t *testing.T) {
	t.Run("incoming webhook", func(t *testing.T) {
		alertingtest.TestNotifier(t, func(url string) alerting.Notifier {
			return build(t, slack.Config{WebhookURL: url}, nil)
		})
	})
	t.Run("Web API", func(t *testing.T) {
		alertingtest.TestNotifier(t, func(url string) alerting.Notifier {
			return build(t, slack.Config{Token: "xoxb-s3cr3t-0123456789", Channel: "#certs", APIURL: url}, &http.Client{Transport: agreeable{}})
		})
	})
}

// agreeable makes every 2xx answer one of Slack's.
type agreeable struct{}

func (agreeable) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && resp.StatusCode/100 == 2 {
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewBufferString(`{"ok":true,"channel":"C1","ts":"1.000001"}`))
		resp.StatusCode = http.StatusOK
	}
	return resp, err
}

func TestNewRefuses(t *testing.T) {
	ok := slack.Config{Token: "xoxb-s3cr3t", Channel: "#certs"}
	tests := []struct {
		name   string
		change func(*slack.Config)
		want   string
	}{
		{"no token", func(c *slack.Config) { c.Token = "" }, "is needed"},
		{"no channel", func(c *slack.Config) { c.Channel = "" }, "needs a channel"},
		{"both ways", func(c *slack.Config) { c.WebhookURL = "https://hooks.slack.com/s3cr3t" }, "exclude each other"},
		{"a token with a newline", func(c *slack.Config) { c.Token = "xoxb-s3cr3t\n" }, "no token has"},
		{"an address that is none", func(c *slack.Config) { c.APIURL = "s3cr3t" }, "api url must begin"},
		{"a mention that is none", func(c *slack.Config) {
			c.Mention = map[certmedic.Severity]string{certmedic.SeverityCritical: "@here"}
		}, "none of <!here>"},
		{"a mention for no severity", func(c *slack.Config) {
			c.Mention = map[certmedic.Severity]string{"bad": "<!here>"}
		}, "no severity"},
		{"buttons on a webhook", func(c *slack.Config) {
			*c = slack.Config{WebhookURL: "https://hooks.slack.com/s3cr3t", Buttons: true}
		}, "no buttons"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := ok
			tt.change(&c)
			_, err := slack.New(c, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("error %v, want %q and no secret", err, tt.want)
			}
		})
	}
}

func TestStory(t *testing.T) {
	scene(t, slack.Config{BaseURL: "https://certmedic.example.com/", RunbookURL: "https://runbooks.example.com/", Buttons: true}, func(s *stage) {
		fired := s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)
		fired.Incident.NextStep, fired.Incident.Runbook = "notify at 2000-01-01T00:10:00Z, redeploy once its condition holds", "renewed-not-served"
		fired.Certificate.Stage = certmedic.StageDeployed
		s.deliver(s.firing(fired))
		m := s.only()
		s.wantShown(m, "🟠 shop is not served", "Stage\ndeployed", "Because: served abc, stored def", "Affected (1): 192.0.2.1:443", "hook: exit 1", "Severity\nwarning", "(9 days left)")
		s.wantMarkup(m, "<https://runbooks.example.com/renewed-not-served|Runbook>", "<https://certmedic.example.com/|certmedic>", "|2000-01-01 00:10 UTC>")
		if m.Buttons()[slack.ActionAck] == "" || m.Buttons()[slack.ActionSilence] == "" || m.Buttons()[slack.ActionApprove] != "" {
			s.Errorf("buttons %v", m.Buttons())
		}
		value, err := slack.ParseValue(m.Buttons()[slack.ActionAck])
		if err != nil || value.Conversation != "certmedic/shop/e1" || value.Certificate != "shop" {
			s.Errorf("value %+v, %v", value, err)
		}

		time.Sleep(time.Minute)
		worse := s.event(alerting.KindUpdate, "i1", certmedic.SeverityCritical)
		hook := s.event(alerting.KindFiring, "i2", certmedic.SeverityWarning)
		hook.Incident.Summary = "a deploy hook of shop failed"
		s.deliver(s.firing(worse, hook))
		s.wantShown(s.only(), "🔴 shop is not served", "Also warning: a deploy hook of shop failed. served abc, stored def")

		time.Sleep(time.Minute)
		ack := worse
		ack.Kind, ack.Time, ack.Ack = alerting.KindAcknowledged, time.Now(), &alerting.Ack{By: "alice", Via: "ops", At: time.Now()}
		acked := s.firing(ack)
		acked.Open, acked.Ack = []alerting.Event{worse, hook}, ack.Ack
		s.deliver(acked)
		s.wantShown(s.only(), "Acknowledged\nalice via ops")
		if s.only().Buttons()[slack.ActionAck] != "" {
			s.Error("what is acknowledged can be acknowledged again")
		}

		time.Sleep(2 * time.Hour)
		s.deliver(s.resolved(ack.Ack, s.event(alerting.KindResolved, "i1", certmedic.SeverityCritical), s.event(alerting.KindResolved, "i2", certmedic.SeverityWarning)))
		m = s.only()
		s.wantShown(m, "🟢 Resolved: shop is not served", "Lasted\n2 h 2 min", "Acknowledged\nalice via ops")
		if len(m.Buttons()) > 0 || m.Edits != 3 {
			s.Errorf("buttons %v, %d edits", m.Buttons(), m.Edits)
		}
		s.wantThread(m, "Critical: shop is not served", "Warning: a deploy hook of shop failed", "Acknowledged by alice via ops", "Resolved: shop is not served", "Resolved: shop is not served")
		if c := s.fake.Counts(); c.Limited+c.Refused > 0 || c.Posts != 1 {
			s.Errorf("counts %+v", c)
		}
	})
}

// A certificate on 300 hosts: one message, every name in it or below it, each once.
func TestEveryNameIsReadable(t *testing.T) {
	for _, count := range []int{1, 100, 300, 3000} {
		for _, hook := range []bool{false, true} {
			c := slack.Config{}
			scene(t, c, func(s *stage) {
				if hook {
					s.config = slack.Config{WebhookURL: s.fake.WebhookURL()}
				}
				e := s.event(alerting.KindFiring, "i1", certmedic.SeverityCritical)
				e.Incident.Members = nil
				for i := range count {
					e.Incident.Members = append(e.Incident.Members, fmt.Sprintf("web-%04d.example.com at 10.0.%d.%d:443", i, i/250, i%250))
				}
				s.deliver(s.firing(e))
				all := ""
				for _, m := range s.fake.Messages() {
					all += m.Shown() + "\n"
					for _, r := range s.fake.Replies(m.TS) {
						all += r.Shown() + "\n"
					}
				}
				for _, name := range e.Incident.Members {
					if n := strings.Count(all, name); n != 1 {
						s.Fatalf("%d hosts: %q is named %d times", count, name, n)
					}
				}
				if s.fake.Counts().Posts != 1 && !hook {
					s.Errorf("%d hosts: %+v", count, s.fake.Counts())
				}
			})
		}
	}
}

// Whatever call is lost, with its work or after it, nothing is said twice and nothing is missing.
func TestNothingTwice(t *testing.T) {
	methods := []string{"chat.postMessage", "chat.update", "conversations.history", "conversations.replies"}
	for _, method := range methods {
		for call := 1; call <= 4; call++ {
			for _, fault := range []slackfake.Fault{{Drop: true}, {Status: 503}, {Status: 429, RetryAfter: "3"}, {Delay: time.Minute}} {
				for _, forget := range []bool{false, true} {
					scene(t, slack.Config{}, func(s *stage) {
						s.forgetful = forget
						s.fake.Fail(func(m string, n int) slackfake.Fault {
							if m == method && n == call {
								return fault
							}
							return slackfake.Fault{}
						})
						s.story()
						m := s.only()
						s.wantShown(m, "🟢 Resolved")
						s.wantThread(m, "Critical", "Affected too", "Resolved")
						if s.Failed() {
							s.Fatalf("%s call %d: %+v, forgetful %v", method, call, fault, forget)
						}
					})
				}
			}
		}
	}
}

// story is an incident with more members than a message has room for, that gets worse and ends.
func (s *stage) story() {
	fired := s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)
	for i := range 150 {
		fired.Incident.Members = append(fired.Incident.Members, fmt.Sprintf("web-%03d.example.com:443", i))
	}
	s.deliver(s.firing(fired))
	time.Sleep(time.Minute)
	worse := s.event(alerting.KindUpdate, "i1", certmedic.SeverityCritical)
	worse.Incident.Members = fired.Incident.Members
	s.deliver(s.firing(worse))
	time.Sleep(time.Minute)
	s.deliver(s.resolved(nil, s.event(alerting.KindResolved, "i1", certmedic.SeverityCritical)))
}

func TestAnotherMessage(t *testing.T) {
	tests := []struct {
		name   string
		harm   func(s *stage, ts string)
		linked bool
		told   bool
	}{
		{"the message was deleted", func(s *stage, ts string) { s.fake.Delete(ts) }, false, true},
		{"it cannot be edited any more", func(s *stage, _ string) { s.fake.CloseEdits(s.fake.Channel, "edit_window_closed") }, true, true},
		{"it is not ours", func(s *stage, _ string) { s.fake.CloseEdits(s.fake.Channel, "cant_update_message") }, true, true},
		{"the channel is archived", func(s *stage, _ string) { s.fake.CloseChannel(s.fake.Channel, "is_archived") }, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			scene(t, slack.Config{}, func(s *stage) {
				s.deliver(s.firing(s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)))
				first := s.only()
				tt.harm(s, first.TS)
				time.Sleep(time.Minute)
				_, err := s.try(s.firing(s.event(alerting.KindUpdate, "i1", certmedic.SeverityCritical)))
				if (err == nil) != tt.told {
					s.Fatalf("error %v", err)
				}
				if !tt.told {
					return
				}
				all := s.fake.Messages()
				last := all[len(all)-1]
				if last.TS == first.TS || s.fake.Counts().Posts != 2 {
					s.Fatalf("no second message: %+v", s.fake.Counts())
				}
				linked := slices.ContainsFunc(last.Markup(), func(s string) bool { return strings.HasSuffix(s, "|Earlier message>") })
				if linked != tt.linked {
					s.Errorf("markup %v", last.Markup())
				}
			})
		})
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		code  string
		retry bool
	}{
		{"channel_not_found", false},
		{"not_in_channel", false},
		{"invalid_auth", false},
		{"account_inactive", false},
		{"token_revoked", false},
		{"missing_scope", false},
		{"is_archived", false},
		{"msg_too_long", false},
		{"invalid_blocks", false},
		{"msg_blocks_too_long", false},
		{"what nobody has heard of", false},
		{"ratelimited", true},
		{"internal_error", true},
		{"fatal_error", true},
		{"service_unavailable", true},
		{"request_timeout", true},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			scene(t, slack.Config{}, func(s *stage) {
				s.fake.Fail(func(string, int) slackfake.Fault { return slackfake.Fault{Error: tt.code} })
				n := s.build()
				retry, err := n.Notify(s.Context(), s.firing(s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)))
				if err == nil || retry != tt.retry || !strings.Contains(err.Error(), tt.code) || strings.Contains(err.Error(), s.fake.Token) {
					s.Errorf("retry %v, error %v", retry, err)
				}
			})
		})
	}
}

// Several receivers of one token keep to its limits together, and all of it is told.
func TestPace(t *testing.T) {
	scene(t, slack.Config{}, func(s *stage) {
		limits := slack.NewLimits()
		var a, b alerting.Notifier = s.with(slack.Config{Limits: limits}), s.with(slack.Config{Limits: limits})
		al, err := alerting.New(alerting.Options{Receivers: map[string]alerting.Notifier{"a": a, "b": b}})
		if err != nil {
			s.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		done := make(chan error)
		go func() { done <- al.Run(ctx) }()
		const conversations = 60
		tell := func(kind alerting.Kind, severity certmedic.Severity) {
			for i := range conversations {
				e := s.event(kind, fmt.Sprint("i", i), severity)
				e.Incident.DedupKey = fmt.Sprint("certmedic/shop/", i)
				al.Tell(e)
			}
		}
		tell(alerting.KindFiring, certmedic.SeverityWarning)
		time.Sleep(10 * time.Second)
		tell(alerting.KindUpdate, certmedic.SeverityCritical)
		time.Sleep(10 * time.Minute)
		tell(alerting.KindResolved, certmedic.SeverityCritical)
		time.Sleep(20 * time.Minute)
		cancel()
		if err := <-done; err != nil {
			s.Error(err)
		}
		c := s.fake.Counts()
		if c.Limited+c.Refused > 0 || c.Posts != 2*conversations {
			s.Errorf("counts %+v", c)
		}
		for _, m := range s.fake.Messages() {
			if !strings.Contains(m.Shown(), "🟢 Resolved") {
				s.Errorf("not resolved: %s", m.Shown())
			}
		}
		s.Logf("counts %+v", c)
	})
}

func TestRetryAfterHoldsForItsMethod(t *testing.T) {
	scene(t, slack.Config{}, func(s *stage) {
		s.fake.Fail(func(method string, call int) slackfake.Fault {
			if method == "chat.update" && call == 1 {
				return slackfake.Fault{Status: 429, RetryAfter: "30"}
			}
			return slackfake.Fault{}
		})
		n := s.build()
		first := s.firing(s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning))
		s.deliverBy(n, first)
		time.Sleep(time.Minute)
		update := s.firing(s.event(alerting.KindUpdate, "i1", certmedic.SeverityCritical))
		update.Memory = s.memory["certmedic/shop/e1"]
		retry, err := n.Notify(s.Context(), update)
		var asked *alerting.RetryAfterError
		if !retry || !errors.As(err, &asked) || asked.Delay != 30*time.Second {
			s.Fatalf("retry %v, error %v", retry, err)
		}
		other := s.event(alerting.KindFiring, "i9", certmedic.SeverityWarning)
		other.Incident.DedupKey = "certmedic/other/e1"
		if _, err := n.Notify(s.Context(), s.firing(other)); err != nil {
			s.Errorf("another method waits too: %v", err)
		}
		if _, err := n.Notify(s.Context(), update); err == nil || s.fake.Calls()["chat.update"] != 1 {
			s.Errorf("it did not wait: %v, calls %v", err, s.fake.Calls())
		}
	})
}

func TestApprovalAndMention(t *testing.T) {
	config := slack.Config{Buttons: true, Mention: map[certmedic.Severity]string{certmedic.SeverityCritical: "<!here> <@U123>"}}
	scene(t, config, func(s *stage) {
		e := s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)
		s.deliver(s.firing(e))
		if m := s.only(); slices.Contains(m.Markup(), "<!here>") {
			s.Error("people are called for a warning")
		}
		time.Sleep(time.Minute)
		e = s.event(alerting.KindUpdate, "i1", certmedic.SeverityCritical)
		e.Approval = &alerting.Approval{ID: "a1", Hash: "h1", Summary: "redeploy <!channel> shop", Expires: time.Now().Add(time.Hour)}
		s.deliver(s.firing(e))
		m := s.only()
		s.wantShown(m, "Waits for approval until", "redeploy <!channel> shop")
		value, err := slack.ParseValue(m.Buttons()[slack.ActionApprove])
		if err != nil || value.Approval != "a1" || value.Hash != "h1" || m.Buttons()[slack.ActionReject] == "" {
			s.Errorf("value %+v, %v", value, err)
		}
		thread := s.fake.Replies(m.TS)
		if len(thread) != 1 || !slices.Contains(thread[0].Markup(), "<!here>") || !slices.Contains(thread[0].Markup(), "<@U123>") {
			s.Errorf("nobody was called: %+v", thread)
		}
		time.Sleep(2 * time.Hour)
		late := s.event(alerting.KindUpdate, "i1", certmedic.SeverityCritical)
		late.Approval = e.Approval
		s.deliver(s.firing(late))
		if b := s.only().Buttons(); b[slack.ActionApprove] != "" {
			s.Error("an approval that has expired can be given")
		}
		if thread := s.fake.Replies(m.TS); len(thread[len(thread)-1].Markup()) > 0 {
			s.Error("people are called again for what they were called for")
		}
	})
}

func TestNews(t *testing.T) {
	scene(t, slack.Config{}, func(s *stage) {
		news := s.event(alerting.KindRenewed, "", certmedic.SeverityInfo)
		news.Incident = certmedic.Incident{Summary: "a new version of shop is stored"}
		of := alerting.Notification{Receiver: "ops", Conversation: news.Conversation(), Status: alerting.StatusResolved, Events: []alerting.Event{news}}
		s.deliver(of)
		m := s.only()
		s.wantShown(m, "🔹 Renewed: a new version of shop is stored", "Domains\nshop.example.com", "Issuer\nCN=R11", "Serial\n00af")

		incident := s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)
		s.deliver(s.firing(incident))
		time.Sleep(time.Minute)
		deployed := news
		deployed.Kind, deployed.Time, deployed.Incident.DedupKey = alerting.KindDeployed, time.Now(), incident.Incident.DedupKey
		within := s.firing(deployed)
		within.Open = []alerting.Event{incident}
		s.deliver(within)
		all := s.fake.Messages()
		if len(all) != 2 || all[1].Edits != 0 {
			s.Fatalf("%d messages, %+v", len(all), s.fake.Counts())
		}
		s.wantThread(all[1], "Deployed: a new version")
	})
}

func TestWhatEndedUntoldIsNotTold(t *testing.T) {
	scene(t, slack.Config{}, func(s *stage) {
		s.deliver(s.resolved(nil, s.event(alerting.KindResolved, "i1", certmedic.SeverityCritical)))
		if c := s.fake.Counts(); c.Posts > 0 {
			s.Errorf("counts %+v", c)
		}
		diverted := s.event(alerting.KindResolved, "i1", certmedic.SeverityCritical)
		diverted.Undelivered = "oncall rejected it: status 400"
		s.deliver(s.resolved(nil, diverted))
		s.wantShown(s.only(), "🟢 Resolved", "Undelivered: oncall rejected it: status 400")
	})
}

func TestIncomingWebhook(t *testing.T) {
	scene(t, slack.Config{}, func(s *stage) {
		s.config = slack.Config{WebhookURL: s.fake.WebhookURL(), Mention: map[certmedic.Severity]string{certmedic.SeverityWarning: "<!here>"}}
		e := s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)
		e.Drill = true
		s.deliver(s.firing(e))
		time.Sleep(time.Minute)
		s.deliver(s.firing(s.event(alerting.KindUpdate, "i1", certmedic.SeverityWarning)))
		time.Sleep(time.Minute)
		s.deliver(s.resolved(nil, s.event(alerting.KindResolved, "i1", certmedic.SeverityWarning)))
		all := s.fake.Messages()
		if len(all) != 3 || len(s.fake.Calls()) != 1 {
			s.Fatalf("%d messages, calls %v", len(all), s.fake.Calls())
		}
		s.wantShown(all[0], "DRILL 🟠 shop is not served")
		s.wantShown(all[2], "🟢 Resolved: shop is not served", "Lasted\n2 min")
		for i, want := range []bool{true, false, false} {
			if slices.Contains(all[i].Markup(), "<!here>") != want {
				s.Errorf("message %d calls %v", i, all[i].Markup())
			}
		}
	})
}

// A heartbeat is one message, in this run and the next.
func TestHeartbeat(t *testing.T) {
	scene(t, slack.Config{}, func(s *stage) {
		for range 2 {
			n := s.build()
			for range 3 {
				time.Sleep(time.Minute)
				beat := alerting.Event{Kind: alerting.KindHeartbeat, Time: time.Now(), Incident: certmedic.Incident{Summary: "certmedic is alive"}}
				if _, err := n.Notify(s.Context(), alerting.Notification{
					Receiver: "ops", Conversation: "certmedic/heartbeat", Status: alerting.StatusResolved, Events: []alerting.Event{beat},
				}); err != nil {
					s.Fatal(err)
				}
			}
		}
		m := s.only()
		s.wantShown(m, "Heartbeat: certmedic is alive", "Last sign\n2000-01-01 00:06 UTC")
		if m.Edits != 5 || len(s.fake.Replies(m.TS)) > 0 {
			s.Errorf("counts %+v", s.fake.Counts())
		}
	})
}

func TestPreview(t *testing.T) {
	scene(t, slack.Config{}, func(s *stage) {
		data, err := s.build().Preview(s.firing(s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)))
		if err != nil || !json.Valid(data) || !strings.Contains(string(data), "shop is not served") || s.fake.Counts() != (slackfake.Counts{}) {
			s.Errorf("%s, %v", data, err)
		}
	})
}

// stage is a fake, a certificate and what the core keeps.
type stage struct {
	*testing.T
	fake      *slackfake.Server
	config    slack.Config
	memory    map[string]json.RawMessage
	forgetful bool // every attempt that fails is followed by a crash that loses what was remembered in it
}

func scene(t *testing.T, c slack.Config, play func(s *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fake := slackfake.Unstarted(slackfake.Options{Burst: 1, Tiers: true})
		defer fake.Close()
		play(&stage{T: t, fake: fake, config: c, memory: map[string]json.RawMessage{}})
	})
}

func build(t *testing.T, c slack.Config, client *http.Client) *slack.Notifier {
	t.Helper()
	n, err := slack.New(c, client)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *stage) build() *slack.Notifier { return s.with(s.config) }

func (s *stage) with(c slack.Config) *slack.Notifier {
	s.Helper()
	if c.WebhookURL == "" {
		c.Token, c.Channel, c.APIURL = s.fake.Token, "#certs", s.fake.APIURL()
	}
	return build(s.T, c, s.fake.Client())
}

func (s *stage) event(kind alerting.Kind, id string, severity certmedic.Severity) alerting.Event {
	e := alertingtest.Notification().Events[0]
	e.Incident = alertingtest.Incident(id, "renewed-not-served", severity)
	e.Incident.Summary, e.Incident.Reason = "shop is not served", "served abc, stored def"
	e.Kind, e.Time, e.Severity = kind, time.Now(), severity
	e.Incident.FiringAt = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	e.Certificate.NotAfter = time.Date(2000, 1, 10, 12, 0, 0, 0, time.UTC)
	return e
}

func (s *stage) firing(events ...alerting.Event) alerting.Notification {
	return alerting.Notification{
		Receiver: "ops", Conversation: events[0].Conversation(), Status: alerting.StatusFiring, Events: events, Open: events,
	}
}

func (s *stage) resolved(ack *alerting.Ack, events ...alerting.Event) alerting.Notification {
	return alerting.Notification{
		Receiver: "ops", Conversation: events[0].Conversation(), Status: alerting.StatusResolved, Events: events, Ack: ack,
	}
}

// deliver does what the core does until a notification is delivered.
func (s *stage) deliver(of alerting.Notification) {
	s.Helper()
	if retry, err := s.try(of); err != nil {
		s.Fatalf("retry %v, error %v", retry, err)
	}
}

func (s *stage) deliverBy(n *slack.Notifier, of alerting.Notification) {
	s.Helper()
	if retry, err := s.tryBy(n, of); err != nil {
		s.Fatalf("retry %v, error %v", retry, err)
	}
}

func (s *stage) try(of alerting.Notification) (bool, error) { return s.tryBy(s.build(), of) }

func (s *stage) tryBy(n *slack.Notifier, of alerting.Notification) (retry bool, err error) {
	for range 200 {
		before := s.memory[of.Conversation]
		of.Memory = before
		of.Remember = func(memory json.RawMessage) error {
			s.memory[of.Conversation] = slices.Clone(memory)
			return nil
		}
		if retry, err = n.Notify(s.Context(), of); err == nil || !retry {
			return retry, err
		}
		if !strings.Contains(err.Error(), "to keep to the receiver's limits") {
			of.Again = true
			if s.forgetful {
				s.memory[of.Conversation] = before
				n = s.build()
			}
		}
		time.Sleep(time.Second)
	}
	return retry, err
}

// only returns the message of the conversation, the only one.
func (s *stage) only() slackfake.Message {
	s.Helper()
	all := s.fake.Messages()
	if len(all) != 1 {
		s.Fatalf("%d messages, want one", len(all))
	}
	return all[0]
}

func (s *stage) wantShown(m slackfake.Message, parts ...string) {
	s.Helper()
	for _, part := range parts {
		if !strings.Contains(m.Shown(), part) {
			s.Errorf("%q is not in\n%s", part, m.Shown())
		}
	}
}

func (s *stage) wantMarkup(m slackfake.Message, parts ...string) {
	s.Helper()
	all := strings.Join(m.Markup(), "\n")
	for _, part := range parts {
		if !strings.Contains(all, part) {
			s.Errorf("%q is not in\n%s", part, all)
		}
	}
}

// wantThread wants these lines in the thread, in this order, and no others.
func (s *stage) wantThread(m slackfake.Message, lines ...string) {
	s.Helper()
	var all []string
	for _, r := range s.fake.Replies(m.TS) {
		for line := range strings.Lines(r.Shown()) {
			if strings.Contains(line, "UTC") || strings.Contains(line, "Affected too") {
				all = append(all, line)
			}
		}
	}
	if len(all) != len(lines) {
		s.Errorf("%d lines in the thread, want %d: %q", len(all), len(lines), all)
		return
	}
	slices.SortStableFunc(all, func(a, b string) int { return 0 })
	for _, want := range lines {
		if !slices.ContainsFunc(all, func(line string) bool { return strings.Contains(line, want) }) {
			s.Errorf("%q is not in the thread: %q", want, all)
		}
	}
}

func TestACauseComesIntoTheMessage(t *testing.T) {
	scene(t, slack.Config{}, func(s *stage) {
		s.deliver(s.firing(s.event(alerting.KindFiring, "i1", certmedic.SeverityWarning)))
		time.Sleep(time.Minute)
		e := s.event(alerting.KindUpdate, "i1", certmedic.SeverityWarning)
		e.Incident = alertingtest.Diagnosed(e.Incident)
		s.deliver(s.firing(e))
		m := s.only()
		const cause = "Cause: The deploy hook \"10-nginx\" failed with exit code 1 (hook_failed)"
		s.wantShown(m, "Because: served abc, stored def", cause, "Fix:", "# mend the hook, then\ncertmedic redeploy shop && echo '<b> & done'")
		s.wantThread(m, "shop is not served. "+cause)
		if !strings.Contains(m.Text, "10-nginx") {
			s.Errorf("the notification says %q", m.Text)
		}

		time.Sleep(time.Minute)
		e.Kind, e.Time = alerting.KindResolved, time.Now()
		s.deliver(s.resolved(nil, e))
		s.wantShown(s.only(), "🟢 Resolved", cause)
		if strings.Contains(s.only().Shown(), "Fix:") {
			s.Error("what is over has a fix")
		}
	})
}
