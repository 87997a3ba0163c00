package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/pagerduty"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
	"github.com/certmedic/certmedic/alerting/slack"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/remediate/approval"
)

const routingKey = "0123456789abcdef0123456789abcdef"

// office is a site whose people hear of it, and speak, through Slack and PagerDuty.
type office struct {
	*site
	*daemon
	slack *slackfake.Server
	pager *pdfake.Service
	talk  string // the conversation of what fires
}

// newOffice starts a daemon that asks for a login, and waits until something fires.
func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{site: newSite(t), slack: slackfake.New(slackfake.Options{}), pager: pdfake.New(pdfake.Options{Retry: time.Millisecond})}
	t.Cleanup(o.slack.Close)
	pager := httptest.NewServer(o.pager)
	t.Cleanup(pager.Close)
	for name, text := range map[string]string{
		"bot": o.slack.Token, "app": o.slack.AppToken, "signing": o.slack.SigningSecret, "key": routingKey, "hook": "old\nnew\n",
		"web.yml": "basic_auth_users: {ann: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi}\n",
		"certmedic.yml": fmt.Sprintf(`state_dir: %[1]s/state
probe: {interval: 1s, timeout: 5s, roots: [%[1]s/root.pem]}
remediation: {mode: approve}
certificates:
  - name: shop
    source: {files: {cert: %[1]s/cert.pem, key: %[1]s/key.pem}}
    endpoints: [{address: "%[2]s", server_name: shop.test}]
    deploy: [{name: web, reload: ["true"]}]
    remediation: {mode: approve, allow: [redeploy]}
alerting:
  receivers:
    - {name: ops, slack: {token_file: %[1]s/bot, app_token_file: %[1]s/app, signing_secret_file: %[1]s/signing, channel: "#certs", api_url: "%[3]s", approvers: [U0BOSS]}}
    - {name: oncall, pagerduty: {routing_key_file: %[1]s/key, webhook_secret_file: %[1]s/hook, api_url: "%[4]s"}}
  routes: [{to: [ops, oncall]}]
`, o.dir, o.node.Addr(), o.slack.APIURL(), pager.URL),
	} {
		o.write(t, name, text)
	}
	o.open(t)
	waitFor(t, "the first look", o.served(t))
	o.renew(t)
	waitFor(t, "the incident", func() bool {
		in, err := o.client.Incidents(t.Context(), "shop", 10)
		if err != nil || len(in) == 0 || in[0].State != certmedic.StateFiring {
			return false
		}
		o.talk = in[0].DedupKey
		return true
	})
	return o
}

// open starts the daemon and waits until it listens to Slack.
func (o *office) open(t *testing.T) {
	t.Helper()
	o.daemon = o.startWith(t, func(options *app.Options) { options.WebConfigFile = o.path("web.yml") })
	waitFor(t, "the connection to Slack", func() bool { return o.slack.Connections() == 1 })
}

// click is what Slack says when somebody presses a button.
func (o *office) click(t *testing.T, user, action string, about slack.Value) json.RawMessage {
	t.Helper()
	value, err := json.Marshal(about)
	if err != nil {
		t.Fatal(err)
	}
	return o.slack.Payload(slackfake.Click{
		User: user, Name: strings.ToLower(strings.TrimPrefix(user, "U0")), Message: slackfake.Message{Channel: o.slack.Channel, TS: "1.0"},
		Action: action, Value: string(value),
	})
}

// press presses a button, and returns what certmedic says to the one who did.
func (o *office) press(t *testing.T, user, action string, about slack.Value) string {
	t.Helper()
	before := len(o.slack.Responses())
	payload := o.click(t, user, action, about)
	if _, err := o.slack.Interact(t.Context(), "e"+user+action, payload); err != nil {
		t.Fatal(err)
	}
	return o.answer(t, before)
}

func (o *office) answer(t *testing.T, before int) string {
	t.Helper()
	waitFor(t, "an answer", func() bool { return len(o.slack.Responses()) > before })
	return o.slack.Responses()[before].Text
}

