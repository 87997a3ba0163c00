package dashboards

import "fmt"

// What the queries of several panels share. A version is a leaf by its SHA-256: it counts once,
// however many addresses serve it and however many instances watch them.
const (
	// withVersion gives a value of an address the version that is served there.
	withVersion = ` * on (job, instance, certificate, endpoint, address, variant) group_left (sha256) certmedic_served_info{@c}`

	// perAddress counts an address once, also where several certificates or instances have it.
	perAddress = `group by (endpoint, address, variant) `
)

// named gives every series the label name: the certificate, or the endpoint of what is only
// watched, which belongs to none.
func named(expr string) string {
	return fmt.Sprintf(`label_replace(label_replace(%s, "name", "$1", "endpoint", "(.*)"), "name", "$1", "certificate", "(.+)")`, expr)
}

// short gives every series the label version: the first digits of the SHA-256.
func short(expr string) string {
	return fmt.Sprintf(`label_replace(%s, "version", "$1", "sha256", "(.{8}).*")`, expr)
}

// count counts series, and is 0 where there is none.
func count(expr string) string { return "count(" + expr + ") or vector(0)" }

// fleet is the dashboard of everything at a glance.
func fleet() Dashboard {
	d := board(
		fleetUID, "certmedic-fleet.json", "certmedic: fleet",
		"What is at risk, where it is stuck and what ends next, over all certificates.",
		certificates())
	d.fleetNow()
	d.fleetAtRisk()
	d.fleetChanges()
	d.fleetProbes()
	d.mark("Renewed", "blue", "{{certificate}} was renewed", `sum by (certificate) (changes(certmedic_stored_not_before_timestamp_seconds{@c}[$__rate_interval])) > 0`)
	d.mark("Deployed", "green", "{{certificate}} serves another version", `sum by (certificate) (changes(certmedic_served_not_before_timestamp_seconds{@c}[$__rate_interval])) > 0`)
	d.markAt("Rolled back", "orange", "certmedic rolled a certificate back", `max by (job, instance) (certmedic_action_last_timestamp_seconds{@,action="rollback"}) * 1000`)
	return d
}

func (d *Dashboard) fleetNow() {
	ratio := `min by (sha256) (certmedic_served_lifetime_remaining_ratio{@c}` + withVersion + `)`
	d.row("Now", 4,
		stat("Certificates", "Certificates that are managed. What is only watched for others is not counted.",
			query{`count(group by (certificate) (certmedic_stage{@c}))`, "managed"}).wide(3),
		stat("Versions by share of life left", "Versions that are served, each once, by how much of their lifetime is left. Shares and not days: ten days are little of a year and more than there is of six days.",
			query{count(ratio + " < 0"), "expired"},
			query{count(ratio + " >= 0 < 0.1"), "below 10 %"},
			query{count(ratio + " >= 0.1 < 0.25"), "below 25 %"},
			query{count(ratio + " >= 0.25"), "above"},
		).paint("expired", "dark-red").paint("below 10 %", "red").paint("below 25 %", "orange").paint("above", "green").wide(9),
		stat("Firing incidents", "By severity, those about certmedic itself included. Members of a cluster that watch the same certificates count each for itself.",
			query{`sum by (severity) (certmedic_incidents{@,state="firing"})`, "{{severity}}"}).
			paint("critical", "red").paint("warning", "orange").paint("info", "blue").wide(6),
		stat("Drift", "Certificates of which an address serves another version than the one that is stored.",
			query{count(`max by (certificate) (certmedic_drift_seconds{@c}) > 0`), "drift"}).colours(unwanted("orange")).wide(3),
		stat("Split", "Names of which clients get different versions, by which address they reach.",
			query{count(`count by (name) (group by (name, sha256) (` + named(`certmedic_served_info{@c}`) + `)) > 1`), "split"}).colours(unwanted("orange")).wide(3))
	d.row("", 4,
		stat("Unreachable", "Addresses that presented no certificate at the last probe.",
			query{count(perAddress + `(certmedic_finding{@c,code=~"unreachable|dns_failed|timeout|starttls_failed|handshake_failed"})`), "unreachable"}).colours(unwanted("orange")).wide(4),
		stat("With something critical", "Addresses at whose last probe something critical was found, or that presented nothing.",
			query{count(perAddress + `(certmedic_probe_success{@c} == 0)`), "bad"}).colours(unwanted("red")).wide(4),
		stat("Renewal overdue", "Certificates whose renewal should have happened by now, by the window of their CA or else by their lifetime.",
			query{count(named(`min by (certificate, endpoint) (certmedic_renewal_due_timestamp_seconds{@c})`) + " < time()"), "overdue"}).colours(unwanted("orange")).wide(4),
		stat("Least life left", "Share of the lifetime of the version that has the least.",
			query{`min(certmedic_served_lifetime_remaining_ratio{@c})`, "left"}).unit("percentunit").decimals(0).colours(bands()).wide(4),
		stat("First to end", "How long until the first of the versions that are served ends.",
			query{`min(certmedic_served_not_after_timestamp_seconds{@c}) - time()`, "ends"}).unit("s").decimals(1).colours(ends()).wide(4),
		stat("Rolled back", "Certificates that are served from an older version until its deadline.",
			query{count(`group by (certificate) (certmedic_rollback_deadline_timestamp_seconds{@c})`), "loans"}).colours(unwanted("orange")).wide(4))
}

