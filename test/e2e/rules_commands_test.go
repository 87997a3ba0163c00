package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// labelRules ask for one label that is there and one that is mistyped.
const labelRules = `rules:
  - {name: payments-weak, about: certificate, condition: {label: {team: payments}, finding: weak_key}, severity: info}
  - {name: paymetns-weak, about: certificate, condition: {label: {team: paymetns}, finding: weak_key}, severity: info}
`

// elsewhere is the configuration of another host, whose inventory rules are held against.
const elsewhere = `certificates:
  - {name: a, labels: {team: payments}, source: {files: {cert: /srv/a.pem}}, endpoints: [{address: "a.example.test:443"}]}
  - {name: b, labels: {team: payments}, source: {files: {cert: /srv/b.pem}}, endpoints: [{address: "b.example.test:443"}, {address: "b.example.test:8443"}]}
  - {name: c, source: {files: {cert: /srv/c.pem}}}
`

func TestRulesOnTheCommandLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.hook("exit 1\n")
	w.WriteFile(rulesFile, []byte(labelRules), 0o644)
	w.WriteFile("/etc/elsewhere.yml", []byte(elsewhere), 0o644)
	w.set("    labels: {team: payments}\n", `probe: {interval: 1s}
watch: [{address: "127.0.0.1:444"}]
rules: {files: [/etc/certmedic/rules/*.yml]}
`+w.alerts.told())
	w.start()
	w.checkScenarios()
	w.checkMistakes()

	w.renew() // and its hook fails
	w.awaitIncident("renewed-not-served", certmedic.StateFiring)
	w.await("the other endpoint was found to be unreachable", patience, 100*time.Millisecond, func() bool {
		in, ok := w.incident("unreachable")
		return ok && in.State == certmedic.StatePending
	})
	tallies, _ := w.against("daemon")
	for _, want := range []rules.Tally{
		{Rule: "renewed-not-served", About: certmedic.AboutCertificate, Subjects: 2, Holds: 1},
		{Rule: "unreachable", About: certmedic.AboutEndpoint, Subjects: 2, Holds: 1},
		{Rule: "lineage-broken", About: certmedic.AboutCertificate, Subjects: 2},
		{Rule: "rule-error", About: certmedic.AboutFleet, Subjects: 1},
		{Rule: "rate-limit-near", About: certmedic.AboutCertificate, Subjects: 2, Undecided: 2}, // nothing supplies its fact
		{Rule: "payments-weak", About: certmedic.AboutCertificate, Subjects: 2},
		{Rule: "paymetns-weak", About: certmedic.AboutCertificate, Subjects: 2},
	} {
		if got := tallies[want.Rule]; !reflect.DeepEqual(got, want) {
			t.Errorf("against the daemon the tally is %+v, want %+v", got, want)
		}
	}

	tallies, said := w.against("/etc/elsewhere.yml")
	for rule, want := range map[string][2]int{"renewed-not-served": {3, 3}, "unreachable": {3, 3}, "payments-weak": {2, 3}, "paymetns-weak": {0, 3}} {
		if got := tallies[rule]; got.Matches() != want[0] || got.Subjects != want[1] || got.Holds > 0 || got.Errors > 0 {
			t.Errorf("against a file %s has the tally %+v, want that it may match %d of %d", rule, got, want[0], want[1])
		}
	}
	if want := `rule "paymetns-weak" can match none of 3 certificates`; !strings.Contains(said, want) || strings.Count(said, "can match none") != 1 {
		t.Errorf("rules list --against a file says %q, want one warning, %q", said, want)
	}
}

