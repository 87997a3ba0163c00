package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/config"
)

// everyReceiver has every key of every kind of receiver.
const everyReceiver = `alerting:
  external_url: https://certmedic.example.com/
  runbook_url: https://wiki.example.com/certmedic/
  fallback: [log]
  receivers:
    - {name: log, log: {}}
    - name: ops
      heartbeat: true
      slack: {token_file: /s/token, channel: "#certs", app_token_file: /s/app, signing_secret_file: /s/sign, api_url: "http://127.0.0.1:1/api/", approvers: [U024BE7LH, W1], mention: {critical: "<!here>"}}
    - {name: room, slack: {webhook_url_file: /s/hook, heartbeat: true}}
    - {name: oncall, pagerduty: {routing_key_file: /s/pd, webhook_secret_file: /s/pdhook, api_url: "https://events.eu.pagerduty.com", heartbeat: true}}
    - {name: hook, webhook: {url: "https://hooks.example.com/x", method: PATCH, headers_file: /s/headers, template_file: /t/page, content_type: text/plain, timeout: 5s, send_resolved: false, heartbeat: true}}
    - {name: am, alertmanager: {urls: ["http://127.0.0.1:9093", "https://ann:pw@am.example.com/prefix"], username: ann, password_file: /s/am, ca_file: /c/ca.pem, timeout: 5s, heartbeat: true}}
    - {name: am2, alertmanager: {urls: http://127.0.0.1:9093, bearer_token_file: /s/am}}
    - {name: mail, email: {smarthost: "mx.example.com:587", from: "certmedic <c@example.com>", to: [ops@example.com, Ann <ann@example.com>], hello: c.example.com, tls: starttls, ca_file: /c/ca.pem, username: ann, password_file: /s/mail, template_file: /t/mail, timeout: 5s, heartbeat: true}}
    - {name: mail2, email: {smarthost: "127.0.0.1:25", from: c@example.com, to: ops@example.com}}
    - {name: syslog, syslog: {}}
    - {name: siem, syslog: {network: tls, address: "siem.example.com:6514", facility: local3, tag: certs, ca_file: /c/ca.pem, timeout: 5s, heartbeat: true}}
    - {name: run, exec: {command: [/usr/local/bin/tell, "-v"], env: {TOKEN: hunter2}, timeout: 20s, heartbeat: true}}
  routes: [{to: [ops]}]
watch: [{address: a}]
`

func TestEveryReceiver(t *testing.T) {
	t.Parallel()
	c, warnings, err := config.Parse("all.yml", []byte(everyReceiver))
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 3 { // people hear heartbeats in Slack and by mail
		t.Errorf("warnings %v", warnings)
	}
	for i, r := range c.Alerting.Receivers {
		quiet := r.Name == "log" || r.Name == "am2" || r.Name == "mail2" || r.Name == "syslog"
		if r.Beats() == quiet {
			t.Errorf("receiver %d, %q, has heartbeats %v", i, r.Name, r.Beats())
		}
	}
	for i, want := range map[int]string{7: "starttls", 8: "none"} {
		if got := c.Alerting.Receivers[i].Email.Encryption(); got != want {
			t.Errorf("mail of %q is encrypted by %q, want %q", c.Alerting.Receivers[i].Name, got, want)
		}
	}
	if s := c.Alerting.Receivers[9].Syslog; s.Network != "local" || s.Facility != "daemon" || s.Tag != "certmedic" {
		t.Errorf("syslog without settings is %+v", s)
	}
	shown, err := c.Effective()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown), "hunter2") || strings.Contains(string(shown), "ann:pw") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	if _, _, err := config.Parse("shown.yml", shown); err != nil {
		t.Errorf("what is shown cannot be read: %v\n%s", err, shown)
	}
}

