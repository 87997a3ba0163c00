package dashboards

import (
	"fmt"
	"strings"

	"github.com/certmedic/certmedic"
)

// certificate is the dashboard of one certificate.
func certificate() Dashboard {
	d := board(
		certificateUID, "certmedic-certificate.json", "certmedic: one certificate",
		"The way of one certificate: what is stored, what each address serves, when it has to be replaced, and what was found.",
		single("certificate", "Certificate", `label_values(certmedic_stage{job=~"$job",instance=~"$instance"}, certificate)`))
	d.Time.From = "now-90d"
	d.certificateNow()
	d.certificateHistory()
	d.certificatePlaces()
	d.mark("Renewed", "blue", "renewed", `max(changes(certmedic_stored_not_before_timestamp_seconds{@c}[$__rate_interval])) > 0`)
	d.mark("Deployed", "green", "another version is served at {{address}}", `max by (address) (changes(certmedic_served_not_before_timestamp_seconds{@c}[$__rate_interval])) > 0`)
	d.mark("Rolled back", "orange", "rolled back", `group by (certificate) (certmedic_rollback_deadline_timestamp_seconds{@c}) unless group by (certificate) (certmedic_rollback_deadline_timestamp_seconds{@c} offset $__rate_interval)`)
	return d
}

// stageNumber turns the stage into a number, of which stageNames are the names.
func stageNumber() string {
	parts := make([]string, 0, len(certmedic.Stages()))
	for i, s := range certmedic.Stages() {
		parts = append(parts, fmt.Sprintf(`%d * max by (certificate) (certmedic_stage{@c,stage="%s"})`, i+1, s))
	}
	return strings.Join(parts, " + ")
}

func stageNames() []object {
	colours := map[certmedic.Stage]string{
		certmedic.StageIssued: "red", certmedic.StageStored: "orange", certmedic.StageDeployed: "yellow",
		certmedic.StageLoaded: "light-yellow", certmedic.StageServed: "green", certmedic.StageDeploying: "blue",
	}
	names := []value{{"unknown", "text"}}
	for _, s := range certmedic.Stages() {
		names = append(names, value{string(s), colours[s]})
	}
	return called(names...)
}

func (d *Dashboard) certificateNow() {
	until := func(aggregate, metric string) string { return aggregate + "(" + metric + "{@c}) - time()" }
	d.row("Now", 4,
		stat("Stage", "How far its newest version has come.", query{stageNumber(), "stage"}).names(stageNames()).links(link("Its page", "${ui}/certificates/${certificate:percentencode}")).wide(3),
		stat("Life left", "Share of the lifetime that is left of what is served, where it is the least.",
			query{`min(certmedic_served_lifetime_remaining_ratio{@c})`, "left"}).unit("percentunit").decimals(0).colours(bands()).wide(3),
		stat("What is served ends in", "At the address where it ends first.", query{until("min", "certmedic_served_not_after_timestamp_seconds"), "served"}).unit("s").decimals(1).colours(ends()).wide(3),
		stat("What is stored ends in", "The newest version of its source.", query{until("max", "certmedic_stored_not_after_timestamp_seconds"), "stored"}).unit("s").decimals(1).colours(ends()).wide(3),
		stat("Renewal overdue in", "From then on its renewal is overdue: by the window of its CA, else by its own history or lifetime.",
			query{until("min", "certmedic_renewal_due_timestamp_seconds"), "due"}).unit("s").decimals(1).colours(ends()).wide(3),
		stat("Window of the CA ends in", "The CA wants the newest version replaced by then (ARI, RFC 9773). Many CAs name none.",
			query{until("min", "certmedic_ari_window_end_timestamp_seconds"), "window"}).unit("s").decimals(1).colours(ends()).none("none").wide(3),
		stat("Rollback ends in", "It is served from an older version for so long at most.",
			query{until("min", "certmedic_rollback_deadline_timestamp_seconds"), "loan"}).unit("s").decimals(1).colours(ends()).none("not rolled back").wide(3),
		stat("Hook", "Exit code of the first command of the last action that failed, or 0.",
			query{`max(certmedic_hook_last_exit_code{@c,rehearsal=""})`, "exit code"}).colours(unwanted("red")).none("none ran").wide(3))
}

