package scenario_test

import (
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/scenario"
)

// TestParseRefusesWhatCannotFail wants an error with its place for every way to expect nothing.
func TestParseRefusesWhatCannotFail(t *testing.T) {
	const world = "tests:\n- name: x\n  given: {certs: {shop: {}}, endpoints: {web: {serves: shop}}}\n  steps:\n"
	const fine = "  - {at: 1h, expect: {alerts: []}}\n"
	for _, row := range []struct{ about, file, want string }{
		{"alerts of which nothing is said", world + "  - at: 1h\n    expect:\n      alerts:\n", `s.yml:7:7: nothing stands behind "alerts:"; an empty list is []`},
		{"notifications likewise", world + "  - {at: 1h, expect: {alerts: [], notifications: }}\n", `s.yml:5:35: nothing stands behind "notifications:"`},
		{"actions that are null", world + "  - {at: 1h, expect: {actions: null}}\n", `s.yml:5:23: nothing stands behind "actions:"`},
		{"members that are null", world + "  - {at: 1h, expect: {alerts: [{rule: expired, members: null}]}}\n", `s.yml:5:48: nothing stands behind "members:"`},
		{"an alert that is null", world + "  - {at: 1h, expect: {alerts: [null]}}\n", `s.yml:5:32: an item of a list is empty`},
		{"a step that is null", world + "  -\n", `s.yml:5:`},
		{"expect with nothing behind it", world + "  - at: 1h\n    expect:\n", `s.yml:6:5: nothing stands behind "expect:"`},
		{"an empty expect", world + "  - {at: 1h, expect: {}}\n", `s.yml:5:22: it expects nothing`},
		{"some of nothing", world + "  - {at: 1h, expect: {some: true}}\n", `s.yml:5:22: it expects nothing`},
		{"some, and no others", world + "  - {at: 1h, expect: {some: true, alerts: []}}\n", `s.yml:5:22: none are expected, and there may be some`},
		{"a test without expectations", world + "  - {at: 1h, restart: true}\n", `s.yml:2:3: a test that expects nothing cannot fail`},
		{"a test without steps", "tests:\n- name: x\n  steps: []\n  never: [{rule: expired}]\n", `s.yml:2:3: a test without steps`},
		{"an empty reason", world + "  - {at: 1h, expect: {alerts: [{rule: expired, because: \"\"}]}}\n", `s.yml:5:57: the text is empty`},
		{"an empty subject", world + "  - {at: 1h, expect: {alerts: [{rule: expired, subject: \"\"}]}}\n", `s.yml:5:57: the text is empty`},
		{"an empty word", world + "  - {at: 1h, expect: {notifications: [{contains: [\"\"]}]}}\n", `s.yml:5:51: the text is empty`},
		{"waiting for nothing", world + fine + "  waiting: \" \"\n", `s.yml:6:12: the text is empty`},
		{"an event that there is not", world + "  - {at: 1h, expect: {events: [renewd]}}\n", `s.yml:5:32: event "renewd" is neither`},
		{"no rules", "rules: []\n" + world + fine, "rules: [] are no rules"},
	} {
		_, err := scenario.Parse("s.yml", []byte(row.file))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: the error is %v, want %q in it", row.about, err, row.want)
		}
	}
}