// keeper returns who looks after what fires.
func (o *office) keeper(t *testing.T) string {
	t.Helper()
	all, err := o.client.Acknowledged(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var by []string
	for _, ack := range all {
		by = append(by, ack.By+" via "+ack.Via)
	}
	return strings.Join(by, ", ")
}

func (o *office) wantKeeper(t *testing.T, want string) {
	t.Helper()
	waitFor(t, fmt.Sprintf("that %q looks after it", want), func() bool { return o.keeper(t) == want })
}

// post sends a signed interaction over HTTP, without a login, and returns the status.
func (o *office) post(t *testing.T, payload json.RawMessage, at time.Time, secret string) int {
	t.Helper()
	r, err := o.slack.Signed(t.Context(), "http://"+o.address+"/api/v1/slack/interactions", payload, at, secret)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestPeopleSpeakThroughSlack follows what people press, over both ways and over a restart.
func TestPeopleSpeakThroughSlack(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	about := slack.Value{Conversation: o.talk, Certificate: "shop"}

	if said := o.press(t, "U0ADA", slack.ActionAck, about); !strings.HasPrefix(said, "You look after this now") {
		t.Errorf("said %q", said)
	}
	o.wantKeeper(t, "ada (Slack U0ADA) via ops")
	if said := o.press(t, "U0ADA", slack.ActionAck, about); said != "You look after this already." {
		t.Errorf("said %q", said)
	}
	if said := o.press(t, "U0ADA", slack.ActionAck, slack.Value{Conversation: "certmedic/other/e1"}); said != "Not done: nothing of this fires here any more" {
		t.Errorf("said %q", said)
	}

	t.Run("a repeated delivery is done once", func(t *testing.T) {
		before := len(o.slack.Responses())
		payload := o.click(t, "U0ADA", slack.ActionSilence, about)
		for range 2 {
			if _, err := o.slack.Interact(t.Context(), "twice", payload); err != nil {
				t.Fatal(err)
			}
		}
		if code := o.post(t, payload, time.Now(), ""); code != http.StatusOK {
			t.Errorf("status %d", code)
		}
		if said := o.answer(t, before); !strings.HasPrefix(said, "shop is silenced until") {
			t.Errorf("said %q", said)
		}
		all, err := o.client.Silences(t.Context(), false)
		if err != nil || len(all) != 1 || all[0].By != "ada (Slack U0ADA)" || all[0].Why != "from Slack" {
			t.Errorf("silences %+v, %v", all, err)
		}
	})

	t.Run("over HTTP its signature stands for the login", func(t *testing.T) {
		if code, _ := o.get(t, "/api/v1/status"); code != http.StatusUnauthorized {
			t.Fatalf("no login is needed: %d", code)
		}
		payload, before := o.click(t, "U0BOB", slack.ActionAck, about), len(o.slack.Responses())
		for _, row := range []struct {
			about, secret string
			at            time.Time
			want          int
		}{
			{"somebody else's signature", "guessed", time.Now(), http.StatusUnauthorized},
			{"an old one", "", time.Now().Add(-10 * time.Minute), http.StatusUnauthorized},
			{"Slack's", "", time.Now(), http.StatusOK},
		} {
			if code := o.post(t, payload, row.at, row.secret); code != row.want {
				t.Errorf("%s: status %d, want %d", row.about, code, row.want)
			}
		}
		if said := o.answer(t, before); !strings.HasPrefix(said, "You look after this now") {
			t.Errorf("said %q", said)
		}
		o.wantKeeper(t, "bob (Slack U0BOB) via ops")
		if code := o.post(t, json.RawMessage(`{"type":"view_submission"}`), time.Now(), ""); code != http.StatusOK || len(o.slack.Responses()) != before+1 {
			t.Errorf("what is no button: status %d", code)
		}
	})

	t.Run("only approvers approve, and only the plan that they saw", o.testApproval)

	if err := o.stop(); err != nil {
		t.Error(err)
	}
	o.open(t)
	o.wantKeeper(t, "bob (Slack U0BOB) via ops")
	if err := o.node.Reload(); err != nil {
		t.Fatal(err)
	}
	o.wantKeeper(t, "")
	if text := o.log.String(); strings.Contains(text, o.slack.AppToken) || strings.Contains(text, o.slack.SigningSecret) || strings.Contains(text, "/response/") {
		t.Error("a secret is in the log")
	}
}

func (o *office) testApproval(t *testing.T) {
	var plan approval.Approval
	waitFor(t, "a plan", func() bool {
		plans, err := o.client.Plans(t.Context())
		if err != nil || len(plans) == 0 || plans[0].State != approval.Pending {
			return false
		}
		plan = plans[0]
		return true
	})
	asked := slack.Value{Conversation: o.talk, Approval: plan.ID, Hash: plan.Hash}
	another := asked
	another.Hash = strings.Repeat("0", len(plan.Hash))
	gone := asked
	gone.Approval = "never-was"
	for _, row := range []struct {
		about, user, action string
		value               slack.Value
		want                string
	}{
		{"somebody who is not an approver", "U0ADA", slack.ActionApprove, asked, "Not done: user U0ADA is not among the approvers"},
		{"somebody else who rejects", "U0ADA", slack.ActionReject, asked, "Not done: user U0ADA is not among the approvers"},
		{"another plan than the button's", "U0BOSS", slack.ActionApprove, another, "Not done: the plan is another one by now"},
		{"a plan that is not there", "U0BOSS", slack.ActionApprove, gone, "Not done: this plan is not there any more"},
		{"an approver", "U0BOSS", slack.ActionApprove, asked, "Plan " + plan.ID + " (redeploy shop) is approved."},
		{"an approver a second time", "U0BOSS", slack.ActionApprove, asked, "Not done: plan " + plan.ID},
	} {
		if said := o.press(t, row.user, row.action, row.value); !strings.HasPrefix(said, row.want) {
			t.Errorf("%s: %q, want %q", row.about, said, row.want)
		}
	}
}

// TestPeopleSpeakThroughPagerDuty follows who looks after an incident there.
func TestPeopleSpeakThroughPagerDuty(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.trigger(t)
	o.pager.Subscribe("http://"+o.address+"/api/v1/pagerduty/webhook", "old")
	for _, row := range []struct {
		about string
		do    func() error
		came  string
		want  string
	}{
		{"somebody acknowledges", func() error { return o.pager.Acknowledge(o.talk, "Ann") }, "202", "Ann (PagerDuty) via oncall"},
		{"its time is over", func() error { return o.pager.Unacknowledge(o.talk, "") }, "202", ""},
		{"after the secret was changed", func() error { o.pager.Rotate("old", "new"); return o.pager.Acknowledge(o.talk, "Bob") }, "202", "Bob (PagerDuty) via oncall"},
		{"somebody else is to do it", func() error { o.pager.Rotate("new"); return o.pager.Reassign(o.talk, "Bob", "Cid") }, "202", ""},
		{"who does", func() error { return o.pager.Acknowledge(o.talk, "Cid") }, "202", "Cid (PagerDuty) via oncall"},
		{"it goes to the next level", func() error { return o.pager.Escalate(o.talk, "Dan") }, "202", ""},
		{"a secret that is not known", func() error { o.pager.Rotate("guessed"); return o.pager.Acknowledge(o.talk, "Eve") }, "dropped: 401", ""},
		{"somebody ends it by hand", func() error { o.pager.Rotate("new"); return o.pager.Resolve(o.talk, "Fay") }, "202", "Fay (PagerDuty) via oncall"},
	} {
		if err := row.do(); err != nil {
			t.Fatalf("%s: %v", row.about, err)
		}
		// What the daemon itself sends, in its own name, comes back, too.
		if came := o.pager.Deliver(t.Context(), http.DefaultClient); len(came) == 0 || came[len(came)-1] != row.came {
			t.Errorf("%s: %q, want %q", row.about, came, row.came)
		}
		// It is kept when PagerDuty has its answer: it says nothing again.
		if got := o.keeper(t); got != row.want {
			t.Errorf("%s: %q looks after it, want %q", row.about, got, row.want)
		}
	}
}

// trigger opens the incident at PagerDuty, as the receiver does.
func (o *office) trigger(t *testing.T) {
	t.Helper()
	n, err := pagerduty.New(pagerduty.Config{RoutingKey: routingKey}, o.pager.Client())
	if err != nil {
		t.Fatal(err)
	}
	in := certmedic.Incident{ID: "i", DedupKey: o.talk, Severity: certmedic.SeverityWarning, Summary: "s", State: certmedic.StateFiring}
	e := alerting.Event{Kind: alerting.KindFiring, Time: time.Now(), Severity: in.Severity, Incident: in, Certificate: alerting.Facts{Name: "shop"}}
	_, err = n.Notify(t.Context(), alerting.Notification{
		Receiver: "oncall", Conversation: o.talk, Status: alerting.StatusFiring, Events: []alerting.Event{e}, Open: []alerting.Event{e},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAcknowledgeByCommand(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	d := s.start(t)
	waitFor(t, "the first look", d.served(t))
	if _, err := d.client.Acknowledge(t.Context(), api.AckRequest{About: "shop"}); err == nil || !strings.Contains(err.Error(), `nothing fires that "shop" names`) {
		t.Errorf("acknowledged what does not fire: %v", err)
	}
	s.renew(t)
	waitFor(t, "the incident", func() bool {
		in, err := d.client.Incidents(t.Context(), "shop", 10)
		return err == nil && len(in) > 0 && in[0].State == certmedic.StateFiring
	})
	for range 2 {
		all, err := d.client.Acknowledge(t.Context(), api.AckRequest{About: "shop", Why: "mine"})
		if err != nil || len(all) != 1 || all[0].Certificate != "shop" || all[0].By == "" || all[0].Why != "mine" {
			t.Fatalf("%+v, %v", all, err)
		}
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	c, _, err := app.Load(s.path("certmedic.yml"))
	if err != nil {
		t.Fatal(err)
	}
	offline, err := app.OpenOffline(c, true, s.options(d.log))
	if err != nil {
		t.Fatal(err)
	}
	defer offline.Close()
	if all := offline.Status(t.Context()).Acknowledged; len(all) != 1 || all[0].Why != "mine" {
		t.Errorf("kept %+v", all)
	}
	all, err := offline.Acknowledge(t.Context(), api.AckRequest{About: "shop", By: "bob"})
	if err != nil || len(all) != 1 || offline.Acknowledged()[0].By != "bob" {
		t.Errorf("%+v, %v", all, err)
	}
}
