package promrules

import (
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// form is PromQL with places for labels and matchers, see [scope.fill], and how its
// weakest operator binds.
type form struct {
	text  string
	binds int
}

// meaning says what a CEL variable is in PromQL. One of number, yes and series is set.
type meaning struct {
	number form // its value, durations in seconds
	zero   bool // it is 0 where there is no series

	yes  form // the set of those for which it is true; for all others it is false
	seen bool // unless one of their addresses presents no certificate, which may hide something
	open form // or unless they are in this set

	below string // it is true where another variable is negative

	series string // one for each word of a list, or for a word
	label  string // which holds the word
	value  string // what tells the word that holds, such as " == 1"

	managed bool   // of certificates only: false or 0 for what is only watched
	watched string // the series for what is only watched, where they are others

	note string // what PromQL says a little differently
}

// unreached matches the findings of an address that presents no certificate.
const unreached = `code=~"unreachable|dns_failed|timeout|starttls_failed|handshake_failed"`

// errorWindow is how far back evaluations that failed count.
const errorWindow = "[5m]"

// meanings returns what the variables are that have a counterpart.
func meanings() map[string]meaning {
	return map[string]meaning{
		"certificate.drift": {
			managed: true, seen: true,
			yes:  form{`group by () (certmedic_finding{,code="drift"})`, bindsAtom},
			open: form{`group by () (certmedic_stage{,stage="deploying"} == 1)`, bindsAtom},
		},
		"certificate.served_newer": {managed: true, yes: form{`group by () (
  certmedic_served_not_after_timestamp_seconds{} > on () group_left max by () (certmedic_stored_not_after_timestamp_seconds{})
  and certmedic_served_not_before_timestamp_seconds{} > on () group_left max by () (certmedic_stored_not_before_timestamp_seconds{})
)`, bindsAtom}},
		"certificate.drift_age":       {managed: true, zero: true, number: form{"max by () (certmedic_drift_seconds{})", bindsAtom}},
		"certificate.split":           {seen: true, yes: form{"count by () (group by (,sha256) (certmedic_served_info{})) > 1", bindsCompare}},
		"certificate.stage":           {managed: true, series: "certmedic_stage{}", label: "stage", value: " == 1"},
		"certificate.hook_exit_code":  {managed: true, zero: true, number: form{`max by () (certmedic_hook_last_exit_code{,rehearsal=""})`, bindsAtom}},
		"certificate.served_versions": {series: "certmedic_served_info{}", label: "sha256"},
		"certificate.findings":        {series: `certmedic_finding{,address!=""}`, watched: "certmedic_finding{}", seen: true, label: "code"},
		"certificate.stored_findings": {series: `certmedic_finding{,address=""}`, label: "code"},
		"certificate.tls_versions":    {series: "certmedic_tls_info{}", seen: true, label: "version"},

		"certificate.expired":         {below: "certificate.served_expires_in"},
		"certificate.renewal_overdue": {below: "certificate.renewal_due_in"},
		"certificate.served_expires_in": {number: form{
			"(min by () (certmedic_served_not_after_timestamp_seconds{}) or min by () (certmedic_stored_not_after_timestamp_seconds{})) - time()", bindsAdd,
		}},
		"certificate.stored_expires_in": {number: form{"min by () (certmedic_stored_not_after_timestamp_seconds{}) - time()", bindsAdd}},
		"certificate.remaining_ratio": {number: form{`(
  min by () (certmedic_served_lifetime_remaining_ratio{})
  or min by () ((certmedic_stored_not_after_timestamp_seconds{} - time()) / (certmedic_stored_not_after_timestamp_seconds{} - certmedic_stored_not_before_timestamp_seconds{}))
)`, bindsAtom}},
		"certificate.lifetime": {number: form{`(
  min by () (bottomk by () (1, certmedic_served_not_after_timestamp_seconds{}) - certmedic_served_not_before_timestamp_seconds{})
  or min by () (certmedic_stored_not_after_timestamp_seconds{} - certmedic_stored_not_before_timestamp_seconds{})
)`, bindsAtom}},
		"certificate.renewal_due_in": {number: form{"min by () (certmedic_renewal_due_timestamp_seconds{}) - time()", bindsAdd}},
		"certificate.ari_ends_in":    {number: form{"min by () (certmedic_ari_window_end_timestamp_seconds{}) - time()", bindsAdd}},

		"certificate.loan":         {managed: true, yes: form{"group by () (certmedic_rollback_deadline_timestamp_seconds{})", bindsAtom}},
		"certificate.loan_ends_in": {managed: true, number: form{"min by () (certmedic_rollback_deadline_timestamp_seconds{}) - time()", bindsAdd}},

		"endpoint.address":       {series: "certmedic_probe_last_timestamp_seconds{}", label: "endpoint"},
		"endpoint.findings":      {series: "certmedic_finding{}", label: "code"},
		"endpoint.split":         {yes: form{`group by () (certmedic_finding{,code="split_serving"})`, bindsAtom}},
		"endpoint.missed_rounds": {number: form{"(time() - max by () (certmedic_probe_last_timestamp_seconds{})) / INTERVAL", bindsMultiply}},
		"endpoint.reachable":     {yes: reached()},
		"endpoint.vanished": {
			note: "a name that cannot be resolved counts as gone, whatever the reason",
			yes:  form{`group by () (certmedic_finding{,code="dns_failed"}) and group by () (certmedic_served_not_after_timestamp_seconds{})`, bindsAnd},
		},

		"address.ip":              {series: "certmedic_probe_last_timestamp_seconds{}", label: "address"},
		"address.findings":        {series: "certmedic_finding{}", label: "code"},
		"address.served_sha256":   {series: "certmedic_served_info{}", label: "sha256"},
		"address.tls_version":     {series: "certmedic_tls_info{}", label: "version"},
		"address.expires_in":      {number: form{"min by () (certmedic_served_not_after_timestamp_seconds{}) - time()", bindsAdd}},
		"address.remaining_ratio": {number: form{"min by () (certmedic_served_lifetime_remaining_ratio{})", bindsAtom}},
		"address.reachable":       {yes: reached()},

		// Before the first round is complete its time is 0.
		"fleet.last_round_age":   {number: form{"time() - max by () (certmedic_last_round_timestamp_seconds{} > 0)", bindsAdd}},
		"fleet.missed_rounds":    {number: form{"(time() - max by () (certmedic_last_round_timestamp_seconds{} > 0)) / INTERVAL", bindsMultiply}},
		"fleet.state_unwritten":  {number: form{"max by () (certmedic_state_unwritten_seconds{})", bindsAtom}},
		"fleet.coordinator_lost": {number: form{"max by () (certmedic_coordinator_lost_seconds{})", bindsAtom}},
		"fleet.members_gone":     {series: "certmedic_member_gone{} > 0", label: "member"},
		"fleet.queue_age":        {number: form{"max by () (certmedic_notification_queue_oldest_seconds{})", bindsAtom}},
		"fleet.rule_errors":      {series: "increase(certmedic_rule_evaluation_failures_total{}" + errorWindow + ") > 0", label: "rule", note: "errors count for 5 min"},
		"fleet.failing_receivers": {
			series: "certmedic_receiver_failing{} > 0", label: "receiver",
		},
	}
}

// reached is the set of those of whose addresses one presents a certificate.
func reached() form {
	return form{"group by () (certmedic_probe_last_timestamp_seconds{} unless ignoring (code) certmedic_finding{," + unreached + "})", bindsAtom}
}

// level returns the level of a variable, by its name.
func level(variable string) certmedic.SubjectKind {
	of, _, _ := strings.Cut(variable, ".")
	return certmedic.SubjectKind(of)
}

// excluded returns the words that the series of a list have besides those of the variable.
func excluded(variable string, watched bool) []string {
	var codes []certmedic.FindingCode
	ofFiles := []certmedic.FindingCode{
		certmedic.FileMissing, certmedic.FileUnreadable, certmedic.FilePermissions, certmedic.LineageBroken, certmedic.KeyMismatch,
	}
	inform := func(c certmedic.FindingCode) bool { return c.Severity() != certmedic.SeverityInfo }
	info := slices.DeleteFunc(certmedic.FindingCodes(), inform)
	switch {
	case variable == "certificate.stored_findings" && watched: // what is wrong with a watched certificate is told of it alone
		codes = slices.DeleteFunc(certmedic.FindingCodes(), func(c certmedic.FindingCode) bool { return slices.Contains(ofFiles, c) })
	case variable == "certificate.stored_findings":
		codes = info
	case variable == "certificate.findings" && watched:
		codes = append(append(info, ofFiles...), certmedic.Drift)
	case variable == "certificate.findings":
		codes = append(info, certmedic.Drift)
	case variable == "endpoint.findings":
		codes = []certmedic.FindingCode{certmedic.Drift}
	case variable == "address.findings":
		codes = []certmedic.FindingCode{certmedic.Drift, certmedic.SplitServing}
	}
	words := make([]string, 0, len(codes))
	for _, c := range codes {
		words = append(words, string(c))
	}
	return words
}
