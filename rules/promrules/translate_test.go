package promrules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/rules"
	"github.com/certmedic/certmedic/rules/promrules"
)

var options = promrules.Options{Interval: 30 * time.Second, Runbooks: "https://docs.test/"}

// load compiles one rule of this text.
func load(t *testing.T, text string) rules.Rule {
	t.Helper()
	loaded, err := rules.Load("mine.yml", []byte("rules:\n  - "+strings.ReplaceAll(text, "\n", "\n    ")), 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return loaded[0]
}

func condition(t *testing.T, about, when string) rules.Rule {
	t.Helper()
	return load(t, fmt.Sprintf("name: mine\nabout: %s\nseverity: warning\nwhen: %q\n", about, when))
}

// oneLine leaves line breaks aside, which depend on lengths.
func oneLine(expr string) string { return strings.Join(strings.Fields(expr), " ") }

func TestExpressions(t *testing.T) {
	const (
		unreached = `{code=~"unreachable|dns_failed|timeout|starttls_failed|handshake_failed"}`
		probed    = `certmedic_probe_last_timestamp_seconds`
	)
	for _, row := range []struct{ sentence, about, when, want string }{
		{
			"a finding of an address", "address", `"revoked" in address.findings`,
			`group by (job, instance, certificate, endpoint, address) (certmedic_finding{code="revoked"})`,
		},
		{
			"several, in any form of words", "endpoint", `endpoint.findings.exists(f, f == "revoked" || f in ["expired", "weak_key"])`,
			`group by (job, instance, certificate, endpoint) (certmedic_finding{code=~"revoked|expired|weak_key"})`,
		},
		{
			"words are no regular expressions", "address", `address.tls_version in ["TLS 1.0", "TLS 1.1"]`,
			`group by (job, instance, certificate, endpoint, address) (certmedic_tls_info{version=~"TLS 1\\.0|TLS 1\\.1"})`,
		},
		{
			"who has no finding is everybody else", "address", `!("revoked" in address.findings)`,
			`group by (job, instance, certificate, endpoint, address) (` + probed + `) unless group by (job, instance, certificate, endpoint, address) (certmedic_finding{code="revoked"})`,
		},
		{
			"a comparison that does not hold is its opposite", "address", `!(address.remaining_ratio < 0.5)`,
			`min by (job, instance, certificate, endpoint, address) (certmedic_served_lifetime_remaining_ratio) >= 0.5`,
		},
		{
			"durations are seconds", "address", `address.expires_in < days(2) + duration("90m")`,
			`min by (job, instance, certificate, endpoint, address) (certmedic_served_not_after_timestamp_seconds) - time() < 178200`,
		},
		{
			"a negative duration", "address", `address.expires_in < duration("-1h")`,
			`min by (job, instance, certificate, endpoint, address) (certmedic_served_not_after_timestamp_seconds) - time() < -3600`,
		},
		{
			"intervals are those of the configuration", "endpoint", `endpoint.missed_rounds >= 5.0`,
			`(time() - max by (job, instance, certificate, endpoint) (` + probed + `)) / 30 >= 5`,
		},
		{
			"or, and and not, by De Morgan", "endpoint", `!(endpoint.split || endpoint.vanished && endpoint.missed_rounds > 2.0)`,
			`(group by (job, instance, certificate, endpoint) (` + probed + `) unless (group by (job, instance, certificate, endpoint) (certmedic_finding{code="dns_failed"}) and ` +
				`group by (job, instance, certificate, endpoint) (certmedic_served_not_after_timestamp_seconds)) or (time() - max by (job, instance, certificate, endpoint) (` + probed + `)) / 30 <= 2) ` +
				`unless group by (job, instance, certificate, endpoint) (certmedic_finding{code="split_serving"})`,
		},
		{
			"a comparison with true", "endpoint", `endpoint.split == true`,
			`group by (job, instance, certificate, endpoint) (certmedic_finding{code="split_serving"})`,
		},
		{
			"presence is a certificate at one address", "endpoint", `endpoint.reachable != false`,
			`group by (job, instance, certificate, endpoint) (` + probed + ` unless ignoring (code) certmedic_finding` + unreached + `)`,
		},
		{
			"an endpoint by its address", "endpoint", `endpoint.address == "shop.test:443" && endpoint.split`,
			`group by (job, instance, certificate, endpoint) (` + probed + `{endpoint="shop.test:443"}) and group by (job, instance, certificate, endpoint) (certmedic_finding{code="split_serving"})`,
		},
		{
			"certmedic itself", "fleet", `fleet.queue_age > duration("5m")`,
			`max by (job, instance) (certmedic_notification_queue_oldest_seconds) > 300`,
		},
		{
			"two ways for certmedic itself to fail", "fleet", `fleet.queue_age > duration("5m") || size(fleet.failing_receivers) > 0`,
			`max by (job, instance) (certmedic_notification_queue_oldest_seconds) > 300 or count by (job, instance) (group by (job, instance, receiver) (certmedic_receiver_failing > 0)) > 0`,
		},
		{
			"the length of a list", "fleet", `size(fleet.rule_errors) >= 1`,
			`count by (job, instance) (group by (job, instance, rule) (increase(certmedic_rule_evaluation_failures_total[5m]) > 0)) >= 1`,
		},
	} {
		got := promrules.Translate(condition(t, row.about, row.when), options)
		if got.Reason != "" || len(got.Alerts) != 1 {
			t.Errorf("%s: %d alerts, %s", row.sentence, len(got.Alerts), got.Reason)
			continue
		}
		if oneLine(got.Alerts[0].Expr) != oneLine(row.want) {
			t.Errorf("%s:\n%s\nwant\n%s", row.sentence, got.Alerts[0].Expr, row.want)
		}
	}
}

func TestCertificatesAndWatched(t *testing.T) {
	for _, row := range []struct{ sentence, when, managed, watched string }{
		{
			"a certificate has a name, what is only watched an endpoint", `certificate.stored_expires_in < days(1)`,
			`min by (job, instance, certificate) (certmedic_stored_not_after_timestamp_seconds{certificate!=""}) - time() < 86400`,
			`min by (job, instance, endpoint) (certmedic_stored_not_after_timestamp_seconds{certificate=""}) - time() < 86400`,
		},
		{
			"what is only watched does not drift", `certificate.drift`,
			`group by (job, instance, certificate) (certmedic_finding{certificate!="",code="drift"})`, "",
		},
		{
			"nor does it say that of it", `!certificate.drift && "revoked" in certificate.findings`,
			`group by (job, instance, certificate) (certmedic_finding{certificate!="",code="revoked",address!=""})
unless group by (job, instance, certificate) (certmedic_finding{certificate!="",code="drift"})
unless group by (job, instance, certificate) (certmedic_finding{certificate!="",code=~"unreachable|dns_failed|timeout|starttls_failed|handshake_failed"})
unless group by (job, instance, certificate) (certmedic_stage{certificate!="",stage="deploying"} == 1)`,
			`group by (job, instance, endpoint) (certmedic_finding{certificate="",code="revoked"})`,
		},
		{
			"a rule may be about one kind only", `certificate.watched && certificate.split`, "",
			`count by (job, instance, endpoint) (group by (job, instance, endpoint, sha256) (certmedic_served_info{certificate=""})) > 1`,
		},
		{
			"a number without a series is asked for only where 0 would count", `certificate.hook_exit_code != 0`,
			`max by (job, instance, certificate) (certmedic_hook_last_exit_code{certificate!="",rehearsal=""}) != 0`, "",
		},
		{
			"here it counts", `certificate.hook_exit_code == 0 && certificate.stage == "stored"`,
			`(max by (job, instance, certificate) (certmedic_hook_last_exit_code{certificate!="",rehearsal=""}) or 0 * group by (job, instance, certificate) (certmedic_leader{certificate!=""})) == 0
and group by (job, instance, certificate) (certmedic_stage{certificate!="",stage="stored"} == 1)`, "",
		},
		{
			"findings for information are none", `"no_sct" in certificate.findings || certificate.split`,
			`count by (job, instance, certificate) (group by (job, instance, certificate, sha256) (certmedic_served_info{certificate!=""})) > 1`,
			`count by (job, instance, endpoint) (group by (job, instance, endpoint, sha256) (certmedic_served_info{certificate=""})) > 1`,
		},
		{
			"a certificate by its name", `certificate.name in ["shop", "mail"]`,
			`group by (job, instance, certificate) (certmedic_leader{certificate!="",certificate=~"shop|mail"})`,
			`group by (job, instance, endpoint) (certmedic_probe_last_timestamp_seconds{certificate="",endpoint=~"shop|mail"} or certmedic_stored_not_after_timestamp_seconds{certificate="",endpoint=~"shop|mail"})`,
		},
		{
			"a certificate by its label", `"team" in certificate.labels && certificate.labels["team"] == "payments"`,
			`group by (job, instance, certificate) (certmedic_leader{certificate!="",team!=""}) and group by (job, instance, certificate) (certmedic_leader{certificate!="",team="payments"})`,
			`group by (job, instance, endpoint) (certmedic_probe_last_timestamp_seconds{certificate="",team!=""} or certmedic_stored_not_after_timestamp_seconds{certificate="",team!=""})
and group by (job, instance, endpoint) (certmedic_probe_last_timestamp_seconds{certificate="",team="payments"} or certmedic_stored_not_after_timestamp_seconds{certificate="",team="payments"})`,
		},
		{
			"another label is one at least", `!certificate.watched && certificate.labels.team != "payments"`,
			`group by (job, instance, certificate) (certmedic_leader{certificate!="",team!="payments",team!=""})`, "",
		},
	} {
		got := map[bool]string{}
		translated := promrules.Translate(condition(t, "certificate", row.when), options)
		if translated.Reason != "" {
			t.Errorf("%s: %s", row.sentence, translated.Reason)
		}
		for _, a := range translated.Alerts {
			got[a.Watched] = a.Expr
		}
		if oneLine(got[false]) != oneLine(row.managed) || oneLine(got[true]) != oneLine(row.watched) {
			t.Errorf("%s:\n%s\n---\n%s\nwant\n%s\n---\n%s", row.sentence, got[false], got[true], row.managed, row.watched)
		}
	}
}

// TestLevels shows how a rule about a part asks for something of the whole.
func TestLevels(t *testing.T) {
	for _, row := range []struct{ sentence, about, when, want string }{
		{
			"the certificate's share of life", "address", `address.expires_in < share(0.1)`,
			`certmedic_served_not_before_timestamp_seconds{certificate!=""})
  or min by (job, instance, certificate) (certmedic_stored_not_after_timestamp_seconds{certificate!=""} - certmedic_stored_not_before_timestamp_seconds{certificate!=""})
) * 0.1`,
		},
		{
			"it is matched by the certificate", "address", `address.expires_in < share(0.1)`,
			`{certificate!=""}) - time() < on (job, instance, certificate) group_left () `,
		},
		{
			"endpoints of what drifts", "endpoint", `!endpoint.reachable && certificate.drift`,
			`and on (job, instance, certificate) group by (job, instance, certificate) (certmedic_finding{certificate!="",code="drift"})`,
		},
		{
			"all endpoints of what drifts", "endpoint", `certificate.drift`,
			`group by (job, instance, certificate, endpoint) (certmedic_probe_last_timestamp_seconds{certificate!=""}) and on (job, instance, certificate) group by (job, instance, certificate) (certmedic_finding{certificate!="",code="drift"})`,
		},
		{
			"either of a certificate or of an address", "address", `certificate.drift || address.remaining_ratio < 0.1`,
			"\nor min by (job, instance, certificate, endpoint, address) (certmedic_served_lifetime_remaining_ratio",
		},
	} {
		got := promrules.Translate(condition(t, row.about, row.when), options)
		if got.Reason != "" || !strings.Contains(oneLine(got.Alerts[0].Expr), oneLine(row.want)) {
			t.Errorf("%s: %s\n%v\nwant\n%s", row.sentence, got.Reason, got.Alerts, row.want)
		}
	}
}

func TestReasons(t *testing.T) {
	for _, row := range []struct{ sentence, about, when, want string }{
		{"a fact without a metric", "certificate", `certificate.refusal == "frozen"`, "no metric tells certificate.refusal"},
		{"though the other half has one", "certificate", `certificate.drift || certificate.remediation == "gave_up"`, "no metric tells certificate.remediation"},
		{"files", "file", `file.mode == "0644"`, "files have no series of their own"},
		{"a regular expression", "certificate", `certificate.name.matches("^a")`, "matches() has no counterpart"},
		{"what all elements have to be", "certificate", `certificate.findings.all(f, f == "expired")`, "of what looks through lists, only exists has a counterpart"},
		{"what a word begins with", "certificate", `certificate.findings.exists(f, f.startsWith("chain"))`, "within exists, only comparisons with fixed words have a counterpart"},
		{"a choice", "certificate", `certificate.drift ? certificate.split : false`, `"?:" has no counterpart`},
		{"a label of the metrics' own", "certificate", `certificate.labels["job"] == "a"`, `no metric has the label "job" of a certificate by that name`},
		{"a label that metrics cannot have", "certificate", `"a-b" in certificate.labels`, `no metric has the label "a-b"`},
		{"whether something is known", "certificate", `has(certificate.labels.team)`, ".team has no counterpart"},
		{"two words that are variables", "certificate", `certificate.stage == certificate.name`, "no counterpart"},
		{"an empty word", "certificate", `certificate.stage == ""`, "an empty certificate.stage has no counterpart"},
		{"what never holds", "certificate", `"no_sct" in certificate.findings`, "it holds for nothing that has metrics"},
	} {
		got := promrules.Translate(condition(t, row.about, row.when), options)
		if len(got.Alerts) > 0 || !strings.Contains(got.Reason, row.want) {
			t.Errorf("%s: %d alerts, reason %q, want %q", row.sentence, len(got.Alerts), got.Reason, row.want)
		}
	}
}

func TestAlerts(t *testing.T) {
	r := load(t, `name: my_own-rule
about: certificate
severity: warning
when: certificate.expired
for: 90s
keep_firing_for: 1h
runbook: mine
summary: "{{.Certificate}} ended{{if .ExpiresIn}} {{.ExpiresIn}} ago{{end}}{{with len .Members}} at {{.}} places{{end}}"
ladder:
  - do: notify
  - {do: redeploy, after: 1m}
  - {do: notify, after: 10m, severity: critical}
  - {do: notify, after: 20m, when: certificate.stored_ok, severity: critical}
`)
	got := promrules.Translate(r, options)
	if len(got.Alerts) != 4 {
		t.Fatalf("%d alerts, want one and its later step, for certificates and for what is only watched", len(got.Alerts))
	}
	first, later := got.Alerts[0], got.Alerts[1]
	if first.Name != "CertmedicMyOwnRule" || first.For != 90*time.Second || first.KeepFiringFor != time.Hour || first.Severity != "warning" {
		t.Errorf("the alert is %+v", first)
	}
	if first.Summary != "{{ $labels.certificate }} ended" || first.RunbookURL != "https://docs.test/mine.md" {
		t.Errorf("it says %q, see %q", first.Summary, first.RunbookURL)
	}
	if later.Name != first.Name || later.For != 10*time.Minute+90*time.Second || later.Severity != "critical" || later.Expr != first.Expr {
		t.Errorf("the later step is %+v", later)
	}
	if len(got.Notes) != 1 || got.Notes[0] != "that it becomes critical once certificate.stored_ok is left out" {
		t.Errorf("the notes are %q", got.Notes)
	}
}

func TestSummaries(t *testing.T) {
	for _, row := range []struct{ sentence, about, summary, want string }{
		{"none", "certificate", "", "certmedic's rule mine holds for {{ $labels.certificate }}"},
		{"one that cannot do without a fact", "certificate", "{{.Certificate}} ends in {{.ExpiresIn}}", "certmedic's rule mine holds for {{ $labels.certificate }}"},
		{"nor without a count", "certificate", "{{len .Members}} places", "certmedic's rule mine holds for {{ $labels.certificate }}"},
		{"an endpoint's", "endpoint", "{{.Subject}} of {{.Certificate}}", "{{ $labels.endpoint }} of {{ $labels.certificate }}"},
		{"an address's", "address", "{{.Subject}}", "{{ $labels.endpoint }} at {{ $labels.address }}"},
	} {
		when := map[string]string{"certificate": "certificate.drift", "endpoint": "endpoint.split", "address": "!address.reachable"}[row.about]
		r := condition(t, row.about, when)
		r.Summary = row.summary
		if got := promrules.Translate(r, options).Alerts[0].Summary; got != row.want {
			t.Errorf("%s: %q, want %q", row.sentence, got, row.want)
		}
	}
}

// TestWriteNothing shows that rules without any counterpart are still a file of rules, and
// that a condition cannot leave its comment.
func TestWriteNothing(t *testing.T) {
	r := condition(t, "certificate", "certificate.refusal\n==\n\"a\u2028- alert: x\"")
	var b strings.Builder
	if err := promrules.Write(&b, []promrules.Translation{promrules.Translate(r, options)}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "rules: []") {
		t.Errorf("got\n%s", b.String())
	}
	_, body, _ := strings.Cut(b.String(), "rules: []\n")
	for line := range strings.Lines(body) {
		if text := strings.TrimSpace(line); text != "" && !strings.HasPrefix(text, "#") || strings.Contains(text, "\u2028") {
			t.Errorf("%q is no comment", line)
		}
	}
}
