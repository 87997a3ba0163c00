package scenario_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/scenario"
)

func TestParseNamesThePlaceOfMistakes(t *testing.T) {
	const world = "tests:\n- name: x\n  given:\n    certs: {shop: {}}\n    endpoints: {web: {count: 3, pattern: \"web-%02d.test:443\", serves: shop}, api: {serves: shop, addresses: 2}}\n  steps:\n"
	for _, row := range []struct{ about, file, want string }{
		{"a key that there is not", "tests: []\ninterwal: 5m\n", `s.yml:2:1: there is no key "interwal" here, did you mean "interval"?; the keys are rules, now, interval, tests, coverage`},
		{"no tests", "now: 2026-03-01T00:00:00Z\n", "s.yml:1:1: there are no tests"},
		{"a second document", "tests: []\n---\ntests: []\n", "s.yml:3:1: a second document"},
		{"what is no YAML", "tests: [\n", "s.yml:1:"},
		{"a duration that is none", "interval: soon\ntests: []\n", `s.yml:1:11: "soon" is not a duration`},
		{"an interval that is too short", "interval: 1ms\ntests: []\n", "shorter than a second"},
		{"a time that is none", "now: today\ntests: []\n", `s.yml:1:6: "today" is neither a time`},
		{"a share that is none", "tests: []\ncoverage: {rules: 120%}\n", `s.yml:2:19: "120%" is not a share`},
		{"two tests of a name", "tests:\n- {name: x}\n- {name: x}\n", `s.yml:3:3: a second test named "x"`},
		{"a test without a name", "tests:\n- {steps: []}\n", "s.yml:2:3: a test without a name"},
		{"a step without a time", world + "  - {restart: true}\n", "s.yml:7:5: a step without `at`"},
		{"steps that are not in order", world + "  - {at: 2h}\n  - {at: 1h}\n", "s.yml:8:5: the step at 1h0m0s does not come after"},
		{"an endpoint that there is not", world + "  - {at: 1h, serves: {wbe: shop}}\n", `s.yml:7:23: there is no endpoint "wbe"`},
		{"an open range", world + "  - {at: 1h, serves: {web-01..web-09: shop}}\n", `there is no endpoint "web-01..web-09"`},
		{"a certificate that there is not", world + "  - {at: 1h, stores: {shp: shop2}}\n", `s.yml:7:23: there is no certificate "shp"`},
		{"a version of no certificate", world + "  - {at: 1h, stores: {shop: blog2}}\n", `"blog2" is neither a certificate nor a later version`},
		{"a version is changed", world + "  - {at: 1h, stores: {shop: shop2}}\n  - {at: 2h, versions: {shop2: {age: 1d}}}\n", `version "shop2" was issued before`},
		{"a finding that there is not", world + "  - {at: 1h, findings: {web: untrustet}}\n", `there is no finding "untrustet"`},
		{"a probe that fails strangely", world + "  - {at: 1h, probe: {web: {error: oops}}}\n", `not "oops"`},
		{"a fact that there is not", world + "  - {at: 1h, facts: {shop: {drfit: true}}}\n", `s.yml:7:29: there is no fact "drfit"`},
		{"a fact of another type", world + "  - {at: 1h, facts: {shop: {drift: maybe}}}\n", "s.yml:7:36:"},
		{"a subject that there is not", world + "  - {at: 1h, expect: {alerts: [{rule: expired, subject: sop}]}}\n", `subject "sop" is neither`},
		{"a severity that there is not", world + "  - {at: 1h, expect: {alerts: [{rule: expired, severity: bad}]}}\n", `severity "bad"`},
		{"an address too many", world + "  - {at: 1h, serves: {api/3: shop}}\n", "api has 2 addresses"},
		{"more versions than addresses", world + "  - {at: 1h, serves: {api: [shop, shop2, shop3]}}\n", "3 versions for 2 addresses"},
		{"a click for which there is no plan", world + "  - {at: 1h, slack_click: {action: approve}}\n", "s.yml:7:36: approve needs a plan, and a story makes none: expect `actions`"},
		{"a click on nothing", world + "  - {at: 1h, slack_click: {user: ann}}\n", "which button is pressed? action: ack or silence"},
		{"a click that there is not", world + "  - {at: 1h, slack_click: {action: snooze}}\n", `action "snooze" is none of ack, silence`},
		{"a click about nothing", world + "  - {at: 1h, slack_click: {action: ack, certificate: shp}}\n", `there is no certificate "shp"`},
		{"a message that does nothing", world + "  - {at: 1h, expect: {slack: [{contains: shop}]}}\n", "what is done in Slack? op: post, update or reply"},
		{"a message that does something else", world + "  - {at: 1h, expect: {slack: [{op: edit}]}}\n", `op "edit" is none of post, update, reply`},
		{"an event without an action", world + "  - {at: 1h, expect: {pagerduty: [{severity: critical}]}}\n", "what is PagerDuty told?"},
		{"an event that there is not", world + "  - {at: 1h, expect: {pagerduty: [{action: triger}]}}\n", `action "triger" is none of`},
		{"a severity that PagerDuty has not", world + "  - {at: 1h, expect: {pagerduty: [{action: trigger, severity: bad}]}}\n", `severity "bad" is none of critical, error, warning, info`},
		{"some messages, and no others", world + "  - {at: 1h, expect: {some: true, slack: []}}\n", "none are expected, and there may be some"},
		{"never a message of two receivers", strings.Replace(world, "steps:", "never: [{slack: {op: post}, pagerduty: {action: trigger}}]", 1), "slack and pagerduty are two"},
		{"never a message of a rule", strings.Replace(world, "steps:", "never: [{slack: {op: post}, rule: expired}]", 1), "what is never sent stands by itself"},
		{"never a message less often than never", strings.Replace(world, "steps:", "never: [{slack: {op: post, count_gt: -1}}]\n  steps:\n  - {at: 1h}", 1), "count_gt -1"},
		{"never what", strings.Replace(world, "steps:", "never: [{count_gt: 2}]", 1), "what must never happen?"},
		{"a pattern without a number", "tests:\n- name: x\n  given: {certs: {shop: {}}, endpoints: {web: {count: 3, pattern: \"web:443\", serves: shop}}}\n", "has no single number"},
		{"an endpoint of nobody", "tests:\n- name: x\n  given: {endpoints: {web: {address: \"web.test:443\"}}}\n", "neither a certificate"},
	} {
		_, err := scenario.Parse("s.yml", []byte(row.file))
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), "s.yml:") {
			t.Errorf("%s: the error is %v, want %q in it", row.about, err, row.want)
		}
	}
}