func (d *Dashboard) fleetAtRisk() {
	by := func(aggregate, metric string) string {
		return aggregate + ` by (name, sha256) (` + named(metric+withVersion) + `)`
	}
	worst := "bottomk(50, " + by("min", `certmedic_served_lifetime_remaining_ratio{@c}`) + ")"
	ofWorst := func(expr string) string { return "(" + expr + ") and on (name, sha256) " + worst }
	risk := bands()
	late := ends()
	d.row("At risk", 11,
		table("Soonest to break", "Versions that are served with the smallest share of their lifetime left, at most 50, and at how many addresses each is served.", "life left",
			[]column{
				{of: "name", links: []object{toPage("Its page", "certificates", "name"), toCertificate("name"), link("Runbook: it ends soon", "${ui}/runbooks/expiry-imminent"), link("Runbook: it has expired", "${ui}/runbooks/expired")}},
				{of: "sha256", as: "version"},
				{of: "A", as: "life left", unit: "percentunit", bands: &risk, cell: "gauge"},
				{of: "B", as: "ends in", unit: "s", digits: 1, bands: &late, cell: "color-text"},
				{of: "C", as: "renewal due in", unit: "s", digits: 1, bands: &late, cell: "color-text"},
				{of: "D", as: "drift", unit: "s"},
				{of: "E", as: "addresses"},
			},
			worst,
			ofWorst(by("min", `certmedic_served_not_after_timestamp_seconds{@c}`)+" - time()"),
			ofWorst(`min by (name, sha256) (`+named(`certmedic_served_info{@c,certificate!=""} * on (job, instance, certificate) group_left min by (job, instance, certificate) (certmedic_renewal_due_timestamp_seconds{@c,certificate!=""})`)+`) - time()`),
			ofWorst(by("max", `certmedic_drift_seconds{@c}`)),
			ofWorst(`count by (name, sha256) (`+named(`certmedic_served_info{@c}`)+`)`),
		).wide(16),
		table("Open incidents", "Rules that hold, with how many incidents each has open. A rule leads to its runbook.", "rule",
			[]column{
				{of: "rule", links: []object{toPage("Its runbook", "runbooks", "rule"), link("Incidents", "${ui}/incidents")}},
				{of: "severity"},
				{of: "A", as: "open"},
			},
			`sum by (rule, severity) (certmedic_incidents{@,state="firing"}) > 0`).wide(8))
	d.row("", 8,
		expiries().wide(12),
		stacked("Share of life left over time", "Versions in each band, each version once. Of all instances of the job, from the recording rules.",
			query{`sum by (band) (job_band:certmedic_served_lifetime_remaining_ratio:count{@j})`, "{{band}}"}).
			paint("expired", "dark-red").paint("below 10 %", "red").paint("below 25 %", "orange").paint("above", "green").decimals(0).wide(12))
}