// against asks which rules match anything of an inventory, as JSON and for people. It returns
// the former by rule, and what the latter says beside the table.
func (w *world) against(inventory string) (byRule map[string]rules.Tally, said string) {
	w.t.Helper()
	var all []rules.Tally
	r := w.certmedic("rules", "list", "--against", inventory, "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil || r.Code != 0 {
		w.fatalf("rules list --against %s --json: exit code %d, %v\n%s%s", inventory, r.Code, err, r.Stdout, r.Stderr)
	}
	people := w.certmedic("rules", "list", "--against", inventory)
	byRule = map[string]rules.Tally{}
	for _, t := range all {
		byRule[t.Rule] = t
		line := fmt.Sprintf("matches %d of %d", t.Matches(), t.Subjects)
		if inventory == "daemon" { // where things move on between the two
			line = fmt.Sprintf(" of %d", t.Subjects)
		}
		if !strings.Contains(lineOf(people.Stdout, t.Rule), line) {
			w.t.Errorf("rules list --against %s does not say %q for %s:\n%s", inventory, line, t.Rule, people.Stdout)
		}
	}
	return byRule, people.Stderr
}

// lineOf returns the line of a table whose first word is this.
func lineOf(table, word string) string {
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, word+" ") {
			return line
		}
	}
	return ""
}

// checkScenarios has the command run the shipped scenarios, and one that is wrong.
func (w *world) checkScenarios() {
	w.t.Helper()
	shipped, err := filepath.Glob("../../rules/ruleset/scenarios/*.test.yml")
	if err != nil || len(shipped) == 0 {
		w.t.Fatalf("there are no scenarios: %v", err)
	}
	for _, path := range shipped {
		text, err := os.ReadFile(path)
		if err != nil {
			w.t.Fatal(err)
		}
		w.WriteFile("/root/scenarios/"+filepath.Base(path), text, 0o644)
	}
	if out := w.must("certmedic rules test /root/scenarios/*.test.yml | tail --lines=1"); !strings.Contains(out, " 0 failed") || !strings.Contains(out, "rules 42 of 42") {
		w.t.Errorf("the shipped scenarios end with %q", out)
	}
	w.WriteFile("/root/wrong.test.yml", []byte(`now: 2026-03-01T00:00:00Z
tests:
  - name: an expired certificate is nobody's business
    given: {certs: {shop: {lifetime: 90d, age: 91d}}, endpoints: {web: {address: "shop.example.com:443", serves: shop}}}
    steps: [{at: +1h, expect: {alerts: []}}]
`), 0o644)
	if r := w.certmedic("rules", "test", "/root/wrong.test.yml"); r.Code != 1 || !strings.Contains(r.Stdout, "/root/wrong.test.yml:5:") || !strings.Contains(r.Stdout, "expired") {
		w.t.Errorf("a scenario that is wrong: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// checkMistakes checks the configured rules, and that a mistake in them is named with its
// place, by the command and by the reload that it makes the daemon refuse.
func (w *world) checkMistakes() {
	w.t.Helper()
	if r := w.certmedic("rules", "check"); r.Code != 0 || r.Stdout != "ok, 44 rules\n" {
		w.t.Errorf("rules check exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	w.WriteFile("/etc/certmedic/rules/wrong.yml", []byte("rules:\n  - name: wrong\n    about: certificate\n    when: certificate.drfit\n    severity: info\n"), 0o644)
	const place = "/etc/certmedic/rules/wrong.yml:4:"
	if r := w.certmedic("rules", "check"); r.Code != 1 || !strings.Contains(r.Stderr, place) || !strings.Contains(r.Stderr, "drfit") {
		w.t.Errorf("rules check exits %d for a mistake:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	w.must("systemctl reload certmedic")
	w.await("the reload was refused", patience, 100*time.Millisecond, func() bool { return w.metric("certmedic_config_last_reload_successful") == "0" })
	if log := w.must("journalctl --sync; journalctl --unit certmedic --output cat"); !strings.Contains(log, place) {
		w.t.Errorf("the daemon does not say where the mistake is:\n%s", log)
	}
	w.must("rm /etc/certmedic/rules/wrong.yml && systemctl reload certmedic")
	w.await("the configuration is taken again", patience, 100*time.Millisecond, func() bool { return w.metric("certmedic_config_last_reload_successful") == "1" })
}