// story plays steps of a certificate shop with two endpoints, one of them with two addresses.
func story(t *testing.T, o scenario.Options, steps string) scenario.Report {
	t.Helper()
	file, err := scenario.Parse("s.yml", []byte(`tests:
- name: x
  given:
    certs: {shop: {lifetime: 90d, age: 10d, mode: approve, allow: [redeploy]}}
    endpoints: {web: {count: 3, pattern: "web-%02d.test:443", serves: shop}, api: {serves: shop, addresses: 2}}
  steps:
`+steps))
	if err != nil {
		t.Fatal(err)
	}
	report, err := file.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestExpectations(t *testing.T) {
	const drift = "  - {at: 1h, stores: {shop: shop2}}\n"
	for _, row := range []struct{ about, steps, want string }{
		{"what is expected is there", drift + "  - {at: 2h, expect: {alerts: [{rule: renewed-not-served, subject: shop, severity: critical, members: 5, because: drift}]}}\n", ""},
		{"members by name", drift + "  - {at: 2h, expect: {alerts: [{rule: renewed-not-served, members: [web, api]}]}}\n", ""},
		{"a member is not there", drift + "  - {at: 1h1m, serves: {web-01: shop2}}\n  - {at: 2h, expect: {alerts: [{rule: renewed-not-served, members: [web, api]}]}}\n", "its members differ; missing:\n  web-01.test:443"},
		{"another number of members", drift + "  - {at: 2h, expect: {alerts: [{rule: renewed-not-served, members: 2}]}}\n", "it has 5 members, expected 2"},
		{"another severity", drift + "  - {at: 1h5m, expect: {alerts: [{rule: renewed-not-served, severity: critical}]}}\n", "its severity is warning, expected critical"},
		{"another reason", drift + "  - {at: 2h, expect: {alerts: [{rule: renewed-not-served, because: rain}]}}\n", "expected to contain \"rain\""},
		{"nothing is expected", drift + "  - {at: 2h, expect: {alerts: []}}\n", "expected nothing else to be firing\nthere is:\n  firing renewed-not-served of shop (critical)"},
		{"some are enough", drift + "  - {at: 2h, findings: {web: untrusted}, expect: {some: true, alerts: [{rule: chain-invalid}]}}\n", ""},
		{"nothing is there", "  - {at: 2h, expect: {alerts: [{rule: expired}]}}\n", "expected firing: {rule: expired}\nthere is none"},
		{"a rule that there is not", "  - {at: 2h, expect: {alerts: [{rule: expird}]}}\n", "there is no rule expird"},
		{"it is pending, not firing", "  - {at: 2h, probe: {web: {error: timeout}}, expect: {alerts: [{rule: unreachable, subject: web-00}]}}\n", "it is pending, expected firing"},
		{"pending, by a range", "  - {at: 2h, probe: {web-00..web-01: {error: timeout}}, expect: {alerts: [], pending: [{rule: unreachable, subject: web-00..web-01}]}}\n", ""},
		{"pending among alerts", "  - {at: 2h, probe: {web-*: {error: timeout}}, expect: {alerts: [{rule: unreachable, subject: web, state: pending}]}}\n", ""},
		{"told once", drift + "  - {at: 1h5m, expect: {notifications: [{kind: firing, rule: renewed-not-served, contains: was renewed}]}}\n  - {at: 1h6m, expect: {notifications: []}}\n", ""},
		{"told, but not expected", drift + "  - {at: 1h5m, expect: {notifications: []}}\n", "expected nothing else to be told\ntold was:\n  firing renewed-not-served of shop"},
		{"an action, and who has to agree", drift + "  - {at: 1h5m, expect: {actions: [{do: redeploy, certificate: shop, mode: approve}]}}\n", ""},
		{"another mode", drift + "  - {at: 1h5m, expect: {actions: [{do: redeploy, mode: auto}]}}\n", "expected to be asked for: redeploy auto\nasked for is:\n  redeploy of shop (approve)"},
		{"events", drift + "  - {at: 1h1m, expect: {events: renewed}}\n  - {at: 1h2m, then: {serves: {web: shop2, api: shop2}}, expect: {events: [deployed]}}\n", ""},
		{"another event", drift + "  - {at: 2h, expect: {events: [deployed]}}\n", "expected events: deployed\nthere were: renewed"},
		{"a certificate named with its later version", "  - {at: 1h, stores: {shop: shop}, serves: {api/2: shop2}}\n  - {at: 2h, expect: {some: true, alerts: [{rule: served-newer}]}}\n", ""},
		{"never, but it happens", drift + "  - {at: 2h}\n  never: [{rule: renewed-not-served}]\n", "expected this to happen never\nit happened once:"},
		{"never more often", drift + "  - {at: 2h}\n  never: [{alert: {rule: renewed-not-served}, count_gt: 1}, {notification: update, count_gt: 1}, {action: renew}]\n", ""},
		{"never an action", drift + "  - {at: 2h}\n  never: [{action: redeploy}]\n", "step redeploy of renewed-not-served"},
		{"never a rule that there is not", "  - {at: 2h}\n  never: [{rule: expird}]\n", "there is no rule expird"},
		{"then happens before what is expected", "  - {at: 1h, then: {findings: {web: untrusted}}, expect: {alerts: [{rule: chain-invalid}]}}\n", ""},
		{"what then says is the last word", "  - {at: 1h, serves: {web: shop2}, then: {stores: {shop: shop}, serves: {web: shop}}, expect: {alerts: [], events: []}}\n  - {at: 2h, expect: {alerts: [], pending: []}}\n", ""},
		{"what is served was stored", "  - {at: 1h, serves: {web: shop2}, expect: {events: [renewed], pending: [{rule: renewed-not-served}]}}\n  - {at: 2h, serves: {api: shop2}, expect: {events: [deployed]}}\n", ""},
		{"the later one of two that are served", "  - {at: 1h, serves: {api: [shop3, shop2]}}\n  - {at: 2h, serves: {web: shop3, api: shop3}, expect: {events: [renewed, deployed]}}\n", ""},
		{"an older one is served again", "  - {at: 1h, serves: {web: shop2, api: shop2}}\n  - {at: 2h, serves: {web: shop}}\n  - {at: 3h, expect: {alerts: [{rule: renewed-not-served}]}}\n", ""},
		{"what is stored was said before", drift + "  - {at: 2h, serves: {web: shop3, api: shop3}}\n  - {at: 3h, expect: {alerts: [{rule: served-newer}], events: [renewed]}}\n", ""},
		{"one alert for two expectations", drift + "  - {at: 2h, expect: {alerts: [{rule: renewed-not-served}, {rule: renewed-not-served, subject: shop}]}}\n", "one alert cannot meet two"},
		{"one notification for two expectations", drift + "  - {at: 1h5m, expect: {notifications: [{kind: firing}, {rule: renewed-not-served}]}}\n", "one cannot meet two"},
		{"facts in place of what was seen", "  - {at: 1h, facts: {shop: {remaining_ratio: 0.05, served_expires_in: 4d}}, expect: {some: true, alerts: [{rule: expiry-imminent}]}}\n  - {at: 2h, facts: {shop: {remaining_ratio: null, served_expires_in: null}}, expect: {alerts: []}}\n", ""},
		{"an undecided fact stands still", drift + "  - {at: 2h, facts: {shop: {drift: {undecided: because}}}, serves: {web: shop2, api: shop2}}\n  - {at: 3h, expect: {alerts: [{rule: renewed-not-served}]}}\n", ""},
	} {
		t.Run(row.about, func(t *testing.T) {
			report := story(t, scenario.Options{}, row.steps)
			text := report.Text(true)
			switch {
			case row.want == "" && !report.OK():
				t.Errorf("it fails:\n%s", text)
			case row.want != "" && (report.OK() || !strings.Contains(strings.ReplaceAll(text, "\n          ", "\n"), row.want)):
				t.Errorf("want %q in\n%s", row.want, text)
			}
		})
	}
}

func TestFailuresNameTheirPlace(t *testing.T) {
	report := story(t, scenario.Options{}, "  - at: 2h\n    expect:\n      alerts:\n        - {rule: expired}\n        - {rule: revoked}\n")
	failures := report.Tests[0].Failures
	if len(failures) != 2 || failures[0].Line != 10 || failures[1].Line != 11 || failures[0].Column != 11 {
		t.Errorf("the failures are %v", failures)
	}
}

func TestWaitingTestsDoNotFail(t *testing.T) {
	for _, row := range []struct {
		about, expected string
		want            scenario.State
	}{
		{"it would fail", "[{rule: expired}]", scenario.Waiting},
		{"it would pass", "[]", scenario.WouldPass},
	} {
		report := story(t, scenario.Options{}, "  - {at: 1h, expect: {alerts: "+row.expected+"}}\n  waiting: for better times\n")
		if got := report.Tests[0]; got.State != row.want || !report.OK() || !strings.Contains(report.Text(false), "for better times") {
			t.Errorf("%s: it is %s", row.about, got.State)
		}
	}
}

func TestOnlySomeTests(t *testing.T) {
	if report := story(t, scenario.Options{Only: regexp.MustCompile("^y")}, "  - {at: 1h, expect: {alerts: []}}\n"); len(report.Tests) != 0 {
		t.Errorf("%d tests were run", len(report.Tests))
	}
}

func TestCoverageCountsWhatWasTried(t *testing.T) {
	report := story(t, scenario.Options{}, "  - {at: 1h, stores: {shop: shop2}}\n  - {at: 2h, findings: {web: untrusted}, expect: {some: true, alerts: [{rule: chain-invalid}]}}\n")
	fired, never := report.Coverage.Fired()
	if fired != 2 || len(never) != len(report.Coverage.Rules)-2 {
		t.Errorf("%d rules fired, want renewed-not-served and chain-invalid; never %v", fired, never)
	}
	for _, r := range report.Coverage.Rules {
		if r.Rule == "chain-invalid" && (!r.Sides[0] || len(r.Sides) != 2 || r.Sides[1] || !r.Not) {
			t.Errorf("chain-invalid: %+v, want its first side of two", r)
		}
	}
	twice := report.Coverage.Merge(report.Coverage)
	if again, _ := twice.Fired(); again != fired || len(twice.Rules) != len(report.Coverage.Rules) {
		t.Errorf("merged with itself, %d of %d rules fired", again, len(twice.Rules))
	}
}

func TestDemandsOfCoverage(t *testing.T) {
	file, err := scenario.Parse("s.yml", []byte("coverage: {rules: 1%, branches: 95%}\ntests:\n- name: x\n  steps: [{at: 1h, expect: {alerts: []}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	report, err := file.Run(t.Context(), scenario.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if report.OK() || len(report.Unmet) != 2 {
		t.Errorf("nothing was tried, and unmet is %q", report.Unmet)
	}
}