// expiries shows how many versions end in which of the weeks ahead.
func expiries() panel {
	served := `max by (sha256) (certmedic_served_not_after_timestamp_seconds{@c}` + withVersion + `)`
	stored := `max by (sha256) (certmedic_stored_not_after_timestamp_seconds{@c} * on (job, instance, certificate, endpoint) group_left (sha256) certmedic_stored_info{@c})`
	p := ask("barchart", "Ends in the weeks ahead", "Versions that are served or stored, each once, by the week in which they end: 0 is the coming one, less has ended, 26 is half a year and more. Weeks without any have no bar.",
		targets(true, "table", expressions(`count_values("week", clamp(floor(((`+served+` or `+stored+`) - time()) / 604800), -1, 26))`)))
	p.FieldConfig.Defaults.Custom = object{"lineWidth": 1, "fillOpacity": 80}
	p.FieldConfig.Defaults.Color = object{"mode": "fixed", "fixedColor": "blue"}
	p = p.from(0).decimals(0)
	p.Options = object{
		"xField": "week", "orientation": "vertical", "showValue": "auto", "stacking": "none", "barWidth": 0.9, "groupWidth": 0.7, "xTickLabelRotation": 0,
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": false},
		"tooltip": object{"mode": "single", "sort": "none"},
	}
	p.Transformations = []transform{
		{"convertFieldType", object{"conversions": []object{{"targetField": "week", "destinationType": "number"}}}},
		{"sortBy", object{"sort": []object{{"field": "week", "desc": false}}}},
		{"convertFieldType", object{"conversions": []object{{"targetField": "week", "destinationType": "string"}}}},
		{"organize", object{"excludeByName": object{"Time": true}, "indexByName": object{"week": 0, "Value": 1}, "renameByName": object{"Value": "versions"}}},
	}
	return p
}

func (d *Dashboard) fleetChanges() {
	const info = `version:certmedic_served_info:count{@c}`
	d.row("What changes", 11,
		states("What is served", "Of names that changed what they serve during the time shown, or serve several versions, each version by the beginning of its SHA-256, and at how many addresses.",
			query{short(`sum by (name, sha256) (` + info + `) and on (name) (count by (name) (group by (name, sha256) (last_over_time(` + info + `[$__range] @ end()))) > 1)`), "{{name}} {{version}}"}).
			colours(steps(below("blue"))).none("nothing changed").coarse().wide(24))
	d.row("", 8,
		stacked("Certificates by stage", "How far the newest version of each has come. All belong at served. Of all instances of the job, from the recording rules.",
			query{`sum by (stage) (job_stage:certmedic_stage:count{@j}) > 0`, "{{stage}}"}).
			paint("served", "green").paint("deploying", "blue").paint("stored", "orange").paint("issued", "red").decimals(0).wide(8),
		lines("Drift", "Certificates that drift. Of all instances of the job, from the recording rules.",
			query{`sum(job:certmedic_drift_seconds:count{@j})`, "certificates"}).from(0).decimals(0).wide(8),
		lines("Firing incidents", "By rule.",
			query{`sum by (rule) (certmedic_incidents{@,state="firing"}) > 0`, "{{rule}}"}).from(0).decimals(0).wide(8))
}

func (d *Dashboard) fleetProbes() {
	d.row("Probes", 8,
		lines("Age of the last probe", "How long ago addresses were probed, at the instance where that is longest. From the recording rules.",
			query{`time() - min(instance:certmedic_probe_last_timestamp_seconds:p50{@})`, "median"}, query{`time() - min(instance:certmedic_probe_last_timestamp_seconds:min{@})`, "oldest"}).unit("s").from(0).wide(8),
		lines("Findings", "What was found, by code, and at how many places.",
			query{`sum by (code) (certmedic_finding{@c})`, "{{code}}"}).from(0).decimals(0).none("nothing was found").wide(8),
		table("Places with findings", "What was found where.", "code",
			[]column{
				{of: "name", links: []object{toPage("Its page", "certificates", "name"), toCertificate("name")}},
				{of: "address"},
				{of: "code"},
				{of: "A", as: "places"},
			},
			`sum by (name, address, code) (`+named(`certmedic_finding{@c}`)+`)`).wide(8))
}
