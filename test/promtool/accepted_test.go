package promtool_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/promrules"
)

// TestExportIsAccepted has promtool check the rules that are handed out.
func TestExportIsAccepted(t *testing.T) {
	accept(t, "../../dashboards/certmedic.rules.yml")
}

func accept(t *testing.T, file string) {
	t.Helper()
	if out, err := exec.Command(promtool(t), "check", "rules", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestAnythingIsAccepted has promtool check what becomes of conditions of every form.
func TestAnythingIsAccepted(t *testing.T) {
	var text strings.Builder
	text.WriteString("rules:\n")
	for i, row := range []struct{ about, when string }{
		{"address", `address.expires_in < share(0.1) || certificate.drift`},
		{"address", `!(address.remaining_ratio < 0.5 && certificate.split) && endpoint.reachable`},
		{"address", `share(0.5) > address.expires_in && !address.reachable`},
		{"endpoint", `!certificate.expired || !(certificate.drift && endpoint.missed_rounds / 2.0 - 1.0 > 3.0)`},
		{"endpoint", `size(certificate.findings) > 2 && size(endpoint.findings) == 0`},
		{"endpoint", `certificate.hook_exit_code == 0 || endpoint.address in ["a:1", "b\"c:2"]`},
		{"certificate", `!(certificate.stage in ["stored", "deployed"]) && certificate.name != "shop"`},
		{"certificate", `certificate.lifetime - certificate.served_expires_in > days(30) && certificate.labels.team == "a\\\\b"`},
		{"certificate", `!certificate.findings.exists(f, f == "expired" || f in ["revoked", "weak_key"])`},
		{"certificate", `certificate.remaining_ratio * 2.0 + 1.0 < 1.5 || !certificate.renewal_overdue`},
		{"certificate", `certificate.ari_ends_in < duration("-1h") || certificate.stored_expires_in < days(1) || !certificate.served_newer`},
		{"certificate", `true || certificate.drift`},
		{"fleet", `!(fleet.queue_age > duration("5m") || size(fleet.rule_errors) > 0)`},
		{"fleet", `fleet.missed_rounds > 2.0 && fleet.last_round_age < days(1)`},
	} {
		fmt.Fprintf(&text, "  - {name: rule%d, about: %s, severity: info, when: '%s', for: 1500ms, summary: '\"{{.Subject}}\"'}\n", i, row.about, row.when)
	}
	loaded, err := rules.Load("odd.yml", []byte(text.String()), 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []promrules.Translation
	for _, r := range loaded {
		translated := promrules.Translate(r, promrules.Options{Interval: 1500 * time.Millisecond})
		if translated.Reason != "" {
			t.Errorf("%s: %s", r.When, translated.Reason)
		}
		all = append(all, translated)
	}
	var b strings.Builder
	if err := promrules.Write(&b, all); err != nil {
		t.Fatal(err)
	}
	accept(t, ruleFile(t, b.String()))
}