func TestMistakesOfReceivers(t *testing.T) {
	t.Parallel()
	receiver := func(kind string) string { return "alerting: {receivers: [{name: a, " + kind + "}]}" }
	slack := func(keys string) string { return receiver("slack: {" + keys + "}") }
	mail := func(keys string) string {
		return receiver("email: {from: a@example.com, to: [b@example.com], " + keys + "}")
	}
	for _, tc := range []struct{ name, text, want string }{
		{"slack as nobody", slack("channel: a"), "needs token_file, or webhook_url_file"},
		{"slack as two", slack("token_file: /a, webhook_url_file: /b, channel: c"), "stands in place of token_file"},
		{"slack without a channel", slack("token_file: /a"), "the channel to post to"},
		{"a channel for an incoming webhook", slack("webhook_url_file: /a, channel: b"), "that it was made for"},
		{"buttons for an incoming webhook", slack("webhook_url_file: /a, app_token_file: /b"), "have no buttons"},
		{"approvers without buttons", slack("token_file: /a, channel: b, approvers: [U1]"), "nobody can press a button"},
		{"an approver by name", slack("token_file: /a, channel: b, app_token_file: /c, approvers: [ann]"), "is no ID of a user"},
		{"a mention for no severity", slack(`token_file: /a, channel: b, mention: {bad: "<!here>"}`), `"bad" is none of info, warning, critical`},
		{"a token in place of its file", slack("token_file: xoxb-1, channel: b"), "is not an absolute path"},
		{"pagerduty without a key", receiver("pagerduty: {}"), "routing_key_file: is missing"},
		{"an address that is none", receiver("pagerduty: {routing_key_file: /a, api_url: events}"), "must begin with http"},
		{"an odd method", receiver("webhook: {url: http://a, method: GET}"), "none of POST, PUT, PATCH"},
		{"no content type", receiver(`webhook: {url: http://a, content_type: ""}`), "is no content type"},
		{"no alertmanager", receiver("alertmanager: {urls: []}"), "needs at least one address"},
		{"an alertmanager without a host", receiver("alertmanager: {urls: [http://a, 'http://']}"), "urls[1]: has no host"},
		{"two logins", receiver("alertmanager: {urls: http://a, username: a, bearer_token_file: /a}"), "in place of username"},
		{"a password for nobody", receiver("alertmanager: {urls: http://a, password_file: /a}"), "needs a username"},
		{"a mail server without a port", mail("smarthost: mx"), "is not host:port"},
		{"a sender that is none", receiver("email: {smarthost: 'mx:25', from: a, to: [b@example.com]}"), "from: \"a\" is no mail address"},
		{"nobody to mail to", receiver("email: {smarthost: 'mx:25', from: a@example.com, to: []}"), "needs at least one recipient"},
		{"a recipient that is none", receiver("email: {smarthost: 'mx:25', from: a@example.com, to: [a@example.com, b]}"), "to[1]: \"b\" is no mail address"},
		{"a login without encryption", mail("smarthost: 'mx:25', tls: none, username: a, password_file: /a"), "nobody logs in"},
		{"a login at this host without encryption", mail("smarthost: 'localhost:25', username: a, password_file: /a"), "nobody logs in"},
		{"a user without a password", mail("smarthost: 'mx:25', username: a"), "needs a password_file"},
		{"a syslog server without an address", receiver("syslog: {network: udp}"), "address: is missing"},
		{"a syslog server without a port", receiver("syslog: {network: tcp, address: a}"), "is not host:port"},
		{"an unknown facility", receiver("syslog: {facility: local9}"), "is none of kern"},
		{"a tag with a blank", receiver("syslog: {tag: a b}"), "is no name of a program"},
		{"no command", receiver("exec: {command: []}"), "is an empty command"},
		{"a command that takes longer than an attempt", receiver("exec: {command: [a], timeout: 26s}"), "must be between 0s and 25s"},
		{"a variable that is none", receiver("exec: {command: [a], env: {A-B: c}}"), "is no name of a variable"},
		{"a fallback to nobody", "alerting: {fallback: [b], receivers: [{name: a, log: {}}]}", `fallback[0]: there is no receiver "b"`},
		{"a page that is none", "alerting: {external_url: certmedic}", "must begin with http"},
		{"two kinds", "alerting: {receivers: [{name: a, log: {}, syslog: {}}]}", "has log and syslog"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := config.Parse("x", []byte(tc.text))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "x:1:") {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("one mistake, several problems:\n%s", err)
			}
		})
	}
}

