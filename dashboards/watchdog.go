package dashboards

// watchdog is the dashboard of certmedic itself.
func watchdog() Dashboard {
	d := board(
		watchdogUID, "certmedic-watchdog.json", "certmedic: the watchdog itself",
		"Whether certmedic sees, judges and keeps what it has to: rounds and probes, configuration, state, rules, memory, members of the cluster.",
		certificates())
	d.watchdogNow()
	d.watchdogProbes()
	d.watchdogProcess()
	d.mark("Loaded anew", "blue", "{{instance}} was started", `changes(process_start_time_seconds{@}[$__rate_interval]) > 0`+ofUs("job, instance"))
	return d
}

// ofUs leaves out what others have metrics of the same name for, where all jobs are shown.
func ofUs(by string) string { return ` and on (` + by + `) certmedic_build_info{@}` }

func (d *Dashboard) watchdogNow() {
	d.row("Now", 4,
		stat("Instances", "Instances that Prometheus reaches, and all that it asks.",
			query{`sum(up{@}` + ofUs("job") + `)`, "up"}, query{`count(up{@}` + ofUs("job") + `)`, "all"}).none("none").wide(3),
		stat("Last round", "How long ago every endpoint had been probed, at the instance where that is longest.",
			query{`time() - min(certmedic_last_round_timestamp_seconds{@} > 0)`, "ago"}).unit("s").wide(3),
		stat("Oldest probe", "How long ago the address was probed that waits longest.",
			query{`time() - min(certmedic_probe_last_timestamp_seconds{@c})`, "ago"}).unit("s").wide(3),
		stat("Configuration", "Whether the last load succeeded everywhere.", query{`min(certmedic_config_last_reload_successful{@})`, "last load"}).
			colours(steps(below("red"), from(1, "green"))).names(called(value{"refused", "red"}, value{"in force", "green"})).wide(3),
		stat("State not written for", "For how long the state folder could not be written. Nothing is acted on meanwhile.",
			query{`max(certmedic_state_unwritten_seconds{@})`, "unwritten"}).unit("s").colours(steps(below("green"), from(1, "orange"), from(30, "red"))).wide(3),
		stat("Rules in error", "Rules that could not be evaluated in the last minutes, and say nothing meanwhile.",
			query{count(`group by (rule) (increase(certmedic_rule_evaluation_failures_total{@}[$__rate_interval]) > 0)`), "rules"}).colours(unwanted("red")).wide(3),
		stat("Members", "Live members of the cluster, as the member sees it that sees the fewest. It is 1 on a single host.",
			query{`min(certmedic_cluster_members{@})`, "members"}).wide(3),
		stat("Version", "Of certmedic. More than one while it is updated.", query{`count by (version) (certmedic_build_info{@})`, "{{version}}"}).wide(3))
	d.row("", 7,
		lines("Led by each member", "Certificates that each instance acts for, from the recording rules.",
			query{`max by (instance) (instance:certmedic_leader:sum{@})`, "{{instance}}"}).from(0).decimals(0).wide(8),
		lines("Members of the cluster", "As each instance sees it.", query{`max by (instance) (certmedic_cluster_members{@})`, "{{instance}}"}).from(0).decimals(0).wide(8),
		lines("Led by nobody, or by several", "Certificates for which no instance of the job acts, or more than one, from the recording rules. Several single hosts with a certificate of one name count as well.",
			query{`sum(job:certmedic_leader:nobody{@j})`, "nobody"},
			query{`sum(job:certmedic_leader:several{@j})`, "several"}).from(0).decimals(0).wide(8))
}

func (d *Dashboard) watchdogProbes() {
	d.row("Cluster and nodes", 7,
		lines("Coordinator lost for", "For how long each instance could not reach the coordinator. It acts for nothing meanwhile.",
			query{`max by (instance) (certmedic_coordinator_lost_seconds{@})`, "{{instance}}"}).unit("s").from(0).none("there is no cluster").wide(6),
		states("Members that are gone", "Members that did not say that they leave.",
			query{`max by (member) (certmedic_member_gone{@})`, "{{member}}"}).names(called(value{"there", "green"}, value{"gone", "red"})).none("nobody is gone").wide(6),
		lines("Addresses of a node that do not serve what is stored", "By node. Those that no node is known for have no name.",
			query{`sum by (node) (1 - min by (certificate, node, address, key_type) (certmedic_node_serves{@c}))`, "{{node}}"}).from(0).decimals(0).none("no node is known").wide(6),
		lines("Copies on a node that are not what is stored", "By node, over all destinations.",
			query{`sum by (node) (1 - min by (certificate, destination, node) (certmedic_node_deployed{@c}))`, "{{node}}"}).from(0).decimals(0).none("no destination is known").wide(6))
	d.row("Rounds and probes", 8,
		lines("Duration of rounds", "How long it took to probe every endpoint once.", query{`max by (instance) (certmedic_round_duration_seconds{@})`, "{{instance}}"}).unit("s").from(0).wide(6),
		stacked("Probes", "Addresses probed, by how that ended.", query{`sum by (outcome) (rate(certmedic_probes_total{@}[$__rate_interval]))`, "{{outcome}}"}).unit("ops").paint("success", "green").wide(6),
		lines("Duration of probes", "Connect and handshake of the last probe of each address, at the instance where that takes longest. From the recording rules.",
			query{`max(instance:certmedic_probe_duration_seconds:p50{@})`, "median"}, query{`max(instance:certmedic_probe_duration_seconds:p99{@})`, "99 %"}, query{`max(instance:certmedic_probe_duration_seconds:max{@})`, "slowest"}).unit("s").from(0).wide(6),
		events("Rules that could not be evaluated", "By rule.",
			query{`sum by (rule) (increase(certmedic_rule_evaluation_failures_total{@}[$__rate_interval])) > 0`, "{{rule}}"}).none("none").wide(6))
}

func (d *Dashboard) watchdogProcess() {
	each := func(metric string) query {
		return query{`max by (instance) (` + metric + `{@}` + ofUs("job, instance") + `)`, "{{instance}}"}
	}
	d.row("The process", 7,
		lines("Memory", "Resident memory.", each("process_resident_memory_bytes")).unit("bytes").from(0).wide(6),
		lines("Processor", "Seconds of processor time for each second.", query{`sum by (instance) (rate(process_cpu_seconds_total{@}[$__rate_interval])` + ofUs("job, instance") + `)`, "{{instance}}"}).unit("none").from(0).wide(6),
		lines("Goroutines", "What goes on at the same time.", each("go_goroutines")).from(0).wide(4),
		lines("Open files", "Connections included.", each("process_open_fds")).from(0).wide(4),
		lines("State not written for", "For how long the state folder could not be written.", each("certmedic_state_unwritten_seconds")).unit("s").from(0).wide(4))
}
