package app

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/config"
)

// secretFiles makes a folder with files of these contents, which only the user of the test may
// read, whatever the umask.
func secretFiles(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func parseReceivers(t *testing.T, dir, list string) *config.Config {
	t.Helper()
	text := "watch: [{address: a}]\nalerting:\n  receivers:\n" + strings.ReplaceAll(list, "$D", dir)
	c, _, err := config.Parse("certmedic.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryReceiverIsMade(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	root := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	dir := secretFiles(t, map[string]string{
		"token": "xoxb-1\n", "hook": "https://hooks.slack.com/services/T/B/X", "pd": "0123456789abcdef0123456789abcdef\n", "password": "pw\n",
		"headers": "X-Key: k\n", "page": `{"text": {{json .summary}}}`, "mail": `{{.summary}}{{define "subject"}}{{.certificate}}{{end}}`, "ca.pem": root,
	})
	c := parseReceivers(t, dir, `
    - {name: log, log: {}}
    - {name: bot, slack: {token_file: $D/token, channel: "#certs", app_token_file: $D/token, mention: {critical: "<!here>"}}}
    - {name: bot2, slack: {token_file: $D/token, channel: "#others"}}
    - {name: room, slack: {webhook_url_file: $D/hook}}
    - {name: pager, pagerduty: {routing_key_file: $D/pd, heartbeat: true}}
    - {name: hook, webhook: {url: "http://a", headers_file: $D/headers, template_file: $D/page}}
    - {name: am, alertmanager: {urls: "http://a", username: ann, password_file: $D/password, ca_file: $D/ca.pem}}
    - {name: mail, email: {smarthost: "mx:25", from: a@example.com, to: b@example.com, username: ann, password_file: $D/password, template_file: $D/mail}}
    - {name: siem, syslog: {network: tls, address: "siem:6514", ca_file: $D/ca.pem}}
    - {name: run, exec: {command: [/bin/true], env: {A: b}}}
`)
	all, err := receivers(c, outfit{limits: &limits{}, environ: []string{"PATH=/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Alerting.Receivers {
		if all[r.Name] == nil {
			t.Errorf("there is no receiver %q", r.Name)
		}
	}
}

func TestWhatIsWrongWithAReceiverIsToldWithItsPlace(t *testing.T) {
	dir := secretFiles(t, map[string]string{
		"empty": " \n", "two": "s3cr3t\ns3cr3t\n", "short": "s3cr3t", "ruleset": "R123456789abcdef0123456789abcdef",
		"page": `{"text": {{.sumary}}}`, "broken": "{{", "nojson": "{{.summary}}", "headers": "s3cr3t", "token": "xoxb-s3cr3t",
	})
	for list, want := range map[string]string{
		"slack: {token_file: $D/gone, channel: a}":                                    "no such file",
		"slack: {token_file: $D/empty, channel: a}":                                   "/empty\": it holds no secret",
		"slack: {token_file: $D/two, channel: a}":                                     "/two:2: it has more than one line",
		"slack: {webhook_url_file: $D/short}":                                         "must begin with http",
		"slack: {token_file: $D/token, channel: a, mention: {critical: everyone}}":    "is none of <!here>",
		"pagerduty: {routing_key_file: $D/short}":                                     "32 characters",
		"pagerduty: {routing_key_file: $D/ruleset, heartbeat: true}":                  "does not take",
		"webhook: {url: http://a, headers_file: $D/headers}":                          "/headers:1: want",
		"webhook: {url: http://a, template_file: $D/page}":                            "/page:1:",
		"webhook: {url: http://a, template_file: $D/broken}":                          "/broken:1:",
		"webhook: {url: http://a, template_file: $D/nojson}":                          "not valid JSON",
		"alertmanager: {urls: http://a, ca_file: $D/token}":                           "/token",
		"email: {smarthost: 'mx:25', from: a@b.c, to: a@b.c, template_file: $D/page}": "sumary",
	} {
		c := parseReceivers(t, dir, "    - {name: fine, log: {}}\n    - {name: bad, "+list+"}\n")
		_, err := receivers(c, outfit{limits: &limits{}})
		if err == nil || !strings.HasPrefix(err.Error(), `certmedic.yml:5:7: receiver "bad": `) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v, want %q", list, err, want)
		}
	}
}

func TestAReloadGivesNobodyMoreThanTheServiceTakes(t *testing.T) {
	l := &limits{}
	slackBefore, pagersBefore := l.ofSlack("a"), l.ofPagers()
	if l.ofSlack("a") != slackBefore || l.ofPagers() != pagersBefore {
		t.Error("the limits of a token are made again")
	}
	if l.ofSlack("b") == slackBefore {
		t.Error("two tokens share their limits")
	}
}
