package scenario_test

import (
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/scenario"
)

// TestExpectedMessages holds what the real receivers send against expectations that are met, and
// such that are not.
func TestExpectedMessages(t *testing.T) {
	const bad = "  - {at: 1h, findings: {web: untrusted}}\n"
	const paged = "  - {at: 1h, findings: {web: untrusted}, expect: {pagerduty: [{action: trigger, severity: critical, dedup_key: a}]}}\n"
	const good = "  - {at: 3h, findings: {web: []}}\n"
	for _, row := range []struct{ about, steps, want string }{
		{"a message and a page", bad + "  - {at: 2h, expect: {slack: [{op: post, contains: [shop, web-00.test]}], pagerduty: [{action: trigger, contains: web-02.test}]}}\n", ""},
		{"what is sent at the same moment", "  - {at: 1h, findings: {web: untrusted}, expect: {slack: [{op: post}]}}\n", ""},
		{"since the step that expected messages last", paged + "  - {at: 2h, expect: {pagerduty: [], slack: [{op: post}]}}\n", ""},
		{"a message that is not expected", bad + "  - {at: 2h, expect: {slack: []}}\n", "expected nothing else in Slack\nthere was:\n  post: 🔴 "},
		{"a page that is not expected", bad + "  - {at: 2h, expect: {pagerduty: []}}\n", "expected nothing else of PagerDuty\nthere was:\n  trigger critical certmedic/shop/"},
		{"some are enough", bad + "  - {at: 2h, expect: {some: true, slack: [{op: post}], pagerduty: [{action: trigger}]}}\n  - {at: 3h, expect: {alerts: [{rule: chain-invalid}]}}\n", ""},
		{"other words", bad + "  - {at: 2h, expect: {slack: [{op: post, contains: rain}]}}\n", "expected in Slack: post with [\"rain\"]\nthere was:\n  post: "},
		{"another severity", bad + "  - {at: 2h, expect: {pagerduty: [{action: trigger, severity: info}]}}\n", "expected of PagerDuty: trigger info\nthere was:\n  trigger critical"},
		{"a thread that says nothing of it", bad + "  - {at: 2h, expect: {slack: [{op: post, thread: {contains: rain}}]}}\n", "in its thread [\"rain\"]"},
		{"one message for two expectations", bad + "  - {at: 2h, expect: {slack: [{op: post}, {op: post, contains: shop}]}}\n", "one cannot meet two"},
		{"the end has the same key", paged + good + "  - {at: 3h10m, expect: {slack: [{op: post}, {op: update, contains: \"Resolved:\"}], pagerduty: [{action: resolve, dedup_key: a}]}}\n", ""},
		{"another key", paged + good + "  - {at: 3h10m, expect: {pagerduty: [{action: resolve, dedup_key: b}]}}\n", "expected of PagerDuty: resolve with the key that the story calls b\nthere was:\n  resolve certmedic/shop/"},
		{"another episode has another key", paged + good + "  - {at: 4h, findings: {web: untrusted}, expect: {some: true, pagerduty: [{action: resolve, dedup_key: a}, {action: trigger, dedup_key: b}]}}\n", ""},
		{"never, but it is sent", bad + "  - {at: 2h}\n  never: [{pagerduty: {action: trigger}}]\n", "expected this to be sent never\nit was sent once:\n  trigger critical"},
		{"never more often", paged + good + "  - {at: 4h}\n  never: [{pagerduty: {action: trigger, count_gt: 1}}, {slack: {op: post}, count_gt: 1}, {slack: {op: post, contains: rain}}]\n", ""},
		{"a change calls nobody", "  - {at: 1h, stores: {shop: shop2}, serves: {web: shop2, api: shop2}, expect: {slack: [], pagerduty: [{action: change, contains: is stored}, {action: change, contains: served everywhere}]}}\n", ""},
		{"a rollback is a change", "  - {at: 1h, action: {shop: {do: rollback, outcome: healed}}, expect: {events: [rolled_back], pagerduty: [{action: change, contains: an earlier version of shop}], some: true}}\n", ""},
		{"somebody takes over", paged + "  - {at: 2h, slack_click: {action: ack, user: U_ALICE}, expect: {some: true, slack: [{op: update, contains: U_ALICE}], pagerduty: [{action: acknowledge, dedup_key: a}]}}\n", ""},
		{"there is nothing to take over", "  - {at: 2h, slack_click: {action: ack}, expect: {alerts: []}}\n", "expected somebody to press ack\nno message in Slack has that button"},
		{"it was taken over before", paged + "  - {at: 2h, slack_click: {action: ack}}\n  - {at: 2h1m, slack_click: {action: ack}}\n", "no message in Slack has that button"},
		{"a silence ends", bad + "  - {at: 1h1m, slack_click: {action: silence}}\n  - {at: 1h2m, findings: {web: [untrusted, name_mismatch]}, expect: {slack: [{op: post}]}}\n  - {at: 2h, expect: {slack: []}}\n  - {at: 2h1m, expect: {slack: [{op: update, contains: silent}]}}\n", "expected in Slack: update with [\"silent\"]"},
		{"a message about certmedic itself", "  - {at: 1h, clock: 1h}\n  - {at: 2h, expect: {some: true, slack: [{op: post, contains: clock}]}}\n", ""},
		{"what people know outlives a restart", paged + "  - {at: 2h, restart: true}\n  - {at: 2h10m, expect: {pagerduty: []}}\n", ""},
	} {
		t.Run(row.about, func(t *testing.T) {
			report := story(t, scenario.Options{}, row.steps)
			text := strings.ReplaceAll(report.Text(true), "\n          ", "\n")
			switch {
			case row.want == "" && !report.OK():
				t.Errorf("it fails:\n%s", text)
			case row.want != "" && (report.OK() || !strings.Contains(text, row.want)):
				t.Errorf("want %q in\n%s", row.want, text)
			}
		})
	}
}
