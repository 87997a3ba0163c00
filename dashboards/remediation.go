package dashboards

import (
	"fmt"

	"github.com/certmedic/certmedic"
)

// painted gives the outcomes of actions their colours.
func (p panel) painted() panel {
	for _, o := range []struct {
		outcome certmedic.OutcomeKind
		colour  string
	}{
		{certmedic.OutcomeHealed, "green"},
		{certmedic.OutcomeUnverified, "yellow"},
		{certmedic.OutcomeFailed, "red"},
		{certmedic.OutcomePutBack, "orange"},
		{certmedic.OutcomeRefused, "purple"},
		{certmedic.OutcomePlanned, "blue"},
	} {
		p = p.paint(string(o.outcome), o.colour)
	}
	return p
}

// quantiles asks for two quantiles of a histogram, over the window. Where nothing happened there is
// none, which Prometheus calls not a number.
func quantiles(histogram, name, window string) []query {
	ask := func(q float64) string {
		return fmt.Sprintf(`histogram_quantile(%g, sum by (le) (rate(%s_bucket{@}[%s]))) >= 0`, q, histogram, window)
	}
	return []query{{ask(0.5), name + "median"}, {ask(0.95), name + "95 %"}}
}

// remediation is the dashboard of what certmedic did, and what it was kept from.
func remediation() Dashboard {
	d := board(
		ledgerUID, "certmedic-ledger.json", "certmedic: remediation ledger",
		"What certmedic did, how that ended and how long it took, what it refused to do, and what is left of the CA's limits.",
		certificates())
	d.Time.From = "now-7d"
	d.row("In the time shown", 4,
		stat("Actions", "Actions that ended, by outcome. Healed is what was seen served by two rounds of handshakes.",
			query{`sum by (outcome) (increase(certmedic_actions_total{@}[$__range])) > 0`, "{{outcome}}"}).decimals(0).none("no action").painted().wide(8),
		stat("Time to detect", "From when a new version could be served to when it was found that it is not.", quantiles("certmedic_time_to_detect_seconds", "", "$__range")...).unit("s").none("nothing to detect").wide(5),
		stat("Time to heal", "From that finding to when the new version was served everywhere.", quantiles("certmedic_time_to_heal_seconds", "", "$__range")...).unit("s").none("nothing to heal").wide(5),
		stat("Waits for people", "Open incidents that say that automation cannot go on alone.",
			query{`sum by (rule) (certmedic_incidents{@,rule=~"approval-needed|remediation-blocked|remediation-failed",state="firing"})`, "{{rule}}"}).colours(unwanted("orange")).wide(6))
	d.ledgerActions()
	d.ledgerMoney()
	d.markAt("Actions", "blue", "{{action}}", `max by (action) (certmedic_action_last_timestamp_seconds{@}) * 1000`)
	d.mark("Renewed", "green", "{{certificate}} was renewed", `sum by (certificate) (changes(certmedic_stored_not_before_timestamp_seconds{@c}[$__rate_interval])) > 0`)
	return d
}

func (d *Dashboard) ledgerActions() {
	heal := append(quantiles("certmedic_time_to_detect_seconds", "detect, ", "$__rate_interval"), quantiles("certmedic_time_to_heal_seconds", "heal, ", "$__rate_interval")...)
	d.row("Actions", 8,
		events("By outcome", "Actions that ended.", query{`sum by (outcome) (increase(certmedic_actions_total{@}[$__rate_interval])) > 0`, "{{outcome}}"}).none("no action").painted().wide(8),
		events("By kind", "The cheapest comes first: reload, redeploy, rollback, renew.", query{`sum by (action) (increase(certmedic_actions_total{@}[$__rate_interval])) > 0`, "{{action}}"}).none("no action").wide(8),
		events("Refused", "Wishes to act that a guard refused, by reason. One that stands is counted once.",
			query{`sum by (reason) (increase(certmedic_refusals_total{@}[$__rate_interval])) > 0`, "{{reason}}"}).none("nothing was refused").wide(8))
	d.row("", 8,
		lines("Time to detect and to heal", "Of drift.", heal...).unit("s").from(0).none("nothing to heal").wide(12),
		lines("Duration of actions", "Verification included.", quantiles("certmedic_action_duration_seconds", "", "$__rate_interval")...).unit("s").from(0).none("no action").wide(6),
		table("Last action", "How long ago the last action of each kind ended.", "ago",
			[]column{{of: "action"}, {of: "A", as: "ago", unit: "s"}},
			`time() - max by (action) (certmedic_action_last_timestamp_seconds{@})`).wide(6))
}

func (d *Dashboard) ledgerMoney() {
	few := steps(below("red"), from(1, "orange"), from(3, "green"))
	page := []object{toPage("Its page", "certificates", "certificate"), toCertificate("certificate")}
	d.row("The CA's limits, loans and rehearsals", 8,
		meter("Left of the CA's limits", "How much is left of each limit, for the certificate that has the least. Automation leaves a reserve to people.",
			query{`min by (limit) (certmedic_ca_budget_remaining{@})`, "{{limit}}"}).from(0).colours(few).none("no CA with limits").wide(6),
		table("Rolled back", "A rollback is a loan: an older version is served until the deadline at the latest.", "deadline in",
			[]column{{of: "certificate", links: page}, {of: "A", as: "deadline in", unit: "s", digits: 1}},
			`min by (certificate) (certmedic_rollback_deadline_timestamp_seconds{@c}) - time()`).none("nothing is rolled back").wide(6),
		table("Failed commands", "Certificates of which a command of the last action, or of the last rehearsal, failed.", "certificate",
			[]column{{of: "certificate", links: page}, {of: "rehearsal"}, {of: "A", as: "exit code"}},
			`max by (certificate, rehearsal) (certmedic_hook_last_exit_code{@c}) != 0`).none("none failed").wide(6),
		table("Rehearsals", "What was tried without changing anything, and how long ago.", "result",
			[]column{
				{of: "certificate", links: page},
				{of: "rehearsal"},
				{of: "A", as: "result", names: called(value{"failed", "red"}, value{"fine", "green"}), cell: "color-text"},
				{of: "B", as: "ago", unit: "s"},
			},
			`min by (certificate, rehearsal) (certmedic_rehearsal_success{@c})`,
			`time() - max by (certificate, rehearsal) (certmedic_rehearsal_last_timestamp_seconds{@c})`).none("none was made").wide(6))
}
