package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/config"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ about, route, want string }{
		{"all of it", `match_re: {team: "pay.*"}, windows: ["Mon-Fri 08:00-18:00 Europe/Berlin"], mute_windows: ["22:00-06:00"], continue: true, events: true`, ""},
		{"an expression that is none", `match_re: {team: "pay("}`, `c.yml:3:41: alerting.routes[0].match_re.team: error parsing regexp: `},
		{"a window that is none", `windows: ["Mon-Fri"]`, `c.yml:3:34: alerting.routes[0].windows[0]: "Mon-Fri" is no window such as `},
		{"quiet hours without a length", `mute_windows: ["06:00-06:00"]`, `c.yml:3:39: alerting.routes[0].mute_windows[0]: "06:00-06:00": "06:00-06:00" is empty`},
	} {
		text := fmt.Sprintf("alerting:\n  receivers: [{name: ops, log: {}}]\n  routes: [{to: [ops], %s}]\n", row.route)
		c, _, err := config.Parse("c.yml", []byte(text))
		switch {
		case row.want == "" && (err != nil || !c.Alerting.Routes[0].Continue || c.Alerting.Routes[0].MatchRE["team"] != "pay.*"):
			t.Errorf("%s: %v", row.about, err)
		case row.want != "" && (err == nil || !strings.HasPrefix(err.Error(), row.want)):
			t.Errorf("%s: %v, want %s", row.about, err, row.want)
		}
	}
}

func TestAHeartbeatToPeopleIsAWarning(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ about, receiver, want string }{
		{"to a program", `webhook: {url: "https://monitoring.test/ping", heartbeat: true}`, ""},
		{"to a mailbox", `heartbeat: true, email: {smarthost: "mail.test:25", from: a@mail.test, to: b@mail.test}`, "a message to people every minute"},
	} {
		_, warnings, err := config.Parse("c.yml", []byte("alerting:\n  receivers: [{name: ops, "+row.receiver+"}]\n"))
		if err != nil {
			t.Fatalf("%s: %v", row.about, err)
		}
		if got := fmt.Sprint(warnings); (row.want != "") != strings.Contains(got, "heartbeat") || !strings.Contains(got, row.want) {
			t.Errorf("%s: %s", row.about, got)
		}
	}
}