func TestALogIsNobodyWhoHearsHeartbeats(t *testing.T) {
	t.Parallel()
	_, warnings, err := config.Parse("x", []byte("watch: [{address: a}]\nalerting: {receivers: [{name: a, heartbeat: true, log: {}}]}"))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].String(), "x:2:45: alerting.receivers[0].heartbeat: nobody notices") {
		t.Errorf("%v, %v", warnings, err)
	}
}

func TestSecretsOfReceiversAreTheirOwnersAlone(t *testing.T) {
	t.Parallel()
	for key, text := range map[string]string{
		"slack.token_file":               "slack: {channel: a, token_file: $F}",
		"slack.app_token_file":           "slack: {channel: a, token_file: $OK, app_token_file: $F}",
		"slack.signing_secret_file":      "slack: {channel: a, token_file: $OK, signing_secret_file: $F}",
		"slack.webhook_url_file":         "slack: {webhook_url_file: $F}",
		"pagerduty.routing_key_file":     "pagerduty: {routing_key_file: $F}",
		"pagerduty.webhook_secret_file":  "pagerduty: {routing_key_file: $OK, webhook_secret_file: $F}",
		"webhook.headers_file":           "webhook: {url: http://a, headers_file: $F}",
		"alertmanager.password_file":     "alertmanager: {urls: http://a, username: a, password_file: $F}",
		"alertmanager.bearer_token_file": "alertmanager: {urls: http://a, bearer_token_file: $F}",
		"email.password_file":            "email: {smarthost: 'mx:25', from: a@b.c, to: a@b.c, username: a, password_file: $F}",
	} {
		dir := home(t)
		file, fine := write(t, dir+"/secret", "s3cr3t"), write(t, dir+"/fine", "s3cr3t")
		text = strings.NewReplacer("$F", file, "$OK", fine).Replace(text)
		path := write(t, dir+"/certmedic.yml", "watch: [{address: a}]\nalerting: {receivers: [{name: a, "+text+"}]}\n")
		if _, _, err := config.Load(path); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		chmod(t, file, 0o604)
		_, _, err := config.Load(path)
		if err == nil || !strings.Contains(err.Error(), ": alerting.receivers[0]."+key+": ") || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s that others may read: %v", key, err)
		}
	}
}

func TestTemplatesAndCommandsThatOthersMayChange(t *testing.T) {
	t.Parallel()
	for key, text := range map[string]string{
		"webhook.template_file": "webhook: {url: http://a, template_file: $F}",
		"email.template_file":   "email: {smarthost: 'mx:25', from: a@b.c, to: a@b.c, template_file: $F}",
		"exec.command[0]":       "exec: {command: [$F]}",
	} {
		dir := home(t)
		file := write(t, dir+"/file", "{}")
		path := write(t, dir+"/certmedic.yml", "watch: [{address: a}]\nalerting: {receivers: [{name: a, "+strings.ReplaceAll(text, "$F", file)+"}]}\n")
		chmod(t, file, 0o755)
		if _, _, err := config.Load(path); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		chmod(t, file, 0o757)
		if _, _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), ": alerting.receivers[0]."+key+": ") {
			t.Errorf("%s that others may write: %v", key, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		_, warnings, err := config.Load(path)
		if err == nil && len(warnings) == 0 {
			t.Errorf("%s that is missing is nothing to tell of", key)
		}
	}
}