func (d *Dashboard) certificateHistory() {
	d.row("Its life", 9,
		lines("Share of life left", "Each version that was served, from the recording rules. A saw-tooth: how far down it goes before the next begins is when it is renewed.",
			query{short(`min by (sha256) (version:certmedic_served_lifetime_remaining_ratio:min{@c})`), "{{version}}"}).unit("percentunit").wide(12),
		lines("What ends when", "How long until each of them. The renewal belongs between the beginning and the end of the CA's window.",
			query{`min(certmedic_served_not_after_timestamp_seconds{@c}) - time()`, "what is served ends"},
			query{`max(certmedic_stored_not_after_timestamp_seconds{@c}) - time()`, "what is stored ends"},
			query{`min(certmedic_served_chain_not_after_timestamp_seconds{@c}) - time()`, "its chain ends"},
			query{`min(certmedic_renewal_due_timestamp_seconds{@c}) - time()`, "renewal is overdue"},
			query{`min(certmedic_ari_window_end_timestamp_seconds{@c}) - time()`, "window of the CA ends"}).unit("s").wide(12))
	d.row("", 7,
		states("Stage", "How far the newest version had come.", query{stageNumber(), "stage"}).names(stageNames()).wide(12),
		states("Versions served", "Each version by the beginning of its SHA-256, and at how many addresses.",
			query{short(`sum by (sha256) (version:certmedic_served_info:count{@c})`), "{{version}}"}).colours(steps(below("blue"))).wide(12))
}

func (d *Dashboard) certificatePlaces() {
	by := func(aggregate, expr string) string {
		return aggregate + " by (endpoint, address, variant) (" + expr + ")"
	}
	risk, drift := bands(), steps(below("text"), from(1, "orange"))
	d.row("Where it is served", 9,
		table("Served against stored", "What each address serves, compared with the newest stored version. Without a source there is nothing to compare with.", "address",
			[]column{
				{of: "endpoint"},
				{of: "address"},
				{of: "variant"},
				{of: "A", as: "life left", unit: "percentunit", bands: &risk, cell: "gauge"},
				{of: "B", as: "serves", names: called(value{"another version", "orange"}, value{"as stored", "green"}), cell: "color-text"},
				{of: "C", as: "drift", unit: "s", bands: &drift, cell: "color-text"},
				{of: "D", as: "last probe", names: called(value{"bad", "red"}, value{"fine", "green"}), cell: "color-text"},
				{of: "E", as: "chain ends in", unit: "s", digits: 1},
			},
			by("min", `certmedic_served_lifetime_remaining_ratio{@c}`),
			by("min", `certmedic_served_matches_stored{@c}`),
			by("max", `certmedic_drift_seconds{@c}`),
			by("min", `certmedic_probe_success{@c}`),
			by("min", `certmedic_served_chain_not_after_timestamp_seconds{@c}`)+" - time()",
		).wide(24))
	d.row("", 8,
		table("Versions and their chain", "Each version that is served.", "sha256",
			[]column{{of: "sha256"}, {of: "serial"}, {of: "subject"}, {of: "issuer"}, {of: "A", as: "addresses"}},
			`count by (sha256, serial, subject, issuer) (certmedic_served_info{@c})`).wide(14),
		table("Stored", "The newest version of its source.", "version",
			[]column{{of: "sha256"}, {of: "version"}, {of: "A", as: "instances"}},
			`count by (sha256, version) (certmedic_stored_info{@c})`).wide(10))
	seat := called(value{"another version", "orange"}, value{"the newest stored", "green"})
	d.row("", 8,
		states("What nodes serve", "Whether each node, at each address and for each type of key, serves the newest stored version every time.",
			query{`min by (node, address, key_type) (certmedic_node_serves{@c})`, "{{node}} {{address}} {{key_type}}"}).names(seat).none("not known").wide(14),
		states("What nodes have", "Whether the newest stored version is installed at each destination, as far as certmedic knows.",
			query{`min by (destination, node) (certmedic_node_deployed{@c})`, "{{destination}} {{node}}"}).names(seat).none("there are no destinations").wide(10))
	d.row("", 8,
		table("TLS", "Parameters of the last connection.", "address",
			[]column{{of: "address"}, {of: "version"}, {of: "cipher"}, {of: "group"}, {of: "A", as: "connections"}},
			`count by (address, version, cipher, group) (certmedic_tls_info{@c})`).wide(10),
		states("Findings", "What was found, by code and address. None of an address is one of the source.",
			query{`max by (code, address) (certmedic_finding{@c})`, "{{code}} {{address}}"}).colours(steps(below("orange"))).none("nothing was found").wide(14))
}