// TestParseKnowsItsWords wants everything that can be only some things to be one of them, and
// one error for each mistake, at its own place.
func TestParseKnowsItsWords(t *testing.T) {
	cert := func(form string) string {
		return "tests:\n- name: x\n  given: {certs: {shop: {" + form + "}}, endpoints: {web: {serves: shop}}}\n  steps:\n  - {at: 1h, expect: {alerts: []}}\n"
	}
	endpoint := func(form string) string {
		return "tests:\n- name: x\n  given: {certs: {shop: {}}, endpoints: {web: {serves: shop, " + form + "}}}\n  steps:\n  - {at: 1h, expect: {alerts: []}}\n"
	}
	step := func(form string) string {
		return "tests:\n- name: x\n  given: {certs: {shop: {}}, endpoints: {web: {serves: shop}}}\n  steps:\n  - {at: 1h, " + form + ", expect: {alerts: []}}\n"
	}
	for _, row := range []struct{ about, file, want string }{
		{"tls", endpoint("tls: \"TLS 1.4\""), `s.yml:3:67: tls "TLS 1.4" is none of SSL 3.0, TLS 1.0, TLS 1.1, TLS 1.2, TLS 1.3, did you mean "TLS 1.0"?`},
		{"tls of a step", step(`tls: {web: "TLS1.2"}`), `s.yml:5:20: tls "TLS1.2" is none of`},
		{"a protocol", endpoint("protocol: smpt"), `s.yml:3:72: protocol "smpt" is none of`},
		{"a type of key", cert("key_type: rsa"), `s.yml:3:36: key_type "rsa" is none of`},
		{"a port", endpoint(`address: "web.test:70000"`), `s.yml:3:42: address "web.test:70000" is not host:port, with a port between 1 and 65535`},
		{"an age", cert("ages: [0.6, 66]"), `s.yml:3:38: an age is a share of a lifetime`},
		{"half a window", cert("ari: {start: +1d}"), `s.yml:3:31: a window has a start and an end`},
		{"a window that ends first", step("ari: {shop: {start: +2d, end: +1d}}"), `s.yml:5:20: the window ends at 2026-03-02T00:00:00Z, before it starts`},
		{"no lifetime", cert("lifetime: 0d"), `s.yml:3:36: a lifetime is longer than nothing`},
		{"a negative lifetime", cert("lifetime: -3d"), `s.yml:3:36: a lifetime is longer than nothing`},
		{"a mode", cert("mode: autp"), `s.yml:3:32: mode "autp" is none of observe, plan, approve, auto, did you mean "auto"?`},
		{"an action", cert("allow: [renew, redploy]"), `s.yml:3:41: allow: "redploy" is none of reload, redeploy, rollback, renew, did you mean "redeploy"?`},
		{"stored and watched", cert("watched: true, stored: true"), `s.yml:3:49: what is only watched is somebody else's`},
		{"a key of given", "tests:\n- name: x\n  given: {cert: {}}\n", `s.yml:3:11: there is no key "cert" here, did you mean "certs"?; the keys are certs, endpoints, versions`},
		{"a key of a certificate", cert("lifetme: 3d"), `s.yml:3:26: there is no key "lifetme" here, did you mean "lifetime"?`},
		{"a key of a step", step("server: {web: shop}"), `s.yml:5:14: there is no key "server" here, did you mean "serves"?`},
		{"a negative interval", "interval: -1m\n" + cert(""), `s.yml:1:11: interval -1m0s is shorter than a second`},
		{"no interval", "interval: \"\"\n" + cert(""), `s.yml:1:11: the text is empty`},
		{"no start", "now:\n" + cert(""), `s.yml:1:1: nothing stands behind "now:"`},
		{"a list in place of a number", endpoint("count: [3], pattern: \"w%d:443\""), "belongs here"},
		{"a text in place of a truth", cert("watched: maybe"), `s.yml:3:35: true or false belongs here`},
		{"a mapping in place of a list", cert("names: {a: b}"), `s.yml:3:33: a list belongs here`},
		{"a text in place of a number", step("hook: {shop: one}"), `s.yml:5:27: a whole number belongs here`},
		{"a text in place of a mapping", step("probe: shop"), `s.yml:5:21: a mapping of names to values belongs here`},
		{"a list in place of a mapping", step("then: [restart]"), `s.yml:5:`},
		{"a number in place of a mapping", step("then: 3"), `s.yml:5:20: `},
		{"a number that is too large", endpoint("addresses: 99999999999999999999"), "s.yml:3:"},
		{"what is no text", "now: \xff\n", `s.yml:1:6: what stands here is not UTF-8`},
		{"a mark of the order of bytes", "\ufeffinterwal: 1m\n", `s.yml:1:1: there is no key "interwal" here`},
	} {
		_, err := scenario.Parse("s.yml", []byte(row.file))
		switch {
		case err == nil || !strings.HasPrefix(err.Error(), "s.yml:") || !strings.Contains(err.Error(), row.want):
			t.Errorf("%s: the error is %v, want %q in it", row.about, err, row.want)
		case strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "Go ") || strings.Contains(err.Error(), "Form"):
			t.Errorf("%s: more than the mistake is told: %v", row.about, err)
		}
	}
}

// TestRulesThatCannotBeAsked plays a rule that asks for a label that the certificate lacks.
func TestRulesThatCannotBeAsked(t *testing.T) {
	for _, row := range []struct{ about, steps, want string }{
		{"nobody expects it", "  - {at: 1h, expect: {alerts: []}}\n", "s.yml:6:5: at 2026-03-01 01:00:00 (+1h): expected every rule to be asked\nof-a-team could not be asked about shop: "},
		{"it is expected, once", "  - {at: 0h, expect: {errors: [of-a-team]}}\n  - {at: 1h, expect: {alerts: []}}\n", ""},
		{"it goes on", "  - {at: 0h, expect: {errors: [of-a-team]}}\n  - {at: 1h, expect: {errors: of-a-team}}\n", ""},
		{"it ended", "  - {at: 0h, expect: {errors: [of-a-team]}}\n  - {at: 1h, facts: {shop: {labels: {team: edge}}}, expect: {errors: of-a-team}}\n", "expected of-a-team not to be asked\nit could be"},
		{"of a rule that there is not", "  - {at: 0h, expect: {errors: [of-a-team, teem]}}\n", "there is no rule teem"},
	} {
		t.Run(row.about, func(t *testing.T) {
			file, err := scenario.Parse("s.yml", []byte("rules: testdata/own.rules.yml\ntests:\n- name: x\n  given: {certs: {shop: {lifetime: 10d, age: 7d}}, endpoints: {web: {serves: shop}}}\n  steps:\n"+row.steps))
			if err != nil {
				t.Fatal(err)
			}
			report, err := file.Run(t.Context(), scenario.Options{})
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(report.Text(true), "\n          ", "\n")
			if (row.want == "") != report.OK() || !strings.Contains(text, row.want) || !strings.Contains(text, "  error of-a-team of shop: ") {
				t.Errorf("want %q in\n%s", row.want, text)
			}
		})
	}
}

func TestAMissingRuleFileHasThePlaceWhereItIsNamed(t *testing.T) {
	file, err := scenario.Parse("s.yml", []byte("rules:\n- shipped\n- nowhere.yml\ntests:\n- name: x\n  steps: [{at: 1h, expect: {alerts: []}}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Run(t.Context(), scenario.Options{}); err == nil || !strings.HasPrefix(err.Error(), "s.yml:3:3: reading rules: open nowhere.yml: ") {
		t.Errorf("the error is %v", err)
	}
}
